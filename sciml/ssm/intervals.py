"""From times to intervals. An interval belongs to the entry at its end, and 0 leaves the state as it is."""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_positive, check_shape
from sciml.ssm.checks import check_intervals

Interval = Tensor | float | None
"""Time since the entry before: (batch, time), one number for all, or None for 1."""


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
            f"`times` must be of a floating dtype, got {times.dtype}. Convert them, times.to(dtype of the layer), where "
            "that dtype holds them exactly; subtract a start before where it does not."
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
        ValueError: if they have another shape, or one is negative or not finite.
        TypeError: if they have another dtype than u.
    """
    if isinstance(dt, Tensor) and dt.ndim > 0:
        check_intervals(dt, tuple(u.shape[:2]), u.dtype)
        return dt
    if isinstance(dt, Tensor):
        if not torch.compiler.is_compiling():
            check_positive("dt", float(dt.detach()))
        return dt.to(u.dtype).view(1, 1)
    if dt is not None:
        check_positive("dt", dt)
    return torch.full((1, 1), 1.0 if dt is None else dt, dtype=u.dtype, device=u.device)


def of_one_entry(dt: Interval, u: Tensor) -> Interval:
    """Intervals (batch,) of one entry u (batch, channel) as (batch, 1); numbers as they are."""
    if isinstance(dt, Tensor) and dt.ndim > 0:
        check_intervals(dt, (len(u),), u.dtype)
        return dt.unsqueeze(-1)
    return dt
