"""Explicit Runge-Kutta methods of orders 1 to 4 with few stages, for fixed steps and low accuracy.

Sources: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, tables 1.1 and 1.2 of chapter II,
unless a method names its own.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from sciml.integrate.methods.explicit_rk import AbstractExplicitRK
from sciml.integrate.methods.tableau import ButcherTableau

_EULER = ButcherTableau(c=(0.0,), a=(), b=(1.0,), order=1)
_MIDPOINT = ButcherTableau(
    c=(0.0, 1 / 2),
    a=((1 / 2,),),
    b=(0.0, 1.0),
    order=2,
    error=(-1.0, 1.0),
    error_order=2,
)
_HEUN = ButcherTableau(
    c=(0.0, 1.0),
    a=((1.0,),),
    b=(1 / 2, 1 / 2),
    order=2,
    error=(-1 / 2, 1 / 2),
    error_order=2,
)
_RALSTON = ButcherTableau(
    c=(0.0, 2 / 3),
    a=((2 / 3,),),
    b=(1 / 4, 3 / 4),
    order=2,
    error=(-3 / 4, 3 / 4),
    error_order=2,
)
_SSPRK3 = ButcherTableau(
    c=(0.0, 1.0, 1 / 2),
    a=((1.0,), (1 / 4, 1 / 4)),
    b=(1 / 6, 1 / 6, 2 / 3),
    order=3,
    error=(-1 / 3, -1 / 3, 2 / 3),
    error_order=3,
)
_RK4 = ButcherTableau(
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    a=((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    order=4,
)
_THREE_EIGHTHS = ButcherTableau(
    c=(0.0, 1 / 3, 2 / 3, 1.0),
    a=((1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    b=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
    order=4,
)


@final
@dataclass(frozen=True)
class Euler(AbstractExplicitRK):
    """y1 = y + h f(t, y). Order 1, one evaluation, no error estimate of its own."""

    tableau: ClassVar[ButcherTableau] = _EULER
    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1


@final
@dataclass(frozen=True)
class Midpoint(AbstractExplicitRK):
    """The slope at the middle of an Euler step. Order 2, two evaluations; the error is the difference from Euler.

    Its slope at t1 is not used, so the field is never evaluated at the end of an interval.
    """

    tableau: ClassVar[ButcherTableau] = _MIDPOINT
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2


@final
@dataclass(frozen=True)
class Heun(AbstractExplicitRK):
    """Explicit trapezium, the mean of the slopes at both ends. Order 2, two evaluations.

    The error is the difference from Euler. It is also the strong-stability-preserving method of two stages.
    """

    tableau: ClassVar[ButcherTableau] = _HEUN
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2


@final
@dataclass(frozen=True)
class Ralston(AbstractExplicitRK):
    """The two-stage method with the smallest bound on its error. Order 2, two evaluations.

    The error is the difference from Euler.

    Source: Ralston (1962), Math. Comp. 16, 431-437, the second-order method.
    """

    tableau: ClassVar[ButcherTableau] = _RALSTON
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2


@final
@dataclass(frozen=True)
class SSPRK3(AbstractExplicitRK):
    """Strong stability preserving: three Euler steps, averaged, so a bound that Euler keeps is kept at the same step.

    For hyperbolic equations with limiters. Order 3, three evaluations. The error is the difference from Heun, which
    the first two stages already make.

    Source: Shu & Osher (1988), J. Comput. Phys. 77, 439-471, the third-order scheme of section 2; Gottlieb, Shu &
    Tadmor (2001), SIAM Review 43, 89-112, prove that its step limit is the largest of three stages.
    """

    tableau: ClassVar[ButcherTableau] = _SSPRK3
    order: ClassVar[int] = 3
    stages: ClassVar[int] = 3


@final
@dataclass(frozen=True)
class RK4(AbstractExplicitRK):
    """The classical method of Runge and Kutta. Order 4, four evaluations, no error estimate of its own."""

    tableau: ClassVar[ButcherTableau] = _RK4
    order: ClassVar[int] = 4
    stages: ClassVar[int] = 4


@final
@dataclass(frozen=True)
class ThreeEighths(AbstractExplicitRK):
    """Kutta's 3/8 rule: smaller error terms than RK4 at the same cost.

    Order 4, four evaluations, no error estimate of its own.
    """

    tableau: ClassVar[ButcherTableau] = _THREE_EIGHTHS
    order: ClassVar[int] = 4
    stages: ClassVar[int] = 4
