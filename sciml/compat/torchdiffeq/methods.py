"""The methods by the names torchdiffeq gives them; those that differ from ours are defined here or in `adams`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, final

from sciml.integrate import (
    SDIRK2,
    TRBDF2,
    AbstractMethod,
    BackwardEuler,
    Bosh3,
    Dopri5,
    Dopri8,
    Euler,
    GaussLegendre4,
    GaussLegendre6,
    Heun,
    ImplicitMidpoint,
    Midpoint,
    Newton,
    RadauIIA3,
    RadauIIA5,
    ThreeEighths,
    Trapezoid,
    Tsit5,
)
from sciml.integrate.methods.explicit_rk import AbstractExplicitRK
from sciml.integrate.methods.tableau import ButcherTableau


@final
@dataclass(frozen=True)
class Dopri5Shampine(AbstractExplicitRK):
    """Dormand & Prince's method with another embedded method of order 4, whose last weight is 1/60.

    Source: Shampine (1986), Math. Comp. 46, 135-150.
    """

    tableau: ClassVar[ButcherTableau] = replace(
        Dopri5.tableau,
        error=(
            35 / 384 - 1951 / 21600,
            0.0,
            500 / 1113 - 22642 / 50085,
            125 / 192 - 451 / 720,
            -2187 / 6784 + 12231 / 42400,
            11 / 84 - 649 / 6300,
            -1 / 60,
        ),
    )
    order: ClassVar[int] = 5
    stages: ClassVar[int] = 7


@final
@dataclass(frozen=True)
class Heun3(AbstractExplicitRK):
    """Heun's method of order 3.

    Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, table 1.1 of chapter II.
    """

    tableau: ClassVar[ButcherTableau] = ButcherTableau(
        c=(0.0, 1 / 3, 2 / 3), a=((1 / 3,), (0.0, 2 / 3)), b=(1 / 4, 0.0, 3 / 4), order=3
    )
    order: ClassVar[int] = 3
    stages: ClassVar[int] = 3


@final
@dataclass(frozen=True)
class Fehlberg2(AbstractExplicitRK):
    """Fehlberg's pair of orders 2 and 1.

    Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, section II.4; Fehlberg (1969),
    NASA TR R-315.
    """

    tableau: ClassVar[ButcherTableau] = ButcherTableau(
        c=(0.0, 1 / 2, 1.0),
        a=((1 / 2,), (1 / 256, 255 / 256)),
        b=(1 / 512, 255 / 256, 1 / 512),
        order=2,
        error=(-1 / 512, 0.0, 1 / 512),
        error_order=2,
    )
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 3


ADAPTIVE: dict[str, Callable[[], AbstractMethod]] = {
    "dopri8": Dopri8,
    "dopri5": Dopri5Shampine,
    "tsit5": Tsit5,
    "bosh3": Bosh3,
    "fehlberg2": Fehlberg2,
    "adaptive_heun": Heun,
}
FIXED: dict[str, Callable[[], AbstractMethod]] = {
    "euler": Euler,
    "midpoint": Midpoint,
    "heun2": Heun,
    "heun3": Heun3,
    "rk4": ThreeEighths,
}
ADAMS = {"explicit_adams": False, "implicit_adams": True, "fixed_adams": True}
IMPLICIT: dict[str, Callable[[Newton], AbstractMethod]] = {
    "implicit_euler": BackwardEuler,
    "implicit_midpoint": ImplicitMidpoint,
    "trapezoid": Trapezoid,
    "radauIIA3": RadauIIA3,
    "gl4": GaussLegendre4,
    "radauIIA5": RadauIIA5,
    "gl6": GaussLegendre6,
    "sdirk2": SDIRK2,
    "trbdf2": TRBDF2,
}
EXTERNAL = "scipy_solver"
NAMES = (*ADAPTIVE, *FIXED, *ADAMS, *IMPLICIT, EXTERNAL)
