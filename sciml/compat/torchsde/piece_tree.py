"""The times at which a Brownian path is known, as a tree: what it does between them is made again when it is needed.

A node is an interval with at most some hundred times in it. It holds how its parts come about: what was drawn at once,
and the splits since, in order. When it is full, each of its parts becomes a node of its own as soon as a new time falls
into it. So a path of any number of steps is held in numbers of a few nodes, and one Python float per time.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sciml.core.random import Key
from sciml.paths import AbstractLevy, NoArea, SpaceTime
from sciml.paths.knot_table import KnotTable
from sciml.paths.moments import split_matrix, standard_deviations
from sciml.paths.normals import Streams

_SPLITS, _AREAS = 1, 2  # sub-streams of a node's key, beside itself for what is drawn at once


@final
@dataclass(frozen=True)
class Law:
    """What is drawn in every node.

    Args:
        channels: of each row.
        levy: which moments and areas increments hold.
        dtype: float32 or float64.
    """

    channels: int
    levy: AbstractLevy
    dtype: torch.dtype

    @property
    def moments(self) -> int:
        """Of each part: W, and H where it is asked for."""
        return 2 if self.levy.moments > 1 else 1


@final
@dataclass(eq=False)
class Node:
    """An interval of the path.

    Args:
        key: of its own.
        first: the times that were there from the beginning, both ends among them.
        planned: times of a grid that are to come, of which `first` are some.
        parent, place: whose part it is, and which.
    """

    key: Key
    first: list[float]
    planned: Sequence[float] = ()
    parent: "Node | None" = None
    place: int = 0
    splits: list[float] = field(default_factory=list, init=False)
    children: dict[int, "Node"] = field(default_factory=dict, init=False)
    times: list[float] = field(init=False)
    """All that are known, in order."""
    numbers: list[int] = field(init=False)
    """One for each part, by which its areas are drawn: splitting a part gives new ones to both sides."""
    parts: list[Tensor] | None = field(default=None, init=False)
    """What the path does between them, (moment, batch, channel); None if forgotten."""

    def __post_init__(self) -> None:
        self.times, self.numbers = list(self.first), list(range(len(self.first) - 1))

    def make(self, law: Law, whole: Tensor | None) -> None:
        """Its parts, the same as ever.

        Args:
            law: of the path.
            whole: what the path does over it, (moment, batch, channel); None where that is still open.
        """
        if whole is not None and len(self.first) == 2:
            self.parts = [whole]
        else:
            levy = SpaceTime() if law.moments > 1 else NoArea()
            knots = torch.tensor(self.first, dtype=torch.float64, device=self.key.ids.device)
            drawn = KnotTable(self.key, knots, law.channels, levy, law.dtype).moments
            self.parts = list((drawn if whole is None else bent(drawn, knots, whole)).unbind(1))
        streams, times = self._streams(_SPLITS), list(self.first)
        for n, t in enumerate(self.splits):
            i = bisect_right(times, t)
            self._split(law, streams, n, times[i - 1], t, times[i], i - 1)
            times.insert(i, t)

    def split(self, law: Law, t: float) -> None:
        """Make a new time known; this costs one draw."""
        i = bisect_right(self.times, t)
        self._split(law, self._streams(_SPLITS), len(self.splits), self.times[i - 1], t, self.times[i], i - 1)
        fresh = len(self.first) - 1 + 2 * len(self.splits)
        self.splits.append(t)
        self.times.insert(i, t)
        self.numbers[i - 1 : i] = [fresh, fresh + 1]

    def _split(self, law: Law, streams: Streams, n: int, start: float, t: float, end: float, i: int) -> None:
        """Split number `n`: of part `i`, from `start` to `end`, at `t`."""
        assert self.parts is not None
        left, right = t - start, end - t
        whole, moments = self.parts[i], law.moments
        sigma = standard_deviations(whole)
        normals = streams.normal(torch.tensor([n], device=whole.device), moments * law.channels, law.dtype)
        normals = normals.unflatten(-1, (moments, law.channels)).movedim(-2, 0)
        known = torch.cat([whole / (sigma * math.sqrt(left + right)), normals])
        matrix = torch.tensor(split_matrix(left / (left + right), moments), dtype=law.dtype, device=whole.device)
        made = torch.tensordot(matrix, known, dims=1)
        self.parts[i : i + 1] = [made[:moments] * sigma * math.sqrt(left), made[moments:] * sigma * math.sqrt(right)]

    def child(self, i: int, most: int, step: float) -> "Node":
        """The node of part `i`.

        Args:
            i: number of the part.
            most: times that are drawn at once.
            step: the length of the question that calls for it: some dozens of them make a part.
        """
        if i not in self.children:
            left, right = self.times[i], self.times[i + 1]
            planned = self.planned[bisect_right(self.planned, left) : bisect_left(self.planned, right)]
            first = thinned([left, *planned, right], most) if planned else spread(left, right, step, most)
            self.children[i] = Node(self.key.fold(3 + i), first, planned, self, i)
        return self.children[i]

    def area_streams(self) -> Streams:
        """By which areas are drawn, at the numbers of its parts."""
        return self._streams(_AREAS)

    def _streams(self, purpose: int) -> Streams:
        return Streams.of(self.key.fold(purpose), 0)


def thinned(times: list[float], most: int) -> list[float]:
    """All of the times, if there are no more than `most` steps between them; else every so manieth, with both ends."""
    steps = len(times) - 1
    stride = 1 if steps <= most else max(most, -(-steps // most))
    return [*times[:-1:stride], times[-1]]


def spread(left: float, right: float, step: float, most: int) -> list[float]:
    """Both ends, and times between them some dozens of steps apart."""
    count = max(1, min(most, int((right - left) / (64 * step))))
    return [left, *(left + (right - left) * i / count for i in range(1, count)), right]


def bent(drawn: Tensor, knots: Tensor, whole: Tensor) -> Tensor:
    """A path plus the chord and the parabola that give the whole of it the moments that are known: exact in law.

    Args:
        drawn: moments between knots, (moment, interval, batch, channel).
        knots: float64, (interval + 1,).
        whole: moments of the whole, (moment, batch, channel).
    """
    span = knots[-1] - knots[0]
    share = (knots.diff() / span).to(drawn)[:, None, None]
    before = drawn[0].cumsum(0) - drawn[0]
    lack = whole[0] - drawn[0].sum(0)
    if len(drawn) == 1:
        return drawn + (lack * share)[None]
    h = (share * (before + drawn[0] / 2 + drawn[1])).sum(0) - drawn[0].sum(0) / 2
    off = ((knots[1:] + knots[:-1] - knots[0] - knots[-1]) / span).to(drawn)[:, None, None]
    bend = whole[1] - h
    return drawn + torch.stack([share * (lack - 6 * off * bend), share**2 * bend])
