"""States inside a solve: a tensor, or a flat tuple of tensors.

`solve` flattens what the user gives once and restores it where the user looks: in the field, in `SaveAt.fn` and in the
solution. Inside, no tree is walked: one tensor, the usual case, costs nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

Flat = Tensor | tuple[Tensor, ...]
_REAL = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}


def flatten(y: Any) -> tuple[Flat, TreeSpec | None]:
    """The state in flat form, and its structure: None for a single tensor."""
    if isinstance(y, Tensor):
        return y, None
    leaves, spec = tree_flatten(y)
    return tuple(leaves), spec


def restore(y: Flat, spec: TreeSpec | None) -> Any:
    """The state as the user gave it."""
    return y if spec is None else tree_unflatten(list(y), spec)


def leaves_of(y: Flat) -> tuple[Tensor, ...]:
    """The tensors of a flat state."""
    return (y,) if isinstance(y, Tensor) else y


def first_leaf(y: Flat) -> Tensor:
    """The first tensor of a flat state; per-sample times have its rank."""
    return y if isinstance(y, Tensor) else y[0]


def map_leaves(function: Callable[..., Tensor], *states: Any) -> Any:
    """`function` of corresponding tensors of flat states."""
    if isinstance(states[0], Tensor):
        return function(*states)
    return tuple(function(*leaves) for leaves in zip(*states, strict=True))


def add_scaled(x: Tensor, y: Tensor, factor: float) -> Tensor:
    """x + factor y.

    torch 2.13 compiles `torch.add(x, a @ b, alpha=factor)` to x + a @ b, whatever the factor.
    """
    return x + factor * y if torch.compiler.is_compiling() else torch.add(x, y, alpha=factor)


def map_rows(function: Callable[..., Tensor], *carries: Any) -> Any:
    """`function` of corresponding tensors of nested tuples, as a method's carry is one; all else is kept as it is."""
    first = carries[0]
    if isinstance(first, Tensor):
        return function(*carries)
    if isinstance(first, tuple):
        parts = [map_rows(function, *entries) for entries in zip(*carries, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return first


def beside(t: Tensor, leaf: Tensor) -> Tensor:
    """Per-sample times (batch, ...) as (batch, 1, ..., 1) of the rank of `leaf`; a shared time stays 0-D."""
    return t.reshape(-1, *[1] * (leaf.ndim - 1)) if t.ndim > 0 else t


def real_dtype(y: Flat) -> torch.dtype:
    """The real dtype of the state's precision."""
    dtype = first_leaf(y).dtype
    return _REAL.get(dtype, dtype)


def per_row(t: float | Tensor, leaf: Tensor) -> Tensor:
    """A time or the size of a step for every row, (batch,), float64."""
    if isinstance(t, Tensor):
        return t.to(torch.float64).reshape(-1).expand(len(leaf))
    return torch.full((len(leaf),), t, dtype=torch.float64, device=leaf.device)


def field_time(t: float | Tensor, leaf: Tensor) -> Tensor:
    """A time as fields take it: a tensor in the state's real dtype."""
    if isinstance(t, Tensor):
        return t.to(real_dtype(leaf))
    return torch.full((), t, dtype=real_dtype(leaf), device=leaf.device)
