"""When something first happens along a rollout, and whether it happens within the horizon at all."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.metrics.frames import check_times


@final
@dataclass(frozen=True, eq=False)
class CrossingTime:
    """The first time of an event, one per curve.

    Args:
        time: time of the event, or the last lead time where it did not happen: then a lower bound, [time].
        beyond_horizon: True where the event did not happen up to the last lead time.
    """

    time: Float[Tensor, "*curve"]
    beyond_horizon: Bool[Tensor, "*curve"]


def crossing_time(
    curves: Float[Tensor, "*curve time"],
    times: Float[Tensor, " time"],
    threshold: float,
    *,
    start: float = 1.0,
) -> CrossingTime:
    """First time at which each curve falls below `threshold`, linearly interpolated between frames.

    A later recovery does not count. NaN counts as below, and as a fall at once: the crossing is then put at
    the last frame with a value, not between two.

    Args:
        curves: values at the lead times.
        times: lead times, above 0 and increasing, [time].
        threshold: in the units of the curve.
        start: value at lead time 0, known without prediction; 1 for a correlation.

    Raises:
        ValueError: if the times do not fit or do not increase from above 0, or `start` is below the
        threshold.
    """
    check_times(times, curves.shape[-1])
    if not start >= threshold:
        raise ValueError(
            f"`threshold` must be at most `start`, the value at lead time 0, got threshold={threshold!r}, "
            f"start={start!r}. Lower the threshold."
        )
    values = torch.cat([torch.full_like(curves[..., :1], start), curves], dim=-1).double()
    knots = torch.cat([times.new_zeros(1), times]).to(values)
    below = ~(values >= threshold)
    happens = below.any(-1)
    after = below.int().argmax(-1).clamp(min=1)  # the first frame below; 1 where there is none, replaced below
    high, low = _at(values, after - 1), _at(values, after)
    fraction = torch.nan_to_num((high - threshold) / (high - low), nan=0.0)
    time = knots[after - 1] + fraction * (knots[after] - knots[after - 1])
    return CrossingTime(torch.where(happens, time, knots[-1]), ~happens)


def first_time(happens: Bool[Tensor, "*curve time"], times: Float[Tensor, " time"]) -> CrossingTime:
    """Time of the first frame at which `happens` is True, without interpolation."""
    check_times(times, happens.shape[-1])
    ever = happens.any(-1)
    knots = times.to(happens.device).double()
    return CrossingTime(torch.where(ever, knots[happens.int().argmax(-1)], knots[-1]), ~ever)


def _at(values: Float[Tensor, "*curve time"], index: Tensor) -> Float[Tensor, "*curve"]:
    """The value of each curve at its own index."""
    return values.gather(-1, index[..., None])[..., 0]
