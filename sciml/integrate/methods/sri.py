"""Strong order 3/2 in the sense of Ito where every entry of the state has one Brownian motion.

    Y_i = y + h sum a_ij f(Y_j) + (W/2 + H) sum b_ij g(Z_j),    Z_i = y + h sum a'_ij f(Y_j) + sqrt(h) sum b'_ij g(Z_j)
    y1  = y + h sum alpha_i f(Y_i) + sum J_i g(Z_i),    J_i = beta1_i W + beta2_i (W² - h) / (2 sqrt(h))
                                                             + beta3_i (W/2 + H) + beta4_i (W³/h - 3 W) / 6

with f at t0 + c_i h and g at t0 + c'_i h.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch

from sciml.integrate.flat import Flat, map_leaves
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import StageTimes, advance, row_of, weighted_sum
from sciml.integrate.methods.stochastic import AbstractStochastic, Orders, increment_with_area, rows_like, scaled
from sciml.integrate.noise import AdditiveNoise, DiagonalNoise, Ito, ScalarNoise
from sciml.integrate.terms import SDE
from sciml.paths import SpaceTime

Rows = tuple[tuple[float, ...], ...]


@final
@dataclass(frozen=True)
class SRITableau:
    """Weights of a method of this family; rows belong to the second stage and later ones.

    Raises:
        ValueError: unless the conditions for strong order 3/2 hold.

    Source: Rossler (2010), SIAM J. Numer. Anal. 48, 922-952, theorem 5.1 with the 25 conditions of order 3/2.
    """

    a0: Rows
    b0: Rows
    a1: Rows
    b1: Rows
    alpha: tuple[float, ...]
    beta: Rows

    def __post_init__(self) -> None:
        size = len(self.alpha)
        a0, b0, a1, b1 = (_square(rows, size) for rows in (self.a0, self.b0, self.a1, self.b1))
        alpha = torch.tensor(self.alpha, dtype=torch.float64)
        beta = [torch.tensor(row, dtype=torch.float64) for row in self.beta]
        one = torch.ones(size, dtype=torch.float64)
        u0, v0, u1, v1 = a0 @ one, b0 @ one, a1 @ one, b1 @ one
        wanted = [
            ("alpha", alpha @ one, 1.0),
            ("alpha a0", alpha @ u0, 0.5),
            ("alpha b0", alpha @ v0, 1.0),
            ("alpha b0²", alpha @ v0**2, 1.5),
            ("beta1 a1 b0 / 2 + beta3 a1 b0 / 3", beta[0] @ (a1 @ v0) / 2 + beta[2] @ (a1 @ v0) / 3, 0.0),
        ]
        for k, values in enumerate(
            zip((1, 0, 0, 0), (0, 1, 0, 0), (1, 0, -1, 0), (1, 0, -1, 2), (0, 0, 0, 1), strict=True)
        ):
            parts = (beta[k] @ one, beta[k] @ v1, beta[k] @ u1, beta[k] @ v1**2, beta[k] @ (b1 @ v1))
            names = ("1", "b1", "a1", "b1²", "b1 b1")
            wanted += [
                (f"beta{k + 1} {name}", part, want) for name, part, want in zip(names, parts, values, strict=True)
            ]
        for name, have, want in wanted:
            if abs(float(have) - want) > 1e-12:
                raise ValueError(f"SRI tableau: {name} must be {want:g}, got {float(have):g}.")


def _square(rows: Rows, size: int) -> torch.Tensor:
    made = torch.zeros(size, size, dtype=torch.float64)
    for i, row in enumerate(rows):
        made[i + 1, : len(row)] = torch.tensor(row, dtype=torch.float64)
    return made


_SRI2 = SRITableau(
    a0=((1.0,), (1 / 4, 1 / 4), ()),
    b0=((0.0,), (1.0, 1 / 2), ()),
    a1=((1 / 4,), (1.0,), (0.0, 0.0, 1 / 4)),
    b1=((-1 / 2,), (1.0,), (2.0, -1.0, 1 / 2)),
    alpha=(1 / 6, 1 / 6, 2 / 3, 0.0),
    beta=((-1.0, 4 / 3, 2 / 3, 0.0), (1.0, -4 / 3, 1 / 3, 0.0), (2.0, -4 / 3, -2 / 3, 0.0), (-2.0, 5 / 3, -2 / 3, 1.0)),
)


@final
@dataclass(frozen=True)
class SRI2(AbstractStochastic):
    """Strong order 3/2 for diagonal and scalar noise in the sense of Ito; three evaluations of f and four of g.

    For `DiagonalNoise` entry i of g must depend on entry i of y only. Weak order 3/2, for additive noise 2; order 3
    where g = 0. The error is the difference from a method of Milstein's kind with Euler's drift, of order h^(3/2).

    Source: Rossler (2010), SIAM J. Numer. Anal. 48, 922-952, table 6.2, SRI2.
    """

    order: ClassVar[int] = 3
    stages: ClassVar[int] = 3
    has_error: ClassVar[bool] = True
    error_order: ClassVar[float] = 1.5
    senses = (Ito,)
    levy = SpaceTime()
    unit_noise: ClassVar[bool] = True
    structures = (AdditiveNoise, DiagonalNoise, ScalarNoise)
    strong = Orders(1.5, 1.5, 1.5)
    weak = Orders(1.5, 1.5, 2.0)
    tableau: ClassVar[SRITableau] = _SRI2

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        made, times = self.tableau, StageTimes(t0, t1, y, (1 / 4, 1 / 2))
        w, area = increment_with_area(self, term, t0, t1)
        h = rows_like(t1 - t0, w)
        root, mean = torch.as_tensor(h, dtype=w.dtype, device=w.device).sqrt().expand_as(w), w * 0.5 + area
        double, triple = (w * w - h) / (2 * root), (w * w * w - 3 * h * w) / (6 * h)
        product = term.structure.times
        f: list[Flat] = []  # h f(Y_j)
        by_mean: list[Flat] = []  # (W/2 + H) g(Z_j)
        by_root: list[Flat] = []  # sqrt(h) g(Z_j)
        noise: list[Flat] = []
        high: list[Flat] = []
        for i in range(len(made.alpha)):
            a0, b0, a1, b1 = ((0.0,) if i == 0 else rows[i - 1] for rows in (made.a0, made.b0, made.a1, made.b1))
            inner = advance(advance(y, 1.0, row_of(a1), f), 1.0, row_of(b1), by_root)
            g = term.g(times(sum(a1)), inner)
            if made.alpha[i] or any(len(row) > i and row[i] for row in made.a1):
                outer = advance(advance(y, 1.0, row_of(a0), f), 1.0, row_of(b0), by_mean)
                f.append(scaled(term.f(times(sum(a0)), outer), times.size))
            by_mean.append(product(g, mean))
            by_root.append(product(g, root))
            beta = [row[i] for row in made.beta]
            upper = beta[2] * mean + beta[3] * triple
            noise.append(product(g, beta[0] * w + beta[1] * double + upper))
            high.append(product(g, upper))
        y1 = advance(advance(y, 1.0, row_of(made.alpha), f), 1.0, row_of((1.0,) * len(noise)), noise)
        drift = (made.alpha[0] - 1.0, *made.alpha[1:])
        error = map_leaves(torch.add, _sum(drift, f), _sum((1.0,) * len(high), high))
        return Step(y1, error, None, (), None)


def _sum(weights: tuple[float, ...], parts: list[Flat]) -> Flat:
    return weighted_sum(1.0, row_of(weights), parts)
