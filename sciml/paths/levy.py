"""Which iterated integrals of a Brownian motion with time are simulated beside its increments."""

import abc
from dataclasses import dataclass
from typing import ClassVar, final


class AbstractLevy(abc.ABC):
    """How much of a Brownian motion over an interval is known. Subclasses are final."""

    moments: ClassVar[int]  # of W, H, K, how many


@final
@dataclass(frozen=True)
class NoArea(AbstractLevy):
    """Increments W only."""

    moments = 1


@final
@dataclass(frozen=True)
class SpaceTime(AbstractLevy):
    """W and the space-time Levy area H."""

    moments = 2


@final
@dataclass(frozen=True)
class SpaceTimeTime(AbstractLevy):
    """W, H and the space-time-time Levy area K."""

    moments = 3
