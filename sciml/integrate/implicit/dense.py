"""Jacobians as full matrices."""

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
    unhidden,
)

_INVERTED = 32
"""Up to this many unknowns the inverse is made, for a product with it is faster than two triangular solves."""


@final
@dataclass(frozen=True)
class Dense(AbstractStructure):
    """Full matrices: for up to some hundred unknowns per sample, whatever the field."""

    @unrecorded()
    def jacobian(self, field: PackedField, t: Tensor, v: Tensor) -> Jacobian:
        """(batch, size, size); see `AbstractStructure.jacobian`."""
        size = v.shape[1]
        if torch.finfo(v.dtype).bits < 32:
            raise TypeError(
                f"systems are solved in single or double precision, got a state in {v.dtype}. Convert it: y0.float()."
            )
        t, v = t.detach(), v.detach()
        value, pullback, *_ = torch.func.vjp(lambda x: field(t, x), v)
        basis = torch.eye(size, dtype=v.dtype, device=v.device)[:, None, :].expand(size, *v.shape)
        (rows,) = torch.func.vmap(pullback)(basis.to(value.dtype))
        return (unhidden(rows.detach().movedim(0, 1)),)

    def system(self, field: PackedField, jacobian: Jacobian, shift: Shift) -> AbstractSystem:
        """See `AbstractStructure.system`."""
        (matrix,) = jacobian
        size = matrix.shape[-1]
        whole = torch.eye(size, dtype=matrix.dtype, device=matrix.device) - beside_rows(shift, 3) * matrix
        return _Inverse(whole) if size <= _INVERTED else _Factors(whole)

    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """See `AbstractStructure.product`."""
        return times(jacobian[0], x)


def times(matrix: Tensor, x: Tensor) -> Tensor:
    """A x of each sample."""
    return torch.bmm(matrix, x.to(matrix.dtype).unsqueeze(-1)).squeeze(-1)


@final
class _Inverse(AbstractSystem):
    """A small matrix by its inverse."""

    def __init__(self, matrix: Tensor) -> None:
        inverse, info = torch.linalg.inv_ex(matrix)
        self.inverse = torch.where((info != 0)[:, None, None], torch.nan, inverse)

    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""
        return times(self.inverse, r)

    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""
        return times(self.inverse.mT, r)


@final
class _Factors(AbstractSystem):
    """A matrix by its triangular factors."""

    def __init__(self, matrix: Tensor) -> None:
        self.factors, self.pivots, info = torch.linalg.lu_factor_ex(matrix)
        self.singular = (info != 0)[:, None]

    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""
        r = r.to(self.factors.dtype).unsqueeze(-1)
        return torch.where(self.singular, torch.nan, torch.linalg.lu_solve(self.factors, self.pivots, r)[..., 0])

    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""
        # torch's `adjoint` conjugates: conj(A^-H conj(r)) = A^-T r.
        r = r.to(self.factors.dtype).conj().unsqueeze(-1)
        x = torch.linalg.lu_solve(self.factors, self.pivots, r, adjoint=True)[..., 0].conj().resolve_conj()
        return torch.where(self.singular, torch.nan, x)
