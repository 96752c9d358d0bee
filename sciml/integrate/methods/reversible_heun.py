"""Reversible Heun: Heun's method on a pair of states, of which one is only ever extrapolated.

    z1 = 2 y0 - z0 + h f(t0, z0) + g(t0, z0) W
    y1 = y0 + h (f(t0, z0) + f(t1, z1)) / 2 + (g(t0, z0) + g(t1, z1)) W / 2,    z = y at first

Taken back, y and z change their names and h and W their signs, so that each step costs one evaluation both ways.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

from sciml.integrate.flat import Flat, map_leaves
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import StageTimes
from sciml.integrate.methods.stochastic import AbstractStochastic, Orders, check_sde, driven, increment
from sciml.integrate.noise import Stratonovich
from sciml.integrate.terms import SDE, AbstractTerm


@final
@dataclass(frozen=True)
class ReversibleHeun(AbstractStochastic):
    """One evaluation of f and g per step, and steps that can be taken back exactly up to rounding.

    In the sense of Stratonovich: strong order 1/2, for noise that commutes 1; weak order 1, for additive noise 2. Of
    order 2 where g = 0. The error estimate is the difference from g and f taken at t0.

    It is stable for no decaying mode: on y' = x y only for imaginary h x from -i to i, elsewhere z - y grows. Take
    small steps, or `EES25`, which can be taken back almost exactly and is as stable as other methods.

    Source: Kidger, Foster, Li & Lyons (2021), "Efficient and accurate gradients for neural SDEs", arXiv 2105.13493,
    algorithm 1.
    """

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    has_error: ClassVar[bool] = True
    error_order: ClassVar[int] = 1
    reuses_last: ClassVar[bool] = True
    reversible: ClassVar[bool] = True
    senses = (Stratonovich,)
    strong = Orders(0.5, 1.0, 1.0)
    weak = Orders(1.0, 1.0, 2.0)

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> tuple[Flat, Flat, Flat]:
        """z, f and g at the first state; see `AbstractMethod.init`."""
        check_sde(self, term, y0)
        assert isinstance(term, SDE)
        t = StageTimes(t0, t0, y0)(0.0)
        return y0, term.f(t, y0), term.g(t, y0)

    def slope(self, carry: tuple[Flat, Flat, Flat]) -> Flat:
        """See `AbstractMethod.slope`."""
        return carry[1]

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: tuple[Flat, Flat, Flat]) -> Step:
        """One step; see `AbstractMethod.step`."""
        z, f, g = carry
        times, w, times_w = StageTimes(t0, t1, y), increment(term, t0, t1).w, term.structure.times
        change = driven(f, times.size, times_w(g, w))
        z1 = map_leaves(lambda a, b, d: (a - b) + a + d, y, z, change)
        t = times(1.0)
        f1, g1 = term.f(t, z1), term.g(t, z1)
        error = map_leaves(lambda a, b: (b - a) * 0.5, change, driven(f1, times.size, times_w(g1, w)))
        y1 = map_leaves(lambda a, d, e: a + d + e, y, change, error)
        return Step(y1, error, None, (z1, f1, g1), None)

    def step_back(self, term: SDE, t0: Time, t1: Time, y1: Flat, carry1: Any) -> tuple[Flat, Any]:
        """One step back; see `AbstractMethod.step_back`."""
        z1, f1, g1 = carry1
        times, w, times_w = StageTimes(t0, t1, y1), increment(term, t0, t1).w, term.structure.times
        change = driven(f1, times.size, times_w(g1, w))
        z = map_leaves(lambda a, b, d: (a - b) + a - d, y1, z1, change)
        t = times(0.0)
        f, g = term.f(t, z), term.g(t, z)
        before = driven(f, times.size, times_w(g, w))

        def back(a: Tensor, d: Tensor, e: Tensor) -> Tensor:
            return a - (d + e) * 0.5

        return map_leaves(back, y1, before, change), (z, f, g)
