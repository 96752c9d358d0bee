"""Which integrals of a Brownian motion an increment holds beside W, and how the areas between channels are simulated.

The space-space area of an interval of length dt is, with b the area of the bridge that is left without the chord,

    A_ij = H_i W_j - W_i H_j + b_ij,    E[b_ij^2] = dt^2 / 12,    E[b_ij^2 | H] = dt^2 / 20 + dt (H_i^2 + H_j^2) / 5.

The law of b is not Gaussian; a normal b with the right variance is what the approximations here take.
"""

import abc
from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor


class AbstractLevy(abc.ABC):
    """How much of a Brownian motion over an interval is simulated. Subclasses are final."""

    moments: ClassVar[int]  # of W, H, K, how many
    areas: ClassVar[bool]  # whether also areas between channels

    @abc.abstractmethod
    def bridge_variance(self, h: Float[Tensor, "*axes channel"], dt: Tensor) -> Tensor | None:
        """Variance of the bridge's area for all pairs of channels, (..., channel, channel); None: no areas.

        Args:
            h: space-time area of independent channels, [path].
            dt: length of the interval, broadcastable to (..., channel, channel), [time].
        """


@final
@dataclass(frozen=True)
class NoArea(AbstractLevy):
    """Increments W only."""

    moments = 1
    areas = False

    def bridge_variance(self, h: Tensor, dt: Tensor) -> None:
        return None


@final
@dataclass(frozen=True)
class SpaceTime(AbstractLevy):
    """W and the space-time area H, in their exact joint law."""

    moments = 2
    areas = False

    def bridge_variance(self, h: Tensor, dt: Tensor) -> None:
        return None


@final
@dataclass(frozen=True)
class SpaceTimeTime(AbstractLevy):
    """W, H and the space-time-time area K, in their exact joint law."""

    moments = 3
    areas = False

    def bridge_variance(self, h: Tensor, dt: Tensor) -> None:
        return None


@final
@dataclass(frozen=True)
class Davie(AbstractLevy):
    """W, H and space-space areas whose mean and variance given W and H's law are right.

    Source: Davie (2014), "KMT theory applied to approximations of SDE", Springer Proc. Math. Stat. 100, 185-201.
    """

    moments = 2
    areas = True

    def bridge_variance(self, h: Tensor, dt: Tensor) -> Tensor:
        return (dt**2 / 12).expand(*h.shape, h.shape[-1])


@final
@dataclass(frozen=True)
class Foster(AbstractLevy):
    """W, H and space-space areas whose mean and variance given W and H are right.

    Source: Foster (2020), "Numerical approximations for stochastic differential equations", PhD thesis, Oxford,
    definition 7.3.5.
    """

    moments = 2
    areas = True

    def bridge_variance(self, h: Tensor, dt: Tensor) -> Tensor:
        square = h**2
        return dt**2 / 20 + dt / 5 * (square[..., :, None] + square[..., None, :])


def space_space_area(
    w: Float[Tensor, "*axes channel"], h: Float[Tensor, "*axes channel"], bridge: Float[Tensor, "*axes channel channel"]
) -> Float[Tensor, "*axes channel channel"]:
    """A of W, H and the area of the bridge; only the part of `bridge` above the diagonal counts."""
    upper = bridge.triu(1)
    product = h[..., :, None] * w[..., None, :]
    return product - product.mT + upper - upper.mT
