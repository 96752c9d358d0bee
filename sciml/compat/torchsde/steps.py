"""Times of steps, and of outputs among them. Between the ends of a step the solution is linear."""

import math
from bisect import bisect_left
from typing import NamedTuple

import torch
from torch import Tensor


def rounding(ts: Tensor) -> float:
    """How far times of this dtype may lie from what was meant, [time]."""
    span = float(ts[-1] - ts[0])
    return 1e-9 * span + 8 * torch.finfo(ts.dtype).eps * float(ts.abs().max())


def equal_steps(ts: list[float], dt: float, slack: float) -> list[float]:
    """From the first to the last time; the last step ends there, and is none of its own if that is only rounding."""
    count = max(1, math.ceil((ts[-1] - ts[0] - slack) / dt))
    return [*(ts[0] + i * dt for i in range(count)), ts[-1]]


class Between(NamedTuple):
    """An output: at time number `left`, or the share `theta` of the way from there to number `right`."""

    left: int
    right: int
    theta: float


def places(grid: list[float], ts: list[float], slack: float) -> list[Between]:
    """Where outputs lie among the times of a grid."""
    found = []
    for t in ts:
        i = min(bisect_left(grid, t - slack), len(grid) - 1)
        if abs(grid[i] - t) <= slack:
            found.append(Between(i, i, 0.0))
        else:
            found.append(Between(i - 1, i, (t - grid[i - 1]) / (grid[i] - grid[i - 1])))
    return found


def collected(states: dict[int, Tensor], wanted: list[Between]) -> Tensor:
    """The outputs, (time, batch, channel), from the states at the times they lie between."""
    return torch.stack(
        [
            states[at.left] if at.left == at.right else torch.lerp(states[at.left], states[at.right], at.theta)
            for at in wanted
        ]
    )
