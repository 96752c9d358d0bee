"""How the Jacobian J = df/dy of each sample is found, and how (I - s J) x = r is solved.

Everything is in packed form: rows of real numbers, one row per sample.
"""

import abc
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sciml.integrate.flat import beside
from sciml.integrate.implicit.packing import PackedField

Shift = float | complex | Tensor
"""s: a number, a 0-D tensor, or one per sample, (batch,); real or complex."""
Jacobian = tuple[Tensor, ...]
"""What a structure keeps of J: tensors with one row per sample."""


class AbstractSystem(abc.ABC):
    """(I - s J), ready to be solved with."""

    @abc.abstractmethod
    def solve(self, r: Tensor) -> Tensor:
        """x of (I - s J) x = r, (batch, size). NaN in rows whose matrix is singular."""

    @abc.abstractmethod
    def solve_transposed(self, r: Tensor) -> Tensor:
        """x of (I - s J)^T x = r, (batch, size), without complex conjugation."""


class AbstractStructure(abc.ABC):
    """What is known of the Jacobians. Subclasses are frozen dataclasses, and final."""

    whole: ClassVar[bool] = True
    """Whether it is the field's own Jacobian, whatever the field; else it is the user's word that it is near."""

    @abc.abstractmethod
    def jacobian(self, field: PackedField, t: Tensor, v: Tensor) -> Jacobian:
        """J at (t, v); nothing is recorded by autograd.

        Args:
            field: the field on rows.
            t: time as the field takes it.
            v: states, (batch, size).
        """

    @abc.abstractmethod
    def system(self, field: PackedField, jacobian: Jacobian, shift: Shift) -> AbstractSystem:
        """(I - s J), made ready."""

    @abc.abstractmethod
    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """J x, (batch, size)."""

    def exact(self) -> "AbstractStructure":
        """The same for gradients, which want systems solved to rounding."""
        return self


def beside_rows(shift: Shift, ndim: int) -> Shift:
    """A shift to multiply a tensor (batch, ...) of `ndim` axes."""
    if isinstance(shift, Tensor) and shift.ndim:
        return shift.reshape(-1, *[1] * (ndim - 1))
    return shift


def chosen(rows: Tensor, new: Sequence[Tensor], old: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Tensors with one row per sample: the new in some rows, (batch,), the old in the others."""
    return tuple(torch.where(beside(rows, a), a, b) for a, b in zip(new, old, strict=True))


def unhidden(jacobian: Tensor) -> Tensor:
    """Infinite entries as NaN: divided by infinity, a residual would vanish and pass for solved."""
    return torch.where(torch.isfinite(jacobian), jacobian, torch.nan)


def is_complex(shift: Shift) -> bool:
    """Whether the system is complex."""
    return shift.is_complex() if isinstance(shift, Tensor) else isinstance(shift, complex)


def check_real(structure: AbstractStructure, field: PackedField) -> None:
    """Raise if the state is complex, whose real and imaginary parts depend on each other."""
    if any(field.packing.complexes):
        raise TypeError(
            f"{type(structure).__name__} needs a real state, got a complex one. Take Dense() or Krylov(), or keep real "
            "and imaginary part as two channels."
        )
