"""Methods of strong order 3/2 for additive noise, by the space-time Levy area H.

A drift that is nonlinear only needs the integral of W over the step besides W itself: h (W/2 + H).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

from sciml.integrate.flat import Flat, map_leaves
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import StageTimes, advance, row_of, weighted_sum
from sciml.integrate.methods.stochastic import BOTH, AbstractStochastic, Orders, increment_with_area, scaled
from sciml.integrate.noise import AdditiveNoise
from sciml.integrate.terms import SDE
from sciml.paths import SpaceTime


class AbstractAdditive(AbstractStochastic):
    """Two stages of the drift, the noise known at both ends:

        Y_1 = y + p g0 H,    Y_2 = y + c h f(t0, Y_1) + g0 (q W + r H)
        y1  = y + h (b_1 f(t0, Y_1) + b_2 f(t0 + c h, Y_2)) + g0 W + (g1 - g0)(W/2 - H)

    The last term is the integral of g where g is linear in time over the step. Conditions for order 3/2: b_1 + b_2 = 1,
    b_2 c = 1/2, b_2 q = 1/2, b_1 p + b_2 r = 1, and b_1 p²/12 + b_2 (q² + r²/12) = 1/2 for the mean of the second
    derivative.
    """

    weights: ClassVar[tuple[float, float, float, float, float, float]]
    """c, b_1, b_2, p, q, r."""
    senses = BOTH
    structures = (AdditiveNoise,)
    levy = SpaceTime()
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    has_error: ClassVar[bool] = True
    error_order: ClassVar[float] = 1.5
    strong = Orders(1.5, 1.5, 1.5)
    weak = Orders(2.0, 2.0, 2.0)

    def __init_subclass__(cls) -> None:
        check_additive(cls.weights)

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        c, b1, b2, p, q, r = self.weights
        times, product = StageTimes(t0, t1, y, (c,)), term.structure.times
        w, area = increment_with_area(self, term, t0, t1)
        g0, g1 = term.g(times(0.0), y), term.g(times(1.0), y)
        start = map_leaves(lambda a, b: a + b, y, product(g0, area * p)) if p else y
        slope0 = scaled(term.f(times(0.0), start), times.size)
        before = map_leaves(lambda a, k, n: a + c * k + n, y, slope0, product(g0, q * w + r * area))
        slopes = [slope0, scaled(term.f(times(c), before), times.size)]
        noise = map_leaves(lambda a, b: a + b, product(g0, w * 0.5 + area), product(g1, w * 0.5 - area))
        end = advance(y, 1.0, row_of((b1, b2)), slopes)
        error = weighted_sum(1.0, row_of((-b2, b2)), slopes)
        return Step(map_leaves(lambda a, b: a + b, end, noise), error, None, (), None)


def check_additive(weights: tuple[float, float, float, float, float, float]) -> None:
    """Raise unless the conditions for order 3/2 hold.

    Raises:
        ValueError: if one does not.
    """
    c, b1, b2, p, q, r = weights
    conditions = {
        "b_1 + b_2": (b1 + b2, 1.0),
        "b_2 c": (b2 * c, 0.5),
        "b_2 q": (b2 * q, 0.5),
        "b_1 p + b_2 r": (b1 * p + b2 * r, 1.0),
        "b_1 p²/12 + b_2 (q² + r²/12)": (b1 * p * p / 12 + b2 * (q * q + r * r / 12), 0.5),
    }
    for name, (have, want) in conditions.items():
        if abs(have - want) > 1e-12:
            raise ValueError(f"weights for additive noise: {name} must be {want:g}, got {have:g}.")


@final
@dataclass(frozen=True)
class SRA1(AbstractAdditive):
    """Strong order 3/2 for additive noise, weak order 2; two evaluations of f, and of g at both ends.

    Where g = 0 it is a method of order 2 with nodes 0 and 3/4. The error is the difference from Euler-Maruyama in the
    drift, of order h^(3/2).

    Source: Rossler (2010), SIAM J. Numer. Anal. 48, 922-952, table 6.3, SRA1.
    """

    weights = (3 / 4, 1 / 3, 2 / 3, 0.0, 3 / 4, 3 / 2)


@final
@dataclass(frozen=True)
class ShARK(AbstractAdditive):
    """Strong order 3/2 for additive noise, weak order 2, with smaller errors than `SRA1` at the same cost.

    Where g = 0 it is a method of order 2 with nodes 0 and 5/6. The error is the difference from Euler-Maruyama in the
    drift, of order h^(3/2).

    Source: Foster, dos Reis & Strange (2024), "High order splitting methods for SDEs satisfying a commutativity
    condition", SIAM J. Numer. Anal. 62, arXiv 2210.17543, (6.1).
    """

    weights = (5 / 6, 2 / 5, 3 / 5, 1.0, 5 / 6, 1.0)
