"""Spin-up to statistical steadiness, with a test of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_multiple, check_positive, check_whole
from sciml.grids import Grid
from sciml.integrate import AbstractMethod
from sciml.pde.base import AbstractEquation
from sciml.pde.evolve import evolve

Statistic = Callable[[Tensor], Tensor]
"""Of fields (batch, time, channel, *space), one number for each sample and time."""


class NotSteadyError(RuntimeError):
    """The statistic was not steady after the longest time allowed."""


@final
@dataclass(frozen=True, eq=False)
class SpunUp:
    """Where a spin-up ended.

    Args:
        u: the fields at its end.
        time: how long it took, [time].
        history: the statistic, averaged over the samples and over each window.
        steady: whether the test was passed.
    """

    u: Float[Tensor, "batch channel *space"]
    time: float
    history: Float[Tensor, " window"]
    steady: bool


def energy(u: Float[Tensor, "batch time channel *space"]) -> Float[Tensor, "batch time"]:
    """Half the mean square over space, summed over the channels: the usual statistic."""
    return u.square().mean(tuple(range(3, u.ndim))).sum(2) / 2


def is_steady(history: Float[Tensor, " window"], tolerance: float, windows: int) -> bool:
    """Whether the last `windows` values and as many before them have the same mean, and no trend, to a `tolerance`.

    - The difference of the two means plus twice its standard error must not exceed that share of the mean, so that too
      few data do not pass.
    - A line is fitted to all 2 `windows` values. Where its slope is more than twice its standard error, they must not
      have changed along it by more than a tenth of that share: slow growth is not steady, however smooth.

    Standard errors are those of independent windows: take them longer than the field remembers.
    """
    if len(history) < 2 * windows:
        return False
    before, last = history[-2 * windows : -windows], history[-windows:]
    error = math.sqrt(float(before.var() + last.var()) / windows)
    share = tolerance * float(last.mean().abs())
    change, its_error = _trend(history[-2 * windows :])
    if change > max(2 * its_error, share / 10):
        return False
    return float((last.mean() - before.mean()).abs()) + 2 * error <= share


def _trend(history: Float[Tensor, " window"]) -> tuple[float, float]:
    """Change from the first to the last value along the line of least squares, and its standard error."""
    values = history.double() - history.double().mean()
    places = torch.arange(len(history), dtype=torch.float64)
    places = places - places.mean()
    slope = float((places * values).sum() / places.square().sum())
    rest = values - slope * places
    error = math.sqrt(float(rest.square().sum() / (len(history) - 2) / places.square().sum()))
    return abs(slope) * (len(history) - 1), error * (len(history) - 1)


@torch.no_grad()
def spin_up(
    equation: AbstractEquation,
    grid: Grid,
    u0: Float[Tensor, "batch channel *space"],
    *,
    dt: float,
    window: float,
    longest: float,
    statistic: Statistic = energy,
    tolerance: float = 0.1,
    windows: int = 4,
    method: AbstractMethod | None = None,
    throw: bool = True,
) -> SpunUp:
    """Solve until a statistic is steady by the test of `is_steady`, made after each window.

    Args:
        equation: the PDE.
        grid: where `u0` lives.
        u0: initial fields, [field]; more samples make the test sharper.
        dt: step of the integrator, [time].
        window: over which the statistic is averaged, at 16 times, [time]; a whole multiple of 16 dt.
        longest: when to give up, [time].
        statistic: what must be steady.
        tolerance: largest change that counts as none, as a share of the mean, [1]; a tenth of it where it is a trend.
        windows: how many make each of the two means that are compared, at least 2.
        method: integration method, `ETDRK4()` by default.
        throw: raise when the time is up; otherwise the result says that it was not steady.

    Raises:
        ValueError: for arguments out of range.
        NotSteadyError: if the statistic was not steady in time.
        SolveError: if a sample becomes non-finite.
    """
    check_multiple("window", window, "16 dt", 16 * dt)
    check_positive("tolerance", tolerance)
    check_whole("windows", windows, 2)
    if not longest >= 2 * windows * window:
        raise ValueError(
            f"`longest` must hold {2 * windows} windows of {window:g}, got {longest:g}. Raise it to at least "
            f"{2 * windows * window:g}."
        )
    ts = window / 16 * torch.arange(1, 17, dtype=torch.float64)
    u, history = u0, torch.zeros(0)
    while (len(history) + 1) * window <= longest * (1 + 1e-9):
        frames = evolve(equation, grid, u, ts, dt=dt, method=method)
        u = frames[:, -1]
        history = torch.cat([history, statistic(frames).mean().cpu().double()[None]])
        if is_steady(history, tolerance, windows):
            return SpunUp(u, len(history) * window, history, True)
    if throw:
        raise NotSteadyError(
            f"the statistic must be steady to {tolerance:g} of its mean by t={longest:g}, but the last windows have "
            f"{[float(f'{value:.4g}') for value in history[-2 * windows :]]}. Allow a longer time, longer windows or "
            "more samples."
        )
    return SpunUp(u, len(history) * window, history, False)
