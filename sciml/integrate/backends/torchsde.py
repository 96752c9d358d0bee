"""torchsde as a method of `solve`."""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from sciml.integrate.backends.base import OURS, AbstractBackend, all_times, check_plain, check_times, picked
from sciml.integrate.control import PID, Fixed
from sciml.integrate.gradient.captured import captured_by
from sciml.integrate.noise import AdditiveNoise, DiagonalNoise, Ito, ScalarNoise
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Result, Solution, SolveError, Stats
from sciml.integrate.terms import SDE, SemiLinear

_ITO = ("euler", "milstein", "srk")
_STRATONOVICH = ("euler_heun", "heun", "midpoint", "reversible_heun", "log_ode")
_SETTABLE = ("rtol", "atol", "dt0", "dt_min")
_FIRST_STEP = 1e-3


@final
@dataclass(frozen=True)
class TorchSDE(AbstractBackend):
    """The package torchsde, on the same Brownian path. The state is one tensor (batch, channel), time runs forwards.

    It takes `Fixed` with equal steps or, if adaptive, `PID(rtol, atol, per_sample=False, dt0=..., dt_min=...)`; its
    solution is linear within steps. Statistics count what it called, in the forward solve; adaptive attempts are not
    told from accepted steps. Commutative noise is general noise to it.

    Args:
        method: its name for the method; milstein and srk are in the sense of Ito or Stratonovich as theirs are.
        adjoint: differentiate by the adjoint equation, instead of through the steps. Tensors that the fields capture
            are found, and refused, as for `Checkpoint`.
        adaptive: choose steps by comparing a whole one with two halves.

    Raises:
        ValueError: for a method that it does not have.
    """

    method: str = "midpoint"
    adjoint: bool = False
    adaptive: bool = False

    def __post_init__(self) -> None:
        if self.method not in (*_ITO, *_STRATONOVICH):
            raise ValueError(f"`method` must be one of {', '.join((*_ITO, *_STRATONOVICH))}, got {self.method!r}.")
        object.__setattr__(self, "has_error", self.adaptive)

    def solve(self, problem: Problem) -> Solution:
        """See `AbstractBackend.solve`."""
        import torchsde

        _check(problem)
        times, places = all_times(problem)
        sde, run = _Fields(problem.term, self.method), torchsde.sdeint  # type: ignore[arg-type]
        options = self._options(problem)
        if self.adjoint:
            run = torchsde.sdeint_adjoint
            options["adjoint_params"] = captured_by(problem, "TorchSDE(adjoint=True)").tensors
        y0: Any = problem.y0
        path = _path(torchsde.BaseBrownian, problem.term.path, y0)  # type: ignore[attr-defined]
        try:
            states: Any = run(sde, y0, times.detach(), bm=path, method=self.method, **options)
        except (AssertionError, ValueError) as error:
            raise SolveError(f"torchsde gave up: {error}. Choose another of its methods, or one of ours.") from error
        ts, ys = picked(problem, (states,), places)
        rows = torch.isfinite(states[-1].detach()).all(dim=1)
        count = path.asked // (3 if self.adaptive else 1)
        numbers = (count, count, sde.evaluations)
        steps, attempts, evaluations = (torch.full((len(y0),), number, device=y0.device) for number in numbers)
        last = torch.full((len(y0),), path.last, dtype=torch.float64, device=y0.device)
        problem.stopped = attempts, times[-1].detach().expand(len(y0))
        result = torch.where(rows, int(Result.SUCCESS), int(Result.NON_FINITE))
        return Solution(ts, ys, Stats(steps, attempts, evaluations, last), result)

    def _options(self, problem: Problem) -> dict[str, Any]:
        """Steps or tolerances, as keywords."""
        control = problem.control
        if isinstance(control, Fixed):
            return {"dt": _equal_step(control.grid(problem.t0, problem.t1))}
        if not isinstance(control, PID):
            raise TypeError(f"torchsde takes Fixed or PID(..., per_sample=False), got {type(control).__name__}. {OURS}")
        check_plain("torchsde takes joint steps by a controller of its own", control, _SETTABLE)
        ((rtol, atol),) = control.tolerances(problem.y0, problem.structure)
        if isinstance(rtol, Tensor) or isinstance(atol, Tensor):
            raise ValueError(f"torchsde takes tolerances that are numbers, got tensors. {OURS}")
        first = _FIRST_STEP if control.dt0 is None else control.dt0
        return {"rtol": rtol, "atol": atol, "dt": first, "dt_min": control.dt_min, "adaptive": True}


@final
class _Fields(nn.Module):
    """The term as torchsde takes one."""

    def __init__(self, term: SDE, method: str) -> None:
        super().__init__()
        self.drift, self.diffusion, self.structure = term.f, term.g, term.structure
        self.evaluations = 0
        ito = isinstance(term.sense, Ito)
        self.noise_type = "general"
        if isinstance(term.structure, DiagonalNoise) or term.structure == AdditiveNoise(diagonal=True):
            self.noise_type = "diagonal"
        elif isinstance(term.structure, ScalarNoise):
            self.noise_type = "scalar"
        elif isinstance(term.structure, AdditiveNoise):
            self.noise_type = "additive"
        if isinstance(term.structure, AdditiveNoise) and method != "milstein":  # both senses are one
            ito = method in _ITO
        self.sde_type = "ito" if ito else "stratonovich"

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift."""
        self.evaluations += 1
        return self.drift(t.to(y.dtype), y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion, which for scalar noise has one column."""
        value = self.diffusion(t.to(y.dtype), y)
        return value.unsqueeze(-1) if self.noise_type == "scalar" else value


def _path(base: type, path: Any, y0: Tensor) -> Any:
    """Our path as torchsde's Brownian motion; its base class is only known once torchsde is loaded."""
    levy = getattr(path, "levy", None)
    names = {"SpaceTime": "space-time", "SpaceTimeTime": "space-time", "Davie": "davie", "Foster": "foster"}

    class Path(base):
        asked = 0
        last = float("nan")
        dtype, device = y0.dtype, y0.device
        shape = (len(y0), *(tuple(path.shape) or (1,)))
        levy_area_approximation = names.get(type(levy).__name__, "none")

        def __repr__(self) -> str:
            return f"{type(self).__name__}({path!r})"

        def __call__(self, ta: Any, tb: Any, return_U: bool = False, return_A: bool = False) -> Any:
            start, end = float(ta), float(tb)
            self.asked, self.last = self.asked + 1, end - start
            made = path.increment(start, end)
            w = made.w.reshape(self.shape)
            parts = [w]
            if return_U:
                parts.append((end - start) * (w / 2 + made.h.reshape(self.shape)))
            if return_A:
                parts.append(made.area)
            return parts[0] if len(parts) == 1 else tuple(parts)

    return Path()


def _equal_step(grid: Any) -> float:
    """The step of a grid whose steps are equal, but for a shorter last one."""
    if isinstance(grid, Tensor):
        grid = grid.detach().tolist()
    sizes = [b - a for a, b in zip(grid, grid[1:], strict=False)]
    if sizes[0] < 0:
        raise ValueError(f"torchsde runs forwards only, got t0={grid[0]:g} and t1={grid[-1]:g}. {OURS}")
    slack = 1e-9 * sizes[0]
    if any(abs(size - sizes[0]) > slack for size in sizes[:-1]) or sizes[-1] > sizes[0] + slack:
        raise ValueError(f"torchsde takes equal steps, got steps from {min(sizes):g} to {max(sizes):g}. {OURS}")
    return sizes[0]


def _check(problem: Problem) -> None:
    term, y0 = problem.term, problem.y0
    if not isinstance(term, SDE) or isinstance(term.f, SemiLinear):
        name = "SDE(SemiLinear, ...)" if isinstance(term, SDE) else type(term).__name__
        raise TypeError(f"torchsde solves SDE(f, g, path, ...) terms with a function f, got {name}. {OURS}")
    if not isinstance(y0, Tensor) or y0.ndim != 2:
        got = f"shape {tuple(y0.shape)}" if isinstance(y0, Tensor) else "a tree"
        raise ValueError(f"torchsde takes a state of shape (batch, channel), got {got}. Flatten it. {OURS}")
    check_times("torchsde", problem)
