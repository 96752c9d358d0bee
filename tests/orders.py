"""How orders of methods for dy/dt = f(t, y) are measured: on equal and unequal grids, at their ends and in between."""

import math

import torch

from sciml.integrate import ODE, AbstractMethod, Fixed, SaveAt, solve
from tests.problems import ExactProblem


def unequal(problem: ExactProblem, n: int) -> torch.Tensor:
    """A grid of n steps, neighbours up to a factor 1.9 apart and 3.7 between longest and shortest."""
    s = torch.arange(n + 1, dtype=torch.float64) / n
    s = s + 0.06 * torch.sin(2 * math.pi * s) + (0.15 / n) * torch.sin(torch.arange(n + 1) * (math.pi / 2)) * (s < 1)
    return problem.t0 + (problem.t1 - problem.t0) * (s - s[0]) / (s[-1] - s[0])


def between(grid: torch.Tensor) -> torch.Tensor:
    """Off-grid times: at three places within eight of the steps."""
    steps = torch.linspace(0, len(grid) - 2, min(8, len(grid) - 1)).long()
    theta = torch.tensor([0.2, 0.45, 0.7])
    return (grid[steps, None] + theta * (grid[steps + 1] - grid[steps])[:, None]).flatten()


def errors(method: AbstractMethod, problem: ExactProblem, grid: torch.Tensor, *, dense: bool) -> dict[str, float]:
    """Error at the end, and the largest one at off-grid times."""
    ts = between(grid) if dense else None
    save = SaveAt(t1=True, ts=ts)
    y0 = problem.at(problem.t0)
    ys = solve(ODE(problem.f), method, y0, problem.t0, problem.t1, control=Fixed(ts=grid), save=save, throw=False).ys
    if ts is None:
        return {"end": float((ys - problem.at(problem.t1)).norm())}
    inside = (ys["ts"] - problem.exact(ts)).norm(dim=-1).max()
    return {"end": float((ys["t1"] - problem.at(problem.t1)).norm()), "dense": float(inside)}
