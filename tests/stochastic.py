"""What tests of stochastic methods need: a path of stored increments, problems with references, and measured orders."""

import math
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate import AbstractMethod, Fixed, solve
from sciml.integrate.problem import Problem as Problem_
from sciml.paths import AbstractPath, Increment


@final
class StoredPath(AbstractPath):
    """Brownian motion with areas on a uniform fine grid over [0, t1], exact at its points: simple, for tests.

    The areas between channels are those of the polygon through the points of the fine grid, so that their sums are
    exact and a solve along the fine grid is one of the same path.

    Args:
        seed: of the draws.
        batch: number of samples.
        shape: of the noise of a sample.
        steps: of the fine grid.
        t1: its end, [time].
        areas: whether increments have areas between channels.
    """

    def __init__(
        self, seed: int, batch: int, shape: tuple[int, ...], steps: int, t1: float = 1.0, *, areas: bool = False
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.shape, self.batch, self.dtype = shape, batch, torch.float64
        self.dt, self.steps = t1 / steps, steps
        self.knots = torch.linspace(0.0, t1, steps + 1)
        draw = torch.randn(2, steps, batch, *shape, generator=generator)
        w, h = draw[0] * self.dt**0.5, draw[1] * (self.dt / 12) ** 0.5
        zero = torch.zeros(1, batch, *shape)
        self.w = torch.cat([zero, w.cumsum(0)])
        self.mass = torch.cat([zero, ((self.w[:-1] + w / 2 + h) * self.dt).cumsum(0)])
        swept = crossed(self.w[:-1], w).cumsum(0) if areas else None
        self.swept = None if swept is None else torch.cat([torch.zeros_like(swept[:1]), swept])

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
        area = None
        if self.swept is not None:
            area = self.swept[high] - self.swept[low] - crossed(self.w[low], w)
            area = area if j > i else -area
        return Increment(w if j > i else -w, h, None, area)


def crossed(a: Tensor, b: Tensor) -> Tensor:
    """(a_i b_j - a_j b_i) / 2."""
    product = a[..., :, None] * b[..., None, :]
    return (product - product.mT) / 2


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
    method: AbstractMethod, path: StoredPath, term: Any, truth: Tensor, y0: Any, steps: Sequence[int], groups: int
) -> Tensor:
    """Root mean square error at the end of every group of samples, (group, steps): the first stage of Monte Carlo.

    Args:
        method: what is measured.
        path: that the term is driven by.
        term: what is solved.
        truth: the state at the end of the path, (batch, *state), leaves side by side.
        y0: the initial state.
        steps: numbers of steps.
        groups: how many groups the samples are divided into; the second stage is the spread between them.
    """
    found, end = [], path.dt * path.steps
    for n in steps:
        square = (whole(solve(term, method, y0, 0.0, end, control=Fixed(n=n)).ys) - truth).square().flatten(1).sum(1)
        found.append(square.reshape(groups, -1).mean(1).sqrt())
    return torch.stack(found, dim=1)


def whole(y: Any) -> Tensor:
    """A state in one tensor."""
    return y if isinstance(y, Tensor) else torch.cat(y, dim=1)


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
        w, h = self.w * root, self.h * root
        return Increment(w, h, None, 2 * crossed(h, w) if w.ndim == 2 else None)


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
    made = _one_step(method, make, basis, (w.repeat(size, 1), area.repeat(size, 1)), d, h)
    matrix = made.reshape(size, len(w), size).permute(1, 2, 0)  # (node, out, in)
    mean = torch.einsum("q,qab,qcd->acbd", weights, matrix, matrix).reshape(size * size, size * size)
    first = torch.cat([torch.eye(d)] * (2 if pair else 1))
    return mean, first


def _one_step(
    method: Any, make: Callable[[Any], Any], pairs: Tensor, nodes: tuple[Tensor, Tensor], d: int, h: float
) -> Tensor:
    """What a step makes of every row of states, or of states and what the method carries beside them."""
    y, term = pairs[:, :d], make(NodePath(*nodes))
    flat = Problem_.make(term, method, y, 0.0, h, Fixed(n=1), None, (), 10, None, False, True).term
    flat.g._checked_additive = True  # type: ignore[attr-defined]  # an entry that stays 1 makes a linear g of a constant
    carry = method.init(flat, 0.0, pairs[:, d:] if pairs.shape[1] > d else y)
    step = method.step(flat, 0.0, h, y, carry)
    return torch.cat([step.y, step.carry[0]], 1) if pairs.shape[1] > d else step.y


def periodic_slope(
    method: Any,
    make: Callable[[Any], Any],
    drift: Callable[[Tensor], Tensor],
    spread: Callable[[Tensor], Tensor],
    *,
    ito: bool,
    steps: Sequence[int],
) -> tuple[float, list[float]]:
    """Weak order on dy = f(y) dt + sum_k g_k(y) dW_k of a state on a circle, without any sampling.

    The mean of s(y_n) over the noise is found backwards: that of one step at every point of a grid is a sum over nodes,
    between the points it is a trigonometric polynomial. The truth is the backward Kolmogorov equation, by the same
    polynomials and a matrix exponential. Both are accurate to many digits; s(y) = cos y + 0.3 sin 2y.

    Args:
        method: what is measured.
        make: the term of a path.
        drift, spread: f of (point, 1), and all g_k of it, (point, m).
        ito: the sense of the term.
        steps: numbers of steps; the slope is that of the two finest.
    """
    pair = method.reversible and method.reuses_last
    size = 24 if pair else 32
    y = 2 * math.pi * torch.arange(size)[:, None] / size
    waves, value = _waves(size), torch.cos(y[:, 0]) + 0.3 * torch.sin(2 * y[:, 0])
    frequency = torch.fft.fftfreq(size, 1 / size)
    frequency[size // 2] = 0.0
    inverse = torch.exp(1j * y * torch.fft.fftfreq(size, 1 / size))
    first = (inverse @ torch.diag(1j * frequency) @ waves).real
    g = spread(y)
    a = drift(y)[:, 0]
    if not ito:
        a = a + 0.5 * (g * (first @ g)).sum(1)
    generator = a[:, None] * first + 0.5 * (g * g).sum(1)[:, None] * (first @ first)
    truth = torch.linalg.matrix_exp(generator) @ value
    errors = []
    for n in steps:
        mean = _mean_on_circle(method, make, y, g.shape[1], 1.0 / n)
        start = value[:, None].expand(size, size).flatten() if pair else value
        found = torch.linalg.matrix_power(mean, n) @ start
        found = found.reshape(size, size).diagonal() if pair else found
        errors.append(float((found - truth).abs().max()))
    return math.log(errors[-2] / errors[-1]) / math.log(steps[-1] / steps[-2]), errors


def _waves(size: int) -> Tensor:
    """From values on the grid to coefficients of exp(i k y)."""
    points = 2 * math.pi * torch.arange(size) / size
    return torch.exp(-1j * torch.fft.fftfreq(size, 1 / size)[:, None] * points) / size


def _mean_on_circle(method: Any, make: Callable[[Any], Any], y: Tensor, noise: int, h: float) -> Tensor:
    """The matrix that takes values on the grid to the mean of values a step later."""
    w, area, weights = nodes_of(noise)
    pair = method.reversible and method.reuses_last
    states = torch.cartesian_prod(y[:, 0], y[:, 0]) if pair else y
    rows = len(states)
    nodes = (w.repeat_interleave(rows, 0), area.repeat_interleave(rows, 0))
    made = _one_step(method, make, states.repeat(len(w), 1), nodes, 1, h).reshape(len(w), rows, -1)
    k = torch.fft.fftfreq(len(y), 1 / len(y))
    total = torch.zeros(rows, rows, dtype=torch.complex128)
    for weight, point in zip(weights, made, strict=True):
        parts = [torch.exp(1j * point[:, i : i + 1] * k) for i in range(point.shape[1])]
        total += weight * (parts[0] if len(parts) == 1 else torch.einsum("ra,rb->rab", *parts).flatten(1))
    waves = _waves(len(y))
    return (total @ (torch.kron(waves, waves) if pair else waves)).real
