"""Adaptive methods: `solve` with joint steps, watched by an executor that calls back, counts and finds events."""

import math
import warnings
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.compat.torchdiffeq.crossing import crossing
from sciml.compat.torchdiffeq.inputs import Call, rms_norm
from sciml.compat.torchdiffeq.methods import ADAPTIVE
from sciml.compat.torchdiffeq.times import as_time
from sciml.integrate import ODE, PID, AbstractExecutor, Clip, Result, SaveAt, Solution, solve
from sciml.integrate.adaptive import RUNNING, Attempt, Stepping, Walk
from sciml.integrate.flat import Flat
from sciml.integrate.joint import JointWalk
from sciml.integrate.outputs import Recorder

_OPTIONS = {
    "min_step",
    "max_step",
    "first_step",
    "step_t",
    "jump_t",
    "safety",
    "ifactor",
    "dfactor",
    "max_num_steps",
    "dtype",
}

_NEVER = 1e100
"""Without an event up to here there is none."""
MOST_EVENT_STEPS = 50_000
"""Attempts up to an event, where `max_num_steps` is not given. torchdiffeq would make 2**31, which is for days."""


def integrate(call: Call) -> Tensor:
    """States at all of `t`, (time, *state)."""
    if len(call.t) == 1:
        return call.y0[None]
    values = _solved(call, _watch(call), SaveAt(ts=call.t.detach()[1:])).ys[0]
    values = values.reshape(-1, *call.y0.shape)
    if call.t.requires_grad:
        values = torch.stack([_moved(call, call.t[i + 1], value) for i, value in enumerate(values)])
    return torch.cat([call.y0[None], values])


def integrate_until_event(call: Call) -> tuple[Tensor, Tensor]:
    """Time of the event, and the states at the start and at the event, (2, *state).

    Raises:
        AssertionError: if there is no event within `max_num_steps` attempts, or up to the largest time.
    """
    assert call.event is not None
    watch = _watch(call)
    y0 = call.y0
    if bool(call.event(as_time(call.t[0], y0), y0) == 0):
        return call.t[0], torch.stack([y0, y0])
    y1 = call.unpack(_solved(call, watch, SaveAt(t1=True), end=call.sign * _NEVER).ys)
    if math.isnan(watch.event_time):
        raise AssertionError(
            f"`event_fn` did not change its sign up to t={call.sign * _NEVER:g}, so there is no event, or a step went "
            "over two. Check its sign and the direction of time, or limit steps by options=dict(max_step=...)."
        )
    time = torch.as_tensor(watch.event_time, dtype=torch.float64, device=y0.device)
    return time, torch.stack([y0, y1])


def dense(call: Call) -> Solution:
    """The solution as a function of time, on a batch of one."""
    return _solved(call, _watch(call), SaveAt(dense=True))


def _solved(call: Call, watch: "_Watch", save: SaveAt, end: float | None = None) -> Solution:
    options = call.options
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        warnings.warn(f'method "{call.method}" has no options {unknown}; they are ignored.', stacklevel=4)
    start, last = (float(x) for x in call.t.detach()[[0, -1]])
    last = last if end is None else end
    y0 = call.y0
    if call.t.requires_grad:  # dy(t)/dt0 = -dy(t)/dy0 f(t0, y0)
        y0 = y0 - call.func(as_time(call.t[0].detach(), y0), y0.detach()) * _still(call.t[0], y0)
    control = _control(call)
    marks = {name: _marks(call, name + "_t") for name in ("step", "jump")}
    repeated = torch.cat([times for times in marks.values() if times is not None] or [torch.zeros(0)])
    if len(repeated.unique()) < len(repeated):
        raise ValueError(f"`step_t` and `jump_t` must not repeat a time, got {repeated.tolist()}. Drop one of them.")
    inside = {name: times for name, times in marks.items() if times is not None and len(times)}
    chosen = Clip(control, stops=inside.get("step"), jumps=inside.get("jump")) if inside else control
    solution = solve(
        ODE(call.field),
        ADAPTIVE[call.method](),
        call.pack(y0),
        start,
        last,
        control=chosen,
        save=save,
        executor=watch,
        throw=False,
    )
    result = Result(int(solution.result[0]))
    if result != Result.SUCCESS:
        raise AssertionError(f"{call.method} stopped at t={watch.reached:g}: {result.text}.")
    return solution


def _moved(call: Call, t: Tensor, y: Tensor) -> Tensor:
    """`y` as it is, that moves along the field as `t` does."""
    return y + call.func(as_time(t.detach(), y), y.detach()) * _still(t, y)


def _still(t: Tensor, y: Tensor) -> Tensor:
    """Zero, with the gradient of `t`."""
    return (t - t.detach()).to(y.dtype)


def _control(call: Call) -> PID:
    options = call.options
    smallest, largest = float(options.get("min_step", 0.0)), float(options.get("max_step", math.inf))
    first = options.get("first_step")
    norm = None if call.norm is rms_norm else lambda error: torch.as_tensor(call.norm(call.unpack(error))).abs()
    return PID(
        _tolerance(call.rtol, call.y0),
        _tolerance(call.atol, call.y0),
        per_sample=False,
        safety=float(options.get("safety", 0.9)),
        factor_max=float(options.get("ifactor", 10.0)),
        factor_min=float(options.get("dfactor", 0.2)),
        dt0=None if first is None else min(max(float(first), smallest), largest),
        dt_min=smallest,
        dt_max=largest if largest > smallest else smallest * (1 + 1e-12),
        accept_at_dt_min=smallest > 0,
        norm=norm,
    )


def _tolerance(tolerance: Any, y0: Tensor) -> Any:
    """As a number, or as a tensor beside the batch of one."""
    if isinstance(tolerance, Tensor) and tolerance.ndim > 0:
        return tolerance.to(y0.device)[None]
    return float(tolerance)


def _marks(call: Call, name: str) -> Tensor | None:
    """Times of an option from the start on."""
    times = call.options.get(name)
    if times is None:
        return None
    times = torch.as_tensor(times).detach().double().reshape(-1).cpu()
    return times[call.sign * times >= call.sign * float(call.t[0].detach())]


def _watch(call: Call) -> "_Watch":
    return _Watch(call, (call.sign * call.t.detach().double()).tolist())


def _out_of_steps(limit: int, t: float, *, until_event: bool) -> str:
    if until_event:
        return (
            f"`event_fn` did not change its sign within max_num_steps={limit} attempts, up to t={t:g}: check its sign "
            "and the direction of time, or raise options=dict(max_num_steps=...)."
        )
    return (
        f"max_num_steps={limit} attempts were made in one interval, at t={t:g}: raise it, loosen the tolerances, or "
        "check the field."
    )


@final
@dataclass(eq=False)
class _Watch(AbstractExecutor):
    """Joint steps one by one, as `Eager`, but watched.

    After an accepted step the next one is not shorter. Time runs forwards here.

    Args:
        call: what to call back, and the event.
        marks: wanted times; no more than `max_num_steps` attempts are made between two of them, or up to an event.
    """

    call: Call
    marks: list[float]
    event_time: float = math.nan
    reached: float = math.nan

    def run(self, stepping: Stepping, tau0: Tensor, y0: Flat, recorder: Recorder, max_steps: int) -> Walk:
        """See `AbstractExecutor.run`."""
        call, sign = self.call, self.call.sign
        most = 2**31 - 1 if call.event is None else MOST_EVENT_STEPS
        limit, tried, passed = int(call.options.get("max_num_steps", most)), 0, 1
        control, joint = stepping.control, JointWalk(stepping, stepping.start(tau0, y0))
        joint.h = min(max(joint.h, control.dt_min), control.dt_max)
        if not math.isfinite(joint.h):  # the field is not, so no step can be chosen
            joint.result = int(Result.NON_FINITE)
        while joint.result == RUNNING:
            before, y = joint.tau, joint.y
            while passed < len(self.marks) - 1 and joint.tau >= self.marks[passed]:
                passed, tried = passed + 1, 0
            if tried >= limit:
                raise AssertionError(_out_of_steps(limit, sign * before, until_event=call.event is not None))
            tried += 1
            call.call_back("callback_step", sign * before, y, joint.h)  # type: ignore[arg-type]
            attempt = joint.attempt()
            dt = abs(attempt.t1 - attempt.t0)
            kind = "accept" if attempt.accept else "reject"
            call.call_back(f"callback_{kind}_step", sign * before, y, dt)  # type: ignore[arg-type]
            if attempt.accept:
                joint.h = min(max(joint.h, joint.last), control.dt_max)
                recorder.add(attempt, before, joint.tau, last=joint.result != RUNNING)
                if call.event is not None:
                    self._look(stepping, joint, attempt)
            elif joint.tried > 100 and dt <= control.dt_min:
                joint.result = int(Result.NON_FINITE)
        self.reached = sign * joint.tau
        return joint.finished()

    def _look(self, stepping: Stepping, joint: JointWalk, attempt: Attempt) -> None:
        """End the walk at the event, if it lies within the attempt."""
        event, method = self.call.event, stepping.method
        assert event is not None
        t0, t1, y1 = attempt.t0, attempt.t1, attempt.step.y
        if bool(event(as_time(t1, y1), self.call.unpack(y1)) > 0):  # type: ignore[index, arg-type]
            return
        dense = method.prepare_dense(stepping.term, t0, t1, attempt.y0, attempt.step)

        def at(theta: float) -> Any:
            return method.interpolate(dense, t0, t1, torch.tensor([theta], dtype=torch.float64, device=y1.device))[:, 0]  # type: ignore[union-attr]

        theta = crossing(self.call, float(t0), float(t1), at)
        joint.y, self.event_time = at(theta), float(t0 + theta * (t1 - t0))
        joint.result = int(Result.SUCCESS)
