"""Gradients by taking the accepted steps again, one at a time, from the last to the first.

Forward, the solve runs without autograd; a log keeps the times of the accepted steps and a keeper what it needs to find
the states again. Backward, with a the gradient with respect to the state and its carry after step n, and g_n that of
what was kept inside the step,

    a_n = (d step_n / d (y, carry))^T a_(n+1) + (d kept_n / d (y, carry))^T g_n

and likewise for parameters and times, where one step at a time is recorded by autograd. All samples take part in all
steps; those that did not move in a step are masked.
"""

import abc
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.clock import Clock
from sciml.integrate.control import PID, Clip, Fixed, Times
from sciml.integrate.executors import Chunks
from sciml.integrate.fixed_grid import STEPS_BETWEEN_CHECKS
from sciml.integrate.flat import Flat, beside, first_leaf, flatten, leaves_of, map_leaves, map_rows, restore
from sciml.integrate.gradient.captured import (
    Captured,
    captured_by,
    random_state,
    set_random_state,
    uncached_autocast,
)
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.outputs import AbstractOutput
from sciml.integrate.problem import Problem, _Plan, _unwrapped
from sciml.integrate.solution import Solution

State = tuple[Flat, Any]
"""A state and what the method carries with it."""


class AbstractKeeper(abc.ABC):
    """Keeps what is needed of the states, and finds them again. One for every solve."""

    @abc.abstractmethod
    def offer(self, n: int, state: State) -> None:
        """See the state before step n, as the solve goes."""

    @abc.abstractmethod
    def end(self, state: State) -> None:
        """See the last state."""

    @abc.abstractmethod
    def kept(self) -> list[tuple[int, State]]:
        """What was kept, with the numbers of the steps before which it was found. Forgotten here."""

    @abc.abstractmethod
    def backwards(self, replay: "Replay", kept: list[tuple[int, State]]) -> Iterator[tuple[int, State]]:
        """The states before all steps, the last first."""


@final
@dataclass(eq=False)
class LoggedStep:
    """One step: its times, which rows moved and which came to a jump (None: all, and none), random numbers before."""

    t0: Time
    t1: Time
    moved: Tensor | None
    jumped: Tensor | None = None
    restart: Time | None = None
    random: list[Tensor] | None = None


@final
class StepLog(AbstractOutput):
    """Writes down every accepted step."""

    def __init__(self, problem: Problem, clock: Clock, keeper: AbstractKeeper, random: list[list[Tensor]]) -> None:
        self.term, self.method, self.clock, self.keeper = problem.term, problem.method, clock, keeper
        self.jumps = isinstance(problem.control, Clip) and problem.control.jumps is not None
        self.reads = problem.device.type == "cpu"
        self.random = random
        self.steps: list[LoggedStep] = []
        self.state: State | None = None

    def add(self, record: Any, last: bool) -> None:
        """See `AbstractOutput.add`."""
        attempt, random = record.attempt, self.random.pop(0) if self.random else None
        moved = self._moved(attempt.accept)
        if isinstance(moved, bool) and not moved:
            return
        if self.state is None:
            self.state = attempt.y0, self.method.init(self.term, attempt.t0, attempt.y0)
        y, carry = attempt.y0, self.state[1]
        self.keeper.offer(len(self.steps), (y, carry))
        logged = LoggedStep(attempt.t0, attempt.t1, None, random=random)
        if isinstance(moved, Tensor):
            logged.moved = moved
            logged.t1 = _where(moved, attempt.t1, attempt.t0, y)
        if self.jumps:
            self._log_jump(logged, record.after, attempt.t1)
        self.steps.append(logged)
        self.state = completed(self.term, self.method, logged, (y, carry), attempt.step)

    def _moved(self, accept: bool | Tensor) -> bool | Tensor:
        """Who moved: all, nobody, or one entry per row."""
        if isinstance(accept, bool):
            return accept
        if accept.ndim == 0 and not self.reads:
            return accept.expand(self.clock.rows)
        if self.reads:
            moved = int(accept.sum())
            if moved in (0, accept.numel()):
                return moved > 0
        return self.clock.to_rows(accept)

    def _log_jump(self, logged: LoggedStep, after: float | Tensor, t1: Time) -> None:
        """A step that does not go on where it ended came to a jump."""
        resumed = self.clock.turned_rows(self.clock.to_rows(torch.as_tensor(after, dtype=torch.float64)))
        ended = t1.reshape(resumed.shape) if isinstance(t1, Tensor) else torch.as_tensor(t1, dtype=torch.float64)
        jumped = (resumed != ended).expand(self.clock.rows)
        logged.jumped = jumped if logged.moved is None else jumped & logged.moved
        if self.reads and not bool(logged.jumped.any()):
            logged.jumped = None
        leaf = first_leaf(self.state[0])  # type: ignore[index]
        logged.restart = float(resumed) if isinstance(t1, float) else beside(resumed, leaf)

    def finish(self, y1: Flat) -> Any:
        """Nothing to put together."""
        return None

    def narrow(self, rows: Tensor) -> None:
        """Never called: no sample is left out."""
        raise NotImplementedError


def completed(term: Any, method: AbstractMethod, logged: LoggedStep, before: State, step: Step) -> State:
    """The state after a step: of those that moved; with a new carry where there was a jump."""
    y, carry = step.y, step.carry
    if logged.moved is not None:
        y = map_leaves(lambda new, old: _pick(logged.moved, new, old), y, before[0])
        carry = map_rows(lambda new, old: _pick(logged.moved, new, old), carry, before[1])
    if logged.jumped is not None:
        fresh = method.init(term, logged.restart, y)  # type: ignore[arg-type]
        carry = map_rows(lambda new, old: _pick(logged.jumped, new, old), fresh, carry)
    return y, carry


@final
@dataclass(eq=False)
class Replay:
    """A solve that can be taken again step by step.

    Args:
        problem: what was solved.
        steps: as logged.
        captured: what the right-hand side depends on.
        autocast: kind, whether on, and dtype.
    """

    problem: Problem
    steps: list[LoggedStep]
    captured: Captured
    autocast: tuple[str, bool, torch.dtype]

    def advance(self, n: int, state: State) -> State:
        """The state after step n, from the one before."""
        self.as_before(n)
        with torch.no_grad():
            return self._step(self.steps[n], state)[0]

    def taped(
        self,
        n: int,
        state: State,
        ends: tuple[Time, Time],
        wanted: Tensor | None,
        above: tuple[list[Tensor | None], list[Tensor | None], list[Tensor]],
        inputs: list[Tensor],
    ) -> list[Tensor | None]:
        """Gradients with respect to `inputs` of step n.

        Args:
            n: number of the step.
            state: before it.
            ends: its times, as recorded by autograd where they have gradients.
            wanted: times within it that were kept, (time,) or (batch, time), or None.
            above: gradients with respect to the new state, the new carry, and the values at `wanted`.
            inputs: tensors on which the result depends.
        """
        problem = self.problem
        self.as_before(n)
        with torch.enable_grad():
            logged = replace(self.steps[n], t0=ends[0], t1=ends[1])
            (y, carry), step = self._step(logged, state)
            outputs = [*leaves_of(y), *tensors_of(carry)]
            gradients = [*above[0], *above[1]]
            gradients += [None] * (len(outputs) - len(gradients))  # nothing depends on the last carry
            if wanted is not None:
                dense = problem.method.prepare_dense(problem.term, *ends, state[0], step)
                values = problem.method.interpolate(dense, *ends, _theta(wanted, *ends))
                outputs, gradients = [*outputs, *leaves_of(values)], [*gradients, *above[2]]
            return vjp(outputs, gradients, inputs)

    def start(self, begin: Time, y: Flat, above: list[Tensor | None], inputs: list[Tensor]) -> list[Tensor | None]:
        """Gradients with respect to `inputs` of the first carry."""
        if not any(gradient is not None for gradient in above):
            return [None] * len(inputs)
        with torch.enable_grad():
            carry = self.problem.method.init(self.problem.term, begin, y)
            return vjp(tensors_of(carry), above, inputs)

    def _step(self, logged: LoggedStep, state: State) -> tuple[State, Step]:
        method, term = self.problem.method, self.problem.term
        step = method.step(term, logged.t0, logged.t1, *state)
        return completed(term, method, logged, state, step), step

    def fresh(self, n: int, state: State) -> State:
        """The state cut off from what came before, ready to be differentiated."""
        y, carry = state
        if _has_others(carry):  # such as tables, which depend on parameters: made anew, recorded by autograd
            with torch.enable_grad():
                anew = self.problem.method.init(self.problem.term, self.steps[n].t0, y)
            carry = _with_others(carry, anew)
        return map_leaves(_leaf, y), map_rows(_leaf, carry)

    def as_before(self, n: int) -> None:
        """Random numbers as they were before step n."""
        states = self.steps[n].random
        if states is not None:
            set_random_state(self.problem.device, states)


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


# The solve


def solve_by_replay(problem: Problem, keeper: AbstractKeeper, mode: str) -> Solution:
    """Solve without autograd, so that the gradient takes the steps again.

    Args:
        problem: what to solve.
        keeper: finds the states again.
        mode: name of the gradient, for errors.

    Raises:
        ValueError: if dense output is asked for, or a tensor's gradient would be lost.
    """
    if problem.save.dense:
        raise ValueError(
            f"{mode} keeps no dense output, which would hold every step. Name the times as SaveAt(ts=...), or take "
            "gradient=Direct()."
        )
    if not torch.is_grad_enabled() or not (problem.save.t1 or problem.save.ts is not None or problem.save.every):
        return problem.run()
    captured = captured_by(problem, mode)
    job = _Job.make(problem, keeper, captured, mode)
    inputs = (*leaves_of(problem.y0), *job.times, *captured.tensors)
    if not any(tensor.requires_grad for tensor in inputs):
        return problem.run()
    box: list[Solution] = []
    flat = _Function.apply(job, box, *inputs)
    return job.presented(box[0], flat)


@final
class _Function(torch.autograd.Function):
    """States kept of a solve as a function of all that it depends on."""

    @staticmethod
    def forward(ctx: Any, job: "_Job", box: list[Solution], *inputs: Tensor) -> tuple[Tensor, ...]:
        solution, outputs, kept = job.run()
        box.append(solution)
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        ctx.job, ctx.kept = job, [(n, map_rows(torch.detach, state)) for n, state in kept]
        ctx.versions = _versions(ctx.kept)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:  # type: ignore[override]
        job: _Job = ctx.job
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"{job.mode} cannot be differentiated twice, got create_graph=True. Take gradient=Direct() or "
                "Quadrature()."
            )
        inputs = list(ctx.saved_tensors)
        kept, ctx.kept = ctx.kept, None  # so that their places are free once they were used
        if kept is not None and _versions(kept) != ctx.versions:
            raise RuntimeError(
                f"a state that {job.mode} needs has been modified by an inplace operation. Change a clone of the "
                "solution instead."
            )
        needs = ctx.needs_input_grad[2:]
        devices = [job.problem.device] if job.problem.device.type == "cuda" else []
        replay = job.replay
        with (
            torch.random.fork_rng(devices),
            uncached_autocast(*replay.autocast),
            _without_hooks(replay.captured.tensors),
        ):
            kept = job.swept() if kept is None else kept
            return None, None, *_Backward(job, inputs, needs, list(gradients), kept).run()


def _versions(kept: list[tuple[int, State]]) -> list[int]:
    """How often each tensor was changed in place."""
    return [tensor._version for _, state in kept for tensor in tensors_of(state)]


@final
@dataclass(eq=False)
class _Job:
    """One solve and all that its gradient needs to know.

    Args:
        problem: as asked for.
        inner: as solved: without views, and without leaving samples out.
        clock: who shares steps.
        keeper, mode: see `solve_by_replay`.
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
    plan: _Plan | None
    replay: Replay = field(init=False)
    names: list[str] = field(default_factory=list)
    grid: Times | None = None
    has_wanted: bool = False

    @staticmethod
    def make(problem: Problem, keeper: AbstractKeeper, captured: Captured, mode: str) -> "_Job":
        save = replace(problem.save, t0=False, fn=None)
        control, executor = problem.control, problem.executor
        plan, grid, wanted = None, None, None
        batch = len(first_leaf(problem.y0))
        if isinstance(control, Fixed):
            grid = control.grid(problem.t0, problem.t1)
            plan = _Plan.make(save, grid, problem.method, problem.structure)
            clock = problem._fixed_clock(grid, batch)
            if save.ts is not None and not plan.ts_steps:
                wanted = save.ts.to(problem.device, torch.float64)
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
                tau = problem._wanted(save.ts, clock, tau0, tau1)
                wanted = clock.turned_rows(tau if tau.ndim == 1 else clock.to_rows(tau))
        if wanted is not None:
            times = (*times, wanted)
        inner = replace(problem, save=save, control=control, executor=executor)
        if captured.random:
            inner.method = _Seeded(problem.method, problem.device)
        job = _Job(problem, inner, clock, keeper, mode, times, plan, grid=grid, has_wanted=wanted is not None)
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
            kept = self._frozen(kept, inner.stopped[0], log.state)  # type: ignore[arg-type]
        ys = solution.ys if len(self.names) > 1 else {self.names[0]: solution.ys}
        outputs = [leaf for name in self.names for leaf in leaves_of(flatten(ys[name])[0])]
        return replace(solution, ys=None), outputs, kept

    def _frozen(self, kept: list[tuple[int, State]], failed: Tensor, last: State) -> list[tuple[int, State]]:
        """Rows that failed on a fixed grid stand still from the last check at which they were finite.

        What is kept of them later has only to be finite: no gradient passes through their masked steps.
        """
        if not bool((failed >= 0).any()):
            return kept
        assert self.plan is not None
        steps = self.replay.steps
        checks = sorted({0, *self.plan.wanted, *range(0, len(steps), STEPS_BETWEEN_CHECKS), len(steps)})
        table = torch.tensor(checks, device=failed.device)
        good = torch.where(failed >= 0, table[torch.searchsorted(table, failed).sub(1).clamp(min=0)], len(steps))
        for n, step in enumerate(steps):
            step.moved = n < good
            step.t1 = _where(step.moved, step.t1, step.t0, last[0])
        patched = []
        for n, (y, carry) in kept:
            y = map_leaves(lambda leaf, first, n=n: _pick(n <= good, leaf, first), y, self.inner.y0)
            carry = map_rows(lambda leaf, n=n: _pick(n <= good, leaf, torch.zeros_like(leaf)), carry)
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
        return replace(solution, ts=_unwrapped(ts, ys)[0], ys=_unwrapped(ts, ys)[1])

    def _at(self, t: float | Tensor, y: Flat) -> Any:
        leaf = first_leaf(y)
        if self.problem.save.fn is None:
            return restore(y, self.problem.structure)
        return self.problem._viewed(beside(torch.as_tensor(t, dtype=torch.float64, device=leaf.device), leaf), y)


@final
class _Backward:
    """One backward pass.

    Args:
        job: the solve.
        inputs: of the function.
        needs: which of them need a gradient.
        gradients: with respect to its outputs.
        kept: states that were kept.
    """

    def __init__(
        self,
        job: _Job,
        inputs: list[Tensor],
        needs: tuple[bool, ...],
        gradients: list[Tensor | None],
        kept: list[tuple[int, State]],
    ) -> None:
        self.job, self.replay, self.clock = job, job.replay, job.clock
        self.width = len(leaves_of(job.problem.y0))
        self.y0 = inputs[: self.width]
        self.times = inputs[self.width : self.width + len(job.times)]
        self.needs, self.kept = needs, kept
        self.captured = [t for t in job.replay.captured.tensors if t.requires_grad]
        self.total: list[Tensor | None] = [None] * len(self.captured)
        self.time_total: list[Tensor | None] = [None] * len(self.times)
        grads = {name: gradients[i * self.width : (i + 1) * self.width] for i, name in enumerate(job.names)}
        self.rows, self.device = len(self.y0[0]), self.y0[0].device
        self.differentiable = [t.requires_grad for t in job.times]
        self._place(grads)
        self._mark_ends()

    def run(self) -> list[Tensor | None]:
        """Gradients with respect to all inputs."""
        above: list[Tensor | None] = [None] * self.width
        above_carry: list[Tensor | None] = []
        above = self._with_kept(len(self.replay.steps), above)
        for n, state in self.job.keeper.backwards(self.replay, self.kept):
            above, above_carry = self._back(n, state, above, above_carry)
            above = self._with_kept(n, above)
        above = self._first_carry(above, above_carry)
        above = [_plus(a, g) for a, g in zip(above, self.direct, strict=True)]
        gradients = [*above, *self.time_total, *self.total]
        return [g if need else None for g, need in zip(gradients, self.needs, strict=True)]

    def _back(
        self, n: int, state: State, above: list[Tensor | None], above_carry: list[Tensor | None]
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Gradients with respect to the state and carry before step n; parameters and times are added up."""
        state = self.replay.fresh(n, state)
        y, carry = leaves_of(state[0]), [t for t in tensors_of(state[1]) if t.requires_grad]
        whole = [t.requires_grad for t in tensors_of(state[1])]
        with torch.enable_grad():
            ends, leaves = self._ends(n, first_leaf(state[0]))
        wanted, wanted_leaf, values = self._wanted(n)
        times = [leaf for _, leaf in leaves] + ([wanted_leaf] if wanted_leaf is not None else [])
        inputs = [*y, *carry, *times, *self.captured]
        found = self.replay.taped(n, state, ends, wanted, (above, above_carry, values), inputs)
        place = len(y) + len(carry)
        for (put, _), gradient in zip(leaves, found[place : place + len(leaves)], strict=True):
            if gradient is not None:
                put(gradient)
        if wanted_leaf is not None and (gradient := found[place + len(leaves)]) is not None:
            self._add_time(-1, gradient)
        rest = found[place + len(times) :]
        self.total = [_plus(a, g) for a, g in zip(self.total, rest, strict=True)]
        of_carry = iter(found[len(y) : place])
        return found[: len(y)], [next(of_carry) if one else None for one in whole]

    def _first_carry(self, above: list[Tensor | None], above_carry: list[Tensor | None]) -> list[Tensor | None]:
        if not self.replay.steps:
            return above
        y = [_leaf(t) for t in self.y0]
        flat = y[0] if self.job.problem.structure is None else tuple(y)
        with torch.enable_grad():
            (begin, _), leaves = self._ends(0, y[0])
        found = self.replay.start(begin, flat, above_carry, [*y, *(leaf for _, leaf in leaves), *self.captured])
        for (put, _), gradient in zip(leaves, found[len(y) : len(y) + len(leaves)], strict=True):
            if gradient is not None:
                put(gradient)
        rest = found[len(y) + len(leaves) :]
        self.total = [_plus(a, g) for a, g in zip(self.total, rest, strict=True)]
        return [_plus(a, g) for a, g in zip(above, found[: len(y)], strict=True)]

    # Times

    def _mark_ends(self) -> None:
        """Rows for which a step is the first, or the last that ends at t1."""
        self.first: list[Any] = []
        self.final: list[Any] = []
        if self.job.grid is not None or not any(self.differentiable[:2]):
            return
        begun = torch.zeros(self.rows, dtype=torch.bool, device=self.device)
        everyone = ~begun
        end = self.times[1].detach()
        for step in self.replay.steps:
            moved = everyone if step.moved is None else step.moved
            self.first.append(~begun)
            t1 = step.t1.reshape(-1) if isinstance(step.t1, Tensor) else step.t1
            self.final.append(moved & (t1 == end))
            begun = begun | moved

    def _ends(self, n: int, leaf: Tensor) -> tuple[tuple[Time, Time], list[tuple[Any, Tensor]]]:
        """The times of a step, and for those with gradients where to put these and what to differentiate by."""
        step = self.replay.steps[n]
        ends: list[Time] = [step.t0, step.t1]
        leaves = []
        if isinstance(self.job.grid, Tensor):
            if self.differentiable[0]:
                for side in (0, 1):
                    value = _leaf(self.times[0][n + side])
                    moved = beside(value, leaf)
                    ends[side] = moved if step.moved is None or side == 0 else _where(step.moved, moved, ends[0], leaf)
                    leaves.append((lambda g, at=n + side: self._add_grid(at, g), value))
        elif self.first:
            for side, rows in ((0, self.first[n]), (1, self.final[n])):
                if self.differentiable[side] and bool(rows.any()):
                    value = _leaf(self.times[side])
                    if value.ndim == 0:
                        ends[side] = value
                    else:
                        ends[side] = _where(rows, beside(value, leaf), ends[side], leaf)
                    leaves.append((lambda g, at=side: self._add_time(at, g), value))
        return (ends[0], ends[1]), leaves

    def _add_time(self, place: int, gradient: Tensor) -> None:
        self.time_total[place] = _plus(self.time_total[place], gradient)

    def _add_grid(self, n: int, gradient: Tensor) -> None:
        if self.time_total[0] is None:
            self.time_total[0] = torch.zeros_like(self.times[0])
        self.time_total[0][n] += gradient

    # What was kept

    def _place(self, grads: dict[str, list[Tensor | None]]) -> None:
        """Find for every kept value the step inside which, or after which, it was taken."""
        self.direct: list[Tensor | None] = [None] * self.width
        self.after: dict[int, list[tuple[Any, list[Tensor | None]]]] = {}
        self.within: dict[int, list[int]] = {}
        self.step_of: Tensor | None = None
        self.ts_grads: list[Tensor | None] = []
        job, last = self.job, len(self.replay.steps)
        if "t1" in grads:
            self.after.setdefault(last, []).append((None, grads["t1"]))
        if "ts" in grads and job.has_wanted:
            self._place_times(grads["ts"])
        elif "ts" in grads:
            assert job.plan is not None
            self._place_columns(job.plan.ts_steps, grads["ts"])
        if "steps" in grads:
            if job.plan is not None:
                self._place_columns(job.plan.every_steps, grads["steps"])
            else:
                self._place_every(grads["steps"])

    def _place_columns(self, steps: list[int], grads: list[Tensor | None]) -> None:
        for j, n in enumerate(steps):
            self.after.setdefault(n, []).append((None, [None if g is None else g[:, j] for g in grads]))

    def _place_every(self, grads: list[Tensor | None]) -> None:
        """Each row's every n-th accepted step."""
        everyone = torch.ones(self.rows, dtype=torch.bool, device=self.device)
        moved = torch.stack([everyone if s.moved is None else s.moved for s in self.replay.steps], dim=1)
        number = moved.cumsum(1)
        every = self.job.problem.save.every
        assert every is not None
        taken = (moved & (number % every == 0)).cpu()
        column = (number // every - 1).cpu()
        for n in taken.any(0).nonzero()[:, 0].tolist():
            for j in column[taken[:, n], n].unique().tolist():
                rows = (taken[:, n] & (column[:, n] == j)).to(self.device)
                self.after.setdefault(n + 1, []).append((rows, [None if g is None else g[:, j] for g in grads]))

    def _place_times(self, grads: list[Tensor | None]) -> None:
        """Times within steps: the step each row passes them in, -1 where no time has passed yet."""
        sign = self.clock.sign
        sign = self.clock.to_rows(sign)[:, None] if isinstance(sign, Tensor) else sign
        wanted = (sign * self.times[-1].detach()).expand(self.rows, -1).contiguous()
        times = [self.replay.steps[0].t0, *(step.t1 for step in self.replay.steps)] if self.replay.steps else []
        flat = [
            torch.as_tensor(t, dtype=torch.float64, device=self.device).reshape(-1).expand(self.rows) for t in times
        ]
        ends = sign * torch.stack(flat, dim=1)
        # A row that stands still passes nothing, so that the first of equal times is the end of the step.
        self.step_of = torch.searchsorted(ends.contiguous(), wanted) - 1
        self.ts_grads = grads
        count = len(self.replay.steps)
        for j, steps in enumerate(self.step_of.T.cpu().unbind()):
            for n in steps.unique().tolist():
                if 0 <= n < count:
                    self.within.setdefault(n, []).append(j)
        none_passed = self.step_of < 0
        self.direct = [None if g is None else _kept_only(none_passed, g).sum(1) for g in grads]

    def _wanted(self, n: int) -> tuple[Tensor | None, Tensor | None, list[Tensor]]:
        """Times kept within step n, what to differentiate them by, and the gradients of the values."""
        columns = self.within.get(n)
        if columns is None or all(g is None for g in self.ts_grads):
            return None, None, []
        assert self.step_of is not None
        times, leaf = self.times[-1], None
        if self.differentiable[-1]:
            times = leaf = _leaf(times)
        hit = self.step_of[:, columns] == n
        step = self.replay.steps[n]
        with torch.enable_grad():
            wanted = times[..., columns]
            if not bool(hit.all()):
                start = torch.as_tensor(step.t0, dtype=torch.float64, device=self.device).reshape(-1, 1)
                wanted = torch.where(hit, wanted, start)
        values = [
            _kept_only(hit, g[:, columns]) if g is not None else y.new_zeros(self.rows, len(columns), *y.shape[1:])
            for g, y in zip(self.ts_grads, self.y0, strict=True)
        ]
        return wanted, leaf, values

    def _with_kept(self, n: int, above: list[Tensor | None]) -> list[Tensor | None]:
        """Add the gradients of states kept before step n."""
        for rows, grads in self.after.get(n, ()):
            for i, gradient in enumerate(grads):
                if gradient is not None:
                    above[i] = _plus(above[i], gradient if rows is None else _kept_only(rows, gradient))
        return above


# Small things


def vjp(outputs: list[Tensor], gradients: list[Tensor | None], inputs: list[Tensor]) -> list[Tensor | None]:
    """Sum of gradients times derivatives, for outputs of which some may not depend on anything."""
    pairs = [(o, g) for o, g in zip(outputs, gradients, strict=False) if g is not None and o.requires_grad]
    if not pairs or not inputs:
        return [None] * len(inputs)
    return list(torch.autograd.grad([o for o, _ in pairs], inputs, [g for _, g in pairs], allow_unused=True))


def tensors_of(carry: Any) -> list[Tensor]:
    """The tensors of a carry."""
    found: list[Tensor] = []
    map_rows(lambda tensor: found.append(tensor) or tensor, carry)
    return found


def _has_others(carry: Any) -> bool:
    """Whether a carry holds more than tensors and numbers."""
    if isinstance(carry, tuple):
        return any(_has_others(part) for part in carry)
    return not isinstance(carry, Tensor | int | float | None)


def _with_others(carry: Any, anew: Any) -> Any:
    """`carry` with everything that is neither tensor nor number from `anew`."""
    if isinstance(carry, tuple) and _has_others(carry):
        parts = [_with_others(a, b) for a, b in zip(carry, anew, strict=True)]
        return type(carry)(*parts) if hasattr(carry, "_fields") else tuple(parts)
    return anew if _has_others(carry) else carry


def _leaf(tensor: Tensor) -> Tensor:
    """The same values, from which autograd starts."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor
    return tensor.detach().requires_grad_()


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _pick(rows: Any, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(beside(rows, yes), yes, no)


def _kept_only(mask: Tensor, gradient: Tensor) -> Tensor:
    """The gradient where the mask (leading axes) is true; 0 elsewhere, also where it is not finite."""
    return torch.where(mask.reshape(*mask.shape, *[1] * (gradient.ndim - mask.ndim)), gradient, 0)


def _where(rows: Tensor, yes: Time, no: Time, y: Any) -> Tensor:
    """Times of some rows and of the others, as methods take them."""
    leaf = first_leaf(y)
    mask = beside(rows, leaf)
    yes, no = (torch.as_tensor(t, dtype=torch.float64, device=leaf.device) for t in (yes, no))
    return torch.where(mask, yes, no)


def _theta(wanted: Tensor, t0: Time, t1: Time) -> Tensor:
    """Times as parts of the step, 0 for rows that stand still."""
    if not isinstance(t0, Tensor) and not isinstance(t1, Tensor):
        return (wanted - t0) / (t1 - t0)
    start, end = (torch.as_tensor(t, dtype=torch.float64, device=wanted.device) for t in (t0, t1))
    start, end = (t.reshape(-1, 1) if t.ndim else t for t in (start, end))
    return (wanted - start) / torch.where(end != start, end - start, 1.0)


@contextlib.contextmanager
def _without_hooks(tensors: tuple[Tensor, ...]) -> Iterator[None]:
    """Hooks of leaves see the whole gradient, once, and not the part of every step."""
    hooked = [(t, t._backward_hooks) for t in tensors if t.is_leaf and t._backward_hooks]
    for tensor, _ in hooked:
        tensor._backward_hooks = None
    try:
        yield
    finally:
        for tensor, hooks in hooked:
            tensor._backward_hooks = hooks
