"""Methods with given steps. Gradients go through every time of the grid, as in torchdiffeq."""

import warnings
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from sciml.compat.torchdiffeq.adams import GrowingAdams
from sciml.compat.torchdiffeq.crossing import crossing
from sciml.compat.torchdiffeq.inputs import Call
from sciml.compat.torchdiffeq.methods import ADAMS, FIXED, IMPLICIT
from sciml.compat.torchdiffeq.recorded import Recorded
from sciml.compat.torchdiffeq.times import as_time
from sciml.integrate import ODE, AbstractMethod, Newton

_OPTIONS = {"step_size", "grid_constructor", "interp", "perturb"}
_MAX_EVENT_STEPS = 20_000


def integrate(call: Call) -> Tensor:
    """States at all of `t`, (time, *state)."""
    walk = _Walk(call)
    grid = _grid(call)
    numbers, wanted = grid.detach().tolist(), call.t.detach().tolist()
    if numbers[0] != wanted[0] or numbers[-1] != wanted[-1]:
        raise AssertionError(
            f"the grid must run from t[0]={wanted[0]:g} to t[-1]={wanted[-1]:g}, got {numbers[0]:g} to "
            f"{numbers[-1]:g}. Correct the grid constructor."
        )
    outputs: Any = call.t.double().unbind() if call.t.requires_grad else wanted
    times: Any = grid.double().unbind() if grid.requires_grad else numbers
    states, y, sign = [call.y0], call.pack(call.y0), call.sign
    for i in range(1, len(times)):
        t0, t1 = times[i - 1], times[i]
        call.call_back("callback_step", t0, y, t1 - t0)
        before, y = y, walk.step(t0, t1, y)
        while len(states) < len(wanted) and sign * numbers[i] >= sign * wanted[len(states)]:
            at_end = numbers[i] == wanted[len(states)]
            at = y if at_end and walk.linear else walk.between(t0, t1, before, y, outputs[len(states)])
            states.append(call.unpack(at))
    return torch.stack(states)


def integrate_until_event(call: Call) -> tuple[Tensor, Tensor]:
    """Time of the event, and the states at the start and at the event, (2, *state)."""
    assert call.event is not None
    walk, y, size = _Walk(call), call.pack(call.y0), call.options.get("step_size")
    if size is None:
        raise AssertionError("an event with given steps needs their size. Pass options=dict(step_size=...).")
    if bool(call.event(as_time(call.t[0], call.y0), call.y0) == 0):
        return call.t[0], torch.stack([call.y0, call.y0])
    start = float(call.t[0].detach())
    for i in range(_MAX_EVENT_STEPS):
        t0, t1 = (start + call.sign * float(size) * j for j in (i, i + 1))
        before, y = y, walk.step(t0, t1, y)
        if not bool(call.event(as_time(t1, y), call.unpack(y)) > 0):

            def at(theta: float, t0: float = t0, t1: float = t1, y0: Tensor = before, y1: Tensor = y) -> Tensor:
                return walk.between(t0, t1, y0, y1, t0 + theta * (t1 - t0))

            theta = crossing(call, t0, t1, at)
            time = torch.tensor(t0 + theta * (t1 - t0), dtype=torch.float64, device=y.device)
            return time, torch.stack([call.y0, call.unpack(at(theta))])
    raise RuntimeError(f"no event within {_MAX_EVENT_STEPS} steps, at t={t1:g}. Take larger steps or check the event.")


def _grid(call: Call) -> Tensor:
    size, constructor = call.options.get("step_size"), call.options.get("grid_constructor")
    if size is not None and constructor is not None:
        raise ValueError("`step_size` and `grid_constructor` exclude each other, got both. Drop one.")
    if constructor is not None:
        return constructor(call.func, call.y0, call.t)
    if size is None or len(call.t) == 1:
        return call.t
    if not size > 0:
        raise RuntimeError(f"`step_size` must be positive, got {float(size):g}; the times give the direction.")
    start, end = call.t[0], call.t[-1]
    count = int(torch.ceil((end - start).abs() / size + 1))
    inner = torch.arange(0, count - 1, dtype=call.t.dtype, device=call.t.device) * size * call.sign + start
    return torch.cat([inner, end[None]])


@final
@dataclass(eq=False)
class _Walk:
    """Steps of a method, and what lies between their ends."""

    call: Call
    method: AbstractMethod = field(init=False)
    carry: Any = None
    slope: Any = None
    ends: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        options, name = dict(self.call.options), self.call.method
        if name in ADAMS:
            self.method = _adams(self.call, options)
        elif name in IMPLICIT:
            most = options.pop("max_iters", None)
            iterations = None if most is None else int(most)
            self.method = IMPLICIT[name](Newton(Recorded(self.call.coupled), iterations))
        else:
            self.method = FIXED[name]()
        unknown = sorted(set(options) - _OPTIONS)
        if unknown:
            warnings.warn(f'method "{name}" has no options {unknown}; they are ignored.', stacklevel=5)
        self.term = ODE(self._perturbed if self.call.options.get("perturb") else self.call.field)

    @property
    def linear(self) -> bool:
        """Whether states between steps are interpolated linearly."""
        kind = self.call.options.get("interp", "linear")
        if kind not in ("linear", "cubic"):
            raise ValueError(f'`interp` must be "linear" or "cubic", got "{kind}".')
        return kind == "linear"

    def step(self, t0: Any, t1: Any, y: Tensor) -> Tensor:
        """The state at `t1`."""
        if self.call.options.get("perturb"):
            self.ends = as_time(t0, y).detach(), as_time(t1, y).detach()
        if self.carry is None:
            self.carry = self.method.init(self.term, t0, y)
        slope = self.term.f(as_time(t0, y), y) if self.call.method in IMPLICIT else None
        step = self.method.step(self.term, t0, t1, y, self.carry)
        if step.status is not None and bool(step.status.any()):
            raise AssertionError(
                f"the equations of {self.call.method} could not be solved at t={float(t0):g}: the step is too large, "
                "or the field not smooth. Take smaller steps, or raise `max_iters` if it was given."
            )
        self.carry, self.slope = step.carry, step.dense[0] if slope is None else slope
        return step.y  # type: ignore[return-value]

    def between(self, t0: Any, t1: Any, y0: Tensor, y1: Tensor, t: Any) -> Tensor:
        """The state at `t` within the last step."""
        h, theta = t1 - t0, (t - t0) / (t1 - t0)
        if isinstance(theta, Tensor):
            h, theta = (torch.as_tensor(x, device=y0.device).to(y0.dtype) for x in (h, theta))
        if self.linear:
            return y0 + theta * (y1 - y0)
        slope = self.term.f(as_time(t1, y1), y1)
        rest = 1 - theta
        return (
            (1 + 2 * theta) * rest**2 * y0
            + theta**2 * (3 - 2 * theta) * y1
            + h * (theta * rest) * (rest * self.slope - theta * slope)
        )

    def _perturbed(self, t: Tensor, y: Tensor) -> Tensor:
        """The field, at the ends of the step just inside of it."""
        assert self.ends is not None
        start, end = self.ends
        value = t.detach()
        if value == start:
            value = torch.nextafter(start, end)
        elif value == end:
            value = torch.nextafter(end, start)
        return self.call.field(t + (value - t.detach()), y)


def _adams(call: Call, options: dict[str, Any]) -> GrowingAdams:
    most, iterations = int(options.pop("max_order", 12)), int(options.pop("max_iters", 4))
    implicit = ADAMS[call.method] and bool(options.pop("implicit", True))
    if most > 12:
        raise AssertionError(f"`max_order` must be at most 12, got {most}.")
    if most < 4:
        warnings.warn(f"with max_order={most}, below 4, Adams methods are the 3/8 rule.", stacklevel=6)
    return GrowingAdams(implicit, most, iterations, call.rtol, call.atol)
