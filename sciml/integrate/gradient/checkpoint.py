"""Gradients from few stored states: binomial checkpointing of a number of steps that is not known beforehand.

Let cap(c, r) = C(c + r - 1, r) be the number of steps that c stored states serve if no step is taken more than r times
before the one time it is recorded by autograd: cap(c, 1) = c. Because

    cap(c, r) = cap(c, r - 1) + cap(c - 1, r - 1) + ... + cap(1, r - 1),

segment j = 0, 1, ... of the steps has length cap(c - j, r - 1), and the states at the starts of segments are stored. If
more steps come than cap(c, r), they form the first segment of the layout for r + 1: all its inner states are dropped.
Backward, the last segment comes first; within it the same is done with the places that are free by then.

Source: Griewank & Walther (2000), ACM Trans. Math. Softw. 26, 19-45 (the bound); Stumm & Walther (2010), SIAM J. Sci.
Comput. 32, 836-854 (the idea to choose states as the steps come). The segments are ours.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

from sciml.core.checks import check_whole
from sciml.integrate.control import Fixed
from sciml.integrate.gradient.base import AbstractGradient
from sciml.integrate.gradient.replay import AbstractKeeper, Replay, State
from sciml.integrate.gradient.replay_solve import solve_by_replay
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Solution

_BUDGET = 45
"""Stored states by default: enough for 1035 steps at two repetitions."""


@final
@dataclass(frozen=True)
class Checkpoint(AbstractGradient):
    """Steps are taken again from few stored states: the gradients of `Direct`, in far less memory.

    A solve of N steps stores at most `budget` states. With `budget` 45 no step of 1035 is computed more than 3 times in
    all, and of 16215 no more than 4 times.

    Gradients reach y0, t0, t1, save.ts, `params`, the tensors of the term, and parameters of all modules the field
    reaches: the field is a module or a bound method of one, or holds one in a closure, a global name, a default
    argument, a partial, an attribute, a list or a dict. Other tensors that require a gradient are refused by name;
    they are found by one evaluation of the field at the start. Gradients of times are as with `Direct`.

    Random numbers and autocast are the same whenever a step is taken again (but numbers drawn in stages that only the
    dense output needs are new ones). Finished samples are not left out.

    Args:
        budget: states to store, y0 included, at least 2. By default 45, on a fixed grid as many as make no step be
            computed more than 3 times.

    Raises:
        ValueError: if the budget is below 2.
    """

    budget: int | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            check_whole("budget", self.budget, 2)

    def solve(self, problem: Problem) -> Solution:
        """See `AbstractGradient.solve`."""
        return solve_by_replay(problem, _Anchors(self.budget or _default_budget(problem)), "Checkpoint")


def _default_budget(problem: Problem) -> int:
    if not isinstance(problem.control, Fixed):
        return _BUDGET
    steps = len(problem.control.grid(problem.t0, problem.t1)) - 1
    return max(2, math.ceil((math.sqrt(8 * steps + 1) - 1) / 2))


def capacity(states: int, repetitions: int) -> int:
    """cap(c, r): steps that `states` stored states serve with `repetitions`."""
    return math.comb(states + repetitions - 1, repetitions)


@final
class _Anchors(AbstractKeeper):
    """Stores the states at the starts of segments."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.repetitions, self.next = 1, 0
        self.anchors: list[tuple[int, State]] = []

    def offer(self, n: int, state: State) -> None:
        """See `AbstractKeeper.offer`."""
        if n < self.next:
            return
        if len(self.anchors) == self.budget:
            self.anchors = self.anchors[:1]
            self.repetitions += 1
        self.anchors.append((n, state))
        free = self.budget - len(self.anchors) + 1
        self.next = n + capacity(free, self.repetitions - 1)

    def end(self, state: State) -> None:
        """See `AbstractKeeper.end`."""

    def kept(self) -> list[tuple[int, State]]:
        """See `AbstractKeeper.kept`."""
        anchors, self.anchors = self.anchors, []
        self.repetitions, self.next = 1, 0
        return anchors

    def backwards(self, replay: Replay, kept: list[tuple[int, State]]) -> Iterator[tuple[int, State]]:
        """See `AbstractKeeper.backwards`."""
        return backwards(kept, len(replay.steps), self.budget, replay.advance)


def backwards(
    anchors: list[tuple[int, Any]], end: int, states: int, advance: Callable[[int, Any], Any]
) -> Iterator[tuple[int, Any]]:
    """(n, state before step n) for all steps from the first anchor to `end`, the last first.

    Args:
        anchors: (n, state) at the starts of segments; emptied.
        end: number of steps.
        states: how many may be stored at a time, the anchors included.
        advance: (n, state before step n) -> state after it.
    """
    while anchors:
        free = states - len(anchors) + 1
        start, state = anchors.pop()
        if end - start == 1:
            yield start, state
        elif end > start:
            inner = _inner_anchors(start, state, end - start, free, advance)
            del state
            yield from backwards(inner, end, free, advance)
        end = start


def _inner_anchors(
    start: int, state: Any, length: int, states: int, advance: Callable[[int, Any], Any]
) -> list[tuple[int, Any]]:
    """The states at the starts of the segments of a segment."""
    repetitions = 1
    while capacity(states, repetitions) < length:
        repetitions += 1
    anchors = [(start, state)]
    n, end = start, start + length
    while (stop := n + capacity(states - len(anchors) + 1, repetitions - 1)) < end:
        for i in range(n, stop):
            state = advance(i, state)
        anchors.append((stop, state))
        n = stop
    return anchors
