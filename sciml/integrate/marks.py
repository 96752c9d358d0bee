"""Times that adaptive steps must hit, as the walk meets them."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.integrate.clock import Clock
from sciml.integrate.control import Clip
from sciml.integrate.flat import Flat, first_leaf


@final
@dataclass(frozen=True, eq=False)
class Marks:
    """Times steps must end at, in tau, and where they go on: (clock or 1, count + 1), the end last."""

    stop: Tensor
    resume: Tensor
    jump: Tensor

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
    return Marks(
        stop, resume, torch.cat([jump & (stop[:, :-1] < high), torch.zeros_like(high, dtype=torch.bool)], dim=1)
    )


def entry_of(table: Tensor, place: Tensor) -> Tensor:
    """The entry of each clock's row of a table."""
    if place.ndim == 0:
        return table[0].gather(0, place[None])[0]  # as an index it would be read
    return table.expand(len(place), -1).gather(1, place[:, None])[:, 0]
