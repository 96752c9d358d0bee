"""What a path is: a function of time that drives an equation through its increments."""

import abc
from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

Time = float | Tensor
"""A number, a 0-D tensor, or one time per sample: (batch,), also with trailing axes of 1."""


class Increment(NamedTuple):
    """What a path X does over [t0, t1]. With v = (t - t0) / (t1 - t0) and B = X - X(t0) - v w, its way off the chord,

        h = mean of B,    k = mean of (1/2 - v) B    over the interval.

    Args:
        w: X(t1) - X(t0), [path], shape (batch, *channels).
        h: space-time Levy area, [path]; None unless asked for.
        k: space-time-time Levy area, [path]; None unless asked for.
        area: space-space Levy area, the integral of (X_i dX_j - X_j dX_i) / 2, [path^2], shape (batch, channel,
            channel); None unless asked for.

    Source: Foster, Lyons & Oberhauser (2020), SIAM J. Numer. Anal. 58, 1393-1421, definitions 3.2 to 3.4.
    """

    w: Float[Tensor, "*batch_channels"]
    h: Float[Tensor, "*batch_channels"] | None = None
    k: Float[Tensor, "*batch_channels"] | None = None
    area: Float[Tensor, "*batch_channel_channel"] | None = None


def slack_of(first: float, last: float) -> float:
    """Times of a path over an interval that are as near to each other as this are the same: rounding of float64."""
    return 1e-12 * (last - first) + 1e-15 * max(abs(first), abs(last))


def map_increment(function: Callable[..., Tensor], *increments: Increment) -> Increment:
    """`function` of what increments hold; what they do not hold is left out."""
    w, *others = zip(*increments, strict=True)
    return Increment(function(*w), *(None if parts[0] is None else function(*parts) for parts in others))


class AbstractPath(abc.ABC):
    """A function of time, one per sample. Subclasses are final."""

    knots: Float[Tensor, " knot"]
    """The times between which the path is of one piece, float64, [time]; its first and last bound its domain."""

    @abc.abstractmethod
    def value(self, t: Time) -> Float[Tensor, "batch *channels"]:
        """X(t), [path]."""

    @abc.abstractmethod
    def increment(self, t0: Time, t1: Time) -> Increment:
        """What X does from `t0` to `t1`; `t1 < t0` goes backwards."""

    @abc.abstractmethod
    def derivative(self, t: Time) -> Float[Tensor, "batch *channels"]:
        """dX/dt, [path/time].

        Raises:
            TypeError: if the path has no derivative.
        """
