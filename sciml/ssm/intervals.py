"""From times to intervals. An interval belongs to the entry at its end, and 0 leaves the state as it is."""

import numbers
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_positive, check_shape
from sciml.ssm.checks import check_intervals, check_number

Interval = Tensor | float | None
"""Time since the entry before: (batch, time), one number for all, or None for 1; from 0 to 1e15, in float32 too."""


def intervals(times: Tensor, first: float, present: Tensor | None = None) -> Float[Tensor, "batch time"]:
    """Time since the entry before, and 0 where there is no entry.

    Args:
        times: when, (batch, time); where nothing is present they are not read, [time].
        first: the interval of the first entry of each series, over which its input is held, [time]. At 0 it would not
            be seen at all: take a typical interval.
        present: which entries there are, (batch, time) of bool; all by default.

    Raises:
        ValueError: if `first` is not positive, shapes disagree, or times fall or are not finite.
        TypeError: if times are whole numbers.
    """
    if not times.is_floating_point():
        raise TypeError(
            f"`times` must be of a floating dtype, got {times.dtype}. Convert them to the dtype of the layer; where it "
            "does not hold them exactly, subtract a start before."
        )
    check_shape("times", times, (None, None), "batch and time")
    check_positive("first", first)
    present = torch.ones_like(times, dtype=torch.bool) if present is None else present
    check_shape("present", present, tuple(times.shape), "one flag per time")
    known = torch.where(present, times, -torch.inf)
    last = torch.nn.functional.pad(known[:, :-1].cummax(dim=1).values, (1, 0), value=-torch.inf)
    seen = last > -torch.inf
    gaps = torch.where(present & seen, torch.where(present, times, 0) - torch.where(seen, last, 0), first)
    wrong = present & ~((gaps >= 0) & torch.isfinite(gaps) & torch.isfinite(times))
    if bool(wrong.any()):
        row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"times must be finite and must not fall, but times[{row}, {column}] is {times[row, column].item():g} "
            f"behind {last[row, column].item():g}. Sort each series, and mark what is missing in `present`."
        )
    return torch.where(present, gaps, 0)


def as_intervals(dt: Interval, u: Tensor) -> Tensor:
    """Intervals as (batch, time), or (1, 1) where one number serves all entries of u (batch, time, ...).

    Raises:
        ValueError: if they have another shape, or one is negative or above 1e15.
        TypeError: if they have another dtype than u, or are no tensor and no number.
    """
    if isinstance(dt, Tensor) and dt.ndim > 0:
        check_intervals(dt, tuple(u.shape[:2]), u.dtype)
        return dt
    if isinstance(dt, Tensor):
        check_number("dt", dt)
        return dt.to(u.dtype).view(1, 1)
    number = known(dt)
    assert number is not None
    return torch.full((1, 1), number, dtype=u.dtype, device=u.device)


def known(dt: Any) -> float | None:
    """The one interval where the host knows it: a number, or 1 where none is given; None for a tensor.

    Raises:
        ValueError: if it is negative or above 1e15.
        TypeError: if it is no tensor and no number.
    """
    if isinstance(dt, Tensor):
        return None
    if dt is None:
        return 1.0
    if not isinstance(dt, float | int) and not isinstance(dt, numbers.Real):
        raise TypeError(
            f"`dt` must be a tensor (batch, time) or one number for all, got {type(dt).__name__}. Convert it: "
            "torch.as_tensor(dt, dtype=u.dtype)."
        )
    check_number("dt", dt)
    return float(dt)


def per_entry(dt: Interval, u: Tensor) -> Tensor:
    """As `as_intervals`, for layers that count the entries whose interval is not 0: (1, 1) where all of them count."""
    interval = as_intervals(dt, u)
    counts = interval.shape != (1, 1) or u.shape[:2] == (1, 1) or (not isinstance(dt, Tensor) and known(dt) != 0)
    return interval if counts else interval.expand(u.shape[:2])


def going_on(dt: Interval, dt_ahead: Interval) -> Interval:
    """Intervals of coming entries: where none are given, the one number of those so far.

    Raises:
        ValueError: if none are given, and those so far differ.
    """
    if dt_ahead is None and isinstance(dt, Tensor) and dt.ndim > 0:
        raise ValueError(
            f"`dt_ahead` must be given where `dt` is one interval for each sample and time, got None beside dt of "
            f"shape {tuple(dt.shape)}. Give (batch, entries), or one number for all coming entries."
        )
    return dt if dt_ahead is None else dt_ahead


def of_one_entry(dt: Interval, u: Tensor) -> Interval:
    """Intervals (batch,) of one entry u (batch, channel) as (batch, 1); numbers as they are."""
    if isinstance(dt, Tensor) and dt.ndim > 0:
        check_intervals(dt, (len(u),), u.dtype)
        return dt.unsqueeze(-1)
    return dt
