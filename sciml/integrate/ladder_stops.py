"""What steps on a ladder ask of the other arguments of a solve."""

from typing import Any

import torch
from torch import Tensor

from sciml.core.transforms import is_differentiated
from sciml.integrate.control import Clip, Ladder
from sciml.integrate.executors import Eager


def ladder_stops(ladder: Ladder, times: tuple[Any, Any, Any], executor: Any) -> Clip:
    """The control that chooses what is lowered to a rung, and hits the times that are kept.

    Args:
        ladder: the control.
        times: `t0`, `t1` and the times to be kept or None.
        executor: what the user asked for.

    Raises:
        ValueError: unless all samples share the times and steps may be decided in Python.
    """
    shared = (0, 0, 1)
    if any(isinstance(t, Tensor) and (t.ndim > n or is_differentiated(t)) for t, n in zip(times, shared, strict=True)):
        raise ValueError(
            "Ladder takes joint steps whose sizes are numbers: it needs times that all samples share and that require "
            "no gradient, got times per sample or differentiable ones. Give floats, or take PID(dt0=...)."
        )
    if executor is not None and not isinstance(executor, Eager):
        raise ValueError(
            f"Ladder chooses each step in Python, got executor={type(executor).__name__}. Pass executor=None."
        )
    ts = times[2]
    stops = torch.tensor([], dtype=torch.float64) if ts is None else ts.to("cpu", torch.float64)
    return Clip(ladder.pid(ladder.dt0), stops=stops)


def check_ladder(gradient_is_direct: bool, has_events: bool) -> None:
    """Raise for what does not go with steps on a ladder."""
    if not gradient_is_direct:
        raise ValueError(
            "steps on a ladder are differentiated as they were taken, got another gradient with Ladder. Use "
            "gradient=Direct(), or Fixed steps."
        )
    if has_events:
        raise ValueError("steps on a ladder are not cut off, got an event with Ladder. Take Fixed steps, or no event.")
