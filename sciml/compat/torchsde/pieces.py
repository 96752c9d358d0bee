"""A Brownian motion at the times it was asked for so far, and what it does over the intervals between them.

A new time splits the interval it falls into: the moments of both parts follow from those of the whole and as many new
normal numbers, exactly in law. So a question costs one draw, however many came before, and what the path is depends on
the key and on the questions in their order. Of all that was drawn only the newest is kept; the rest can be drawn again.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import groupby
from typing import final

import torch
from torch import Tensor

from sciml.compat.torchsde.piece_tree import Law, Node, spread, thinned
from sciml.core.random import Key
from sciml.paths import AbstractLevy, Increment
from sciml.paths.knot_table import crossed, drawn_areas

_NODE, _KEPT = 1 << 22, 1 << 25
"""Numbers of one node, and of all that are kept."""
_SPLITS = 512
"""The most splits of a node."""


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
    top: Node | None = field(default=None, init=False)
    made: dict[Node, None] = field(default_factory=dict, init=False)
    """Nodes whose parts are there, the newest last."""

    def __post_init__(self) -> None:
        self.law = Law(self.channels, self.levy, self.dtype)
        self.at_once = max(16, _NODE // (self.law.moments * self.channels * self.key.batch))
        """Steps of a grid that are drawn at once."""
        self._slack = 1e-12 * (self.t1 - self.t0) + 1e-15 * max(abs(self.t0), abs(self.t1))

    def between(self, ta: float, tb: float) -> Increment:
        """What the path does from `ta` to `tb`, ta < tb, within its interval."""
        if self.top is None:
            self.top = Node(self.key, spread(self.t0, self.t1, tb - ta, min(self.at_once, _SPLITS)))
        for t in (ta, tb):
            self._know(t, tb - ta)
        return self._joined(self._parts(self.top, ta, tb))

    def expect(self, grid: list[float]) -> None:
        """Tell the times of steps that are to come: they are drawn at once, as far as nothing is known so far."""
        if self.top is None:
            inner = [t for t in grid if self.t0 + self._slack < t < self.t1 - self._slack]
            self.top = Node(self.key, thinned([self.t0, *inner, self.t1], self.at_once), inner)

    def along(self, grid: list[float]) -> list[Increment]:
        """What the path does over every step of a grid."""
        self.expect(grid)
        if not self.levy.areas:
            node, i = self._innermost(grid[0])
            parts = self._made(node)
            if node.times[i : i + len(grid)] == grid:
                return [_increment(part) for part in parts[i : i + len(grid) - 1]]
        return [self.between(a, b) for a, b in zip(grid, grid[1:], strict=False)]

    @property
    def times(self) -> list[float]:
        """All that are known."""
        return [] if self.top is None else [*self._times(self.top), self.t1]

    def _times(self, node: Node) -> list[float]:
        found = list(node.times[:-1])
        for i in sorted(node.children, reverse=True):
            found[i : i + 1] = self._times(node.children[i])
        return found

    def _made(self, node: Node) -> list[Tensor]:
        """The parts of a node, made again if they were forgotten."""
        if node.parts is None:
            whole = self.given if node.parent is None else self._made(node.parent)[node.place]
            with torch.inference_mode(False):
                node.make(self.law, whole)
        self.made.pop(node, None)
        self.made[node] = None
        self._forget()
        assert node.parts is not None
        return node.parts

    def _forget(self) -> None:
        """The oldest parts but for those of four nodes."""
        each = self.law.moments * self.channels * self.key.batch
        kept = sum(len(node.parts or ()) for node in self.made) * each
        for node in list(self.made)[:-4]:
            if kept <= _KEPT:
                return
            kept -= len(node.parts or ()) * each
            node.parts = None
            del self.made[node]

    def _full(self, node: Node) -> bool:
        """Whether new times become times of its children."""
        return len(node.planned) > len(node.first) - 2 or len(node.splits) >= min(_SPLITS, self.at_once)

    def _know(self, t: float, step: float) -> None:
        """Make a time known."""
        assert self.top is not None
        node = self.top
        while True:
            i = bisect_right(node.times, t + self._slack) - 1
            if t - node.times[i] <= self._slack:
                return
            if not self._full(node):
                self._made(node)
                with torch.inference_mode(False):
                    node.split(self.law, t)
                return
            node = node.child(i, self.at_once, step)

    def _innermost(self, t: float) -> tuple[Node, int]:
        """The smallest node that `t` begins a part of, and the number of that part."""
        assert self.top is not None
        node = self.top
        while True:
            i = max(bisect_right(node.times, t + self._slack) - 1, 0)
            planned = len(node.planned) > len(node.first) - 2 and i < len(node.times) - 1
            if not planned and i not in node.children:
                return node, i
            node = node.child(i, self.at_once, self.t1 - self.t0)

    def _parts(self, node: Node, ta: float, tb: float) -> list[tuple[Node, int, Tensor, float]]:
        """All between two known times: node, number, moments, length."""
        times, i = node.times, max(bisect_right(node.times, ta + self._slack) - 1, 0)
        found, parts = [], None
        while i < len(times) - 1 and times[i] < tb - self._slack:
            inside = times[i] >= ta - self._slack and times[i + 1] <= tb + self._slack
            if inside and not (self.levy.areas and i in node.children):
                parts = parts or self._made(node)
                found.append((node, node.numbers[i], parts[i], times[i + 1] - times[i]))
            else:
                found += self._parts(node.children[i], ta, tb)
            i += 1
        return found

    def _joined(self, found: list[tuple[Node, int, Tensor, float]]) -> Increment:
        if len(found) == 1 and not self.levy.areas:
            return _increment(found[0][2])
        parts = torch.stack([part for _, _, part, _ in found], dim=1)  # (moment, part, batch, channel)
        w = parts[0].sum(0)
        if self.levy.moments == 1:
            return Increment(w)
        lengths = torch.tensor([length for *_, length in found], dtype=torch.float64, device=w.device)
        dt = lengths.to(self.dtype)[:, None, None]
        before = parts[0].cumsum(0) - parts[0]
        h = (dt * (before + parts[0] / 2 + parts[1])).sum(0) / float(lengths.sum()) - w / 2
        if not self.levy.areas:
            return Increment(w, h)
        return Increment(w, h, None, (self._areas(found, parts, dt) + crossed(before, parts[0])).sum(0))

    def _areas(self, found: list[tuple[Node, int, Tensor, float]], parts: Tensor, dt: Tensor) -> Tensor:
        """Areas of each part, (part, batch, channel, channel)."""
        areas, start = [], 0
        for node, run in groupby(found, key=lambda each: each[0]):
            numbers = [number for _, number, *_ in run]
            end = start + len(numbers)
            nodes = torch.tensor(numbers, device=parts.device)[:, None]
            areas.append(
                drawn_areas(node.area_streams(), nodes, parts[:, start:end], dt[start:end, ..., None], self.levy)
            )
            start = end
        return torch.cat(areas)


def _increment(part: Tensor) -> Increment:
    return Increment(part[0], part[1] if len(part) > 1 else None)
