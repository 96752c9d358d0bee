"""Full matrices for few unknowns, products alone for many."""

from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from sciml.core.checks import check_whole
from sciml.integrate.implicit.dense import Dense
from sciml.integrate.implicit.krylov import Krylov
from sciml.integrate.implicit.packing import PackedField
from sciml.integrate.implicit.structure import AbstractStructure, AbstractSystem, Jacobian, Shift


@final
@dataclass(frozen=True)
class Auto(AbstractStructure):
    """`Dense` for up to so many unknowns per sample, `Krylov` above.

    Args:
        above: unknowns per sample, a complex number counted twice.
        krylov: what is taken above.

    Raises:
        ValueError: for a negative number.
    """

    above: int = 256
    krylov: Krylov = field(default_factory=Krylov)

    def __post_init__(self) -> None:
        check_whole("above", self.above, 0)

    def jacobian(self, field: PackedField, t: Tensor, v: Tensor) -> Jacobian:
        """See `AbstractStructure.jacobian`."""
        return self._of(field).jacobian(field, t, v)

    def system(self, field: PackedField, jacobian: Jacobian, shift: Shift) -> AbstractSystem:
        """See `AbstractStructure.system`."""
        return self._of(field).system(field, jacobian, shift)

    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """See `AbstractStructure.product`."""
        return self._of(field).product(field, jacobian, x)

    def exact(self) -> "Auto":
        """See `AbstractStructure.exact`."""
        return Auto(self.above, self.krylov.exact())

    def _of(self, field: PackedField) -> AbstractStructure:
        return Dense() if field.packing.size <= self.above else self.krylov
