"""One solve whose gradient takes the steps again: what is differentiated, the solve itself, the states it returns.

The solve is the one that was asked for with its views taken off and every sample kept to the end, watched by a log of
its steps. What it returns is put back into the form that was asked for once autograd knows the states.
"""

from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.clock import Clock
from sciml.integrate.control import PID, Clip, Fixed, Times
from sciml.integrate.executors import Chunks
from sciml.integrate.fixed_grid import STEPS_BETWEEN_CHECKS
from sciml.integrate.flat import Flat, beside, first_leaf, flatten, leaves_of, map_leaves, map_rows
from sciml.integrate.gradient.captured import Captured, random_state, uncached_autocast
from sciml.integrate.gradient.replay import AbstractKeeper, Replay, State, StepLog, pick_rows, pick_times
from sciml.integrate.grid_plan import GridPlan
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Result, Solution, unwrapped
from sciml.integrate.wanted import wanted_on_grid, wanted_times


@final
@dataclass(eq=False)
class Job:
    """One solve and all that its gradient needs to know.

    Args:
        problem: as asked for.
        inner: as solved: without views, and without leaving samples out.
        clock: who shares steps.
        keeper, mode: see `replay_solve.solve_by_replay`.
        times: differentiable times: (grid,) of a fixed grid of tensors, (begin, end) per row of adaptive steps; then
            the times to keep, if any.
        plan: of a fixed grid.
    """

    problem: Problem
    inner: Problem
    clock: Clock
    keeper: AbstractKeeper
    mode: str
    times: tuple[Tensor, ...]
    plan: GridPlan | None
    replay: Replay = field(init=False)
    names: list[str] = field(default_factory=list)
    grid: Times | None = None
    has_wanted: bool = False

    @staticmethod
    def make(problem: Problem, keeper: AbstractKeeper, captured: Captured, mode: str) -> "Job":
        """Find the times that may get a gradient, and what to solve instead of `problem`."""
        save = replace(problem.save, t0=False, fn=None)
        control, executor = problem.control, problem.executor
        plan, grid, wanted = None, None, None
        batch = len(first_leaf(problem.y0))
        if isinstance(control, Fixed):
            grid = control.grid(problem.t0, problem.t1)
            plan = GridPlan.make(save, grid, problem.method, problem.structure)
            clock = problem._fixed_clock(grid, batch)
            if save.ts is not None and not plan.ts_steps:
                wanted = clock.turned_rows(wanted_on_grid(save.ts.to(problem.device), clock, grid))
            times: tuple[Tensor, ...] = (grid,) if isinstance(grid, Tensor) else ()
        else:
            pid = control.inner if isinstance(control, Clip) else control
            assert isinstance(pid, PID)
            whole = replace(pid, compact=False)
            control = replace(control, inner=whole) if isinstance(control, Clip) else whole
            clock, tau0, tau1 = problem._clock(pid, batch)
            times = (clock.to_rows(clock.turned(tau0)), clock.to_rows(clock.turned(tau1)))
            if clock.joint and any(t.requires_grad for t in times):
                executor = Chunks(1)  # a carry must hold times as tensors where these have gradients
            if save.ts is not None:
                tau = wanted_times(save.ts.to(problem.device), clock, tau0, tau1)
                wanted = clock.turned_rows(tau if tau.ndim == 1 else clock.to_rows(tau))
        if wanted is not None:
            times = (*times, wanted)
        # Views are made of its states before anything is raised, so that lost ones are put right.
        inner = replace(problem, save=save, control=control, executor=executor, throw=False)
        if captured.random:
            inner.method = _Seeded(problem.method, problem.device)
        job = Job(problem, inner, clock, keeper, mode, times, plan, grid=grid, has_wanted=wanted is not None)
        job.names = [name for name, on in (("t1", save.t1), ("ts", save.ts is not None), ("steps", save.every)) if on]
        kind = problem.device.type
        autocast = (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        job.replay = Replay(problem, [], captured, autocast)
        return job

    def swept(self) -> list[tuple[int, State]]:
        """The states to keep once more, for a second backward pass over the same graph."""
        problem, replay = self.problem, self.replay
        with torch.no_grad():
            y0 = map_leaves(torch.detach, problem.y0)
            state: State = (y0, problem.method.init(problem.term, replay.steps[0].t0, y0) if replay.steps else ())
            for n in range(len(replay.steps)):
                self.keeper.offer(n, state)
                state = replay.advance(n, state)
            self.keeper.end(state)
        return self.keeper.kept()

    def run(self) -> tuple[Solution, list[Tensor], list[tuple[int, State]]]:
        """The solution, its states as a flat list, and the states that were kept for the gradient."""
        inner, replay = self.inner, self.replay
        random = inner.method.states if isinstance(inner.method, _Seeded) else []
        log = StepLog(replace(inner, method=self.problem.method), self.clock, self.keeper, random)
        inner.watchers = [log]
        with uncached_autocast(*replay.autocast):
            solution = inner.run()
        inner.watchers = []
        self.problem.stopped = inner.stopped
        replay.steps = log.steps
        assert log.state is not None or not log.steps
        self.keeper.end(log.state if log.state is not None else (inner.y0, ()))
        kept = self.keeper.kept()
        if self.plan is not None:
            exact = solution.result == Result.NOT_CONVERGED
            kept = self._frozen(kept, inner.stopped[0], exact, log.state)  # type: ignore[arg-type]
        ys = solution.ys if len(self.names) > 1 else {self.names[0]: solution.ys}
        outputs = [leaf for name in self.names for leaf in leaves_of(flatten(ys[name])[0])]
        return replace(solution, ys=None), outputs, kept

    def _frozen(
        self, kept: list[tuple[int, State]], failed: Tensor, exact: Tensor, last: State
    ) -> list[tuple[int, State]]:
        """Rows that failed on a fixed grid stand still from the last check at which they were finite, or, where it is
        known at which step they failed (`exact`), from before it.

        What is kept of them later has only to be finite: no gradient passes through their masked steps.
        """
        if not bool((failed >= 0).any()):
            return kept
        assert self.plan is not None
        steps = self.replay.steps
        checks = sorted({0, *self.plan.wanted, *range(0, len(steps), STEPS_BETWEEN_CHECKS), len(steps)})
        table = torch.tensor(checks, device=failed.device)
        good = torch.where(failed >= 0, table[torch.searchsorted(table, failed).sub(1).clamp(min=0)], len(steps))
        good = torch.where(exact, failed - 1, good)
        for n, step in enumerate(steps):
            step.moved = n < good
            step.t1 = pick_times(step.moved, step.t1, step.t0, last[0])
        patched = []
        for n, (y, carry) in kept:
            y = map_leaves(lambda leaf, first, n=n: pick_rows(n <= good, leaf, first), y, self.inner.y0)
            carry = map_rows(lambda leaf, n=n: pick_rows(n <= good, leaf, torch.zeros_like(leaf)), carry)
            patched.append((n, (y, carry)))
        return patched

    def presented(self, solution: Solution, flat: tuple[Tensor, ...]) -> Solution:
        """The solution as the user asked for it, with the states that autograd knows."""
        problem, width = self.problem, len(leaves_of(self.problem.y0))
        given = solution.ts if len(self.names) > 1 else {self.names[0]: solution.ts}
        ts: dict[str, Any] = {}
        ys: dict[str, Any] = {}
        if problem.save.t0:
            ts["t0"] = problem.t0 if self.grid is None else self.grid[0]
            ys["t0"] = self._at(ts["t0"], problem.y0)
        for i, name in enumerate(self.names):
            leaves = flat[i * width : (i + 1) * width]
            states = leaves[0] if isinstance(problem.y0, Tensor) else tuple(leaves)
            ts[name] = given[name]
            if isinstance(self.grid, Tensor) and name == "t1":
                ts[name] = self.grid[-1]
            elif isinstance(self.grid, Tensor) and name == "steps":
                ts[name] = self.grid[self.plan.every_steps].movedim(0, -1)  # type: ignore[union-attr]
            ys[name] = self._at(ts[name], states) if name == "t1" else problem._at_times(states, ts[name])
        return replace(solution, ts=unwrapped(ts, ys)[0], ys=unwrapped(ts, ys)[1])

    def _at(self, t: float | Tensor, y: Flat) -> Any:
        leaf = first_leaf(y)
        return self.problem._viewed(beside(torch.as_tensor(t, dtype=torch.float64, device=leaf.device), leaf), y)


@final
@dataclass(eq=False)
class _Seeded(AbstractMethod):
    """A method whose steps write down the random numbers before them, for fields that draw some."""

    method: AbstractMethod
    device: torch.device
    states: list[list[Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in AbstractMethod.__annotations__:
            setattr(self, name, getattr(self.method, name))

    def init(self, term: Any, t0: Time, y0: Flat) -> Any:
        """See `AbstractMethod.init`."""
        return self.method.init(term, t0, y0)

    def slope(self, carry: Any) -> Flat:
        """See `AbstractMethod.slope`."""
        return self.method.slope(carry)

    def step(self, term: Any, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """See `AbstractMethod.step`."""
        self.states.append(random_state(self.device))
        return self.method.step(term, t0, t1, y, carry)

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """See `AbstractMethod.prepare_dense`."""
        return self.method.prepare_dense(term, t0, t1, y0, step)

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """See `AbstractMethod.interpolate`."""
        return self.method.interpolate(dense, t0, t1, theta)
