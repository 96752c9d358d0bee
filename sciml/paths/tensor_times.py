"""Brownian motion at times that are tensors: nothing but tensors and shapes, so that compiled code may ask for it too.

What is known at a time is a `Point`. Increments are made of the points at their ends, so that who goes on from a time
need not draw it again.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.paths.base import Increment, Time
from sciml.paths.bridge import Place, covered, nodes_of, w_up_to
from sciml.paths.correlation import correlated, correlated_area
from sciml.paths.knot_table import KnotTable, crossed, drawn_areas, rows_of
from sciml.paths.moments import joined
from sciml.paths.normals import Streams, mixed

_AT_AN_END = 1e-6
"""A time as near as this to an end of its cell, in lengths of it, is taken for the end: rounding of the times."""


class Point(NamedTuple):
    """What is known of a Brownian motion at a time.

    Args:
        time: float64, (1,) or (batch,); NaN where the path is not defined.
        known: W from the first knot, float64, (batch, channel); for paths with areas the normal numbers of all splits
            on the way to the time, (batch, level, moment, channel).
    """

    time: Tensor
    known: Tensor


@final
@dataclass(frozen=True, eq=False)
class TensorTimes:
    """A Brownian motion as it is asked for at times that are tensors.

    Args:
        knots: increasing times, float64, [time].
        table: draws over the intervals between them.
        inside: generators of the splits.
        areas: generators of the areas between channels of parts of intervals, or None.
        depth: how often an interval is halved.
        shape, factor: of the noise of one sample; see `BrownianMotion`.
    """

    knots: Float[Tensor, " knot"]
    table: KnotTable
    inside: Streams
    areas: Streams | None
    depth: int
    shape: tuple[int, ...]
    factor: Tensor | None

    @property
    def batch(self) -> int:
        """How many paths there are."""
        return len(self.inside.first)

    def drawn(self) -> "TensorTimes":
        """The same, with all draws over the intervals between knots made."""
        with torch.inference_mode(False):
            assert self.table.sums is not None
        return self

    def increment(self, t0: Time, t1: Time) -> Increment:
        """See `BrownianMotion.increment`."""
        if not isinstance(t0, Tensor) and not isinstance(t1, Tensor) and t1 < t0:  # the very numbers of the way forth
            w, h, k, area = self.increment(t1, t0)
            return Increment(-w, h, None if k is None else -k, None if area is None else -area)
        return self.between(self.at("t0", t0), self.at("t1", t1))

    def at(self, name: str, t: Time) -> Point:
        """What is known at a time.

        Args:
            name: of the time, for the message.
            t: the time, [time].

        Raises:
            ValueError: if it does not hold one time per path.
        """
        given = torch.as_tensor(t, dtype=None if isinstance(t, Tensor) else torch.float64, device=self.knots.device)
        if given.numel() != 1 and given.numel() != self.batch:
            raise ValueError(
                f"`{name}` must be one time, or one per path ({self.batch},), got shape {tuple(given.shape)}. "
                "Ask for one time of each path at once."
            )
        time, interval = self._defined(given.reshape(-1))
        place, table = self._place(time, interval), self.table
        if table.levy.moments > 1:
            nodes, count = nodes_of(place, self.depth), table.levy.moments * table.channels
            normals = self.inside.normal(nodes, count, table.dtype)
            return Point(time, normals.unflatten(-1, (-1, table.channels)).transpose(0, 1))
        whole = rows_of(table.moments, interval.clamp(max=len(self.knots) - 2))[0]
        w = w_up_to(whole, self._width(interval), self.inside, place, self.depth)
        return Point(time, torch.where(time.isnan()[:, None], torch.nan, rows_of(table.sums, interval)[0] + w))

    def between(self, a: Point, b: Point) -> Increment:
        """What the path does from one time to another; backwards, W, K and areas change sign and H not."""
        if self.table.levy.moments == 1:
            return self.shaped((b.known - a.known).to(self.table.dtype)[None], None)
        times = torch.stack(torch.broadcast_tensors(a.time, b.time))
        backward = times[1] < times[0]
        times = torch.where(backward, times.flip(0), times)
        place = self._place(*self._defined(times))
        return self._joined(times, place, torch.stack([a.known, b.known]), backward)

    def _defined(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Times in float64, NaN where the path is not defined, those next to a knot moved onto it; and intervals."""
        knots = self.knots
        largest = torch.maximum(knots[0].abs(), knots[-1].abs())
        # Times as near to each other as this are the same: rounding of float64, or of what was given.
        slack = 1e-12 * (knots[-1] - knots[0]) + 1e-15 * largest  # `slack_of`, without reading the device
        if given.dtype != torch.float64 and given.is_floating_point():
            slack = torch.maximum(slack, 4 * torch.finfo(given.dtype).eps * largest)
        time = given.detach().to(torch.float64)
        time = torch.where((time >= knots[0] - slack) & (time <= knots[-1] + slack), time, torch.nan)
        shifted = (time + slack).nan_to_num(nan=0.0)
        interval = torch.searchsorted(knots, shifted.contiguous(), right=True).sub(1).clamp(0, len(knots) - 1)
        nearest = knots.take(interval)
        return torch.where((time - nearest).abs() <= slack, nearest, time), interval

    def _place(self, time: Tensor, interval: Tensor) -> Place:
        """Where times lie; the last knot begins an interval of its own that nothing is taken from."""
        i = interval.clamp(max=len(self.knots) - 2)
        left, cells = self.knots.take(i), 2.0**self.depth
        place = (time.nan_to_num(nan=0.0) - left) / (self.knots.take(i + 1) - left) * cells
        place = torch.where(interval > i, 0.0, place.clamp(0, cells))
        cell = place.floor().clamp(max=cells - 1)
        return Place(interval, cell.long(), place - cell)

    def resolves(self, ts: Tensor) -> bool:
        """Whether no two of the times lie inside one cell, where ends of cells do not count: the path is exact there.

        Args:
            ts: times in order, (time,) or (time, batch), [time].
        """
        place = self._place(*self._defined(ts.to(self.knots.device)))
        cell = (place.interval << self.depth) + place.cell
        inside = (place.share - 0.5).abs() < 0.5 - _AT_AN_END
        again = (cell[1:] == cell[:-1]) & inside[1:] & inside[:-1]
        return not bool(again.any())

    def _width(self, interval: Tensor) -> Tensor:
        i = interval.clamp(max=len(self.knots) - 2)
        return (self.knots.take(i + 1) - self.knots.take(i)).to(self.table.dtype)

    def _joined(self, times: Tensor, place: Place, normals: Tensor, backward: Tensor) -> Increment:
        """Up to the next knot, from knot to knot, and from the last knot on.

        Args:
            times: the ends, the earlier one first, (end, time).
            place: where they lie.
            normals: of the splits, in the order in which the ends were given.
            backward: where that is the other one.
        """
        table, dtype, width = self.table, self.table.dtype, self._width(place.interval)
        parts = covered(table.of_intervals(place.interval), normals, place, backward)
        lengths = parts.lengths.to(dtype) * width
        scaled = parts.moments * width.sqrt()[..., None]
        # A path that starts at a knot has no part before the next one.
        apart = place.interval[0] != place.interval[1]
        whole = apart & (place.cell[0] == 0) & (place.share[0] == 0)
        before, lengths_before = scaled[:, 0] * ~whole[:, None], lengths[0] * ~whole
        start = (place.interval[0] + 1 - whole.long()).clamp(max=len(self.knots) - 1)
        middle, length = table.between(start, place.interval[1])
        length = length.to(dtype)
        head = joined(before, middle, lengths_before[:, None], length[:, None])
        total = joined(head, scaled[:, 1], (lengths_before + length)[:, None], lengths[1][:, None])
        undefined, sign = times.isnan().any(dim=0)[:, None], (1 - 2 * backward.to(dtype))[:, None]
        total = torch.where(undefined, torch.nan, total)
        if not table.levy.areas:
            return self.shaped(total, None, sign)
        pieces = torch.stack([before, scaled[:, 1]], dim=1)
        drawn = self._areas_of(pieces, torch.stack([lengths_before, lengths[1]]), place)
        areas = drawn[0] + table.area_between(start, place.interval[1]) + drawn[1]
        areas = areas + crossed(before[0], middle[0]) + crossed(head[0], scaled[0, 1])
        return self.shaped(total, torch.where(undefined[..., None], torch.nan, areas), sign)

    def _areas_of(self, pieces: Tensor, lengths: Tensor, place: Place) -> Tensor:
        """Areas of the parts of intervals at both ends, drawn by the cells that both ends lie in."""
        assert self.areas is not None
        number = (place.interval << self.depth) + place.cell
        end = torch.arange(2, device=number.device)[:, None]
        node = mixed(mixed(number[:1].clone(), number[:1] * 0) + number[1:], number[1:] * 0) + end
        return drawn_areas(self.areas, node, pieces, lengths[..., None, None], self.table.levy)

    def shaped(self, moments: Tensor, areas: Tensor | None, sign: Tensor | None = None) -> Increment:
        """Of independent channels (moment, ..., batch, channel), turned, correlated and in the user's shape."""
        if sign is not None:
            moments = torch.stack([part if place == 1 else part * sign for place, part in enumerate(moments)])
        w, *others = correlated(moments, self.factor, self.shape).unbind()
        h, k = (*others, None, None)[:2]
        if areas is not None:
            areas = areas if sign is None else areas * (sign[..., None] if sign.ndim else sign)
            areas = correlated_area(areas, self.factor)
        return Increment(w, h, k, areas)
