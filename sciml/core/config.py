"""Configuration is frozen dataclasses. They are read from plain mappings (TOML) here, and nowhere else."""

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

Config = TypeVar("Config")


def from_mapping(cls: type[Config], mapping: Mapping[str, Any], place: str) -> Config:
    """Build the frozen dataclass `cls` from a mapping, refusing unknown keys and wrong types.

    Args:
        cls: dataclass whose fields are numbers, strings, booleans, tuples, mappings or further dataclasses.
        mapping: as read from TOML or JSON.
        place: where the mapping stands, for messages, e.g. `scenario.toml [train]`.

    Raises:
        ValueError: for an unknown key, a missing key or a value of the wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in mapping:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(sorted(fields))}."
            raise ValueError(f"{place}: every key must be known, got `{key}`. {hint}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in mapping:
            raise ValueError(f"{place}: the key `{name}` is required and missing. Add `{name} = ...`.")
    values = {key: _convert(hints[key], value, f"{place}, key `{key}`") for key, value in mapping.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _convert(hint: Any, value: Any, place: str) -> Any:
    """`value` as the type `hint`, or a ValueError that names the place."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        errors = []
        for option in (option for option in args if option is not type(None)):
            try:
                return _convert(option, value, place)
            except ValueError as error:
                errors.append(str(error))
        raise ValueError(errors[0])
    if origin is tuple and isinstance(value, list | tuple):
        element = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else list(args)
        if len(element) != len(value):
            raise ValueError(f"{place}: must have {len(element)} entries, got {len(value)}.")
        return tuple(_convert(e, v, f"{place}[{i}]") for i, (e, v) in enumerate(zip(element, value, strict=True)))
    if origin in (dict, Mapping) or hint is dict:
        if isinstance(value, Mapping):
            kind = args[1] if args else Any
            return {str(k): _convert(kind, v, f"{place}.{k}") for k, v in value.items()}
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return from_mapping(hint, value, place)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise ValueError(f"{place}: must be of type {name}, got {value!r} ({type(value).__name__}).")


def digest(value: Any) -> str:
    """SHA-256 of a configuration: equal for equal content, whatever the order of keys."""

    def plain(item: Any) -> Any:
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            return {f.name: plain(getattr(item, f.name)) for f in dataclasses.fields(item)}
        if isinstance(item, Mapping):
            return {str(key): plain(entry) for key, entry in item.items()}
        if isinstance(item, list | tuple):
            return [plain(entry) for entry in item]
        return item

    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
