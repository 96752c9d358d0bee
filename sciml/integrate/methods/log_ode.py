"""The log-ODE method: over a step the equation is replaced by an ODE that has W and the areas A of the step,

    dz/ds = h f(t, z) + sum_k g_k(t, z) W_k + sum_(j<k) [g_j, g_k](t, z) A_jk,    s from 0 to 1, z(0) = y,

where [g_j, g_k] = (g_j . grad) g_k - (g_k . grad) g_j, so that the last sum is that of (g_j . grad) g_k A_jk over all j
and k. One step of the explicit midpoint rule is accurate enough for it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sciml.integrate.directional import along
from sciml.integrate.flat import Flat, add_scaled, first_leaf, map_leaves
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import StageTimes
from sciml.integrate.methods.stochastic import AbstractStochastic, Orders, driven, increment, space_space_area_of
from sciml.integrate.noise import GeneralNoise, Stratonovich, column
from sciml.integrate.terms import SDE


@final
@dataclass(frozen=True)
class LogODE(AbstractStochastic):
    """Strong order 1 for any noise in the sense of Stratonovich; weak order 1.

    For `GeneralNoise` it takes the areas of the path, BrownianMotion(..., levy=Foster()), which add up over steps from
    knot to knot, and per step 2 m derivatives of g by forward differentiation; for all other noise it is
    `StochasticMidpoint`. It is `Midpoint` where g = 0. The error is the difference from the first slope, of order h.

    Source: Lyons, Caruana & Levy (2007), Differential Equations Driven by Rough Paths; Foster, Lyons & Oberhauser
    (2020), SIAM J. Numer. Anal. 58, 1393-1421, definition 4.1.
    """

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    has_error: ClassVar[bool] = True
    error_order: ClassVar[float] = 1
    senses = (Stratonovich,)
    strong = Orders(1.0, 1.0, 1.0)
    weak = Orders(1.0, 1.0, 1.0)

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        times, made = StageTimes(t0, t1, y, (0.5,)), increment(term, t0, t1)
        area = space_space_area_of(self, made) if isinstance(term.structure, GeneralNoise) else None

        def slope(t: Tensor, at: Flat) -> Flat:
            g = term.g(t, at)
            change = driven(term.f(t, at), times.size, term.structure.times(g, made.w))
            return change if area is None else map_leaves(torch.add, change, _brackets(term, t, at, g, area))

        first = slope(times(0.0), y)
        second = slope(times(0.5), map_leaves(lambda a, b: add_scaled(a, b, 0.5), y, first))
        return Step(map_leaves(torch.add, y, second), map_leaves(torch.sub, second, first), None, (), None)


def _brackets(term: SDE, t: Tensor, y: Flat, g: Flat, area: Tensor) -> Flat:
    """The sum of (g_j . grad) g_k A_jk."""
    parts = [
        term.structure.times(along(lambda at: term.g(t, at), y, column(g, j)), area[:, j])
        for j in range(first_leaf(g).shape[-1])
    ]
    return map_leaves(lambda *leaves: torch.stack(leaves).sum(0), *parts)
