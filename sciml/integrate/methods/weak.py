"""Weak order 2 in the sense of Ito for any noise: moments and densities, not paths.

With k and l Brownian motions, W_k their increments, and e_k = +1 or -1 with equal odds,

    Z    = y + h f(t0, y) + sum_k g_k W_k
    A_k  = y + h f(t0, y) + s sqrt(h) g_k,    B_k = y + s sqrt(h) g_k,    each with s = +1 and s = -1
    y1   = y + h (f(t0, y) + f(t1, Z)) / 2
         + sum_k [ g_k W_k / 2 + (g_k(A_k+) + g_k(A_k-)) W_k / 4 + (g_k(A_k+) - g_k(A_k-)) I_kk / (2 sqrt(h)) ]
         + sum_k sum_(l != k) [ (g_k(B_l+) + g_k(B_l-) - 2 g_k) W_k / 4 + (g_k(B_l+) - g_k(B_l-)) I_kl / (2 sqrt(h)) ]

where g at A is taken at t1, I_kk = (W_k² - h)/2, I_kl = (W_k W_l - h e_k)/2 for k < l and
(W_k W_l + h e_l)/2 for k > l. The odds come from the path: e_k is the sign of the Levy area H_k, which does not
depend on W.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, add_scaled, first_leaf, map_leaves
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import StageTimes
from sciml.integrate.methods.stochastic import (
    AbstractStochastic,
    Orders,
    driven,
    increment_with_area,
    rows_like,
    scaled,
)
from sciml.integrate.noise import AdditiveNoise, Ito, column
from sciml.integrate.terms import SDE
from sciml.paths import SpaceTime


@final
@dataclass(frozen=True)
class RI6(AbstractStochastic):
    """Weak order 2 for any noise in the sense of Ito; `Heun` where g = 0. No error estimate.

    Two evaluations of f; of g three for diagonal and scalar noise, two for additive noise, and 4 m + 1 for m Brownian
    motions. The strong order is 1 for noise that commutes and 1/2 for general noise. For `DiagonalNoise` entry i of g
    must depend on entry i of y only.

    Source: Rossler (2009), SIAM J. Numer. Anal. 47, 1713-1738, RI6; Debrabant & Rossler (2009), Appl. Numer. Math. 59,
        582-594.
    """

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    senses = (Ito,)
    levy = SpaceTime()
    unit_noise: ClassVar[bool] = True
    strong = Orders(0.5, 1.0, 1.0)
    weak = Orders(2.0, 2.0, 2.0)

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        times, product = StageTimes(t0, t1, y), term.structure.times
        w, area = increment_with_area(self, term, t0, t1)
        f, g = scaled(term.f(times(0.0), y), times.size), term.g(times(0.0), y)
        first = product(g, w)
        ahead = map_leaves(torch.add, y, f)
        slope = driven(term.f(times(1.0), map_leaves(torch.add, ahead, first)), times.size, f)
        h = rows_like(t1 - t0, w)
        root = torch.as_tensor(h, dtype=w.dtype, device=w.device).sqrt().expand_as(w)
        if isinstance(term.structure, AdditiveNoise):
            noise = map_leaves(lambda a, b: (a + b) * 0.5, first, product(term.g(times(1.0), y), w))
        elif term.structure.is_matrix:
            noise = self._columns(term, times, (y, ahead), g, (w, area, h, root))
        else:
            plus, minus = (term.g(times(1.0), _shifted(ahead, product(g, root), s)) for s in (1.0, -1.0))
            double = (w * w - h) / (4 * root)
            halves = product(plus, w * 0.25 + double), product(minus, w * 0.25 - double)
            noise = map_leaves(lambda a, b, c: a * 0.5 + b + c, first, *halves)
        return Step(map_leaves(lambda a, b, c: a + 0.5 * b + c, y, slope, noise), None, None, (), None)

    def _columns(self, term: SDE, times: Any, at: tuple[Flat, Flat], g: Flat, noise: tuple[Any, ...]) -> Flat:
        """The sums over k and l, column by column."""
        (y, ahead), (w, area, h, root) = at, noise
        count = first_leaf(g).shape[-1]
        signs, total = torch.where(area >= 0, root, -root), term.structure.times(g, w * 0.5)
        for k in range(count):
            move = map_leaves(lambda leaf, k=k: _rows(root[:, k], leaf) * leaf, column(g, k))
            double = (w[:, k] ** 2 - h_rows(h)) / (4 * root[:, k])
            for s in (1.0, -1.0):
                there = column(term.g(times(1.0), _shifted(ahead, move, s)), k)
                total = _plus(total, w[:, k] * 0.25 + s * double, there)
            if count == 1:
                continue
            mixed = torch.cat(
                [(w[:, :k] * w[:, k : k + 1] - root[:, :k] * signs[:, :k]) * 0.5, torch.zeros_like(w[:, :1])], 1
            )
            later = (w[:, k + 1 :] * w[:, k : k + 1] + root[:, k + 1 :] * signs[:, k : k + 1]) * 0.5
            mixed = torch.cat([mixed, later], 1) / (2 * root)
            others = torch.ones_like(w)
            others[:, k] = 0.0
            total = map_leaves(torch.sub, total, term.structure.times(g, 0.5 * w * others))
            for s in (1.0, -1.0):
                there = term.g(times(0.0), _shifted(y, move, s))
                part = term.structure.times(there, (0.25 * w + s * mixed) * others)
                total = map_leaves(torch.add, total, part)
        return total


def h_rows(h: Any) -> Any:
    """The step size per sample, or shared."""
    return h.reshape(-1) if isinstance(h, Tensor) and h.ndim else h


def _shifted(y: Flat, move: Flat, sign: float) -> Flat:
    return map_leaves(lambda a, b: add_scaled(a, b, sign), y, move)


def _rows(value: Tensor, leaf: Tensor) -> Tensor:
    return value.reshape(-1, *[1] * (leaf.ndim - 1))


def _plus(total: Flat, weight: Tensor, value: Flat) -> Flat:
    return map_leaves(lambda a, b: a + _rows(weight, b) * b, total, value)
