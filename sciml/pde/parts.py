"""The entries of an equation and of its parts, by their path: `viscosity`, `scalar.diffusivity`, `velocity.0`."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def parts(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every entry of a dataclass, and of the dataclasses and tuples in it, with its path."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        entries = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value) if field.init]
    elif isinstance(value, tuple):
        entries = [(str(place), entry) for place, entry in enumerate(value)]
    else:
        return
    for name, entry in entries:
        yield prefix + name, entry
        yield from parts(entry, f"{prefix}{name}.")


def replaced(value: Any, changes: Mapping[str, Any]) -> Any:
    """A copy of a dataclass or tuple with other entries at these paths, put in together; its checks are made again.

    Raises:
        ValueError, TypeError: if a dataclass on the way refuses them.
    """
    inside: dict[str, dict[str, Any]] = {}
    for path, new in changes.items():
        name, _, rest = path.partition(".")
        inside.setdefault(name, {})[rest] = new
    if isinstance(value, tuple):
        return tuple(_entry(entry, inside.get(str(place))) for place, entry in enumerate(value))
    entries = {name: _entry(getattr(value, name), changed) for name, changed in inside.items()}
    return dataclasses.replace(value, **entries)


def _entry(old: Any, changed: dict[str, Any] | None) -> Any:
    """An entry with what is changed in it, or in its place."""
    if changed is None:
        return old
    return changed[""] if "" in changed else replaced(old, changed)


def takes_numbers(value: Any, path: str) -> bool:
    """Whether the entry at this path is a real parameter, by its value or how it is declared; not whole numbers."""
    *owners, last = path.split(".")
    for name in owners:
        value = value[int(name)] if isinstance(value, tuple) else getattr(value, name)
    if isinstance(value, tuple):
        return isinstance(value[int(last)], int | float | Tensor)
    kind = str({field.name: field.type for field in dataclasses.fields(value)}[last])
    return isinstance(getattr(value, last), float | Tensor) or "float" in kind and not kind.startswith("tuple")


def rowed(value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors with a row for each sample, with their paths; a single row serves all samples and is left out."""
    for path, entry in parts(value):
        if isinstance(entry, Tensor) and entry.ndim > 0 and len(entry) != 1:
            yield path, entry
