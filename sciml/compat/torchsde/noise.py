"""A Brownian motion, ours or another's, as a path that our methods ask."""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from sciml.compat.torchsde.derived import BrownianPath, BrownianTree
from sciml.compat.torchsde.interval import BrownianInterval
from sciml.compat.torchsde.settings import LEVY_AREA_APPROXIMATIONS
from sciml.paths import Increment


@final
@dataclass(eq=False)
class Noise:
    """Increments of a Brownian motion in the dtype of the state.

    Args:
        bm: the Brownian motion, (batch, channels).
        like: the state.
        times: dtype in which another's Brownian motion is given times.
    """

    bm: Any
    like: Tensor
    times: torch.dtype
    grid: list[float] = field(default_factory=list, init=False)
    steps: dict[float, tuple[float, Increment]] = field(default_factory=dict, init=False)
    """Some of the steps of the grid: by where they begin, their ends and increments."""
    last: Tensor | None = field(default=None, init=False)
    """The increment that was asked for last."""

    def __post_init__(self) -> None:
        inner = self.bm.inner if isinstance(self.bm, BrownianPath | BrownianTree) else self.bm
        self.own = inner if isinstance(inner, BrownianInterval) and inner.tol == 0.0 else None
        levy = self.bm.levy_area_approximation
        self.with_h = levy != LEVY_AREA_APPROXIMATIONS.none
        self.with_area = levy in (LEVY_AREA_APPROXIMATIONS.davie, LEVY_AREA_APPROXIMATIONS.foster)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the noise of a sample."""
        return tuple(self.bm.shape[1:])

    def prepare(self, grid: list[float]) -> None:
        """Tell the grid whose steps will be asked for: they are drawn many at once where that can be."""
        if self.own is not None and self.own.path is not None:
            self.grid = [self._inside(t) for t in grid]
            self.own.path.expect(self.grid)

    def _draw(self, t0: float) -> None:
        """Some steps of the grid, that from `t0` on among them."""
        assert self.own is not None and self.own.path is not None
        i = max(bisect_right(self.grid, t0) - 1, 0)
        at_once = self.own.path.at_once
        some = self.grid[i - i % at_once : i - i % at_once + at_once + 1]
        made = self.own.path.along(some)
        self.steps = {a: (b, self._fit(m)) for a, b, m in zip(some, some[1:], made, strict=False)}

    def increment(self, t0: Any, t1: Any) -> Increment:
        """What the path does over a step."""
        made = self._known(t0, t1)
        self.last = made.w
        return made

    def _known(self, t0: float, t1: float) -> Increment:
        if t1 < t0:  # only where a reversible step is taken back does this occur
            made = self._known(t1, t0)
            return Increment(-made.w, made.h, None, None if made.area is None else -made.area)
        if self.grid and t0 not in self.steps and self.grid[0] <= t0 < self.grid[-1]:
            self._draw(t0)
        found = self.steps.get(t0)
        if found is not None and found[0] == t1:
            return found[1]
        if self.own is not None and self.own.path is not None:
            return self._fit(self.own.path.between(self._inside(t0), self._inside(t1)))
        return self._asked(t0, t1)

    def _inside(self, t: float) -> float:
        """The ends of the interval were rounded to the dtype of times, and steps may lie off by that."""
        assert self.own is not None
        return min(max(t, self.own._t0), self.own._t1)

    def _asked(self, t0: float, t1: float) -> Increment:
        ta, tb = (torch.tensor(t, dtype=self.times) for t in (t0, t1))
        if not self.with_h:
            return self._fit(Increment(self.bm(ta, tb)))
        w, u, *areas = self.bm(ta, tb, return_U=True, return_A=self.with_area)
        return self._fit(Increment(w, u / (t1 - t0) - w / 2, None, areas[0] if areas else None))

    def _fit(self, made: Increment) -> Increment:
        if made.w.dtype == self.like.dtype and made.w.device == self.like.device:
            return made
        parts = (None if part is None else part.to(self.like) for part in made)
        return Increment(*parts)  # type: ignore[arg-type]
