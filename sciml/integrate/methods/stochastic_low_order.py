"""Stratonovich methods that are a Runge-Kutta method along the path: no areas, order 1 for noise that commutes."""

from dataclasses import dataclass
from typing import ClassVar, final

from sciml.integrate.flat import Flat
from sciml.integrate.methods.base import Time
from sciml.integrate.methods.stochastic import Orders
from sciml.integrate.methods.stochastic_rk import AbstractStochasticRK, StochasticTableau
from sciml.integrate.terms import SDE

_HEUN = StochasticTableau(c=(0.0, 1.0), a=((1.0,),), b=(0.5, 0.5), error=(-0.5, 0.5))
_MIDPOINT = StochasticTableau(c=(0.0, 0.5), a=((0.5,),), b=(0.0, 1.0), error=(-1.0, 1.0))
_EES25 = StochasticTableau(
    c=(0.0, 1 / 3, 5 / 6),
    a=((1 / 3,), (-5 / 48, 15 / 16)),
    b=(1 / 10, 1 / 2, 2 / 5),
    error=(-0.9, 1 / 2, 2 / 5),
)


@final
@dataclass(frozen=True)
class StochasticHeun(AbstractStochasticRK):
    """The mean of the slopes at both ends: z = y + h f0 + g0 W, y1 = y + h (f0 + f1)/2 + (g0 + g1) W/2.

    Two evaluations of f and g. In the sense of Stratonovich: strong order 1/2, for noise that commutes 1; weak order 1,
    for additive noise 2.
    It is `Heun` where g = 0. The error is the difference from the first slope, of order h.

    Source: Kloeden & Platen (1992), Numerical Solution of Stochastic Differential Equations, (11.1.19).
    """

    tableau: ClassVar[StochasticTableau] = _HEUN
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    error_order: ClassVar[float] = 1
    strong = Orders(0.5, 1.0, 1.0)
    weak = Orders(1.0, 1.0, 2.0)


@final
@dataclass(frozen=True)
class StochasticMidpoint(AbstractStochasticRK):
    """The slope in the middle of a first step. Strong orders as `StochasticHeun`; it is `Midpoint` where g = 0.

    Weak order 1, also for additive noise: with half of W in the middle, f'' sees a quarter of the variance of W where a
    half is due. The error is the difference from the first slope, of order h.

    Source: Kloeden & Platen (1992), Numerical Solution of Stochastic Differential Equations, chapter 11, with the
    tableau of the explicit midpoint rule.
    """

    tableau: ClassVar[StochasticTableau] = _MIDPOINT
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    error_order: ClassVar[float] = 1
    strong = Orders(0.5, 1.0, 1.0)
    weak = Orders(1.0, 1.0, 1.0)


@final
@dataclass(frozen=True)
class EES25(AbstractStochasticRK):
    """An explicit method that is nearly its own inverse: order 2, and a step there and back is off by O(h^6) of an ODE.

    For the gradient `Reversible` where `ReversibleHeun` is not stable: on y' = x y it is stable for h x from -2.5 to 0,
    as other methods of three stages. Taking a step back is a step with -h and -W: it is off by the sixth power of what
    the noise moves the state in a step, so that this is for small steps; `Reversible` checks where the way back ends.

    Three evaluations of f and g; strong orders as `StochasticHeun`, weak order 1. The error is the difference from the
    first slope.

    Source: Shmelev, Ebrahimi-Fard, Tapia & Salvi (2025), "Explicit and effectively symmetric Runge-Kutta methods",
    arXiv 2507.21006, EES(2,5; 1/10).
    """

    tableau: ClassVar[StochasticTableau] = _EES25
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 3
    error_order: ClassVar[float] = 1
    reversible: ClassVar[bool] = True
    strong = Orders(0.5, 1.0, 1.0)
    weak = Orders(1.0, 1.0, 1.0)

    def step_back(self, term: SDE, t0: Time, t1: Time, y1: Flat, carry1: tuple[()]) -> tuple[Flat, tuple[()]]:
        """A step with -h and -W; see `AbstractMethod.step_back`."""
        return self.step(term, t1, t0, y1, carry1).y, ()
