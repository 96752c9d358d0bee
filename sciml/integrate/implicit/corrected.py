"""The field's own Jacobian where a structure is only near it: products with it are derivatives of the field, and
systems are solved by GMRES with the structure M for a preconditioner,

    A M^-1 u = r,    x = M^-1 u,    A = I - s J.

Where the structure is exact, the first product says so.
"""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sciml.integrate.implicit.krylov import Krylov, Products, field_at, gmres
from sciml.integrate.implicit.packing import PackedField
from sciml.integrate.implicit.structure import (
    AbstractStructure,
    AbstractSystem,
    Jacobian,
    Shift,
    beside_rows,
    is_complex,
)
from sciml.integrate.transforms import unrecorded


def for_gradients(structure: AbstractStructure) -> AbstractStructure:
    """What gives the gradient of the implicit function, to rounding: the field's own Jacobian."""
    return structure.exact() if structure.whole else Corrected(structure)


@final
@dataclass(frozen=True)
class Corrected(AbstractStructure):
    """The field's own Jacobian.

    Args:
        near: what is near it.
    """

    near: AbstractStructure

    def jacobian(self, field: PackedField, t: Tensor, v: Tensor) -> Jacobian:
        """Where J is taken, and what is near it; see `AbstractStructure.jacobian`."""
        return *Krylov().jacobian(field, t, v), *self.near.jacobian(field, t, v)

    def system(self, field: PackedField, jacobian: Jacobian, shift: Shift) -> AbstractSystem:
        """See `AbstractStructure.system`."""
        return _Preconditioned(self.near.system(field, jacobian[2:], shift), field, jacobian, shift)

    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """See `AbstractStructure.product`."""
        return Krylov().product(field, jacobian[:2], x)


@final
class _Preconditioned(AbstractSystem):
    """I - s J by its products, with a system near it."""

    def __init__(self, near: AbstractSystem, field: PackedField, jacobian: Jacobian, shift: Shift) -> None:
        self.near, self.shift, self.complex = near, beside_rows(shift, 2), is_complex(shift)
        with unrecorded():
            self.products = Products(field_at(field, jacobian), jacobian[1])

    @unrecorded()
    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""

        def apply(u: Tensor) -> Tensor:
            x = self.near.solve(u)
            return x - self.shift * self.products.pushed(x)

        return self.near.solve(gmres(apply, self._cast(r), Krylov().exact()))

    @unrecorded()
    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""

        def apply(u: Tensor) -> Tensor:
            x = self.near.solve_transposed(u)
            return x - self.shift * self.products.pulled(x)

        return self.near.solve_transposed(gmres(apply, self._cast(r), Krylov().exact()))

    def _cast(self, r: Tensor) -> Tensor:
        return r.to(r.dtype.to_complex()) if self.complex else r
