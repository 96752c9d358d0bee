"""Gradients by taking reversible steps back: only the end of the solve is stored."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.core.checks import check_positive
from sciml.integrate.control import Clip
from sciml.integrate.flat import Flat, leaves_of, map_leaves, map_rows
from sciml.integrate.gradient.base import AbstractGradient
from sciml.integrate.gradient.replay import AbstractKeeper, Replay, State, pick_rows
from sciml.integrate.gradient.replay_solve import solve_by_replay
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Result, Solution, SolveError


@final
@dataclass(frozen=True)
class Reversible(AbstractGradient):
    """Steps are taken back from the end: the gradients of `Direct` in memory that does not grow with their number.

    For methods with `step_back` only, such as `Reversibly(method)`. What gradients reach and what is refused is as with
    `Checkpoint`.

    Rounding grows on the way back. Whether it returns to y0 is only known in the backward pass, so that is where
    failure is raised: as a `SolveError` that names the sample, and the time at which the way back was no longer finite.
    No gradient is returned then, whatever `throw` was.

    Args:
        rtol: how far from y0 the way back may end, relative to the larger of y0 and the final state (root mean squares
            of each sample), [1]; by default the square root of the rounding of the state.

    Raises:
        ValueError: unless `rtol` is positive.
    """

    rtol: float | None = None

    def __post_init__(self) -> None:
        if self.rtol is not None:
            check_positive("rtol", self.rtol)

    def solve(self, problem: Problem) -> Solution:
        """See `AbstractGradient.solve`.

        Raises:
            TypeError: if the steps of the method cannot be taken back.
            ValueError: if there are jumps, which forget where they came from.
        """
        name = type(problem.method).__name__
        if not problem.method.reversible:
            raise TypeError(
                f"Reversible needs a method whose steps can be taken back, got {name}. Use Reversibly({name}()), or "
                "gradient=Checkpoint()."
            )
        if isinstance(problem.control, Clip) and problem.control.jumps is not None:
            raise ValueError("Reversible cannot go back over jumps, got Clip(jumps=...). Use gradient=Checkpoint().")
        return solve_by_replay(problem, _End(self.rtol), "Reversible")


@final
class _End(AbstractKeeper):
    """Stores the last state."""

    def __init__(self, rtol: float | None) -> None:
        self.rtol = rtol
        self.last: list[tuple[int, State]] = []
        self.count = 0

    def offer(self, n: int, state: State) -> None:
        """See `AbstractKeeper.offer`."""
        self.count = n + 1

    def end(self, state: State) -> None:
        """See `AbstractKeeper.end`."""
        self.last = [(self.count, state)]

    def kept(self) -> list[tuple[int, State]]:
        """See `AbstractKeeper.kept`."""
        last, self.last = self.last, []
        return last

    def backwards(self, replay: Replay, kept: list[tuple[int, State]]) -> Iterator[tuple[int, State]]:
        """See `AbstractKeeper.backwards`."""
        ((count, state),) = kept
        end = state[0]
        lost = torch.full((len(leaves_of(end)[0]),), -1, device=leaves_of(end)[0].device)
        for n in reversed(range(count)):
            state = _back(replay, n, state)
            lost = torch.where((lost < 0) & ~torch.isfinite(_size(state[0])), n, lost)
            if n == 0:
                self._check(replay, state[0], end, lost)
            yield n, state

    def _check(self, replay: Replay, y: Flat, end: Flat, lost: Tensor) -> None:
        """Raise unless the way back returned to y0."""
        y0 = map_leaves(torch.detach, replay.problem.y0)
        leaf = leaves_of(y0)[0]
        rtol = self.rtol or torch.finfo(leaf.dtype).eps ** 0.5
        scale = torch.maximum(_size(y0), _size(end))
        off = _size(map_leaves(torch.sub, y, y0)) / scale.clamp(min=torch.finfo(leaf.dtype).tiny)
        bad = ~(off <= rtol)
        if not bool(bad.any()):
            return
        samples = bad.nonzero()[:, 0].tolist()
        first = samples[0]
        n = max(int(lost[first]), 0)
        t = torch.as_tensor(replay.steps[n].t0).detach().reshape(-1).cpu()
        when = float(t[first] if len(t) > 1 else t[0])
        raise SolveError(
            f"the way back failed for {len(samples)} of {len(bad)} samples (samples {samples[:8]}"
            f"{'...' if len(samples) > 8 else ''}); the first is sample {first}, which came to t={when:g} with a "
            f"relative error of {float(off[first]):.1e} (allowed: {rtol:.1e}): {Result.NOT_REVERSIBLE.text}."
        )


def _back(replay: Replay, n: int, state: State) -> State:
    """The state before step n."""
    step, problem = replay.steps[n], replay.problem
    replay.as_before(n)
    with torch.no_grad():
        y, carry = problem.method.step_back(problem.term, step.t0, step.t1, *state)
    if step.moved is None:
        return y, carry
    pick = functools.partial(pick_rows, step.moved)
    return map_leaves(pick, y, state[0]), map_rows(pick, carry, state[1])


def _size(y: Any) -> Tensor:
    """Root mean square of each sample."""
    parts = [leaf.abs().square().flatten(1) for leaf in leaves_of(y)]
    return torch.cat(parts, dim=1).mean(dim=1).sqrt()
