"""Where an event lies within a step.

A step at whose ends c(t, y) has different signs brackets the event. The root is found on the dense output by inverse
quadratic interpolation where that can be trusted, else by halving, until rounding ends it; torchdiffeq halves down to
the absolute tolerance.

Source: Chandrupatla (1997), Adv. Eng. Softw. 28, 145-149.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sciml.compat.torchdiffeq.inputs import Call
from sciml.compat.torchdiffeq.times import as_time


def crossing(call: Call, t0: float, t1: float, at: Callable[[float], Tensor]) -> float:
    """Where on a step the event lies, as a part of it.

    Args:
        call: with an event.
        t0, t1: ends of the step; the event is positive at `t0` only, [time].
        at: the state on a batch of one, of the part of the step.
    """
    assert call.event is not None
    event, span = call.event, t1 - t0

    def value(theta: float) -> float:
        y = call.unpack(at(theta))
        return float(event(as_time(t0 + theta * span, y), y))

    resolution = 4 * torch.finfo(torch.float64).eps * (abs(t0) + abs(t1)) / abs(span)
    with torch.no_grad():
        return _root(value, resolution)


def _root(value: Callable[[float], float], resolution: float) -> float:
    """Where `value` changes its sign on [0, 1], from positive to not positive."""
    a, b = 1.0, 0.0
    at_a, at_b = value(a), value(b)
    if at_a > 0:  # but for rounding the event is at the very end
        return a
    part = 0.5
    while True:
        x = a + part * (b - a)
        at_x = value(x)
        if (at_x > 0) == (at_a > 0):
            c, at_c = a, at_a
        else:
            (b, at_b), (c, at_c) = (a, at_a), (b, at_b)
        a, at_a = x, at_x
        least = resolution / abs(b - a)
        if at_a == 0 or least > 0.5:
            return a if abs(at_a) < abs(at_b) else b
        part = min(max(_next(a, b, c, at_a, at_b, at_c), least), 1 - least)


def _next(a: float, b: float, c: float, at_a: float, at_b: float, at_c: float) -> float:
    """Where to look next between a and b, as a part of the way: c is the point before."""
    xi, phi = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b) if at_c != at_b else 0.0
    if not (phi**2 < xi and (1 - phi) ** 2 < 1 - xi):
        return 0.5
    return at_a / (at_b - at_a) * at_c / (at_b - at_c) + (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
