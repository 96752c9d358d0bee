"""What tests of stochastic methods need: a path of stored increments, problems with references, and measured orders."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate import SDE, AbstractMethod, Fixed, solve
from sciml.integrate.problem import Problem as Problem_
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


@final
class NodePath(AbstractPath):
    """One interval, over which W and H have given values in units of the root of its length.

    Args:
        w, h: (batch, noise).
    """

    def __init__(self, w: Tensor, h: Tensor) -> None:
        self.w, self.h = w, h
        self.shape, self.batch, self.dtype = tuple(w.shape[1:]), len(w), torch.float64
        self.knots = torch.tensor([0.0, 1.0])

    def value(self, t: Any) -> Tensor:
        """It is not known within the interval."""
        raise TypeError("only increments")

    def derivative(self, t: Any) -> Tensor:
        """There is none."""
        raise TypeError("no derivative")

    def increment(self, t0: Any, t1: Any) -> Increment:
        """The nodes, scaled."""
        root = abs(float(t1) - float(t0)) ** 0.5
        return Increment(self.w * root, self.h * root)


@final
class HalvedPath(AbstractPath):
    """One interval from 0, over each half of which W and H have given values in units of the root of its length.

    Args:
        w, h: (batch, 2), one column per half.
        length: of the interval.
    """

    def __init__(self, w: Tensor, h: Tensor, length: float) -> None:
        self.w, self.h, self.length = w, h, length
        self.shape, self.batch, self.dtype = (1,), len(w), torch.float64
        self.knots = torch.tensor([0.0, length])

    def value(self, t: Any) -> Tensor:
        """It is not known within the halves."""
        raise TypeError("only increments")

    def derivative(self, t: Any) -> Tensor:
        """There is none."""
        raise TypeError("no derivative")

    def increment(self, t0: Any, t1: Any) -> Increment:
        """Of a half, or W of the whole."""
        root = (self.length / 2) ** 0.5
        if t1 - t0 > 0.75 * self.length:
            return Increment(self.w.sum(1, keepdim=True) * root)
        half = int(t0 > 0)
        return Increment(self.w[:, half : half + 1] * root, self.h[:, half : half + 1] * root)


def nodes_of(noise: int) -> tuple[Tensor, Tensor, Tensor]:
    """Values of W and H, (node, noise), and weights, that integrate polynomials of degree 9 in W and 7 in H exactly."""
    axes: list[tuple[Tensor, Tensor]] = []
    for count, spread in ((5, 1.0), (4, 12**-0.5)):
        k = torch.arange(1, count)
        values, vectors = torch.linalg.eigh(torch.diag(k.sqrt(), 1) + torch.diag(k.sqrt(), -1))
        axes.append((values * spread, vectors[0] ** 2))
    parts = [axes[0]] * noise + [axes[1]] * noise
    grid = torch.cartesian_prod(*(values for values, _ in parts))
    weights = torch.cartesian_prod(*(weights for _, weights in parts)).prod(1)
    return grid[:, :noise], grid[:, noise:], weights


def linear_moments_slope(
    method: Any,
    make: Callable[[Any], Any],
    drift: Tensor,
    noise: Tensor,
    y0: Tensor,
    *,
    ito: bool,
    steps: Sequence[int],
) -> tuple[float, list[float]]:
    """Weak order on dy = A y dt + sum_k B_k y dW_k: the error of E y y^T at t = 1, without any sampling.

    Args:
        method: what is measured.
        make: the term of a path.
        drift, noise: A, and B_k stacked.
        y0: the initial state, (state,).
        ito: the sense of the term.
        steps: numbers of steps; the slope is that of the two finest.
    """
    a = drift if ito else drift + 0.5 * (noise @ noise).sum(0)
    one = torch.eye(len(a))
    generator = torch.kron(a, one) + torch.kron(one, a) + sum(torch.kron(b, b) for b in noise)
    truth = torch.linalg.matrix_exp(generator) @ torch.kron(y0, y0)
    errors = []
    for n in steps:
        mean, first = _mean_of_squares(method, make, len(a), len(noise), 1.0 / n)
        found = torch.linalg.matrix_power(mean, n) @ torch.kron(first @ y0, first @ y0)
        size = len(first)
        errors.append(float((found.reshape(size, size)[: len(a), : len(a)].flatten() - truth).norm()))
    slope = math.log(errors[-2] / errors[-1]) / math.log(steps[-1] / steps[-2])
    return slope, errors


def _mean_of_squares(method: Any, make: Callable[[Any], Any], d: int, noise: int, h: float) -> tuple[Tensor, Tensor]:
    """E R (x) R of the matrix R of a step, and what puts a state into the space it acts on: (y, z) if z is carried."""
    w, area, weights = nodes_of(noise)
    pair = method.reversible and method.reuses_last
    size = 2 * d if pair else d
    basis = torch.eye(size).repeat_interleave(len(w), 0)
    path = NodePath(w.repeat(size, 1), area.repeat(size, 1))
    y, term = basis[:, :d], make(path)
    flat = Problem_.make(term, method, y, 0.0, h, Fixed(n=1), None, (), 10, None, False).term
    carry = method.init(flat, 0.0, basis[:, d:] if pair else y)
    step = method.step(flat, 0.0, h, y, carry)
    made = torch.cat([step.y, step.carry[0]], 1) if pair else step.y
    matrix = made.reshape(size, len(w), size).permute(1, 2, 0)  # (node, out, in)
    mean = torch.einsum("q,qab,qcd->acbd", weights, matrix, matrix).reshape(size * size, size * size)
    first = torch.cat([torch.eye(d)] * (2 if pair else 1))
    return mean, first
