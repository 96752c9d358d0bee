"""Methods of SciPy, by `scipy.integrate.solve_ivp`. Only values come back: gradients are for `odeint_adjoint`."""

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml.compat.torchdiffeq.inputs import Call
from sciml.compat.torchdiffeq.times import as_time

_OPTIONS = {"solver", "min_step", "max_step"}
_IGNORED = {"grid_points", "eps"}
_FAR = 1e30
"""Without an event up to here there is none."""
_MOST_LOOKS = 200_000
"""At the event, one per step of SciPy, which has no limit of its own."""


def integrate(call: Call) -> Tensor:
    """States at all of `t`, (time, *state)."""
    if len(call.t) == 1:
        return call.y0.detach()[None]
    times = call.t.detach().cpu().numpy()
    solution = _solved(call, float(times[0]), float(times[-1]), call.y0, t_eval=times)
    if not solution.success:
        warnings.warn(f"{_reason(call, solution)} Later states are NaN.", stacklevel=4)
    reached = torch.as_tensor(np.asarray(solution.y)).T if len(solution.t) else torch.zeros(0, call.y0.numel())
    values = call.y0.detach().new_full((len(times), call.y0.numel()), math.nan)
    values[: len(reached)] = reached.to(values)
    return values.reshape(-1, *call.y0.shape)


def integrate_until_event(call: Call) -> tuple[Tensor, Tensor]:
    """Time of the event, and the states at the start and at the event, (2, *state)."""
    assert call.event is not None
    event, y0 = call.event, call.y0.detach()
    if bool(event(as_time(call.t[0], y0), y0) == 0):
        return call.t[0].detach(), torch.stack([y0, y0])

    looks = itertools.count(1)

    def ends(t: float, y: np.ndarray) -> float:
        if next(looks) > _MOST_LOOKS:
            raise AssertionError(
                f"`event_fn` did not change its sign within {_MOST_LOOKS} steps of SciPy, up to t={t:g}: check its "
                "sign and the direction of time, or loosen the tolerances."
            )
        state = _to_torch(y, call)
        return float(event(as_time(t, state), state))

    ends.terminal = True  # type: ignore[attr-defined]
    start, y, span = float(call.t[0].detach()), y0, float((call.t[1] - call.t[0]).detach().abs())
    while span < _FAR:  # SciPy chooses its first step by the length of the interval
        with torch.no_grad():
            solution = _solved(call, start, start + call.sign * span, y, events=ends)
        if not solution.success:
            raise AssertionError(_reason(call, solution))
        if len(solution.t_events[0]):
            time = torch.tensor(solution.t_events[0][0], dtype=torch.float64, device=y0.device)
            return time, torch.stack([y0, _to_torch(solution.y_events[0][0], call)])
        start, y, span = float(solution.t[-1]), _to_torch(solution.y[:, -1], call), 10 * span
    raise AssertionError(f"no event was found up to t={start:g}. Check that `event_fn` changes its sign.")


def _solved(call: Call, start: float, end: float, y0: Tensor, **wanted: Any) -> Any:
    solve_ivp = _scipy()
    options = call.options
    unknown = sorted(set(options) - _OPTIONS - _IGNORED)
    if unknown:
        warnings.warn(f'method "{call.method}" has no options {unknown}; they are ignored.', stacklevel=5)
    if torch.is_grad_enabled() and (call.y0.requires_grad or call.t.requires_grad):
        warnings.warn(
            f'states of method "{call.method}" have no gradients, SciPy makes them. Use odeint_adjoint to get some.',
            stacklevel=5,
        )
    limits: dict[str, Any] = {"max_step": float(options.get("max_step", math.inf))}
    solver = options.get("solver", "LSODA")
    if solver == "LSODA":  # the others have no least step, and warn
        limits["min_step"] = float(options.get("min_step", 0.0))
    return solve_ivp(
        _on_numpy(call),
        (start, end),
        y0.detach().cpu().numpy().reshape(-1),
        method=solver,
        rtol=_tolerance(call.rtol, call.y0),
        atol=_tolerance(call.atol, call.y0),
        **limits,
        **wanted,
    )


def _reason(call: Call, solution: Any) -> str:
    where = f" behind t={solution.t[-1]:g}" if len(solution.t) else ""
    return f"SciPy's {call.options.get('solver', 'LSODA')} stopped{where}: {solution.message.rstrip('.')}."


def _scipy() -> Any:
    try:
        from scipy.integrate import solve_ivp
    except ImportError as error:
        raise ImportError('method "scipy_solver" needs SciPy, which is not installed: pip install scipy') from error
    return solve_ivp


def _on_numpy(call: Call) -> Callable[[float, np.ndarray], np.ndarray]:
    def field(t: float, y: np.ndarray) -> np.ndarray:
        state = _to_torch(y, call)
        with torch.no_grad():
            return call.func(as_time(t, state), state).expand(state.shape).cpu().numpy().reshape(-1)

    return field


def _to_torch(y: np.ndarray, call: Call) -> Tensor:
    return torch.tensor(y, dtype=call.y0.dtype, device=call.y0.device).reshape(call.y0.shape)


def _tolerance(tolerance: float | Tensor, y0: Tensor) -> Any:
    if isinstance(tolerance, Tensor) and tolerance.ndim:
        return tolerance.expand(y0.shape).reshape(-1).cpu().numpy()
    return float(tolerance)
