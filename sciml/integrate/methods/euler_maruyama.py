"""The simplest methods of both senses, each with one evaluation of the drift."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

from sciml.integrate.flat import Flat, map_leaves
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import StageTimes
from sciml.integrate.methods.stochastic import AbstractStochastic, Orders, increment, moved
from sciml.integrate.noise import Ito, Stratonovich
from sciml.integrate.terms import SDE


@final
@dataclass(frozen=True)
class EulerMaruyama(AbstractStochastic):
    """y1 = y + h f(t0, y) + g(t0, y) W, in the sense of Ito.

    Strong order 1/2, for additive noise 1; weak order 1. It is `Euler` where g = 0. No error estimate.

    Source: Maruyama (1955), Rend. Circ. Mat. Palermo 4, 48-90; Kloeden & Platen (1992), Numerical Solution of
    Stochastic Differential Equations, (10.2.4).
    """

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1
    senses = (Ito,)
    strong = Orders(0.5, 0.5, 1.0)
    weak = Orders(1.0, 1.0, 1.0)

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        times = StageTimes(t0, t1, y)
        t = times(0.0)
        noise = term.structure.times(term.g(t, y), increment(term, t0, t1).w)
        return Step(moved(y, term.f(t, y), times.size, noise), None, None, (), None)


@final
@dataclass(frozen=True)
class EulerHeun(AbstractStochastic):
    """Euler's step for the drift and Heun's for the diffusion, in the sense of Stratonovich:

        z = y + g(t0, y) W,    y1 = y + h f(t0, y) + (g(t0, y) + g(t1, z)) W / 2

    Strong order 1/2, for noise that commutes 1; weak order 1. It is `Euler` where g = 0. The error estimate is the
    difference from g taken at t0, (g(t1, z) - g(t0, y)) W / 2: of order h, and 0 where g is constant.

    Source: Kloeden & Platen (1992), Numerical Solution of Stochastic Differential Equations, (11.1.19), with the drift
        of Euler's step.
    """

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1
    has_error: ClassVar[bool] = True
    error_order: ClassVar[int] = 1
    senses = (Stratonovich,)
    strong = Orders(0.5, 1.0, 1.0)
    weak = Orders(1.0, 1.0, 1.0)

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        times, w, times_w = StageTimes(t0, t1, y), increment(term, t0, t1).w, term.structure.times
        first = times_w(term.g(times(0.0), y), w)
        second = times_w(term.g(times(1.0), map_leaves(lambda a, b: a + b, y, first)), w)
        error = map_leaves(lambda a, b: (b - a) * 0.5, first, second)
        noise = map_leaves(lambda a, b: a + b, first, error)
        return Step(moved(y, term.f(times(0.0), y), times.size, noise), error, None, (), None)
