"""Adaptive stepping: one attempt, a pure function of the walk so far. Executors only differ in how they repeat it."""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from sciml.core.transforms import is_differentiated
from sciml.integrate.clock import Clock
from sciml.integrate.control import PID
from sciml.integrate.control.ladder import Rungs
from sciml.integrate.driven import FollowedPath, followed
from sciml.integrate.flat import Flat, first_leaf, leaves_of, map_leaves, map_rows, real_dtype
from sciml.integrate.marks import Marks, entry_of
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.explicit_rk import advance, sizes_of
from sciml.integrate.solution import Result
from sciml.integrate.terms import SDE, AbstractTerm, SemiLinear
from sciml.paths import Point

RUNNING, SPOILT = -1, -2
"""Results of samples that are not finished: below 0. `SPOILT` where the last attempt was not finite."""
RESOLUTION = 2.0**-49
"""A step below this fraction of the time is lost in rounding: a few units in the last place."""
STRETCH = 1.0 + 1e-6
"""A step is stretched by at most this to end where it must, so that no sliver is left."""


class Walk(NamedTuple):
    """Where the samples are. Times, step sizes and counts are per clock; states and carries per row."""

    tau: Tensor
    h: Tensor
    y: Flat
    carry: Any
    memory: tuple[Tensor, ...]
    tried: Tensor
    accepted: Tensor
    last: Tensor
    place: Tensor
    result: Tensor
    counted: tuple[Tensor, ...] = ()
    """Evaluations so far, (batch,), for methods that count them, or where jumps may take some."""
    noise: Any = ()
    """What is known there of the Brownian motion that is followed."""


class Attempt(NamedTuple):
    """What one attempt did: `step` from `t0` to `t1`, as the method saw it, kept where `accept`."""

    t0: Time
    t1: Time
    y0: Flat
    step: Step
    accept: bool | Tensor


@final
@dataclass(frozen=True, eq=False)
class Stepping:
    """Everything an attempt needs that does not change.

    Args:
        term: what is integrated.
        method: how.
        control: the controller; its tolerances are those of `tolerances`.
        clock: who shares steps.
        end: tau at which to stop, per clock.
        tolerances: (rtol, atol) per tensor of the state.
        marks: times to be hit before the end, or None.
        structure: puts the state back into the structure the user gave.
        rungs: sizes that steps may have, or None.
    """

    term: AbstractTerm
    method: AbstractMethod
    control: PID
    clock: Clock
    end: Tensor
    tolerances: tuple[tuple[Any, Any], ...]
    marks: Marks | None = None
    structure: Any = None
    rungs: Rungs | None = None

    @property
    def first_evaluations(self) -> int:
        """Evaluations of the field before the first step: two choose its size, one of which it may reuse."""
        chosen = self.control.dt0 is None
        if self.rungs is not None:
            return int(chosen or self.method.reuses_last)
        return 2 * chosen + (not chosen and self.method.reuses_last)

    def evaluations_of(self, step: Step) -> int | Tensor:
        """Evaluations of the field that an attempt took."""
        return self.method.stages - int(self.method.reuses_last) if step.evaluations is None else step.evaluations

    def start(self, tau0: Tensor, y0: Flat, h: Tensor | None = None) -> Walk:
        """The walk before its first attempt, of size `h` if it is given."""
        carry = self.method.init(self.term, self.clock.time(tau0, y0), y0)
        if h is None:
            h = self._first_step(tau0, map_leaves(torch.detach, y0), map_rows(torch.detach, carry))
        zero = torch.zeros(self.clock.shape, dtype=torch.int64, device=tau0.device)
        memory = (torch.ones_like(h), torch.ones_like(h)) if self.control.remembers else ()
        counted = (zero.new_zeros(self.clock.rows),) if self.method.counts or self.marks is not None else ()
        return Walk(tau0, h, y0, carry, memory, zero, zero, torch.zeros_like(h), zero, zero + RUNNING, counted)

    def attempt(self, walk: Walk, *, all_running: bool = False, host: bool = False) -> tuple[Walk, Attempt]:
        """Try one step of every running sample. What decides about steps is never differentiated.

        Args:
            walk: where the samples are.
            all_running: the caller knows that no sample is finished.
            host: decide in Python who moves. Then rejected steps leave no trace in what autograd records: if only some
                samples move and the step of another was not finite, it is taken again by those that move.
        """
        clock = self.clock
        target = self.end if self.marks is None else self.marks.target(walk.place, self.end)
        reach = walk.h * STRETCH >= target - walk.tau
        tau1 = torch.where(reach, target, (walk.tau + walk.h).detach())  # gradients of times: of the two ends only
        running = walk.result < 0
        if not all_running:
            tau1 = torch.where(running, tau1, walk.tau)
        t0, t1 = clock.time(walk.tau, walk.y), clock.time(tau1, walk.y)
        walk = self.following(walk)
        term, path = self._following(walk, t0)
        step = self.method.step(term, t0, t1, walk.y, walk.carry)
        judged, moved, jumped = self._judge(walk, step, tau1, reach, running)
        if is_differentiated(tau1) or is_differentiated(walk.tau):
            there = torch.where(judged.tau == tau1, tau1, judged.tau)  # but for jumps, where time goes on behind tau1
            judged = judged._replace(tau=torch.where(moved, there, walk.tau))
        noise = () if path is None else path.at(t1)
        if host and bool(moved.all()):
            y, carry = step.y, step.carry
        elif host and not bool(moved.any()):
            y, carry, noise = walk.y, walk.carry, walk.noise
        else:
            assert step.error is not None
            if host and torch.is_grad_enabled() and not (_finite(step.y) and _finite(step.error)):
                t1 = clock.time(torch.where(moved, tau1, walk.tau), walk.y)
                step = self.method.step(term, t0, t1, walk.y, walk.carry)
            y = map_leaves(lambda new, old: clock.choose(moved, new, old), step.y, walk.y)
            carry, noise = map_rows(
                lambda new, old: clock.choose(moved, new, old), (step.carry, noise), (walk.carry, walk.noise)
            )
        if jumped is not None and not (host and not bool(jumped.any())):
            fresh = self.method.init(self.term, clock.time(judged.tau, y), y)
            carry = map_rows(lambda new, old: clock.choose(jumped, new, old), fresh, carry)
        return judged._replace(y=y, carry=carry, noise=noise), Attempt(t0, t1, walk.y, step, moved)

    def following(self, walk: Walk) -> Walk:
        """The walk with what is known of the noise where it is. Behind a jump time goes on, and nothing is kept."""
        path = followed(self.term) if self.marks is None or not self.marks.has_jumps else None
        if path is None or isinstance(walk.noise, Point):
            return walk
        return walk._replace(noise=path.at("t0", self.clock.time(walk.tau, walk.y)))

    def _following(self, walk: Walk, t0: Time) -> tuple[Any, FollowedPath | None]:
        """The term of an attempt, and the path that it asks."""
        if not isinstance(walk.noise, Point):
            return self.term, None
        whole = followed(self.term)
        assert whole is not None
        path = FollowedPath(whole, t0, walk.noise)
        return replace(self.term, path=path), path  # type: ignore[type-var]

    @torch.no_grad()
    def _judge(
        self, walk: Walk, step: Step, tau1: Tensor, reach: Tensor, running: Tensor
    ) -> tuple[Walk, Tensor, Tensor | None]:
        """Times, step sizes and results after the attempt, who moved, and who came to a jump."""
        control, clock = self.control, self.clock
        assert step.error is not None
        ratio = self.ratio(step.error, walk.y, step.y)
        status = None if step.status is None else clock.worst(step.status)
        if status is not None:
            ratio = torch.where(status > 0, math.inf, ratio)
        finite, dt, now = ratio < math.inf, tau1 - walk.tau, walk.tau.abs()
        # Behind t0 = 0 any step can be resolved. If the field is not finite there, no size will help.
        stuck = (dt <= RESOLUTION * torch.where(finite, now, now + self.end.abs().clamp(max=1.0))) & ~reach
        accept = ratio <= 1
        if control.accept_at_dt_min:
            accept = accept | (dt <= control.dt_min * STRETCH) & finite
        h = dt * control.factor(ratio, walk.memory, accept, self.method.error_order)
        if self.marks is not None:
            h = torch.where(accept & reach, torch.maximum(h, walk.h), h)
        if control.dt_max < math.inf:
            h = h.clamp(max=control.dt_max)
        if control.accept_at_dt_min:
            stuck = stuck | ~accept & (dt <= control.dt_min * STRETCH)
            h = h.clamp(min=control.dt_min)
        elif control.dt_min > 0:
            stuck = stuck | ~accept & (h < control.dt_min)
        moved = accept & running & ~stuck
        tau, place, jumped = torch.where(moved, tau1, walk.tau), walk.place, None
        if self.marks is not None:
            hit = moved & reach
            tau = torch.where(hit, entry_of(self.marks.resume, place), tau)
            jumped = hit & entry_of(self.marks.jump, place)
            place = torch.where(hit, (place + 1).clamp(max=self.marks.stop.shape[-1] - 1), place)
        # A step may also be too small because the one before it was not finite.
        spoilt = ~finite if status is None else ~finite & (status <= 0)
        cause = torch.where(finite & (walk.result != SPOILT), int(Result.STEP_TOO_SMALL), int(Result.NON_FINITE))
        if status is not None:
            cause = torch.where(status > 0, status, cause)
        result = torch.where(stuck, cause, torch.where(spoilt, SPOILT, RUNNING))
        result = torch.where(running, result, walk.result)
        arrived = moved & (reach if self.marks is None else tau >= self.end)
        result = torch.where(arrived, int(Result.SUCCESS), result)
        memory = walk.memory
        if memory:
            memory = (torch.where(moved, ratio.clamp(min=1e-10), memory[0]), torch.where(moved, *memory))
        counted = walk.counted
        if counted:
            counted = (counted[0] + self.evaluations_of(step) * clock.to_rows(running),)
            if jumped is not None:
                counted = (counted[0] + int(self.method.reuses_last) * clock.to_rows(jumped),)
        judged = walk._replace(
            tau=tau,
            h=h,
            memory=memory,
            tried=walk.tried + running,
            accepted=walk.accepted + moved,
            last=torch.where(moved, dt, walk.last),
            place=place,
            result=result,
            counted=counted,
        )
        return judged, moved, jumped

    def ratio(self, error: Flat, y0: Flat, y1: Flat) -> Tensor:
        """The norm of an error in units of the tolerance, per clock; infinite where it is not finite."""
        return torch.nan_to_num(self.raw_ratio(error, y0, y1).double(), nan=math.inf, posinf=math.inf)

    def raw_ratio(self, error: Flat, y0: Flat, y1: Flat) -> Tensor:
        """The norm of an error in units of the tolerance, per clock."""
        if self.rungs is not None:
            return self.rungs.ratio(error, y0, y1)
        scaled = []
        for e, a, b, (rtol, atol) in zip(*map(leaves_of, (error, y0, y1)), self.tolerances, strict=True):
            size = torch.maximum(a.detach().abs(), b.detach().abs())
            scaled.append(e.detach() / size.mul(rtol).add_(atol))
        return self._norm(scaled[0] if isinstance(y0, Tensor) else tuple(scaled))

    def subset(self, rows: Tensor) -> "Stepping":
        """The same for some of the samples only; for tolerances that are not of each sample's own."""
        marks = self.marks
        if marks is not None and len(marks.stop) > 1:
            marks = Marks(marks.stop[rows], marks.resume[rows], marks.jump[rows], marks.has_jumps)
        return replace(self, clock=self.clock.subset(rows), end=self.end[rows], marks=marks)

    def _norm(self, scaled: Flat) -> Tensor:
        if self.control.norm is None:
            return self.clock.root_mean_square(scaled)
        return self.control.norm(scaled if self.structure is None else self.structure(scaled))

    @torch.no_grad()
    def _first_step(self, tau0: Tensor, y0: Flat, carry: Any) -> Tensor:
        """Size of the first step, [time], per clock, from the sizes of the state, the field and its change.

        Source: Hairer, Norsett & Wanner (1993), "Solving Ordinary Differential Equations I", II.4, algorithm 4.14.
        """
        control, clock, span = self.control, self.clock, self.end - tau0
        if control.dt0 is not None:
            return torch.full_like(span, min(control.dt0, control.dt_max))
        if self.rungs is not None:
            return torch.full_like(span, self.rungs.first(y0, self._first_slope(tau0, y0, carry)))
        norm, field, order = self._scaled_norm(y0), self._estimated_field(), self.method.error_order
        real = real_dtype(y0)
        t0 = clock.time(tau0, y0)
        if isinstance(self.term, SDE):
            return self._first_stochastic_step(t0.to(real), span, y0)
        slope = self.method.slope(carry) if self.method.reuses_last else field(t0.to(real), y0)
        size, speed = norm(y0), norm(slope)
        guess = torch.where((size < 1e-5) | (speed < 1e-5), 1e-6, 0.01 * size / speed)
        guess = torch.minimum(guess, span)
        t1 = clock.time(tau0 + guess, y0)
        ahead = field(t1.to(real), advance(y0, sizes_of(t1 - t0, y0), (0, 1.0, ()), [slope]))
        bend = torch.maximum(speed, norm(map_leaves(torch.sub, ahead, slope)) / guess)
        h = (0.01 / bend.clamp(min=1e-15)).pow(1.0 / order)
        h = torch.minimum(torch.where(torch.isfinite(h), torch.minimum(100 * guess, h), guess), span)
        h = torch.where(torch.isfinite(h), h, 1e-3 * span)  # a field that is not finite is found out by its steps
        return h if control.dt_max == math.inf else h.clamp(max=control.dt_max)

    def _first_slope(self, tau0: Tensor, y0: Flat, carry: Any) -> Flat:
        """What limits the first step on a ladder."""
        if self.method.reuses_last:
            return self.method.slope(carry)
        return self._estimated_field()(self.clock.time(tau0, y0).to(real_dtype(y0)), y0)

    def _estimated_field(self) -> Any:
        """What steps have errors of: the field, or its nonlinear part where the rest is solved exactly."""
        return self.term.nonlinear if isinstance(self.term, SemiLinear) else self.term.f  # type: ignore[attr-defined]

    def _first_stochastic_step(self, t0: Tensor, span: Tensor, y0: Flat) -> Tensor:
        """Size of the first step of an SDE, for the error moves with the square of what the noise moves the state.

        With d0 and d1 the sizes of state and drift and d2 that of the diffusion, in units of the tolerance, the step is
        the smaller of d0 / (100 d1) and 1 / d2: about what lets (g W)² / y come to the tolerance.
        """
        norm, term, steps = self._scaled_norm(y0), self.term, self.control
        assert isinstance(term, SDE)
        one = torch.ones_like(first_leaf(y0)[(slice(None), *[0] * (first_leaf(y0).ndim - 1))])
        wide = getattr(term.path, "shape", ())
        noise = term.structure.times(term.g(t0, y0), one.reshape(-1, *[1] * len(wide)).expand(-1, *wide))  # type: ignore[operator]
        size, speed, spread = norm(y0), norm(term.f(t0, y0)), norm(noise)  # type: ignore[operator]
        h = torch.minimum(0.01 * size / speed.clamp(min=1e-15), size / spread.square().clamp(min=1e-15))
        h = torch.where(torch.isfinite(h) & (h > 1e-9 * span), h, 1e-3 * span)
        return torch.minimum(h, span).clamp(max=steps.dt_max)

    def _scaled_norm(self, y0: Flat) -> Any:
        scales = [atol + rtol * leaf.abs() for leaf, (rtol, atol) in zip(leaves_of(y0), self.tolerances, strict=True)]

        def norm(value: Flat) -> Tensor:
            scaled = [leaf / scale for leaf, scale in zip(leaves_of(value), scales, strict=True)]
            return self._norm(scaled[0] if isinstance(value, Tensor) else tuple(scaled)).double()

        return norm


def _finite(y: Flat) -> bool:
    return all(bool(torch.isfinite(leaf).all()) for leaf in leaves_of(y))
