"""Accepted steps, written down as a solve goes and taken again one at a time, from the last to the first.

Forward, the solve runs without autograd; a log keeps the times of the accepted steps and a keeper what it needs to find
the states again. Backward, with a the gradient with respect to the state and its carry after step n, and g_n that of
what was kept inside the step,

    a_n = (d step_n / d (y, carry))^T a_(n+1) + (d kept_n / d (y, carry))^T g_n

and likewise for parameters and times, where one step at a time is recorded by autograd. All samples take part in all
steps; those that did not move in a step are masked.
"""

import abc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.clock import Clock
from sciml.integrate.control import Clip
from sciml.integrate.flat import Flat, beside, first_leaf, leaves_of, map_leaves, map_rows
from sciml.integrate.gradient.captured import Captured, set_random_state
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.outputs import AbstractOutput
from sciml.integrate.problem import Problem

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
    """Writes down every accepted step.

    It has no `narrow`: samples are left out only with `PID(compact=True)`, and `Job` solves with `compact=False`, as a
    step that is taken again is one of the whole batch.
    """

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
            logged.t1 = pick_times(moved, attempt.t1, attempt.t0, y)
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


def completed(term: Any, method: AbstractMethod, logged: LoggedStep, before: State, step: Step) -> State:
    """The state after a step: of those that moved; with a new carry where there was a jump."""
    y, carry = step.y, step.carry
    if logged.moved is not None:
        y = map_leaves(lambda new, old: pick_rows(logged.moved, new, old), y, before[0])
        carry = map_rows(lambda new, old: pick_rows(logged.moved, new, old), carry, before[1])
    if logged.jumped is not None:
        fresh = method.init(term, logged.restart, y)  # type: ignore[arg-type]
        carry = map_rows(lambda new, old: pick_rows(logged.jumped, new, old), fresh, carry)
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
        return map_leaves(as_leaf, y), map_rows(as_leaf, carry)

    def as_before(self, n: int) -> None:
        """Random numbers as they were before step n."""
        states = self.steps[n].random
        if states is not None:
            set_random_state(self.problem.device, states)


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


def as_leaf(tensor: Tensor) -> Tensor:
    """The same values, from which autograd starts."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor
    return tensor.detach().requires_grad_()


def pick_rows(rows: Any, yes: Tensor, no: Tensor) -> Tensor:
    """One tensor in some rows, the other in the others."""
    return torch.where(beside(rows, yes), yes, no)


def pick_times(rows: Tensor, yes: Time, no: Time, y: Any) -> Tensor:
    """Times of some rows and of the others, as methods take them."""
    leaf = first_leaf(y)
    mask = beside(rows, leaf)
    yes, no = (torch.as_tensor(t, dtype=torch.float64, device=leaf.device) for t in (yes, no))
    return torch.where(mask, yes, no)


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


def _theta(wanted: Tensor, t0: Time, t1: Time) -> Tensor:
    """Times as parts of the step, 0 for rows that stand still."""
    if not isinstance(t0, Tensor) and not isinstance(t1, Tensor):
        return (wanted - t0) / (t1 - t0)
    start, end = (torch.as_tensor(t, dtype=torch.float64, device=wanted.device) for t in (t0, t1))
    start, end = (t.reshape(-1, 1) if t.ndim else t for t in (start, end))
    return (wanted - start) / torch.where(end != start, end - start, 1.0)
