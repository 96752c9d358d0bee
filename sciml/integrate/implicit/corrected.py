"""The field's own Jacobian where a structure is only near it: products with it are derivatives of the field, and
systems are solved by GMRES with the structure M for a preconditioner,

    A M^-1 u = r,    x = M^-1 u,    A = I - s J.

Where the structure is exact, the first product says so.
"""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sciml.integrate.implicit.krylov import Iterated, Krylov
from sciml.integrate.implicit.packing import PackedField
from sciml.integrate.implicit.structure import (
    AbstractStructure,
    AbstractSystem,
    Jacobian,
    Shift,
)


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
        near = self.near.system(field, jacobian[2:], shift)
        return Iterated(Krylov().exact(), field, jacobian[:2], shift, near)

    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """See `AbstractStructure.product`."""
        return Krylov().product(field, jacobian[:2], x)
