"""Attempts along a given grid, each sample at a pace of its own.

A sample that an event stopped within a step takes the rest of the step as one of its own, and is on the grid again.
"""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.adaptive import RUNNING, Attempt, Walk
from sciml.integrate.clock import Clock
from sciml.integrate.fixed_grid import finite_rows
from sciml.integrate.flat import Flat, map_leaves, map_rows
from sciml.integrate.marks import entry_of
from sciml.integrate.methods.base import AbstractMethod
from sciml.integrate.solution import Result
from sciml.integrate.terms import AbstractTerm


@final
@dataclass(frozen=True, eq=False)
class GridStepping:
    """Everything an attempt needs that does not change; the counterpart of `Stepping`.

    Args:
        term, method: what and how.
        clock: per sample.
        grid: tau at the ends of steps, (batch or 1, steps + 1).
    """

    term: AbstractTerm
    method: AbstractMethod
    clock: Clock
    grid: Tensor

    @property
    def end(self) -> Tensor:
        """tau at which to stop, (batch,)."""
        return self.grid[:, -1].expand(self.clock.shape)

    @property
    def first_evaluations(self) -> int:
        """Evaluations of the field before the first step."""
        return int(self.method.reuses_last)

    def start(self, tau0: Tensor, y0: Flat) -> Walk:
        """The walk before its first attempt."""
        carry = self.method.init(self.term, self.clock.time(tau0, y0), y0)
        zero = torch.zeros(self.clock.shape, dtype=torch.int64, device=tau0.device)
        h = (self.grid[:, 1] - self.grid[:, 0]).detach().expand(self.clock.shape)
        counted = (zero,) if self.method.counts else ()
        return Walk(tau0, h, y0, carry, (), zero, zero, torch.zeros_like(h), zero, zero + RUNNING, counted)

    def attempt(self, walk: Walk, *, all_running: bool = False, host: bool = False) -> tuple[Walk, Attempt]:
        """One step of every running sample to its next point of the grid; see `Stepping.attempt`."""
        clock, running = self.clock, walk.result < 0
        last = self.grid.shape[1] - 1
        place = (walk.place + 1).clamp(max=last)
        tau1 = torch.where(running, entry_of(self.grid, place), walk.tau)
        t0, t1 = clock.time(walk.tau, walk.y), clock.time(tau1, walk.y)
        step = self.method.step(self.term, t0, t1, walk.y, walk.carry)
        good, cause = finite_rows(step.y), torch.full_like(walk.result, int(Result.NON_FINITE))
        if step.status is not None:
            good, cause = good & (step.status == 0), torch.where(step.status > 0, step.status, cause)
        moved = running & good
        result = torch.where(running & ~good, cause, walk.result)
        counted = walk.counted
        if step.evaluations is not None:
            counted = (counted[0] + step.evaluations * running,)
        after = walk._replace(
            tau=torch.where(moved, tau1, walk.tau),
            y=map_leaves(lambda new, old: clock.choose(moved, new, old), step.y, walk.y),
            carry=map_rows(lambda new, old: clock.choose(moved, new, old), step.carry, walk.carry),
            tried=walk.tried + running,
            accepted=walk.accepted + moved,
            last=torch.where(moved, (tau1 - walk.tau).detach(), walk.last),
            place=torch.where(moved, place, walk.place),
            result=torch.where(moved & (place == last), int(Result.SUCCESS), result),
            counted=counted,
        )
        return after, Attempt(t0, t1, walk.y, step, moved)


def grid_stepping(term: Any, method: Any, times: Any, clock: Clock, device: torch.device) -> GridStepping:
    """The attempts along a grid as `Fixed` gives it: (steps + 1,) or (steps + 1, batch) times."""
    t = torch.as_tensor(times, dtype=torch.float64, device=device)
    t = t[None] if t.ndim == 1 else t.T
    sign = clock.sign[:, None] if isinstance(clock.sign, Tensor) else clock.sign
    return GridStepping(term, method, clock, t * sign)
