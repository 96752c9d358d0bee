"""A Brownian motion that is halved again and again: what it is depends on its key alone, not on the questions."""

import math
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sciml.core.random import Key
from sciml.paths import AbstractLevy, BrownianMotion, Increment

_INTERVALS, _DEEPEST, _NUMBERS = 256, 24, 1 << 22


@final
@dataclass(eq=False)
class Halves:
    """See `Pieces`, whose arguments these are, and

    Args:
        tol: length of the smallest halves, [time]; not below 2^-32 of the whole interval.
    """

    key: Key
    channels: int
    t0: float
    t1: float
    levy: AbstractLevy
    dtype: torch.dtype
    tol: float
    given: Tensor | None = None
    path: BrownianMotion = field(init=False)
    at_once: int = field(init=False)
    """Steps of a grid that are drawn at once."""

    def __post_init__(self) -> None:
        needed = math.ceil(math.log2(max((self.t1 - self.t0) / self.tol, 1.0)))
        intervals = 1 if needed <= _DEEPEST else _INTERVALS
        depth = min(_DEEPEST, needed - int(math.log2(intervals)))
        ends = (self.t0, self.t1)
        self.at_once = max(16, _NUMBERS // (self.levy.moments * self.channels * self.key.batch))
        self.path = BrownianMotion.over(
            self.key, (self.channels,), *ends, intervals=intervals, depth=depth, levy=self.levy, dtype=self.dtype
        )

    def expect(self, grid: list[float]) -> None:
        """Nothing is to be known beforehand."""

    def between(self, ta: float, tb: float) -> Increment:
        """What the path does from `ta` to `tb`, ta < tb."""
        made = self.path.increment(ta, tb)
        return made if self.given is None else self._bent(made, tb - ta, ta + tb - self.t0 - self.t1)

    def along(self, grid: list[float]) -> list[Increment]:
        """What the path does over every step of a grid."""
        return [self.between(a, b) for a, b in zip(grid, grid[1:], strict=False)]

    def _bent(self, made: Increment, length: float, off: float) -> Increment:
        """The path plus the chord and the parabola that give the whole interval the W and H that were told.

        Args:
            made: as it was drawn.
            length: of the interval asked for.
            off: twice the way from the middle of the whole interval to its own.
        """
        assert self.given is not None
        span = self.t1 - self.t0
        drawn = self.path.increment(self.t0, self.t1)
        share = length / span
        shift = (self.given[0] - drawn.w) * share
        bend = torch.zeros_like(shift)
        if made.h is not None and drawn.h is not None and len(self.given) > 1:
            lack = self.given[1] - drawn.h
            shift, bend = shift - 6 * share * off / span * lack, share**2 * lack
        w, h = made.w + shift, None if made.h is None else made.h + bend
        if made.area is None or h is None or made.h is None:
            return Increment(w, h)
        return Increment(w, h, None, made.area + _crossed(h, w) - _crossed(made.h, made.w))


def _crossed(h: Tensor, w: Tensor) -> Tensor:
    """The mean of the areas given W and H."""
    product = h[..., :, None] * w[..., None, :]
    return product - product.mT
