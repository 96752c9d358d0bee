"""What a path is: a function of time that drives an equation through its increments."""

import abc
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

Time = float | Tensor
"""A number, a 0-D tensor, or one time per sample: (batch,), also with trailing axes of 1."""


class Increment(NamedTuple):
    """What a path does over [t0, t1] beyond its start.

    Args:
        w: X(t1) - X(t0), [path], shape (batch, *channels).
        h: space-time Levy area, the mean of X - X(t0) minus its chord over the interval, [path]; None unless asked for.
        k: space-time-time Levy area, the mean of that difference times (1/2 - (t - t0) / (t1 - t0)), [path]; likewise.
    """

    w: Float[Tensor, "batch *channels"]
    h: Float[Tensor, "batch *channels"] | None = None
    k: Float[Tensor, "batch *channels"] | None = None


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
