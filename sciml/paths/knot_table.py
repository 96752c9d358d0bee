"""Brownian motion at its knots: moments of every interval between knots, drawn at once and kept, and of their runs."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciml.core.random import Key
from sciml.paths.levy import AbstractLevy, space_space_area
from sciml.paths.moments import STANDARD_DEVIATIONS
from sciml.paths.normals import Streams

_FEW = 128  # intervals that are added up rather than looked up
_MANY, _LEAST = 1 << 16, 8
"""Numbers, and intervals, from which on drawing in compiled code is worth the compiling."""
_AREA = 3  # purpose of a stream, after those of W, H and K


@final
@dataclass(frozen=True, eq=False)
class KnotTable:
    """Draws over the intervals between knots, made when first asked for.

    Args:
        key: names the path of each row.
        knots: increasing times, float64, [time].
        channels: independent channels of noise per sample.
        levy: which moments and areas are drawn.
        dtype: of the draws.
    """

    key: Key
    knots: Float[Tensor, " knot"]
    channels: int
    levy: AbstractLevy
    dtype: torch.dtype
    kept: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    @property
    def intervals(self) -> int:
        """Number of intervals."""
        return len(self.knots) - 1

    @property
    def moments(self) -> Float[Tensor, "moment interval batch channel"]:
        """(W, H, K) of each interval. W is the same whatever else is asked for."""
        if "moments" not in self.kept:
            with torch.inference_mode(False), torch.no_grad():  # what is kept may serve a solve with gradients later
                self.kept["moments"] = self._draw()
        return self.kept["moments"]

    def _draw(self) -> Tensor:
        size = (self.levy.moments, self.intervals, self.key.batch, self.channels)
        draws = torch.empty(size, dtype=self.dtype, device=self.knots.device)
        for streams, draw, scale in zip(self._streams(), draws, self._scales(), strict=True):
            streams.sequence(draw)
            draw.mul_(scale[:, None, None])
        return draws

    def draw_compiled(self) -> None:
        """Make the draws in compiled code if they are many; for the CPU."""
        many = self.intervals * self.key.batch * self.channels >= _MANY and self.intervals >= _LEAST
        if "moments" in self.kept or not many:
            return
        with torch.inference_mode(False), torch.no_grad():
            pairs = torch.arange(-(-self.intervals // 2))[:, None]
            scales = torch.nn.functional.pad(self._scales(), (0, self.intervals % 2))
            torch._dynamo.mark_dynamic(pairs, 0)
            torch._dynamo.mark_dynamic(scales, 1)
            draws = compiled_sequences()(self._streams(), pairs, scales, self.channels)
            self.kept["moments"] = draws[:, : self.intervals]

    def _streams(self) -> tuple[Streams, ...]:
        return Streams.several(self.key, *range(self.levy.moments))

    def _scales(self) -> Float[Tensor, "moment interval"]:
        """Standard deviations of the moments."""
        sigma = torch.tensor(STANDARD_DEVIATIONS[: self.levy.moments], dtype=torch.float64, device=self.knots.device)
        return (sigma[:, None] * self.knots.diff().sqrt()).to(self.dtype)

    @property
    def sums(self) -> Float[Tensor, "moment knot batch channel"]:
        """Integrals of 1, u and u^2 against dW up to each knot, u the share of the whole domain, float64."""
        if "sums" not in self.kept:
            m, u = self.moments.double(), self._shares()
            start, width = u[:-1, None, None], u.diff()[:, None, None]
            powers = [m[0]]
            if len(m) > 1:
                first = m[0] / 2 - m[1]  # integral of v, the share of the interval
                powers.append(start * m[0] + width * first)
            if len(m) > 2:
                second = 2 * m[2] + first - m[0] / 6
                powers.append(start**2 * m[0] + 2 * start * width * first + width**2 * second)
            total = torch.stack(powers).cumsum(1)
            self.kept["sums"] = torch.cat([torch.zeros_like(total[:, :1]), total], dim=1)
        return self.kept["sums"]

    def _shares(self) -> Tensor:
        return (self.knots - self.knots[0]) / (self.knots[-1] - self.knots[0])

    def between(self, i: Tensor, j: Tensor) -> tuple[Float[Tensor, "moment batch channel"], Float[Tensor, " time"]]:
        """Moments and length from knot `i` to knot `j`, each (batch,) or (1,); 0 if `j <= i`."""
        ahead = j > i
        total = (rows_of(self.sums, j) - rows_of(self.sums, i)) * ahead[:, None]
        u = self._shares()
        start, end = u.take(i)[:, None], u.take(j)[:, None]
        width = torch.where(ahead[:, None], end - start, 1.0)
        moments = [total[0]]
        if len(total) > 1:
            first = (total[1] - start * total[0]) / width
            moments.append(total[0] / 2 - first)
        if len(total) > 2:
            second = (total[2] - 2 * start * total[1] + start**2 * total[0]) / width**2
            moments.append((second - first + total[0] / 6) / 2)
        return torch.stack(moments).to(self.dtype), (self.knots.take(j) - self.knots.take(i)) * ahead

    def w_between(self, i: int, j: int) -> Float[Tensor, "batch channel"]:
        """W from knot `i` to a later knot `j`; sums up to each knot are made only for who takes long ways."""
        if "sums" in self.kept or j - i > _FEW:
            return (self.sums[0, j] - self.sums[0, i]).to(self.dtype)
        return self.moments[0, i:j].sum(0, dtype=torch.float64).to(self.dtype)

    def of_intervals(self, i: Tensor) -> Float[Tensor, "moment end batch channel"]:
        """Standardised moments of the intervals `i`, (end, batch) or (end, 1)."""
        i = i.clamp(max=self.intervals - 1)
        width = (self.knots.take(i + 1) - self.knots.take(i)).to(self.dtype)[..., None].sqrt()
        picked = torch.stack([rows_of(self.moments, row) for row in i], dim=1)
        sigma = torch.tensor(STANDARD_DEVIATIONS[: len(picked)], dtype=self.dtype, device=width.device)
        return picked / (width * sigma[:, None, None, None])

    @property
    def areas(self) -> Float[Tensor, "interval batch channel channel"]:
        """Space-space areas of each interval."""
        if "areas" not in self.kept:
            nodes = torch.arange(self.intervals, device=self.knots.device)[:, None]
            dt = self.knots.diff().to(self.dtype)[:, None, None, None]
            self.kept["areas"] = drawn_areas(Streams.of(self.key, _AREA), nodes, self.moments, dt, self.levy)
        return self.kept["areas"]

    @property
    def area_sums(self) -> Float[Tensor, "knot batch channel channel"]:
        """Space-space areas from the first knot to each, float64."""
        if "area_sums" not in self.kept:
            w, before = self.moments[0].double(), self.sums[0, :-1]
            total = (self.areas.double() + crossed(before, w)).cumsum(0)
            self.kept["area_sums"] = torch.cat([torch.zeros_like(total[:1]), total])
        return self.kept["area_sums"]

    def area_between(self, i: Tensor, j: Tensor) -> Float[Tensor, "batch channel channel"]:
        """Space-space areas from knot `i` to knot `j`; 0 if `j <= i`."""
        w0, w1 = rows_of(self.sums[:1], i)[0], rows_of(self.sums[:1], j)[0]
        before, up_to = (rows_of(self.area_sums[None], knot)[0] for knot in (i, j))
        area = up_to - before - crossed(w0, w1 - w0)
        return (area * (j > i)[:, None, None]).to(self.dtype)


def crossed(a: Float[Tensor, "*axes channel"], b: Float[Tensor, "*axes channel"]) -> Tensor:
    """(a_i b_j - b_i a_j) / 2: what the areas of two intervals with increments `a`, `b` lack to that of both."""
    product = a[..., :, None] * b[..., None, :]
    return (product - product.mT) / 2


def drawn_areas(streams: Streams, nodes: Tensor, moments: Tensor, dt: Tensor, levy: AbstractLevy) -> Tensor:
    """Space-space areas of intervals with the given moments, (..., batch, channel, channel)."""
    w, h = moments[0], moments[1]
    variance = levy.bridge_variance(h, dt)
    assert variance is not None
    channels = w.shape[-1]
    z = streams.normal(nodes, channels**2, w.dtype).unflatten(-1, (channels, channels))
    return space_space_area(w, h, z * variance.sqrt())


def _sequences(
    streams: tuple[Streams, ...], pairs: Int[Tensor, "pair 1"], scales: Float[Tensor, "moment interval"], channels: int
) -> Float[Tensor, "moment interval batch {channels}"]:
    """What `Streams.sequence` gives for each generator, times the scales."""
    both = [torch.stack(own.pair(pairs, channels, scales.dtype), dim=1).flatten(0, 1) for own in streams]
    return torch.stack(both) * scales[..., None, None]


@functools.cache
def compiled_sequences() -> Callable[..., Tensor]:
    """`_sequences`, compiled for whatever number of intervals."""
    return torch.compile(_sequences, fullgraph=True, dynamic=False)


def rows_of(table: Tensor, i: Tensor) -> Tensor:
    """Entry `i` of each row, from a table (moment, knot, batch, ...) and `i` (batch,) or (1,)."""
    batch = table.shape[2]
    if len(i) == 1:
        return table.index_select(1, i).squeeze(1)
    return table.flatten(1, 2).index_select(1, i * batch + torch.arange(batch, device=i.device))
