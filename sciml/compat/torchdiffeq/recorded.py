"""Jacobians from what autograd records, for fields of any kind.

`torch.func` cannot transform a field that calls `torch.autograd.grad`, as the adjoint equation does.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.integrate import AbstractStructure, Dense
from sciml.integrate.implicit import AbstractSystem, Jacobian, PackedField, Shift


@final
@dataclass(frozen=True)
class Recorded(AbstractStructure):
    """Full matrices, on a batch of one.

    Args:
        coupled: how many entries of the state, the first ones, anything depends on; by default all. The others are
            integrals: their part of the Jacobian is left out, and Newton's iteration finds them once it has the rest.
    """

    coupled: int | None = None

    @torch.no_grad()
    def jacobian(self, field: PackedField, t: Tensor, v: Tensor) -> Jacobian:
        """(1, size, size) of what is coupled; see `AbstractStructure.jacobian`."""
        size = self._size(field, v)
        t, v = t.detach(), v.detach().requires_grad_()
        with torch.enable_grad():
            value = field(t, v)[0, :size]
        if not value.requires_grad:
            return (v.new_zeros(1, size, size, requires_grad=False),)
        directions = torch.eye(size, dtype=v.dtype, device=v.device)
        try:
            (rows,) = torch.autograd.grad(
                value, v, directions, is_grads_batched=True, retain_graph=True, allow_unused=True
            )
        except RuntimeError:  # something in the field has no rule for batches
            found = [
                torch.autograd.grad(value, v, direction, retain_graph=True, allow_unused=True)[0]
                for direction in directions
            ]
            rows = None if found[0] is None else torch.stack(found)
        return (v.new_zeros(1, size, size, requires_grad=False) if rows is None else rows[:, 0, :size][None],)

    def system(self, field: PackedField, jacobian: Jacobian, shift: Shift) -> AbstractSystem:
        """See `AbstractStructure.system`."""
        return _Leading(Dense().system(field, jacobian, shift), jacobian[0].shape[-1])

    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """See `AbstractStructure.product`."""
        size = jacobian[0].shape[-1]
        return torch.cat([Dense().product(field, jacobian, x[:, :size]), torch.zeros_like(x[:, size:])], dim=1)

    def _size(self, field: PackedField, v: Tensor) -> int:
        """Entries of a row that are coupled; complex ones take two."""
        if self.coupled is None:
            return v.shape[1]
        return self.coupled * (2 if field.packing.complexes[0] else 1)


@final
class _Leading(AbstractSystem):
    """A system in the first entries; the others are as they are."""

    def __init__(self, inner: AbstractSystem, size: int) -> None:
        self.inner, self.size = inner, size

    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""
        return self._with_rest(self.inner.solve(r[:, : self.size]), r)

    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""
        return self._with_rest(self.inner.solve_transposed(r[:, : self.size]), r)

    def _with_rest(self, x: Tensor, r: Tensor) -> Tensor:
        return torch.cat([x, r[:, self.size :].to(x.dtype)], dim=1) if self.size < r.shape[1] else x
