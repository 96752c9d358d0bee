"""Bogacki & Shampine's pair of orders 3 and 2."""

from dataclasses import dataclass
from typing import ClassVar, final

from sciml.integrate.methods.explicit_rk import AbstractExplicitRK
from sciml.integrate.methods.tableau import ButcherTableau

_TABLEAU = ButcherTableau(
    c=(0.0, 1 / 2, 3 / 4, 1.0),
    a=((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0.0),
    order=3,
    error=(-5 / 72, 1 / 12, 1 / 9, -1 / 8),
    error_order=3,
)


@final
@dataclass(frozen=True)
class Bosh3(AbstractExplicitRK):
    """For loose tolerances (1e-2 to 1e-4) and mildly stiff problems.

    Order 3 with an error estimate from order 2; three evaluations per step, as the last stage is the first of the
    next. Its own dense output is the cubic Hermite polynomial, order 3.

    Source: Bogacki & Shampine (1989), Appl. Math. Lett. 2, 321-325.
    """

    tableau: ClassVar[ButcherTableau] = _TABLEAU
    order: ClassVar[int] = 3
    stages: ClassVar[int] = 4
