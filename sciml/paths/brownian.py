"""Brownian motion as a function of (key, knots, depth): the same path whatever is asked first, in whatever batch.

Increments over the intervals between knots are drawn directly; inside an interval a dyadic bridge of `depth` levels
halves it again and again, and a last bridge ends at the time itself. All draws come from a counter-based generator.
"""

import functools
import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_finite, check_increasing, check_whole
from sciml.core.random import Key
from sciml.paths.base import AbstractPath, Increment, Time, map_increment, slack_of
from sciml.paths.correlation import check_factor, factor_of
from sciml.paths.end import End, Ladder
from sciml.paths.knot_table import KnotTable
from sciml.paths.levy import AbstractLevy, NoArea
from sciml.paths.normals import Streams
from sciml.paths.tensor_times import TensorTimes

_INSIDE, _INSIDE_AREA = 4, 5  # purposes of streams, beside those of the table
_DEEPEST = 24
_REMEMBERED = 4
"""Ends of queries that are kept: steps in turn, and those tried again, share them."""


@final
@dataclass(frozen=True, eq=False)
class BrownianMotion(AbstractPath):
    """Brownian motion, one for each row of a key. Equal (key, knots, depth, levy) give the same path everywhere.

    The law of values and increments at any set of times is exact, together with H and K, if no two of the times lie
    inside one of the cells into which an interval between knots is divided; see `resolution`. Within one
    cell of length c the path is a smooth curve, at u of its length u W + sqrt(u (1 - u) c) Z with one normal number Z:
    W at each single time has its law and W still adds up, but between two ends there it is not that of Brownian motion,
    and H = K = 0. Steps that are finer tend to the Stratonovich equation, whatever the sense of the term.

    Args:
        key: names the path of each row.
        shape: axes of the noise of one sample; () for one number.
        knots: increasing times, [time], shape (intervals + 1,); the path is defined from the first to the last.
            `on_grid` and `over` make the usual ones.
        depth: how often an interval between knots is halved, 0 to 24.
        levy: what an increment holds beside W, and which approximation of the areas between channels.
        covariance: covariance of the channels per unit of time, positive definite, (channel, channel). Or
        factor: L with L L^T that covariance, (channel, source): W = L Z. Gradients with respect to it are those of W.
        dtype: of the increments; torch's default if None.

    Raises:
        TypeError: if `key` is no key, `levy` no object or `shape` no tuple.
        ValueError: for arguments out of range, knots that do not increase, or matrices that do not fit.
    """

    key: Key
    shape: tuple[int, ...]
    knots: Float[Tensor, " knot"]
    depth: int = 10
    levy: AbstractLevy = NoArea()
    covariance: Float[Tensor, "channel channel"] | None = None
    factor: Float[Tensor, "channel source"] | None = None
    dtype: torch.dtype | None = None
    _table: KnotTable = field(init=False, repr=False)
    _times: list[float] = field(init=False, repr=False)
    _slack: float = field(init=False, repr=False)
    _numbers: dict[float, int] = field(init=False, repr=False)
    _ladders: list[Ladder] = field(default_factory=list, init=False, repr=False)
    _tensors: list[TensorTimes] = field(default_factory=list, init=False, repr=False)
    _steps: list[Increment] = field(default_factory=list, init=False, repr=False)
    _ends: dict[float, End] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check_arguments(self)
        shape, dtype = tuple(self.shape), self.dtype or torch.get_default_dtype()
        knots = self.knots.detach().to(self.key.ids.device, torch.float64)
        factor = factor_of(self.covariance, self.factor)
        if factor is not None:
            factor = factor.to(knots.device, dtype)
            check_factor(factor, shape)
        areas = self.levy.areas
        if areas and len(shape) != 1:
            raise ValueError(
                f"`shape` must have one axis, the channels, for areas between them, got {shape} with {self.levy}. "
                "Flatten it, or take SpaceTime()."
            )
        sources = math.prod(shape) if factor is None else math.prod(shape[:-1]) * factor.shape[-1]
        changed = {"shape": shape, "dtype": dtype, "knots": knots, "factor": factor, "covariance": None}
        changed["_table"] = KnotTable(self.key, knots, sources, self.levy, dtype)
        times = changed["_times"] = knots.tolist()
        changed["_slack"] = slack_of(times[0], times[-1])
        changed["_numbers"] = {t: i for i, t in enumerate(times)}
        for name, value in changed.items():
            object.__setattr__(self, name, value)

    @staticmethod
    def on_grid(key: Key, shape: tuple[int, ...], ts: Tensor | list[float], **options: Any) -> "BrownianMotion":
        """Knots at the times of a grid of steps, in either direction: for fixed steps.

        Args:
            key, shape, options: of `BrownianMotion`.
            ts: the times, [time], shape (steps + 1,).
        """
        knots = torch.as_tensor(ts, dtype=torch.float64)
        if knots.ndim == 1 and len(knots) > 1 and bool(knots[-1] < knots[0]):
            knots = knots.flip(0)
        return BrownianMotion(key, shape, knots, **options)

    @staticmethod
    def over(
        key: Key, shape: tuple[int, ...], t0: float, t1: float, *, intervals: int = 16, depth: int = 12, **options: Any
    ) -> "BrownianMotion":
        """Uniform knots over an interval: for steps that are not known beforehand.

        Args:
            key, shape, options: of `BrownianMotion`.
            t0, t1: ends of the interval, in either order, [time].
            intervals: how many intervals between knots; best a power of two. All are drawn when the first is needed.
            depth: how often they are halved; with the defaults, steps of 2^-16 of the interval are resolved.

        Raises:
            ValueError: if the ends are equal or not finite, or `intervals` is no whole number.
        """
        check_whole("intervals", intervals, 1)
        if not (math.isfinite(t0) and math.isfinite(t1)) or t0 == t1:
            raise ValueError(f"`t0` and `t1` must be finite and differ, got {t0} and {t1}. Give the solve's interval.")
        share = torch.arange(intervals + 1, dtype=torch.float64) / intervals
        low, high = min(t0, t1), max(t0, t1)
        knots = torch.lerp(torch.full_like(share, low), torch.full_like(share, high), share)
        return BrownianMotion(key, shape, knots, depth, **options)

    @property
    def batch(self) -> int:
        """How many paths there are."""
        return self.key.batch

    @functools.cached_property
    def resolution(self) -> float:
        """Length of the longest cell, [time]: steps should not be shorter, but between knots."""
        return max(b - a for a, b in zip(self._times, self._times[1:], strict=False)) * 0.5**self.depth

    def resolves(self, ts: Sequence[float] | Tensor) -> bool:
        """Whether no two of the times lie inside one cell, so that the law at them all is exact.

        Args:
            ts: times in order, rising or falling, [time]: (time,), or (time, batch) for times of each path's own.
        """
        if not isinstance(ts, Tensor):
            if len(ts) < 2 or min(abs(b - a) for a, b in itertools.pairwise(ts)) > self.resolution * (1 + 1e-9):
                return True
            ts = torch.tensor(ts, dtype=torch.float64)
        return self.on_tensors.resolves(ts.detach())

    def take(self, rows: Tensor) -> "BrownianMotion":
        """The paths of some rows."""
        members = self.key.members
        key = Key(self.key.seed, self.key.ids[rows], members[rows] if isinstance(members, Tensor) else members)
        return BrownianMotion(key, self.shape, self.knots, self.depth, self.levy, None, self.factor, self.dtype)

    def derivative(self, t: Time) -> Tensor:
        raise TypeError(
            f"Brownian motion has no derivative, but one was asked for at t={t}. "
            "Use a term that takes increments, such as SDE."
        )

    def value(self, t: Time) -> Float[Tensor, "batch *channels"]:
        """W(t) - W(first knot)."""
        return self.increment(self._times[0], t).w

    def between_knots(self) -> Increment:
        """What the path does over each interval between knots, with an axis (interval,) before the others."""
        areas = self._table.areas if self.levy.areas else None
        return self._increment(self._table.moments, areas)

    def along(self, ts: Sequence[float], *, compiled: bool = False) -> Increment:
        """What the path does over each step of a grid, with an axis (step,) before the others.

        Args:
            ts: times within the knots, in either direction, [time]; at least two. If these are knots that follow each
                other, nothing is drawn but the increments between knots.
            compiled: draw these in compiled code.

        Raises:
            ValueError: if a time lies outside of the knots.
        """
        numbers = [self._knot_at(t) for t in ts]
        first, last, count = numbers[0], numbers[-1], len(ts) - 1
        if first is not None and last is not None and abs(last - first) == count:
            step = 1 if last > first else -1
            if numbers == list(range(first, last + step, step)):
                if compiled:
                    self._table.draw_compiled()
                chosen = slice(min(first, last), max(first, last))
                moments, areas = self._table.moments[:, chosen], self._table.areas[chosen] if self.levy.areas else None
                if step < 0:
                    moments, areas = moments.flip(1), None if areas is None else areas.flip(0)
                return self._increment(moments, areas, backward=step < 0)
        steps = [self.increment(t0, t1) for t0, t1 in itertools.pairwise(ts)]
        return map_increment(lambda *parts: torch.stack(parts), *steps)

    def increment(self, t0: Time, t1: Time) -> Increment:
        """What the path does from `t0` to `t1`; `t1 < t0` goes backwards, where W, K and areas change sign and H not.

        Args:
            t0, t1: times within the knots, [time]. Numbers are checked; what tensors ask for outside comes out as NaN,
                since a check would have to read the device.

        Raises:
            ValueError: if a number lies outside of the knots, or a tensor does not hold one time per path.
        """
        if not isinstance(t0, Tensor) and not isinstance(t1, Tensor):
            i, j = self._knot_at(t0), self._knot_at(t1)
            if i is not None and j is not None and abs(i - j) == 1:
                return self._over(min(i, j), backward=j < i)
            if self.levy.moments == 1:
                return self._between_ends(self._end(t0, i), self._end(t1, j))
        return self.on_tensors.increment(t0, t1)

    @property
    def on_tensors(self) -> TensorTimes:
        """The path as it is asked for at times that are tensors."""
        if not self._tensors:
            with torch.inference_mode(False):  # what is kept may serve a solve with gradients later
                inside, *areas = Streams.several(self.key, _INSIDE, *([_INSIDE_AREA] if self.levy.areas else []))
            streams = (inside, areas[0] if areas else None)
            self._tensors.append(TensorTimes(self.knots, self._table, *streams, self.depth, self.shape, self.factor))
        return self._tensors[0]

    # Times

    def _knot_at(self, t: float) -> int | None:
        """Number of the knot at `t`, to rounding, if there is one."""
        if t in self._numbers:
            return self._numbers[t]
        slack = self._slack
        if not self._times[0] - slack <= t <= self._times[-1] + slack:
            raise ValueError(
                f"times must lie within the knots, {self._times[0]:g} to {self._times[-1]:g}, got {t}. "
                "Make the path over the whole interval that is solved."
            )
        i = bisect_right(self._times, t + slack) - 1
        return i if t - self._times[i] <= slack else None

    # Increments

    def _over(self, interval: int, backward: bool) -> Increment:
        """Over an interval between knots."""
        if backward or self.factor is not None:  # gradients of a factor belong to one solve only
            areas = self._table.areas[interval] if self.levy.areas else None
            return self._increment(self._table.moments[:, interval], areas, backward)
        if not self._steps:
            parts = [[None] * self._table.intervals if p is None else p.unbind() for p in self.between_knots()]
            self._steps.extend(Increment(*of_interval) for of_interval in zip(*parts, strict=True))
        return self._steps[interval]

    def _end(self, t: float, knot: int | None) -> End:
        """Where a query ends, W from the knot before it included."""
        if knot is not None:
            return End(knot, None)
        if t in self._ends:
            return self._ends[t]
        i = bisect_right(self._times, t) - 1
        left, width = self._times[i], self._times[i + 1] - self._times[i]
        with torch.inference_mode(False), torch.no_grad():
            whole = self._table.moments[0, i]
            w = self._ladder().w_within(whole, i, (t - left) / width, width)
        while len(self._ends) >= _REMEMBERED:
            del self._ends[next(iter(self._ends))]
        self._ends[t] = End(i, w)
        return self._ends[t]

    def _ladder(self) -> Ladder:
        if not self._ladders:
            self._ladders.append(Ladder(self.on_tensors.inside, self.depth))
        return self._ladders[0]

    def _between_ends(self, start: End, end: End) -> Increment:
        """W between times that are numbers: to the next knot, from knot to knot, and on."""
        backward = (end.interval, end.w is not None) < (start.interval, start.w is not None)
        if backward:
            start, end = end, start
        whole, first = self._table.moments[0], start.interval
        if start.interval == end.interval and start.w is not None and end.w is not None:
            w = end.w - start.w
        else:
            w = torch.zeros_like(whole[0]) if end.w is None else end.w
            if start.w is not None:
                w, first = w + (whole[first] - start.w), first + 1
            if first < end.interval:
                w = w + self._table.w_between(first, end.interval)
        return self._increment(w[None], None, backward=backward)

    def _increment(self, moments: Tensor, areas: Tensor | None, backward: bool = False) -> Increment:
        """Of independent channels (moment, ..., batch, channel), turned, correlated and in the user's shape."""
        return self.on_tensors.shaped(moments, areas, moments.new_tensor(-1.0) if backward else None)


def _check_arguments(path: BrownianMotion) -> None:
    if not isinstance(path.key, Key):
        raise TypeError(
            f"`key` must be a sciml.core.Key, got {type(path.key).__name__}. Write e.g. Key.rows(seed, batch)."
        )
    if not isinstance(path.levy, AbstractLevy):
        raise TypeError(
            f"`levy` must be an object such as NoArea() or SpaceTime(), got {path.levy!r}. Make one of its class."
        )
    if not isinstance(path.shape, tuple | list):
        raise TypeError(
            f"`shape` must be a tuple of axes, got {path.shape!r}. Write (2,) for two numbers, () for one without axis."
        )
    for size in path.shape:
        check_whole("shape", size, 1)
    check_whole("depth", path.depth, 0)
    if path.depth > _DEEPEST:
        raise ValueError(f"`depth` must be at most {_DEEPEST}, got {path.depth}. Take more knots for a finer path.")
    if path.dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"`dtype` must be float32 or float64, got {path.dtype}. Draw in float32 and convert.")
    knots = path.knots
    if knots.ndim != 1 or len(knots) < 2:
        raise ValueError(
            f"`knots` must be a vector of at least two times, got shape {tuple(knots.shape)}. "
            "Give the steps' times, or use BrownianMotion.over(key, shape, t0, t1)."
        )
    check_finite("knots", knots)
    check_increasing("knots", knots)
