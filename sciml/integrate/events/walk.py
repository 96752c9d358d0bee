"""Attempts with a look at the events after each: what happens within an accepted step cuts it off there.

A sample that goes on begins anew where it was cut, with the step size that the controller chose, so that its clock runs
through. What the outputs read of a step is its part before the cut.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from sciml.integrate.adaptive import RESOLUTION as TIME_RESOLUTION
from sciml.integrate.adaptive import RUNNING, Attempt, Walk
from sciml.integrate.events.calls import Calls
from sciml.integrate.events.cut import Cut
from sciml.integrate.events.locate import corrected
from sciml.integrate.events.log import Log
from sciml.integrate.events.piece import Piece
from sciml.integrate.events.watch import Look, Watch
from sciml.integrate.executors import out_of_steps
from sciml.integrate.fixed_grid import finite_rows
from sciml.integrate.flat import Flat, beside, leaves_of, map_leaves, map_rows, real_dtype
from sciml.integrate.outputs import Recorder
from sciml.integrate.solution import Result
from sciml.integrate.terms import SDE, Langevin

_AT_ONE_TIME = 8
"""Events beyond one of each that a sample may have without that its time moves on."""


class _Fired(NamedTuple):
    """An event per row: which one (-1: none), when (tau), and the states at both sides of the jump."""

    which: Tensor
    tau: Tensor
    before: Flat
    after: Flat


@final
@dataclass(eq=False)
class EventLoop:
    """Repeats attempts, decided in Python, every sample with a clock of its own.

    Args:
        stepping: tries steps.
        calls: the events.
    """

    stepping: Any
    calls: Calls
    watch: Watch = field(init=False)
    log: Log = field(init=False)
    ended_by: Tensor = field(init=False)
    failed_at: Tensor = field(init=False)
    restarts: Tensor = field(init=False)

    def run(self, walk: Walk, recorder: Recorder, max_steps: int) -> Walk:
        """Walk on until no sample is running, or `max_steps` attempts were made."""
        walk = self._begin(walk)
        covered = walk.tau
        for _ in range(max_steps):
            running = walk.result < 0
            if not bool(running.any()):
                break
            start = walk
            walk, attempt = self.stepping.attempt(start, all_running=bool(running.all()), host=True)
            if not bool(attempt.accept.any()):
                recorder.add(attempt, covered, covered, last=False)
                continue
            clock = self.stepping.clock
            piece = Piece.of(self.stepping.term, self.stepping.method, clock, start.tau, attempt)
            walk, cut = self._seen(start, walk, attempt, piece)
            attempt = attempt._replace(accept=attempt.accept & (walk.result != Result.EVENT_NOT_FINITE))
            after = torch.where(attempt.accept, walk.tau if cut is None else cut.covered, covered)
            recorder.add(attempt, covered, after, last=False, cut=cut, dense=piece.dense)
            covered = after
        self._close(walk, covered, recorder)
        return out_of_steps(walk)

    def _close(self, walk: Walk, covered: Tensor, recorder: Recorder) -> None:
        """Show the outputs the states behind jumps at the very end, as the begin of a step that nobody goes on with."""
        stepping, clock = self.stepping, self.stepping.clock
        jumped = (walk.result == Result.SUCCESS) & (self.ended_by < 0) & (self.at >= walk.tau.detach())
        if not recorder.outputs or not bool(jumped.any()):
            return
        tau1 = torch.where(jumped, walk.tau + self._near(walk.tau), walk.tau)
        t0, t1 = clock.time(walk.tau, walk.y), clock.time(tau1, walk.y)
        step = stepping.method.step(stepping.term, t0, t1, walk.y, stepping.method.init(stepping.term, t0, walk.y))
        attempt = Attempt(t0, t1, walk.y, step, torch.zeros_like(jumped))
        after = torch.where(jumped, tau1, covered)
        recorder.add(attempt, covered, after, last=True, cut=Cut(tau1, after, walk.tau, walk.y))

    def _near(self, tau: Tensor) -> Tensor:
        """Below this, times are the same."""
        return TIME_RESOLUTION * torch.maximum(tau.detach().abs(), self.stepping.end.detach().abs())

    def _begin(self, walk: Walk) -> Walk:
        """Take the sides at the start; a boolean event that holds there is a failure."""
        stepping = self.stepping
        rows = walk.tau.shape[0]
        self.watch, self.log = Watch(self.calls), Log(len(self.calls.events), walk.y)
        self.ended_by = torch.full((rows,), -1, device=walk.tau.device)
        self.failed_at = self.ended_by
        self.restarts = torch.zeros_like(self.ended_by)
        self.at_once, self.at = torch.zeros_like(self.ended_by), torch.full_like(walk.tau, torch.nan).detach()
        self.was = self.ended_by
        t = stepping.clock.time(walk.tau, walk.y).to(real_dtype(walk.y))
        with torch.no_grad():
            y = map_leaves(torch.clone, walk.y)  # the user's own y0 is not at risk
            held = self.watch.begin(t, y, self._slope(walk), stepping.clock.turned(walk.h))
        self.failed_at = held
        return walk._replace(result=torch.where(held >= 0, int(Result.EVENT_AT_START), walk.result))

    def _slope(self, walk: Walk) -> Flat:
        stepping = self.stepping
        if stepping.method.reuses_last:
            return stepping.method.slope(walk.carry)
        return stepping.term.f(stepping.clock.time(walk.tau, walk.y).to(real_dtype(walk.y)), walk.y)

    def _seen(self, start: Walk, walk: Walk, attempt: Attempt, piece: Piece) -> tuple[Walk, Cut | None]:
        """The walk after a look at what the attempt passed."""
        moved = attempt.accept
        assert isinstance(moved, Tensor)
        look = self.watch.look(piece, attempt.step.y, moved)
        self.watch.passed(look, moved & ~look.fired)
        if bool((look.lost >= 0).any()):
            walk = _stopped(walk, start, look.lost >= 0, Result.EVENT_NOT_FINITE)
            self.failed_at = torch.where(look.lost >= 0, look.lost, self.failed_at)
        if not bool(look.fired.any()):
            return walk, None
        theta, which = self.watch.first(piece, look)
        fired = self._fired(piece, theta, which)
        happened = which >= 0
        full = happened & (fired.tau.detach() >= piece.end.detach())
        after = self._cut(start, walk, piece, fired, full)
        if bool((happened & (after.result < 0)).any()):
            after = self._restarted(after, happened, look, fired, piece)
        return after, self._record(walk, after, piece, fired)

    def _fired(self, piece: Piece, theta: Tensor, which: Tensor) -> _Fired:
        """When, and the states at both sides, differentiable."""
        tau, before = piece.end, piece.y
        after = before
        for k in range(len(self.calls.events)):
            mask = which == k
            if not bool(mask.any()):
                continue
            # Rows without this event stand in the place of one that has it: nothing undefined is computed, and thrown
            # away, from which autograd would make NaN.
            own = torch.arange(len(mask), device=mask.device)
            index = torch.where(mask, own, mask.nonzero()[0, 0])
            rows, place = piece.rows(index), theta[index]
            if torch.is_grad_enabled() and self._is_recorded(k, rows, place):
                if isinstance(self.stepping.term, SDE | Langevin):
                    raise ValueError(
                        "events of an SDE or of Langevin dynamics have no gradients, for a Brownian path has no slope "
                        f"where it meets one, but autograd records event {k}. Solve under torch.no_grad()."
                    )
                place = self._corrected(k, rows, place)
            when, y = rows.tau(place), rows.state(place)
            jumped = self.calls.jumped(k, rows.t(when), y)
            tau = torch.where(mask, when, tau)
            before, after = (_chosen(mask, new, old) for new, old in ((y, before), (jumped, after)))
        return _Fired(which, tau, before, after)

    def _is_recorded(self, k: int, piece: Piece, theta: Tensor) -> bool:
        """Whether autograd records the state of the event or its function."""
        y = piece.state(theta)
        value = self.calls.value(k, piece.t(piece.tau(theta)), y)
        return any(x.requires_grad for x in (*leaves_of(y), value, piece.start, piece.end))

    def _corrected(self, k: int, piece: Piece, theta: Tensor) -> Tensor:
        return corrected(lambda place: self.calls.value(k, piece.t(piece.tau(place)), piece.state(place)), theta)

    def _cut(self, start: Walk, walk: Walk, piece: Piece, fired: _Fired, full: Tensor) -> Walk:
        """The walk with the rows of events at their events; behind their jumps, unless they fail."""
        happened, device = fired.which >= 0, fired.which.device
        events = self.calls.events
        known = fired.which.clamp(min=0)
        ends = torch.tensor([event.ends for event in events], device=device)[known] & happened
        allowed = torch.tensor([event.at_most for event in events], device=device)[known]
        now = fired.tau.detach()
        again = now - self.at <= self._near(now)
        self.at_once = torch.where(happened, torch.where(again, self.at_once + 1, 0), self.at_once)
        self.stuck = again & (fired.which == self.was)
        self.was = torch.where(happened, fired.which, self.was)
        self.at = torch.where(happened, now, self.at)
        count = self.log.count.gather(0, known[None])[0]
        endless = happened & ((count >= allowed) | (self.at_once > _AT_ONE_TIME + len(events))) & ~ends
        broken = happened & ~finite_rows(fired.after) & ~endless
        by_jump = broken & finite_rows(fired.before)
        good = happened & ~endless & ~broken
        self.ended_by = torch.where(good & ends, known, self.ended_by)
        t = piece.sign * fired.tau
        for k in range(len(events)):
            self.log.add(k, good & (fired.which == k), t, fired.before, fired.after)
        result = torch.where(good & ~ends & ~(full & (walk.result == Result.SUCCESS)), RUNNING, walk.result)
        result = torch.where(good & ends, int(Result.SUCCESS), result)
        result = torch.where(endless, int(Result.TOO_MANY_EVENTS), result)
        result = torch.where(broken, int(Result.NON_FINITE), result)
        result = torch.where(by_jump, int(Result.JUMP_NOT_FINITE), result)
        self.failed_at = torch.where(endless | by_jump, known, self.failed_at)
        gap = (walk.tau - piece.end).detach()  # where the step ended at a jump of the field, time goes on behind it
        return walk._replace(
            tau=torch.where(happened, torch.where(full & good, fired.tau + gap, fired.tau), walk.tau),
            y=_chosen(happened, _chosen(good, fired.after, fired.before), walk.y),
            last=torch.where(happened, now - piece.start.detach(), walk.last),
            place=torch.where(happened & ~full, start.place, walk.place),
            result=result,
        )

    def _restarted(self, walk: Walk, happened: Tensor, look: Look, fired: _Fired, piece: Piece) -> Walk:
        """The walk with a method that begins anew behind the events, and the sides there."""
        stepping = self.stepping
        t = stepping.clock.time(walk.tau, walk.y)
        fresh = stepping.method.init(stepping.term, t, walk.y)
        going = happened & (walk.result < 0)
        carry = map_rows(lambda new, old: torch.where(beside(going, new), new, old), fresh, walk.carry)
        walk = walk._replace(carry=carry)
        self.restarts = self.restarts + going
        with torch.no_grad():
            points = ((t.to(real_dtype(walk.y)), fired.before), (t.to(real_dtype(walk.y)), walk.y))
            dt = (piece.end - piece.start) * piece.sign
            which = torch.where(going, fired.which, -1)
            self.watch.behind(look, which, points, self._slope(walk), dt, self.stuck)
        return walk

    def _record(self, walk: Walk, after: Walk, piece: Piece, fired: _Fired) -> Cut:
        """What outputs are told of the cut: a time equal to the event's belongs to the state behind the jump."""
        happened = fired.which >= 0
        near = self._near(fired.tau)
        goes_on = (after.result < 0) | (after.result == Result.SUCCESS) & (self.ended_by < 0)
        near = torch.where(goes_on, -near, near)
        covered = torch.where(happened, fired.tau + near, walk.tau)
        return Cut(end=torch.where(happened, piece.end, walk.tau), covered=covered, tau=after.tau, y=after.y)


def _stopped(walk: Walk, start: Walk, rows: Tensor, result: Result) -> Walk:
    """The walk with these rows back where they were, and failed."""
    return walk._replace(
        tau=torch.where(rows, start.tau, walk.tau),
        y=_chosen(rows, start.y, walk.y),
        accepted=torch.where(rows, start.accepted, walk.accepted),
        last=torch.where(rows, start.last, walk.last),
        result=torch.where(rows, int(result), walk.result),
    )


def _chosen(mask: Tensor, yes: Flat, no: Flat) -> Flat:
    return map_leaves(lambda a, b: torch.where(beside(mask, a), a, b), yes, no)
