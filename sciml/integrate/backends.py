"""Other packages as methods of `solve`: to check results against them, and to time ourselves beside them.

A backend is handed the whole problem; nothing of ours takes a step.
"""

import abc
import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from sciml.integrate.clock import Clock
from sciml.integrate.control import PID, Fixed
from sciml.integrate.flat import Flat, first_leaf, leaves_of, restore
from sciml.integrate.gradient.captured import captured_by
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Result, Solution, SolveError, Stats
from sciml.integrate.terms import ODE
from sciml.integrate.wanted import wanted_times

_ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
_ON_A_GRID = ("euler", "midpoint", "heun2", "heun3", "rk4")
_SETTABLE = ("rtol", "atol", "safety", "factor_min", "factor_max", "dt0", "dt_max", "compact")
_OURS = "Use a method of ours for that."


class AbstractBackend(abc.ABC):
    """Solves a whole problem. Subclasses are final."""

    has_error: bool
    """Whether step sizes can be controlled."""

    @abc.abstractmethod
    def solve(self, problem: Problem) -> Solution:
        """The solution, as `solve` gives it.

        Raises:
            TypeError, ValueError: for what the package cannot do, by name.
            SolveError: if it gives up.
        """


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
        times, places = _times(problem)
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
        ts, ys = _picked(problem, leaves, places)
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
            raise TypeError(f"{self.method} of torchdiffeq takes {wanted}, got {type(control).__name__}. {_OURS}")
        default = PID(per_sample=False)
        names = [name for name in PID.__dataclass_fields__ if name not in _SETTABLE]
        other = [name for name in names if getattr(control, name) is not getattr(default, name)]
        other = [name for name in other if getattr(control, name) != getattr(default, name)]
        if other:
            raise ValueError(
                f"torchdiffeq takes joint steps by a plain controller, got values of {', '.join(other)} that it has "
                f"not. Pass PID(rtol, atol, per_sample=False). {_OURS}"
            )
        options: dict[str, Any] = {"safety": control.safety, "max_num_steps": problem.max_steps}
        options |= {"ifactor": control.factor_max, "dfactor": control.factor_min, "max_step": control.dt_max}
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
    save = problem.save
    for name, given in (("every", save.every is not None), ("dense", save.dense), ("fn", save.fn is not None)):
        if given:
            raise ValueError(f"torchdiffeq keeps t0, t1 and ts only, got SaveAt({name}=...). {_OURS}")
    times = {"t0": (problem.t0, 0), "t1": (problem.t1, 0), "save.ts": (save.ts, 1)}
    for name, (t, limit) in times.items():
        if isinstance(t, Tensor) and t.ndim > limit:
            raise ValueError(f"torchdiffeq needs times that the batch shares, got `{name}` per sample. {_OURS}")


def _times(problem: Problem) -> tuple[Tensor, dict[str, Any]]:
    """All times in order and once each, and where among them those are that are kept."""
    device = first_leaf(problem.y0).device
    t0, t1 = (torch.as_tensor(t, dtype=torch.float64, device=device) for t in (problem.t0, problem.t1))
    if not (bool(torch.isfinite(t0 - t1)) and bool(t0 != t1)):
        raise ValueError(f"`t0` and `t1` must be finite and differ, got t0={float(t0)}, t1={float(t1)}.")
    clock = Clock((), len(first_leaf(problem.y0)), None, 1.0 if bool(t1 > t0) else -1.0)
    tau0, tau1, save = clock.turned(t0), clock.turned(t1), problem.save
    tau = tau0.new_zeros(0) if save.ts is None else wanted_times(save.ts.to(device), clock, tau0, tau1)
    values = tau.detach()
    fresh = torch.diff(values, prepend=tau0.detach()[None]) > 0
    times = torch.cat([tau0[None], tau[fresh & (values < tau1.detach())], tau1[None]])
    places: dict[str, Any] = {"t0": 0} if save.t0 else {}
    if save.t1:
        places["t1"] = len(times) - 1
    if save.ts is not None:
        places["ts"] = torch.searchsorted(times.detach(), values)
    return clock.turned(times), places


def _picked(problem: Problem, leaves: tuple[Tensor, ...], places: dict[str, Any]) -> tuple[Any, Any]:
    """Times and states in the layout of `solve`; each leaf is (time, batch, *state)."""
    ts: dict[str, Any] = {}
    ys: dict[str, Any] = {}
    for name, place in places.items():
        parts = tuple(leaf[place] if isinstance(place, int) else leaf[place].movedim(0, 1) for leaf in leaves)
        ts[name] = {"t0": problem.t0, "t1": problem.t1, "ts": problem.save.ts}[name]
        ys[name] = restore(parts[0] if isinstance(problem.y0, Tensor) else parts, problem.structure)
    return (ts, ys) if len(ys) > 1 else (*ts.values(), *ys.values())  # type: ignore[return-value]


def _root_mean_square(parts: Any) -> Tensor:
    """Over all elements, as ours."""
    return torch.cat([leaf.reshape(-1) for leaf in leaves_of(parts)]).abs().square().mean().sqrt()
