"""Times that adaptive steps must hit, as the walk meets them."""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from sciml.integrate.clock import Clock
from sciml.integrate.control import PID, Clip
from sciml.integrate.flat import Flat, first_leaf


@final
@dataclass(frozen=True, eq=False)
class Marks:
    """Times steps must end at, in tau, and where they go on: (clock or 1, count + 1), the end last."""

    stop: Tensor
    resume: Tensor
    jump: Tensor
    has_jumps: bool

    def target(self, place: Tensor, end: Tensor) -> Tensor:
        """The next time to be hit; the end itself, which may be differentiated, where none is left before it."""
        stop = entry_of(self.stop, place)
        return torch.where(stop >= end, end, stop)


def marks_of(clip: Clip, clock: Clock, tau0: Tensor, tau1: Tensor, y0: Flat) -> Marks:
    """All times that must be hit, sorted, the end last."""
    real = first_leaf(y0).dtype.to_real()
    low, high = (t.detach().reshape(-1, 1) for t in (tau0, tau1))
    stops, resumes, jumps = [], [], []
    for times, jump in ((clip.jumps, True), (clip.stops, False)):
        if times is None:
            continue
        if times.ndim == 2 and len(times) not in (1, len(low)):
            raise ValueError(f"stops and jumps must have one row per clock ({len(low)}), got {tuple(times.shape)}.")
        rows = times.to(low.device, torch.float64).expand(len(low), -1)
        tau = clock.turned_rows(rows) if not isinstance(clock.sign, Tensor) else rows * clock.sign[:, None]
        before = torch.nextafter(tau.to(real), torch.tensor(-math.inf, dtype=real)).double() if jump else tau
        after = torch.nextafter(tau.to(real), torch.tensor(math.inf, dtype=real)).double() if jump else tau
        inside = (before > low) & (after < high)
        stops.append(torch.where(inside, before, math.inf))
        resumes.append(torch.where(inside, after, math.inf))
        jumps.append(torch.full_like(tau, jump, dtype=torch.bool))
    stop, resume, jump = (torch.cat(parts, dim=1) for parts in (stops, resumes, jumps))
    stop, order = torch.sort(stop, dim=1, stable=True)
    resume, jump = resume.gather(1, order), jump.gather(1, order)
    again = stop[:, 1:] <= resume.cummax(dim=1).values[:, :-1]  # given twice, or as a jump too
    stop[:, 1:] = torch.where(again, math.inf, stop[:, 1:])
    resume[:, 1:] = torch.where(again, math.inf, resume[:, 1:])
    stop, order = torch.sort(stop, dim=1, stable=True)
    resume, jump = resume.gather(1, order), jump.gather(1, order)
    stop, resume = torch.minimum(stop, high), torch.minimum(resume, high)
    stop, resume = torch.cat([stop, high], dim=1), torch.cat([resume, high], dim=1)
    jump = torch.cat([jump & (stop[:, :-1] < high), torch.zeros_like(high, dtype=torch.bool)], dim=1)
    return Marks(stop, resume, jump, clip.jumps is not None)


def with_stops(clip: Clip | None, pid: PID, ts: Tensor | None, *, of_each: bool) -> Clip | None:
    """The control of a term with noise: steps end at the times that are kept too, for chords between states lack noise.

    Args:
        clip: the control, if it has stops or jumps.
        pid: its inner one.
        ts: times that are kept, (time,) or (batch, time).
        of_each: whether every sample has steps of its own; else all stop for the times of each.
    """
    if ts is None:
        return None if clip is None else replace(clip, inner=pid)
    own = ts.ndim == 2 and of_each
    stops = ts.detach().double().reshape(len(ts) if own else 1, -1)
    if clip is not None and clip.stops is not None:
        given = clip.stops.to(stops).reshape(-1, clip.stops.shape[-1])
        rows = max(len(stops), len(given))
        if len(given) not in (1, rows):
            return replace(clip, inner=pid)  # refused where marks are made
        stops = torch.cat([stops.expand(rows, -1), given.expand(rows, -1)], dim=1)
    count = stops.shape[1]
    padded = 1 << (count - 1).bit_length()  # few shapes for code that is compiled
    stops = torch.nn.functional.pad(stops, (0, padded - count), value=math.nan)
    return Clip(pid, stops, None if clip is None else clip.jumps)


def entry_of(table: Tensor, place: Tensor) -> Tensor:
    """The entry of each clock's row of a table."""
    if place.ndim == 0:
        return table[0].gather(0, place[None])[0]  # as an index it would be read
    return table.expand(len(place), -1).gather(1, place[:, None])[:, 0]
