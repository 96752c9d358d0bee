"""The field as the methods call it: flat states in, flat slopes out, everything checked."""

import re
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten

from sciml.integrate.flat import Flat, leaves_of, restore
from sciml.integrate.reachable import modules_and_tensors
from sciml.integrate.terms import ODE, Field

_OF_DTYPES = re.compile("dtype|scalar type|[Tt]ype \\(|same type")
"""What torch says of tensors that do not go together."""


@final
@dataclass(eq=False)
class FlatField:
    """f on flat states.

    Args:
        f: the user's field.
        structure: of the state, None for a single tensor.
        watched: evaluations in which it is looked at whether the field writes where it must not.
    """

    f: Field
    structure: TreeSpec | None
    watched: int = 0
    _before: tuple[Flat, tuple[int, ...]] | None = field(default=None, init=False, repr=False)

    def __call__(self, t: Tensor, y: Flat) -> Flat:
        """f(t, y), in the dtype of the state also under automatic mixed precision.

        Raises:
            TypeError, ValueError: unless the result has the structure, shapes and dtypes of the state, in tensors of
                its own.
        """
        if torch.compiler.is_compiling():
            return self._slope(t, y)
        try:
            return self._watched(t, y) if self.watched else self._slope(t, y)
        except RuntimeError as error:
            check_dtypes(self.f, y, error)
            raise

    def _watched(self, t: Tensor, y: Flat) -> Flat:
        """f(t, y), or an error if this evaluation changed the state or the slope before it."""
        before = versions(y)
        slope = self._slope(t, y)
        if versions(y) != before:
            raise ValueError(
                "the field must leave the state as it is, but it changed `y` in place. Compute dy/dt in new tensors, "
                "e.g. y * 2 instead of y.mul_(2)."
            )
        if self._before is not None and versions(self._before[0]) != self._before[1]:
            raise ValueError(
                "the field must return new tensors, for all slopes of a step are kept, but it wrote into the one it "
                "returned before. Do not use out= or a buffer again, or return buffer.clone()."
            )
        self.watched -= 1
        self._before = (slope, versions(slope)) if self.watched else None
        return slope

    def _slope(self, t: Tensor, y: Flat) -> Flat:
        slope: Any = self.f(t, restore(y, self.structure))
        if self.structure is None:
            if isinstance(slope, Tensor) and slope.shape == y.shape and slope.dtype == y.dtype:  # type: ignore[union-attr]
                return slope
            slope = (slope,)
        else:
            slope = self._leaves(slope, y)
        if torch.is_autocast_enabled(leaves_of(y)[0].device.type):
            slope = tuple(map(_in_full, slope, leaves_of(y)))
        self._check(slope, y)
        return slope if self.structure is not None else slope[0]

    def _leaves(self, slope: Any, y: Flat) -> tuple[Any, ...]:
        """The tensors of a slope in the order of the state; entries of a dict may come in any order."""
        leaves, given = tree_flatten(slope)
        if given != self.structure:
            leaves, given = tree_flatten(_in_order(slope, restore(y, self.structure)))
        if given != self.structure:
            raise TypeError(
                f"the field must return the structure of the state, {self.structure}, got {given}. "
                "Return the derivative of every leaf in its place."
            )
        return tuple(leaves)

    def _check(self, slope: tuple[Any, ...], y: Flat) -> None:
        for value, leaf in zip(slope, leaves_of(y), strict=True):
            if not isinstance(value, Tensor):
                raise TypeError(f"the field must return tensors, got a {type(value).__name__}. Return dy/dt.")
            if value.shape != leaf.shape or value.dtype != leaf.dtype:
                raise ValueError(
                    f"the field must return shape {tuple(leaf.shape)} and {leaf.dtype} like the state, got "
                    f"{tuple(value.shape)} and {value.dtype}. Return the derivative of every entry, and bring "
                    "parameters and state to one dtype."
                )


def check_dtypes(f: Field, y: Flat, error: RuntimeError) -> None:
    """Raise with a remedy if torch complains of dtypes, and tensors of the field have others than the state."""
    if not _OF_DTYPES.search(str(error)):
        return
    modules, named = modules_and_tensors(ODE(f))
    tensors = [*(t for m in modules for t in (*m.parameters(), *m.buffers())), *(t for _, t in named)]
    real = leaves_of(y)[0].dtype.to_real()
    other = sorted(
        {str(t.dtype) for t in tensors if (t.is_floating_point() or t.is_complex()) and t.dtype.to_real() != real}
    )
    if other:
        raise TypeError(
            f"parameters and state must have one precision, got {', '.join(other)} in the field and "
            f"{leaves_of(y)[0].dtype} in `y0`. Convert one of them, e.g. y0.float() or module.double()."
        ) from error


def versions(y: Flat) -> tuple[int, ...]:
    """How often each tensor was changed in place."""
    return tuple(-1 if leaf.is_inference() else leaf._version for leaf in leaves_of(y))


def _in_order(slope: Any, like: Any) -> Any:
    """`slope` with the entries of its dicts in the order of `like`, where they have the same keys."""
    if isinstance(like, dict) and isinstance(slope, dict) and slope.keys() == like.keys():
        return {key: _in_order(slope[key], part) for key, part in like.items()}
    if type(like) in (tuple, list) and type(slope) is type(like) and len(slope) == len(like):
        return type(like)(_in_order(a, b) for a, b in zip(slope, like, strict=True))
    return slope


def _in_full(slope: Any, leaf: Tensor) -> Any:
    """What autocast computed in half precision, in that of the state."""
    half = isinstance(slope, Tensor) and slope.dtype in (torch.float16, torch.bfloat16)
    return slope.to(leaf.dtype) if half else slope
