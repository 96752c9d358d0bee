"""What a term can reach: closures, global names, default arguments, partials, attributes, containers, submodules."""

import functools
import itertools
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

MOST_OBJECTS = 10_000
"""Objects that are looked through at most."""
MOST_PARTS = 20_000
"""Parts of one object that are looked at, at most."""
_PLAIN = str | bytes | int | float | complex | None


def modules_and_tensors(root: Any) -> tuple[list[nn.Module], list[tuple[str, Tensor]]]:
    """Modules and named tensors that can be reached from a term."""
    found = list(everything(root))
    modules = [value for _, value in found if isinstance(value, nn.Module)]
    return modules, [(name, value) for name, value in found if isinstance(value, Tensor)]


def everything(root: Any) -> Iterator[tuple[str, Any]]:
    """All objects that can be reached from a term, with their names: each once, but numbers wherever they are."""
    todo: list[tuple[str, Any]] = list(fields_of(root))
    seen: dict[int, Any] = {}  # with the objects, so that no number is given twice
    while todo and len(seen) < MOST_OBJECTS:
        name, value = todo.pop()
        if isinstance(value, _PLAIN):
            yield name, value
        elif id(value) not in seen and not isinstance(value, type | types.ModuleType):
            seen[id(value)] = value
            yield name, value
            if not isinstance(value, Tensor):
                todo.extend(itertools.islice(_parts(name, value), MOST_PARTS))


def fields_of(term: Any) -> Iterator[tuple[str, Any]]:
    """What a term was made of; not what it keeps for later."""
    for field in fields(term) if is_dataclass(term) else ():
        if field.init:
            yield field.name, getattr(term, field.name)


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, types.MethodType):
        yield "self", value.__self__
        yield name, value.__func__
    elif isinstance(value, functools.partial):
        yield name, value.func
        yield from ((f"{name} argument {i}", entry) for i, entry in enumerate(value.args))
        yield from value.keywords.items()
    elif isinstance(value, dict):
        yield from ((f"{name}[{key!r}]", entry) for key, entry in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"{name}[{i}]", entry) for i, entry in enumerate(value))
    elif isinstance(value, nn.Module):
        yield from ((f"{name}.{key}", entry) for key, entry in vars(value).items() if not key.startswith("_"))
        yield from ((f"{name}.{key}", entry) for key, entry in value._modules.items())
    else:
        slots = getattr(type(value), "__slots__", ())
        for key in (*getattr(value, "__dict__", {}), *((slots,) if isinstance(slots, str) else slots)):
            yield f"{name}.{key}", getattr(value, key, None)


def _of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    if (function.__module__ or "").split(".")[0] in ("torch", "numpy", "math"):
        return
    for key, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield key, cell.cell_contents
        except ValueError:  # not yet assigned
            continue
    for i, default in enumerate(function.__defaults__ or ()):
        yield f"default {i} of {function.__name__}", default
    yield from (function.__kwdefaults__ or {}).items()
    yield from vars(function).items()
    for key in _global_names(function.__code__):
        if key in function.__globals__:
            yield key, function.__globals__[key]


def _global_names(code: types.CodeType) -> set[str]:
    """Names a function may look up, in functions written inside it too."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names
