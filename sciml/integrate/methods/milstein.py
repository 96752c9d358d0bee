"""Milstein's method: order 1 by the derivative of the diffusion along itself, in the sense of the term.

With (g_j . grad) g_k the derivative of column k along column j, and noise that commutes,

    y1 = y + h f + sum_k g_k W_k + 1/2 sum_jk (g_j . grad) g_k (W_j W_k - h [j = k]),     in the sense of Ito
    y1 = y + h f + sum_k g_k W_k + 1/2 sum_jk (g_j . grad) g_k  W_j W_k,                  in that of Stratonovich.

The second sum of the latter is one derivative of g W along g W. For general noise both have one more sum, with the
areas A_jk between the Brownian motions, the integrals of (W_j dW_k - W_k dW_j)/2 over the step:

    + sum_jk (g_j . grad) g_k A_jk
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sciml.integrate.directional import along
from sciml.integrate.flat import Flat, first_leaf, map_leaves
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import StageTimes
from sciml.integrate.methods.stochastic import (
    BOTH,
    AbstractStochastic,
    Orders,
    increment,
    moved,
    rows_like,
    space_space_area_of,
)
from sciml.integrate.noise import AdditiveNoise, GeneralNoise, Stratonovich, column
from sciml.integrate.terms import SDE


@final
@dataclass(frozen=True)
class Milstein(AbstractStochastic):
    """Strong order 1 in either sense; weak order 1. It is `Euler` where g = 0.

    `GeneralNoise` needs a path with areas, e.g. BrownianMotion(..., levy=Foster()), and steps from knot to knot, over
    which areas add up. All other noise must commute, as it says it does; for `DiagonalNoise` entry i of g must depend
    on entry i of y only. The error is the sum with the derivatives, the difference from Euler-Maruyama: of order h.

    Args:
        derivatives: take derivatives of g by forward differentiation: one, for matrices in the sense of Ito and for
            areas one per Brownian motion. Otherwise differences: along sqrt(h) g_k, or in the sense of Stratonovich
            along g W, which is then `EulerHeun` with the steps' own start for the drift.

    Source: Milstein (1974), Theory Probab. Appl. 19, 557-562; Kloeden & Platen (1992), Numerical Solution of Stochastic
        Differential Equations, (10.3.1), (10.3.16); without derivatives (11.1.3), (11.1.12).
    """

    derivatives: bool = True

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1
    has_error: ClassVar[bool] = True
    error_order: ClassVar[float] = 1
    senses = BOTH
    unit_noise: ClassVar[bool] = True
    strong = Orders(1.0, 1.0, 1.0)
    weak = Orders(1.0, 1.0, 1.0)

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        times, made = StageTimes(t0, t1, y), increment(term, t0, t1)
        t, w = times(0.0), made.w
        h, g = rows_like(t1 - t0, w), term.g(t, y)
        area = space_space_area_of(self, made) if isinstance(term.structure, GeneralNoise) else None
        if isinstance(term.structure, AdditiveNoise):
            second = map_leaves(torch.zeros_like, y)
        elif isinstance(term.sense, Stratonovich):
            second = self._stratonovich(term, t, y, g, w)
            if area is not None:
                second = map_leaves(torch.add, second, self._columns(term, t, y, g, _root(h, w), lambda j: area[:, j]))
        elif term.structure.is_matrix:
            second = self._columns(term, t, y, g, _root(h, w), lambda j: _ito_row(j, w, h, area))
        else:
            second = self._ito(term, t, y, g, w, h)
        first = moved(y, term.f(t, y), times.size, term.structure.times(g, w))
        return Step(map_leaves(torch.add, first, second), second, None, (), None)

    def _stratonovich(self, term: SDE, t: Tensor, y: Flat, g: Flat, w: Tensor) -> Flat:
        """The second sum, one derivative along g W: its mean is right also where a diagonal g mixes entries."""
        times = term.structure.times
        move = times(g, w)
        if self.derivatives:
            return times(_along(term, t, y, move), w * 0.5)
        ahead = term.g(t, map_leaves(torch.add, y, move))
        return times(map_leaves(torch.sub, ahead, g), w * 0.5)

    def _ito(self, term: SDE, t: Tensor, y: Flat, g: Flat, w: Tensor, h: Any) -> Flat:
        """The second sum where every entry of the state has one Brownian motion."""
        times, square = term.structure.times, w * w - h
        if self.derivatives:
            return times(_along(term, t, y, g), square * 0.5)
        root = _root(h, w).expand_as(w)
        ahead = term.g(t, map_leaves(torch.add, y, times(g, root)))
        return times(map_leaves(torch.sub, ahead, g), square / (2 * root))

    def _columns(self, term: SDE, t: Tensor, y: Flat, g: Flat, root: Tensor, weights: Callable[[int], Tensor]) -> Flat:
        """The sum of (g_j . grad) g_k times entry k of weights(j), column by column.

        Where there are no derivatives, differences over sqrt(h) leave errors of h^(3/2), which have the mean 0 that the
        weights have.
        """
        times, parts = term.structure.times, []
        for j in range(first_leaf(g).shape[-1]):
            direction = column(g, j)
            if self.derivatives:
                parts.append(times(_along(term, t, y, direction), weights(j)))
            else:
                move = map_leaves(lambda leaf: leaf * root.reshape(-1, *[1] * (leaf.ndim - 1)), direction)
                ahead = term.g(t, map_leaves(torch.add, y, move))
                parts.append(times(map_leaves(torch.sub, ahead, g), weights(j) / root))
        return map_leaves(lambda *leaves: torch.stack(leaves).sum(0), *parts)


def _ito_row(j: int, w: Tensor, h: Any, area: Tensor | None) -> Tensor:
    """The integrals of W_j dW_k over a step for all k, in the sense of Ito."""
    unit = torch.zeros_like(w)
    unit[:, j] = 1.0
    row = (w * w[:, j : j + 1] - h * unit) * 0.5
    return row if area is None else row + area[:, j]


def _along(term: SDE, t: Tensor, y: Flat, direction: Flat) -> Flat:
    """The derivative of g along a direction, by forward differentiation."""
    return along(lambda at: term.g(t, at), y, direction)


def _root(h: Any, w: Tensor) -> Tensor:
    """sqrt(h), per sample or shared, to go with increments."""
    return torch.as_tensor(h, dtype=w.dtype, device=w.device).sqrt()
