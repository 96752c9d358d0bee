"""The field as the methods call it: flat states in, flat slopes out, everything checked."""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten

from sciml.integrate.flat import Flat, leaves_of, restore
from sciml.integrate.terms import Field


@final
@dataclass(frozen=True, eq=False)
class FlatField:
    """f on flat states.

    Args:
        f: the user's field.
        structure: of the state, None for a single tensor.
    """

    f: Field
    structure: TreeSpec | None

    def __call__(self, t: Tensor, y: Flat) -> Flat:
        """f(t, y), in the dtype of the state also under automatic mixed precision.

        Raises:
            TypeError, ValueError: unless the result has the structure, shapes and dtypes of the state.
        """
        slope: Any = self.f(t, restore(y, self.structure))
        if self.structure is None:
            if isinstance(slope, Tensor) and slope.shape == y.shape and slope.dtype == y.dtype:  # type: ignore[union-attr]
                return slope
            slope = (slope,)
        else:
            leaves, given = tree_flatten(slope)
            if given != self.structure:
                raise TypeError(
                    f"the field must return the structure of the state, {self.structure}, got {given}. "
                    "Return the derivative of every leaf in its place."
                )
            slope = tuple(leaves)
        if torch.is_autocast_enabled(leaves_of(y)[0].device.type):
            slope = tuple(map(_in_full, slope, leaves_of(y)))
        self._check(slope, y)
        return slope if self.structure is not None else slope[0]

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


def _in_full(slope: Any, leaf: Tensor) -> Any:
    """What autocast computed in half precision, in that of the state."""
    half = isinstance(slope, Tensor) and slope.dtype in (torch.float16, torch.bfloat16)
    return slope.to(leaf.dtype) if half else slope
