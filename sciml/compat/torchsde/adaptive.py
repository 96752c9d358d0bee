"""Adaptive steps as torchsde chooses them: a whole step against two halves, for the whole batch together.

With r the root mean square of (y_whole - y_halves) / (atol + rtol max(|y_whole|, |y_halves|)), a step is accepted if
r <= 1, and with q = 0.9 / r the next one is longer by a factor

    q^(1/4.5) (q / q_before)^0.13, from 1 to 1.4, after it was accepted;    q^(1/1.5), from 0.2 to 1.4, if not.

Source: Burrage, Herdiana & Burrage (2004), J. Comput. Appl. Math. 171, 317-336; gains and limits are torchsde's.
"""

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from sciml.compat.torchsde.inputs import Call
from sciml.integrate import AbstractMethod

_SAFETY, _LEAST, _MOST, _TINY = 0.9, 0.2, 1.4, 1e-7


def accepted_steps(
    call: Call, method: AbstractMethod, term: Any, y0: Tensor, carry: Any, slack: float
) -> tuple[list[float], list[float], list[Tensor], Any]:
    """Walk from the first time to the last.

    Returns:
        The ends of accepted steps, those of their halves, the states at the former, and the last carry.
    """
    t, end = (float(x) for x in call.ts.detach()[[0, -1]])
    ends, halves, states, y = [t], [t], [y0], y0
    h, before = call.dt, None
    while t < end:
        after = t + h if t + h < end - slack else end
        middle = 0.5 * (t + after)
        whole: Any = method.step(term, t, after, y, carry).y
        first: Any = method.step(term, t, middle, y, carry)
        second: Any = method.step(term, middle, after, first.y, first.carry)
        error = _error(whole, second.y, call.rtol, call.atol)
        h, before = _next_size(h, error, before)
        if h < call.dt_min:
            warnings.warn(f"dt_min={call.dt_min:g} is reached at t={t:g}: steps are as long, or longer.", stacklevel=6)
            h, before = call.dt_min, None
        if error <= 1 or h <= call.dt_min:
            t, y, carry = after, second.y, second.carry
            ends.append(after)
            halves.extend((middle, after))
            states.append(y)
    return ends, halves, states, carry


def _next_size(h: float, error: float, before: float | None) -> tuple[float, float | None]:
    """The size of the next step, and what is remembered of this one."""
    ratio = _SAFETY / error
    change = ratio / (ratio if before is None else before)
    if error > 1:
        return h * min(_MOST, max(_LEAST, ratio ** (1 / 1.5))), before
    return h * min(_MOST, max(1.0, ratio ** (1 / 4.5) * change**0.13)), ratio


def _error(whole: Tensor, halves: Tensor, rtol: float, atol: float) -> float:
    scale = (rtol * torch.maximum(whole.abs(), halves.abs()) + atol).clamp_min(_TINY)
    error = float(((whole - halves) / scale).square().mean().sqrt())
    if math.isnan(error):
        raise AssertionError(
            "the error of a step is not a number: the state or the functions of the equation became infinite. "
            "Loosen the tolerances, or take smaller steps."
        )
    return max(error, _TINY)
