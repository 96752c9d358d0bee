"""What tests of stochastic methods need: a path of stored increments, problems with references, and measured orders."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate import SDE, AbstractMethod, Fixed, solve
from sciml.paths import AbstractPath, Increment


@final
class StoredPath(AbstractPath):
    """Brownian motion with areas on a uniform fine grid over [0, t1], exact at its points: simple, for tests.

    Args:
        seed: of the draws.
        batch: number of samples.
        shape: of the noise of a sample.
        steps: of the fine grid.
        t1: its end, [time].
    """

    def __init__(self, seed: int, batch: int, shape: tuple[int, ...], steps: int, t1: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.shape, self.batch, self.dtype = shape, batch, torch.float64
        self.dt, self.steps = t1 / steps, steps
        self.knots = torch.linspace(0.0, t1, steps + 1)
        draw = torch.randn(2, steps, batch, *shape, generator=generator)
        w, h = draw[0] * self.dt**0.5, draw[1] * (self.dt / 12) ** 0.5
        zero = torch.zeros(1, batch, *shape)
        self.w = torch.cat([zero, w.cumsum(0)])
        self.mass = torch.cat([zero, ((self.w[:-1] + w / 2 + h) * self.dt).cumsum(0)])

    def value(self, t: Any) -> Tensor:
        """W(t)."""
        return self.w[round(float(t) / self.dt)]

    def derivative(self, t: Any) -> Tensor:
        """There is none."""
        raise TypeError("no derivative")

    def increment(self, t0: Any, t1: Any) -> Increment:
        """W and H between two points of the fine grid."""
        i, j = round(float(t0) / self.dt), round(float(t1) / self.dt)
        low, high = min(i, j), max(i, j)
        w, length = self.w[high] - self.w[low], (high - low) * self.dt
        h = (self.mass[high] - self.mass[low]) / length - self.w[low] - w / 2
        return Increment(w if j > i else -w, h)


@dataclass(frozen=True)
class Problem:
    """An SDE over [0, 1] and the solution on its path.

    Args:
        name: for the tables.
        term: of a path.
        y0: of a number of samples.
        noise: shape of the noise of a sample.
        exact: of a path and the initial state, or None: a fine solve.
    """

    name: str
    term: Callable[[Any], SDE]
    y0: Callable[[int], Tensor]
    noise: tuple[int, ...]
    exact: Callable[[StoredPath, Tensor], Tensor] | None = None
    t1: float = 1.0


def slope_interval(errors: Tensor, steps: Sequence[int]) -> tuple[float, float]:
    """Slope of log error over log step and the half width of its 95 % interval.

    Args:
        errors: of independent groups, (group, steps).
        steps: number of steps of each column.
    """
    x = -torch.tensor([math.log(n) for n in steps])
    x = x - x.mean()
    slopes = (errors.log() * x).sum(1) / (x * x).sum()
    groups = len(slopes)
    t = {10: 2.262, 20: 2.093, 40: 2.023}.get(groups, 2.1)
    return float(slopes.mean()), t * float(slopes.std()) / groups**0.5


def strong_errors(
    method: AbstractMethod,
    problem: Problem,
    steps: Sequence[int],
    *,
    samples: int,
    groups: int,
    seed: int = 0,
    fine: int = 2**12,
    reference: AbstractMethod | None = None,
) -> Tensor:
    """Root mean square error at the end of every group of samples, (group, steps): two-stage Monte Carlo."""
    path = StoredPath(seed, samples * groups, problem.noise, fine, problem.t1)
    y0, term = problem.y0(samples * groups), problem.term(path)
    if problem.exact is not None:
        truth = problem.exact(path, y0)
    else:
        assert reference is not None
        truth = solve(term, reference, y0, 0.0, problem.t1, control=Fixed(n=fine)).ys
    found = []
    for n in steps:
        y1 = solve(term, method, y0, 0.0, problem.t1, control=Fixed(n=n)).ys
        square = (y1 - truth).square().flatten(1).sum(1)
        found.append(square.reshape(groups, samples).mean(1).sqrt())
    return torch.stack(found, dim=1)
