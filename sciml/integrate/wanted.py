"""The times at which states are kept, in tau, checked."""

from itertools import pairwise

import torch
from torch import Tensor

from sciml.core.transforms import is_differentiated
from sciml.integrate.clock import Clock
from sciml.integrate.control import Times

_SPAN, _SIZE = 1e-9, 5e-7
"""How far a time may lie outside the ends: parts of the interval and of the times' own size, for times in float32."""


def wanted_times(ts: Tensor, clock: Clock, tau0: Tensor, tau1: Tensor) -> Tensor:
    """`ts` in tau, (time,) or (clock, time). Times outside the ends by no more than rounding mean the ends.

    Args:
        ts: (time,) or (batch, time).
        clock: of the solve.
        tau0, tau1: where it starts and ends, per clock.

    Raises:
        ValueError: unless the times are sorted and between the ends.
    """
    if clock.joint and ts.ndim == 1 and ts.device.type == "cpu" and not any(map(is_differentiated, (ts, tau0, tau1))):
        return _of_numbers(ts, clock, float(tau0), float(tau1))
    ts = ts.double()
    if ts.ndim == 2 and (clock.joint or clock.groups is not None):
        raise ValueError(
            f"`ts` of each sample's own needs per-sample steps, got {tuple(ts.shape)} with a shared clock. Give shared "
            "times, PID(per_sample=True), or on a grid one `t0` per sample with Fixed(n=...)."
        )
    if ts.ndim == 2 and len(ts) != clock.rows:
        raise ValueError(f"`ts` must have one row per sample ({clock.rows}, time), got {tuple(ts.shape)}.")
    if ts.ndim == 1 and isinstance(clock.sign, Tensor):
        ts = ts.expand(*clock.shape, -1)
    tau = clock.sign[:, None] * ts if isinstance(clock.sign, Tensor) else clock.turned(ts)
    low, high = tau0.detach(), tau1.detach()
    if tau.ndim == 1 and not clock.joint:
        low, high = low.max(), high.min()
    values, low, high = tau.detach(), low[..., None], high[..., None]
    slack = _SPAN * (high - low) + _SIZE * torch.maximum(low.abs(), high.abs())
    within = (values[..., :1] >= low - slack).all() & (values[..., -1:] <= high + slack).all()
    if not bool(within & (values.diff(dim=-1) >= 0).all()):
        _refuse(ts, clock, tau0, tau1)
    if tau.ndim == 1 and not clock.joint:
        return tau.clamp(max=high)
    tau = torch.where(tau < tau0[..., None], tau0[..., None], tau)
    return torch.where(tau > tau1[..., None], tau1[..., None], tau)


def wanted_on_grid(ts: Tensor, clock: Clock, times: Times) -> Tensor:
    """The same for the ends of a fixed grid."""
    t0, t1 = (torch.as_tensor(times[i], dtype=torch.float64, device=ts.device) for i in (0, -1))
    return wanted_times(ts, clock, clock.turned(t0), clock.turned(t1))


def _of_numbers(ts: Tensor, clock: Clock, low: float, high: float) -> Tensor:
    """The same for one clock whose times the host knows."""
    values = [clock.sign * t for t in ts.tolist()]
    slack = _SPAN * (high - low) + _SIZE * max(abs(low), abs(high))
    within = values[0] >= low - slack and values[-1] <= high + slack
    if not (within and all(a <= b for a, b in pairwise(values))):
        _refuse(ts, clock, torch.tensor(low), torch.tensor(high))
    return torch.tensor([min(max(t, low), high) for t in values], dtype=torch.float64)


def _refuse(ts: Tensor, clock: Clock, tau0: Tensor, tau1: Tensor) -> None:
    t0, t1 = (_told(clock.turned(t.detach())) for t in (tau0, tau1))
    raise ValueError(
        "`ts` must be sorted in the direction of time, lie between t0 and t1 and not be NaN, got "
        f"{ts.tolist()} for t0={t0} and t1={t1}. Sort the times and drop those outside."
    )


def _told(t: Tensor) -> float | list[float]:
    """One number where all clocks agree."""
    values = t.reshape(-1).tolist()
    return values[0] if len(set(values)) == 1 else values
