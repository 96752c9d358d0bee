"""torchdiffeq as a method of `solve`."""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from sciml.integrate.backends.base import OURS, AbstractBackend, all_times, check_plain, check_times, picked
from sciml.integrate.control import PID, Fixed
from sciml.integrate.flat import Flat, leaves_of
from sciml.integrate.gradient.captured import captured_by
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Result, Solution, SolveError, Stats
from sciml.integrate.terms import ODE

_ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
_ON_A_GRID = ("euler", "midpoint", "heun2", "heun3", "rk4")
_SETTABLE = ("rtol", "atol", "safety", "factor_min", "factor_max", "dt0", "dt_max", "compact")


@final
@dataclass(frozen=True)
class TorchDiffEq(AbstractBackend):
    """The package torchdiffeq. All samples take joint steps: `PID(..., per_sample=False)` or `Fixed`.

    Between the steps of a grid it interpolates by cubic polynomials. Times that are kept change its adaptive steps
    only through rounding. Statistics count what it called, in the forward solve.

    Args:
        method: its name for the method.
        adjoint: differentiate by the adjoint equation, instead of through the steps. Tensors that the field captures
            are found, and refused, as for `Checkpoint`.

    Raises:
        ValueError: for a method that it does not have, or that is none of those above.
    """

    method: str = "dopri5"
    adjoint: bool = False

    def __post_init__(self) -> None:
        if self.method not in (*_ADAPTIVE, *_ON_A_GRID):
            raise ValueError(f"`method` must be one of {', '.join((*_ADAPTIVE, *_ON_A_GRID))}, got {self.method!r}.")
        object.__setattr__(self, "has_error", self.method in _ADAPTIVE)

    def solve(self, problem: Problem) -> Solution:
        """See `AbstractBackend.solve`."""
        import torchdiffeq

        _check(problem)
        times, places = all_times(problem)
        options = self._options(problem)
        field, y0, run = _Counted(problem.term.f, self.has_error), problem.y0, torchdiffeq.odeint  # type: ignore[attr-defined]
        if self.adjoint:
            run = torchdiffeq.odeint_adjoint
            options["adjoint_params"] = captured_by(problem, "TorchDiffEq(adjoint=True)").tensors
        try:
            states: Any = run(field, y0, times, method=self.method, **options)
        except AssertionError as error:
            raise SolveError(f"torchdiffeq gave up: {error}. Take smaller steps, or a method of ours.") from error
        leaves: tuple[Tensor, ...] = (states,) if isinstance(y0, Tensor) else tuple(states)
        ts, ys = picked(problem, leaves, places)
        rows = torch.stack([torch.isfinite(leaf[-1].detach()).flatten(1).all(dim=1) for leaf in leaves]).all(dim=0)
        stats = field.stats(len(rows), rows.device)
        problem.stopped = stats.attempts, times[-1].detach().expand(len(rows))
        return Solution(ts, ys, stats, torch.where(rows, int(Result.SUCCESS), int(Result.NON_FINITE)))

    def _options(self, problem: Problem) -> dict[str, Any]:
        """Tolerances and options, as keywords."""
        control = problem.control
        if isinstance(control, Fixed) and not self.has_error:
            grid = control.grid(problem.t0, problem.t1)
            return {
                "options": {
                    "grid_constructor": lambda f, y0, t: torch.as_tensor(grid, dtype=t.dtype, device=t.device),
                    "interp": "cubic",
                }
            }
        if not isinstance(control, PID):
            wanted = "PID(..., per_sample=False)" if self.has_error else "Fixed(...)"
            raise TypeError(f"{self.method} of torchdiffeq takes {wanted}, got {type(control).__name__}. {OURS}")
        check_plain("torchdiffeq takes joint steps by a plain controller", control, _SETTABLE)
        options: dict[str, Any] = {"safety": control.safety, "max_num_steps": problem.max_steps}
        options |= {"ifactor": control.most, "dfactor": control.factor_min, "max_step": control.dt_max}
        if control.dt0 is not None:
            options["first_step"] = control.dt0
        rtol, atol = zip(*control.tolerances(problem.y0, problem.structure), strict=True)
        if isinstance(problem.y0, Tensor):
            return {"rtol": rtol[0], "atol": atol[0], "options": options}
        return {"rtol": rtol, "atol": atol, "options": options | {"norm": _root_mean_square}}


@final
class _Counted(nn.Module):
    """The field, with the callbacks torchdiffeq looks for."""

    def __init__(self, field: Any, adaptive: bool) -> None:
        super().__init__()
        self.field = field
        self.evaluations = self.attempts = self.rejected = 0
        self.last = math.nan
        if adaptive:
            self.callback_reject_step = self._rejected

    def forward(self, t: Tensor, y: Flat) -> Flat:
        self.evaluations += 1
        return self.field(t, y)

    def callback_step(self, t0: Tensor, y0: Any, dt: Tensor) -> None:
        """A step is tried."""
        self.attempts, self.last = self.attempts + 1, dt.detach().item()

    def _rejected(self, t0: Tensor, y0: Any, dt: Tensor) -> None:
        self.rejected += 1

    def stats(self, count: int, device: torch.device) -> Stats:
        """What was counted, for every row."""
        numbers = (self.attempts - self.rejected, self.attempts, self.evaluations)
        steps, attempts, evaluations = (torch.full((count,), number, device=device) for number in numbers)
        last = torch.full((count,), self.last, dtype=torch.float64, device=device)
        return Stats(steps, attempts, evaluations, last)


def _check(problem: Problem) -> None:
    if not isinstance(problem.term, ODE):
        name = type(problem.term).__name__
        raise TypeError(f"torchdiffeq solves ODE(f) terms, got {name}. Write the right-hand side as one function.")
    check_times("torchdiffeq", problem)


def _root_mean_square(parts: Any) -> Tensor:
    """Over all elements, as ours."""
    return torch.cat([leaf.reshape(-1) for leaf in leaves_of(parts)]).abs().square().mean().sqrt()
