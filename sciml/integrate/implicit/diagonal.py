"""Jacobians of fields that act on every entry of the state alone."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.core.transforms import unrecorded
from sciml.integrate.implicit.packing import PackedField
from sciml.integrate.implicit.structure import (
    AbstractStructure,
    AbstractSystem,
    Jacobian,
    Shift,
    beside_rows,
    check_real,
    unhidden,
)


@final
@dataclass(frozen=True)
class Diagonal(AbstractStructure):
    """J is diagonal: df_i/dy_j = 0 for i != j. Its diagonal comes from one product with ones.

    Where the field does couple entries, iterations become slow or fail. Real states only.
    """

    whole = False

    @unrecorded()
    def jacobian(self, field: PackedField, t: Tensor, v: Tensor) -> Jacobian:
        """The diagonal, (batch, size); see `AbstractStructure.jacobian`."""
        check_real(self, field)
        t, v = t.detach(), v.detach()
        value, pullback, *_ = torch.func.vjp(lambda x: field(t, x), v)
        return (unhidden(pullback(torch.ones_like(value))[0].detach()),)

    def system(self, field: PackedField, jacobian: Jacobian, shift: Shift) -> AbstractSystem:
        """See `AbstractStructure.system`."""
        return _Entries(1 - beside_rows(shift, 2) * jacobian[0])

    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """See `AbstractStructure.product`."""
        return jacobian[0] * x


@final
class _Entries(AbstractSystem):
    """One equation per entry."""

    def __init__(self, diagonal: Tensor) -> None:
        self.diagonal = torch.where(diagonal == 0, torch.nan, diagonal)

    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""
        return r / self.diagonal

    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""
        return r / self.diagonal
