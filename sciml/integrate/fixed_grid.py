"""Stepping along a given grid, without ever reading the device."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from sciml.integrate.adaptive import Attempt
from sciml.integrate.control import Times
from sciml.integrate.flat import Flat, beside, first_leaf, leaves_of, map_leaves
from sciml.integrate.methods.base import AbstractMethod, Time
from sciml.integrate.outputs import Recorder
from sciml.integrate.solution import Result
from sciml.integrate.terms import AbstractTerm

STEPS_BETWEEN_CHECKS = 16


class Walked(NamedTuple):
    """What came of the steps along a grid.

    Args:
        y: final state.
        failed: per sample the number of the step or check at which it failed (-1: none).
        result: per sample.
        evaluations: per sample, where the method counts them, else None.
        unchecked: whether states were kept that nobody has looked at.
    """

    y: Flat
    failed: Tensor
    result: Tensor
    evaluations: Tensor | None
    unchecked: bool = False


@final
@dataclass(eq=False)
class FixedLoop:
    """Steps along a grid.

    Args:
        term, method: what and how.
        times: the grid.
        sign: direction of time, a number or (batch,).
        keep: called as keep(step, t, y) at the grid points `wanted`.
        wanted: numbers of the grid points whose state is kept.
        checked_later: whether what is kept is checked once the loop is over, all of it together. Where steps report
            failures of their own it is checked at once all the same.
        recorder: outputs that read the dense output of every step, or None.
    """

    term: AbstractTerm
    method: AbstractMethod
    times: Times
    sign: Any
    keep: Any
    wanted: set[int]
    checked_later: bool
    recorder: Recorder

    def run(self, y0: Flat) -> Walked:
        """Take all steps."""
        y = checked = y0
        leaf = first_leaf(y)
        failed = torch.full((len(leaf),), -1, device=leaf.device)
        result = torch.zeros_like(failed)
        evaluations = torch.zeros_like(failed) if self.method.counts else None
        times: list[Time] = [beside(t, leaf) if isinstance(t, Tensor) else t for t in self.times]
        carry = self.method.init(self.term, times[0], y)
        if 0 in self.wanted:
            self.keep(0, times[0], y)
        last = len(times) - 1
        recording, checks, later = bool(self.recorder.outputs), _Checks(), self.checked_later
        for i in range(1, last + 1):
            before = y
            step = self.method.step(self.term, times[i - 1], times[i], y, carry)
            y, carry = step.y, step.carry
            if step.evaluations is not None and evaluations is not None:
                evaluations = evaluations + step.evaluations * (failed < 0)
            if step.status is not None:
                result = torch.where(failed < 0, step.status.to(result.dtype), result)
                failed = torch.where((failed < 0) & (result > 0), i, failed)
                y = freeze(failed >= 0, before, y)
            if recording:
                attempt = Attempt(times[i - 1], times[i], before, step, True)
                self.recorder.add(attempt, self._tau(i - 1), self._tau(i), last=i == last)
            keeps, later = i in self.wanted, later and step.status is None
            if (keeps and not later) or i == last or i % STEPS_BETWEEN_CHECKS == 0:
                if step.status is None:
                    y = checked = checks.passed(i, y, checked)
                else:  # rows that failed were frozen above, at the step where they failed
                    lost = (failed < 0) & ~finite_rows(y)
                    failed = torch.where(lost, i, failed)
                    result = torch.where(lost, int(Result.NON_FINITE), result)
                    y = checked = freeze(lost, checked, y)
            if keeps:
                self.keep(i, times[i], y)
        if checks.steps:
            found = torch.where(failed < 0, checks.failed(), -1)
            failed = torch.maximum(failed, found)
            result = torch.where(found >= 0, int(Result.NON_FINITE), result)
        return Walked(y, failed, result, evaluations, unchecked=later and bool(self.wanted))

    def _tau(self, i: int) -> float | Tensor:
        return self.times[i] * self.sign


@final
@dataclass(eq=False)
class _Checks:
    """What the checks along a grid saw: a row that is not finite once stays where it was last finite.

    Args:
        steps: numbers of the steps after which rows were checked.
        finite: per check which rows have always been finite.
    """

    steps: list[int] = field(default_factory=list)
    finite: list[Tensor] = field(default_factory=list)

    def passed(self, step: int, y: Flat, before: Flat) -> Flat:
        """`y` where it is and has been finite, else the state at the check before."""
        finite = finite_rows(y)
        if self.finite:
            finite = finite & self.finite[-1]
        self.steps.append(step)
        self.finite.append(finite)
        return freeze(finite, y, before)

    def failed(self) -> Tensor:
        """Per row the number of the step at which it was first seen not to be finite, else -1."""
        seen = torch.stack(self.finite)
        steps = torch.tensor([*self.steps, -1], device=seen.device)
        return steps[seen.sum(dim=0)]


def finite_rows(y: Flat) -> Tensor:
    """Whether all entries of a row are finite, (batch,): where the sum of all entries times zero is zero.

    Not for code that is compiled, which takes x * 0 for zero.
    """
    rows = [_traces(leaf.detach()) for leaf in leaves_of(y)]
    return (rows[0] if len(rows) == 1 else torch.stack([row.double() for row in rows]).sum(dim=0)) == 0


def _traces(leaf: Tensor) -> Tensor:
    """Zero in the rows of finite entries, else NaN; four times as fast as a mask of complex entries."""
    real = torch.view_as_real(leaf) if leaf.is_complex() else leaf
    return (real.flatten(1) * 0).sum(dim=1)


def finite_frames(states: Flat) -> Tensor:
    """Whether all entries of a frame (batch, time, *state) are finite, (batch, time).

    Unlike `finite_rows`, which takes half the time on one state, it does not copy a trajectory.
    """
    frames = [_bounded(leaf.detach()) for leaf in leaves_of(states) if leaf.numel()]
    if not frames:
        leaf = first_leaf(states)
        return torch.ones(leaf.shape[:2], dtype=torch.bool, device=leaf.device)
    return frames[0] if len(frames) == 1 else torch.stack(frames).all(dim=0)


def _bounded(leaf: Tensor) -> Tensor:
    """Whether the largest and the smallest entry of each frame are finite; one that is NaN is both."""
    real = (torch.view_as_real(leaf) if leaf.is_complex() else leaf).flatten(2)
    return real.amax(dim=2).isfinite() & real.amin(dim=2).isfinite()


def freeze(frozen: Tensor, old: Flat, new: Flat) -> Flat:
    """`old` in the rows that are frozen, else `new`."""

    def choose(before: Tensor, after: Tensor) -> Tensor:
        return torch.where(frozen.reshape(-1, *[1] * (after.ndim - 1)), before, after)

    return map_leaves(choose, old, new)
