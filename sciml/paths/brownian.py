"""Brownian motion as a function of (key, knots, depth): the same path whatever is asked first, in whatever batch.

Increments over the intervals between knots are drawn directly; inside an interval a dyadic bridge of `depth` levels
halves it again and again, and a last bridge ends at the time itself. All draws come from a counter-based generator.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_finite, check_increasing, check_whole
from sciml.core.random import Key
from sciml.paths.base import AbstractPath, Increment, Time
from sciml.paths.levy import AbstractLevy, NoArea
from sciml.paths.normals import Streams


@final
@dataclass(frozen=True, eq=False)
class BrownianMotion(AbstractPath):
    """Brownian motion, one per row of a key.

    Args:
        key: names the path of each row.
        shape: axes of the noise of one sample.
        knots: increasing times, [time], shape (intervals + 1,); the path is defined from the first to the last.
        depth: how often an interval between knots is halved; steps shorter than `resolution` are not resolved.
        levy: which Levy areas `increment` gives beside W.
        dtype: of the increments; torch's default if None.
    """

    key: Key
    shape: tuple[int, ...]
    knots: Float[Tensor, " knot"]
    depth: int = 10
    levy: AbstractLevy = NoArea()
    dtype: torch.dtype | None = None
    _store: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_whole("depth", self.depth, 0)
        check_finite("knots", self.knots)
        check_increasing("knots", self.knots)
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "knots", self.knots.detach().to(self.key.ids.device, torch.float64))
        object.__setattr__(self, "dtype", self.dtype or torch.get_default_dtype())
        self._store["times"] = self.knots.tolist()
        self._store["streams"] = Streams.of(self.key)

    @staticmethod
    def on_grid(key: Key, shape: tuple[int, ...], ts: Tensor | list[float], **options: Any) -> "BrownianMotion":
        """Knots at the times of a grid of steps, in either direction: for fixed steps."""
        knots = torch.as_tensor(ts, dtype=torch.float64)
        return BrownianMotion(key, shape, knots if knots[-1] > knots[0] else knots.flip(0), **options)

    @staticmethod
    def over(
        key: Key, shape: tuple[int, ...], t0: float, t1: float, *, intervals: int = 256, **options: Any
    ) -> "BrownianMotion":
        """Uniform knots over [t0, t1]: for steps that are not known beforehand."""
        low, high = min(t0, t1), max(t0, t1)
        knots = low + (high - low) * torch.arange(intervals + 1, dtype=torch.float64) / intervals
        knots[-1] = high
        return BrownianMotion(key, shape, knots, **options)

    @property
    def batch(self) -> int:
        """How many paths there are."""
        return self.key.batch

    def derivative(self, t: Time) -> Tensor:
        raise TypeError("Brownian motion has no derivative. Use a term that takes increments, such as SDE.")

    def value(self, t: Time) -> Tensor:
        """W(t) - W(first knot)."""
        return self.increment(self._store["times"][0], t).w

    def increment(self, t0: Time, t1: Time) -> Increment:
        """W(t1) - W(t0)."""
        if not isinstance(t0, Tensor) and not isinstance(t1, Tensor):
            i, j = self._knot(t0), self._knot(t1)
            if i is not None and j is not None:
                if abs(i - j) == 1:
                    step = self._steps()[min(i, j)]
                    return Increment(step if j > i else -step)
                return Increment((self._sums()[j] - self._sums()[i]).to(self.dtype))
        return Increment((self._at(t1) - self._at(t0)).to(self.dtype))

    def _knot(self, t: float) -> int | None:
        """Number of the knot at `t`, to rounding."""
        times = self._store["times"]
        slack = 1e-12 * (times[-1] - times[0]) + 1e-15 * max(abs(times[0]), abs(times[-1]))
        i = bisect_right(times, t + slack) - 1
        if i < 0 or t > times[-1] + slack:
            raise ValueError(
                f"times must lie within the knots [{times[0]}, {times[-1]}], got {t}. "
                "Make the path over the whole interval that is solved."
            )
        return i if t - times[i] <= slack else None

    def _steps(self) -> Tensor:
        """W over the intervals between knots, (interval, batch, *shape)."""
        if "steps" not in self._store:
            n = len(self.knots) - 1
            nodes = (torch.arange(n, device=self.knots.device) << 32)[:, None].expand(-1, self.batch)
            z = self._store["streams"].normal(nodes, self._channels, self.dtype)
            scale = self.knots.diff().sqrt().to(z.dtype).reshape(-1, 1, 1)
            self._store["steps"] = (z * scale).reshape(n, self.batch, *self.shape)
        return self._store["steps"]

    def _sums(self) -> Tensor:
        """W at the knots, (knot, batch, *shape), float64."""
        if "sums" not in self._store:
            sums = self._steps().double().cumsum(0)
            self._store["sums"] = torch.cat([torch.zeros_like(sums[:1]), sums])
        return self._store["sums"]

    @property
    def _channels(self) -> int:
        return math.prod(self.shape)

    def _at(self, t: Time) -> Tensor:
        """W(t), float64."""
        knots, batch = self.knots, self.batch
        t = torch.as_tensor(t, dtype=torch.float64, device=knots.device).reshape(-1).expand(batch).contiguous()
        i = (torch.searchsorted(knots, t, right=True) - 1).clamp(0, len(knots) - 2)
        width = knots[i + 1] - knots[i]
        place = ((t - knots[i]) / width) * 2**self.depth
        cell = place.floor().clamp(0, 2**self.depth - 1)
        x = (place - cell).clamp(0, 1)
        cell = cell.long()
        rows = torch.arange(batch, device=knots.device)
        w = self._steps()[i, rows].double().reshape(batch, -1)
        sum_ = self._sums()[i, rows].reshape(batch, -1)
        levels = torch.arange(self.depth + 1, device=knots.device)[:, None]
        heap = (cell + 2**self.depth)[None] >> (self.depth - levels)
        z = self._store["streams"].normal((i << 32) + heap, self._channels, self.dtype).double()
        for level in range(self.depth):
            right = ((cell >> (self.depth - 1 - level)) & 1).bool()[:, None]
            deviation = z[level] * (width * 0.5**level).sqrt()[:, None] / 2
            left = w / 2 + deviation
            sum_ = torch.where(right, sum_ + left, sum_)
            w = torch.where(right, w - left, left)
        width = (width * 0.5**self.depth)[:, None]
        x = x[:, None]
        sum_ = sum_ + x * w + (width * x * (1 - x)).sqrt() * z[-1]
        return sum_.reshape(batch, *self.shape)
