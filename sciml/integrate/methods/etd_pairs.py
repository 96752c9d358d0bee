"""Exponential Runge-Kutta pairs: an embedded result of lower order, at no further evaluation, estimates the error.

ETD32 weighs the first two of the three stages of `ETD3RK`, as the exponential midpoint rule does. ETD43 puts N(t1, y1),
with which the next step begins, in the place of N(t1, Y_4): all conditions up to order 3 hold for both alike, and the
difference b_4 (N(t1, Y_4) - N(t1, y1)) is proportional to h^4.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from sciml.integrate.methods.etd import first, half, half_middle, last, middle
from sciml.integrate.methods.exponential_rk import AbstractExponentialRK, ExponentialTableau
from sciml.integrate.phi import phi


def _minus_last(z: Tensor) -> Tensor:
    return -last(z)


_ETD32 = ExponentialTableau(
    c=(0.0, 0.5, 1.0),
    a=({0: half}, {0: lambda z: -phi(1, z), 1: lambda z: 2 * phi(1, z)}),
    b={0: first, 1: middle, 2: last},
    order=3,
    # Less those of the exponential midpoint rule, phi_1 - 2 phi_2 and 2 phi_2.
    error={
        0: lambda z: first(z) - phi(1, z) + 2 * phi(2, z),
        1: lambda z: middle(z) - 2 * phi(2, z),
        2: last,
    },
    embedded_order=2,
)
_ETD43 = ExponentialTableau(
    c=(0.0, 0.5, 0.5, 1.0),
    a=(
        {0: half},
        {0: lambda z: phi(1, z / 2) / 2 - phi(2, z / 2), 1: lambda z: phi(2, z / 2)},
        {0: lambda z: phi(1, z) - 2 * phi(2, z), 2: lambda z: 2 * phi(2, z)},
    ),
    b={0: first, 1: half_middle, 2: half_middle, 3: last},
    order=4,
    error={3: last, 4: _minus_last},
    embedded_order=3,
)


@final
@dataclass(frozen=True)
class ETD32(AbstractExponentialRK):
    """`ETD3RK` with the exponential midpoint rule embedded. Order 3(2), three evaluations.

    Source: the third-order formula is Cox & Matthews (2002), J. Comput. Phys. 176, 430-455, eq. (23)-(25).
    """

    order: ClassVar[int] = 3
    stages: ClassVar[int] = 3
    has_error: ClassVar[bool] = True
    error_order: ClassVar[float] = 3
    tableau: ClassVar[ExponentialTableau] = _ETD32


@final
@dataclass(frozen=True)
class ETD43(AbstractExponentialRK):
    """Krogstad's method with a third-order one embedded. Order 4(3), four evaluations per step after the first.

    Its stages satisfy stiff conditions that those of `ETDRK4` do not, so that it keeps more of its order where L is
    large; see `Ladder` for the control of its steps.

    Source: Krogstad (2005), J. Comput. Phys. 203, 72-88, eq. (51); embedding by N(t1, y1) as in Whalen, Brio & Moloney
    (2015), J. Comput. Phys. 280, 579-601.
    """

    order: ClassVar[int] = 4
    stages: ClassVar[int] = 5
    has_error: ClassVar[bool] = True
    error_order: ClassVar[float] = 4
    reuses_last: ClassVar[bool] = True
    tableau: ClassVar[ExponentialTableau] = _ETD43

    def slope(self, carry: object) -> Tensor:
        """See `AbstractMethod.slope`: N only."""
        assert isinstance(carry, tuple)
        return carry[1]
