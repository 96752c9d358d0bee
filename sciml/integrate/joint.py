"""Joint steps decided in Python: one clock, whose time, step size and errors are numbers.

The same rules as `Stepping.attempt`, which the tests hold it to; here no tensor is made of a time but those the field
is given, so that small problems are not slowed by bookkeeping.
"""

import math
from dataclasses import dataclass, field
from typing import final

import torch

from sciml.integrate.adaptive import RESOLUTION, RUNNING, STRETCH, Attempt, Stepping, Walk
from sciml.integrate.outputs import Recorder
from sciml.integrate.solution import Result


@final
@dataclass(eq=False)
class JointWalk:
    """A walk with a single clock.

    Args:
        stepping: what does not change.
        walk: where it starts.
    """

    stepping: Stepping
    walk: Walk
    memory: tuple[float, float] = (1.0, 1.0)
    marks: list[tuple[float, float, bool]] = field(init=False)

    def __post_init__(self) -> None:
        walk, marks = self.walk, self.stepping.marks
        self.tau, self.h, self.y, self.carry = float(walk.tau), float(walk.h), walk.y, walk.carry
        self.tried = self.accepted = 0
        self.last, self.result, self.counted = 0.0, RUNNING, walk.counted
        self.spoilt = False  # whether the last attempt was not finite
        self.end = float(self.stepping.end)
        self.rungs = self.stepping.rungs
        self.sign = float(self.stepping.clock.sign)
        self.marks = (
            []
            if marks is None
            else list(zip(marks.stop[0].tolist(), marks.resume[0].tolist(), marks.jump[0].tolist(), strict=True))[::-1]
        )

    def run(self, recorder: Recorder, max_steps: int) -> Walk:
        """Walk on to the end, or until no step can be taken."""
        recording = bool(recorder.outputs)
        while self.result == RUNNING and self.tried < max_steps:
            before = self.tau
            attempt = self.attempt()
            if recording and attempt.accept:
                recorder.add(attempt, before, self.tau, last=self.result != RUNNING)
        return self.finished()

    def attempt(self) -> Attempt:
        """Try one step."""
        stepping, h = self.stepping, self.h
        target, resume, jump = self.marks[-1] if self.marks else (self.end, self.end, False)
        reach = h * STRETCH >= target - self.tau
        tau1 = target if reach else self.tau + h
        t0, t1, dt = self.sign * self.tau, self.sign * tau1, tau1 - self.tau
        y0, step = (
            self.y,
            stepping.method.step(stepping.term, self.sign * self.tau, self.sign * tau1, self.y, self.carry),
        )
        with torch.no_grad():
            ratio = stepping.ratio(step.error, y0, step.y).item()  # type: ignore[arg-type]
        status = 0 if step.status is None else int(step.status.max())
        moved = self._judge(math.inf if status else ratio, dt, reach, status)
        if self.counted:
            self.counted = (self.counted[0] + stepping.evaluations_of(step),)
        if moved:
            self.y, self.carry, self.last = step.y, step.carry, dt
            self.tau = resume if reach else tau1
            self.accepted += 1
            if reach and self.marks:
                self.marks.pop()
            if reach and jump:
                self.carry = stepping.method.init(stepping.term, self.sign * self.tau, self.y)
                self.counted = (self.counted[0] + int(stepping.method.reuses_last),)
            if self.tau >= self.end:
                self.result = int(Result.SUCCESS)
        self.tried += 1
        return Attempt(t0, t1, y0, step, moved)

    def finished(self) -> Walk:
        """The walk in the form of all executors."""
        device = self.walk.tau.device
        tau, h, last = torch.tensor([self.tau, self.h, self.last], dtype=torch.float64, device=device).unbind()
        tried, accepted, result = torch.tensor([self.tried, self.accepted, self.result], device=device).unbind()
        return self.walk._replace(
            tau=tau,
            h=h,
            last=last,
            y=self.y,
            carry=self.carry,
            tried=tried,
            accepted=accepted,
            result=result,
            counted=self.counted,
        )

    def _judge(self, ratio: float, dt: float, reach: bool, status: int) -> bool:
        """Choose the next step size; whether the step is accepted."""
        control = self.stepping.control
        finite = math.isfinite(ratio)
        accept = ratio <= 1 or control.accept_at_dt_min and finite and dt <= control.dt_min * STRETCH
        h = dt * control.factor_of(ratio, self.memory, accept, self.stepping.method.error_order)
        if self.marks and accept and reach:
            h = max(h, self.h)
        h = min(h, control.dt_max)
        if self.rungs is not None:
            h = self.rungs.at_most(h)
        scale = abs(self.tau) + (0.0 if finite else min(abs(self.end), 1.0))
        stuck = dt <= 0 or dt <= RESOLUTION * scale and not reach
        if control.accept_at_dt_min:
            stuck = stuck or not accept and dt <= control.dt_min * STRETCH
            h = max(h, control.dt_min)
        elif self.rungs is not None:  # whose steps shrink without being rejected
            stuck = stuck or h < self.rungs.floor
        elif not accept and h < control.dt_min:
            stuck = True
        self.h = h
        spoilt, self.spoilt = self.spoilt, not finite and not status
        if stuck:
            self.result = status or int(Result.STEP_TOO_SMALL if finite and not spoilt else Result.NON_FINITE)
            return False
        if accept and control.remembers:
            self.memory = (max(ratio, 1e-10), self.memory[0])
        return accept
