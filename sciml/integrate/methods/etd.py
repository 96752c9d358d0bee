"""Exponential time differencing of orders 1 to 4, with the weights of Cox & Matthews.

For constant N all four are exact. The order is the classical one also when L is purely imaginary (dispersion,
advection), because the imaginary part of the weights is kept.

Source: Cox & Matthews (2002), J. Comput. Phys. 176, 430-455: ETD1 eq. (4), ETD2RK eq. (22), ETD3RK eq. (23)-(25),
ETDRK4 eq. (26)-(29). Kassam & Trefethen (2005), SIAM J. Sci. Comput. 26, 1214 evaluate the weights by contour
integrals; here they are phi functions.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from sciml.integrate.methods.exponential_rk import AbstractExponentialRK, ExponentialTableau
from sciml.integrate.phi import phi


def first(z: Tensor) -> Tensor:
    """Weight of N at t0 in the third- and fourth-order formulas; 1/6 at z = 0."""
    return phi(1, z) - 3 * phi(2, z) + 4 * phi(3, z)


def last(z: Tensor) -> Tensor:
    """Weight of N at t1 in the third- and fourth-order formulas; 1/6 at z = 0."""
    return 4 * phi(3, z) - phi(2, z)


def middle(z: Tensor) -> Tensor:
    """Weight of N at the midpoint in the third-order formula; 2/3 at z = 0."""
    return 4 * phi(2, z) - 8 * phi(3, z)


def half_middle(z: Tensor) -> Tensor:
    """Weight of N at either midpoint stage in the fourth-order formulas; 1/3 at z = 0."""
    return middle(z) / 2


def half(z: Tensor) -> Tensor:
    """Weight of N at t0 that carries a frozen N to the midpoint; 1/2 at z = 0."""
    return phi(1, z / 2) / 2


_ETD1 = ExponentialTableau(c=(0.0,), a=(), b={0: lambda z: phi(1, z)}, order=1)
_ETD2RK = ExponentialTableau(
    c=(0.0, 1.0),
    a=({0: lambda z: phi(1, z)},),
    b={0: lambda z: phi(1, z) - phi(2, z), 1: lambda z: phi(2, z)},
    order=2,
)
_ETD3RK = ExponentialTableau(
    c=(0.0, 0.5, 1.0),
    a=({0: half}, {0: lambda z: -phi(1, z), 1: lambda z: 2 * phi(1, z)}),
    b={0: first, 1: middle, 2: last},
    order=3,
)
_ETDRK4 = ExponentialTableau(
    c=(0.0, 0.5, 0.5, 1.0),
    a=(
        {0: half},
        {1: half},
        # exp(z/2) times the first stage, written as weights of N at t0: (exp(z/2) - 1) phi_1(z/2) / 2.
        {0: lambda z: half(z) * (phi(0, z / 2) - 1), 2: lambda z: phi(1, z / 2)},
    ),
    b={0: first, 1: half_middle, 2: half_middle, 3: last},
    order=4,
)


@final
@dataclass(frozen=True)
class ETD1(AbstractExponentialRK):
    """Exponential Euler: N is frozen over the step. Order 1, one evaluation."""

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1
    tableau: ClassVar[ExponentialTableau] = _ETD1


@final
@dataclass(frozen=True)
class ETD2RK(AbstractExponentialRK):
    """Two-stage ETD: N is linear over the step. Order 2, two evaluations."""

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    tableau: ClassVar[ExponentialTableau] = _ETD2RK


@final
@dataclass(frozen=True)
class ETD3RK(AbstractExponentialRK):
    """Three-stage ETD. Order 3, three evaluations."""

    order: ClassVar[int] = 3
    stages: ClassVar[int] = 3
    tableau: ClassVar[ExponentialTableau] = _ETD3RK


@final
@dataclass(frozen=True)
class ETDRK4(AbstractExponentialRK):
    """Four-stage ETD, the workhorse for smooth periodic PDEs. Order 4, four evaluations."""

    order: ClassVar[int] = 4
    stages: ClassVar[int] = 4
    tableau: ClassVar[ExponentialTableau] = _ETDRK4
