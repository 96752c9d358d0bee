"""A Brownian motion at the times it was asked for so far, and what it does over the intervals between them.

A new time splits the interval it falls into: the moments of both parts follow from those of the whole and as many new
normal numbers, exactly in law. So a question costs one draw, however many came before, and what the path is depends on
the key and on the questions in their order.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sciml.core.random import Key
from sciml.paths import AbstractLevy, Increment, NoArea, SpaceTime
from sciml.paths.knot_table import KnotTable, crossed, drawn_areas
from sciml.paths.moments import split_matrix, standard_deviations
from sciml.paths.normals import Streams

_SPLITS, _AREAS = 1, 2  # sub-streams of the key, beside itself for what is drawn at once
_MOST_AT_ONCE = 1 << 28
"""Numbers of a grid that are drawn beforehand; beyond it every time is a split of its own."""


@final
@dataclass(eq=False)
class Pieces:
    """What is known of the path.

    Args:
        key: names the path of each row.
        channels: of each row.
        t0, t1: where the path begins and ends, [time].
        levy: which moments and areas increments hold.
        dtype: float32 or float64.
        given: (W, H), or (W,), of the whole interval, each (batch, channels); None to draw them.
    """

    key: Key
    channels: int
    t0: float
    t1: float
    levy: AbstractLevy
    dtype: torch.dtype
    given: Tensor | None = None
    times: list[float] = field(default_factory=list, init=False)
    parts: list[Tensor] = field(default_factory=list, init=False)
    numbers: list[int] = field(default_factory=list, init=False)
    """A number of its own for each part, by which its areas are drawn."""

    def __post_init__(self) -> None:
        self._count = 0
        self._splits = Streams.of(self.key.fold(_SPLITS), 0)
        self._areas = Streams.of(self.key.fold(_AREAS), 0)
        self._slack = 1e-12 * (self.t1 - self.t0) + 1e-15 * max(abs(self.t0), abs(self.t1))

    def between(self, ta: float, tb: float) -> Increment:
        """What the path does from `ta` to `tb`, ta < tb, within its interval."""
        if not self.times:
            self._begin([self.t0, self.t1])
        i = self._place(ta)
        j = self._place(tb)
        return self._joined(i, j)

    def along(self, grid: list[float]) -> list[Increment]:
        """What the path does over every step of a grid; all of it is drawn at once if nothing is known so far."""
        if not self.times:
            inner = [t for t in grid if self.t0 + self._slack < t < self.t1 - self._slack]
            moments = 2 if self.levy.moments > 1 else 1
            small = moments * len(inner) * self.channels * self.key.batch <= _MOST_AT_ONCE
            self._begin([self.t0, *(inner if small and self.given is None else ()), self.t1])
        places = [self._place(t) for t in grid]  # each later than those before, so that it moves none of them
        if places == list(range(places[0], places[0] + len(places))) and not self.levy.areas:
            return [self._increment(part) for part in self.parts[places[0] : places[-1]]]
        return [self._joined(i, j) for i, j in zip(places, places[1:], strict=False)]

    def _begin(self, times: list[float]) -> None:
        self.times = times
        if self.given is not None:
            self.parts = [self.given]
        else:
            levy = SpaceTime() if self.levy.moments > 1 else NoArea()
            knots = torch.tensor(times, dtype=torch.float64, device=self.key.ids.device)
            self.parts = list(KnotTable(self.key, knots, self.channels, levy, self.dtype).moments.unbind(1))
        self.numbers = list(range(len(self.parts)))
        self._count = len(self.parts)

    def _place(self, t: float) -> int:
        """Number of a time, which is known from then on."""
        i = bisect_right(self.times, t + self._slack) - 1
        if t - self.times[i] <= self._slack:
            return i
        self._split(i, t)
        return i + 1

    def _split(self, i: int, t: float) -> None:
        left, right = t - self.times[i], self.times[i + 1] - t
        whole = self.parts[i]
        moments = len(whole)
        sigma = standard_deviations(whole)
        node = torch.tensor([self._count], device=whole.device)
        normals = self._splits.normal(node, moments * self.channels, self.dtype)
        normals = normals.unflatten(-1, (moments, self.channels)).movedim(-2, 0)
        known = torch.cat([whole / (sigma * math.sqrt(left + right)), normals])
        matrix = torch.tensor(split_matrix(left / (left + right), moments), dtype=self.dtype, device=whole.device)
        made = torch.tensordot(matrix, known, dims=1)
        self.parts[i : i + 1] = [made[:moments] * sigma * math.sqrt(left), made[moments:] * sigma * math.sqrt(right)]
        self.numbers[i : i + 1] = [self._count, self._count + 1]
        self.times.insert(i + 1, t)
        self._count += 2

    def _joined(self, i: int, j: int) -> Increment:
        """From time number `i` to `j`."""
        if j - i == 1 and not self.levy.areas:
            return self._increment(self.parts[i])
        parts = torch.stack(self.parts[i:j], dim=1)  # (moment, part, batch, channel)
        w = parts[0].sum(0)
        if self.levy.moments == 1:
            return Increment(w)
        times = torch.tensor(self.times[i : j + 1], dtype=torch.float64, device=w.device)
        dt = times.diff().to(self.dtype)[:, None, None]
        before = parts[0].cumsum(0) - parts[0]
        h = (dt * (before + parts[0] / 2 + parts[1])).sum(0) / (self.times[j] - self.times[i]) - w / 2
        area = None
        if self.levy.areas:
            nodes = torch.tensor(self.numbers[i:j], device=w.device)[:, None]
            area = drawn_areas(self._areas, nodes, parts, dt[..., None], self.levy) + crossed(before, parts[0])
            area = area.sum(0)
        return Increment(w, h, None, area)

    def _increment(self, part: Tensor) -> Increment:
        return Increment(part[0], part[1] if len(part) > 1 else None)
