"""What the diffusion of dy = f dt + g dW looks like, and in which sense the integral over dW is meant.

With w the increment of m Brownian motions, the product g w has the shape of the state:

    diagonal    g like y, (batch, *state)       one Brownian motion per entry, which acts on that entry
    scalar      g like y, (batch, *state)       one Brownian motion for all entries
    others      g (batch, *state, m)            m Brownian motions, sum_j g_j w_j

For a tree of states g is a tree of such, and diagonal noise has one Brownian motion per entry of all leaves, in order.
"""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, leaves_of, map_leaves


class AbstractSense(abc.ABC):  # noqa: B024
    """The meaning of the integral over dW. Subclasses are final."""


@final
@dataclass(frozen=True)
class Ito(AbstractSense):
    """g is taken at the beginning of dW: the integral is a martingale."""


@final
@dataclass(frozen=True)
class Stratonovich(AbstractSense):
    """g is taken in the middle of dW: the rules of ordinary calculus hold."""


class AbstractNoise(abc.ABC):
    """A structure of the diffusion. Subclasses are final."""

    commutes: ClassVar[bool]
    """Whether (g_j . grad) g_k = (g_k . grad) g_j for all columns, so that order 1 needs no Levy areas."""

    @property
    def is_matrix(self) -> bool:
        """Whether g has one more axis than the state, for the Brownian motions."""
        return True

    @abc.abstractmethod
    def noise_shape(self, y: Flat, given: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape per sample that the Brownian motion must have for this state, None if `given` will do."""

    @abc.abstractmethod
    def times(self, g: Flat, w: Tensor) -> Flat:
        """g w, like the state.

        Args:
            g: the diffusion, flat.
            w: an increment, or anything that goes with one, (batch, *noise).
        """


@final
@dataclass(frozen=True)
class DiagonalNoise(AbstractNoise):
    """Entry i of g acts with a Brownian motion of its own on entry i of the state: g like y.

    Where entry i of g depends on entry i of y only, this noise commutes, and methods have the orders they state for it.
    A diffusion that mixes entries, as a network does, is allowed; methods then have the orders of `GeneralNoise`, and
    adaptive steps in the sense of Ito refuse it, for they would tend to another equation.
    """

    commutes = True

    @property
    def is_matrix(self) -> bool:
        """See `AbstractNoise.is_matrix`."""
        return False

    def noise_shape(self, y: Flat, given: tuple[int, ...]) -> tuple[int, ...] | None:
        """See `AbstractNoise.noise_shape`."""
        if isinstance(y, Tensor):
            return None if math.prod(given) == y[0].numel() else tuple(y.shape[1:])
        return _in_all(y, given)

    def times(self, g: Flat, w: Tensor) -> Flat:
        """See `AbstractNoise.times`."""
        return _entrywise(g, w)


@final
@dataclass(frozen=True)
class ScalarNoise(AbstractNoise):
    """One Brownian motion for all entries of the state: g like y. This noise commutes."""

    commutes = True

    @property
    def is_matrix(self) -> bool:
        """See `AbstractNoise.is_matrix`."""
        return False

    def noise_shape(self, y: Flat, given: tuple[int, ...]) -> tuple[int, ...] | None:
        """See `AbstractNoise.noise_shape`."""
        return None if math.prod(given) == 1 else (1,)

    def times(self, g: Flat, w: Tensor) -> Flat:
        """See `AbstractNoise.times`."""
        return map_leaves(lambda leaf: leaf * w.reshape(-1, *[1] * (leaf.ndim - 1)), g)


@final
@dataclass(frozen=True)
class AdditiveNoise(AbstractNoise):
    """g does not depend on the state, but may on time: the senses of Ito and Stratonovich agree.

    Args:
        diagonal: g is like y and acts entry by entry; else (batch, *state, m).
    """

    diagonal: bool = False
    commutes = True

    @property
    def is_matrix(self) -> bool:
        """See `AbstractNoise.is_matrix`."""
        return not self.diagonal

    def noise_shape(self, y: Flat, given: tuple[int, ...]) -> tuple[int, ...] | None:
        """See `AbstractNoise.noise_shape`."""
        return (DiagonalNoise() if self.diagonal else GeneralNoise()).noise_shape(y, given)

    def times(self, g: Flat, w: Tensor) -> Flat:
        """See `AbstractNoise.times`."""
        return _entrywise(g, w) if self.diagonal else map_leaves(lambda leaf: _contract(leaf, w), g)


@final
@dataclass(frozen=True, eq=False)
class SharedNoise(AbstractNoise):
    """Entry i of g acts with Brownian motion `motion[i]`: g like y, with few motions for many entries of one tensor.

    It is the matrix noise with one entry per row that is not 0, without the matrix. `ExponentialEulerMaruyama` takes
    it, with the order it states for `GeneralNoise`; for other methods give that matrix, as GeneralNoise():
    g[..., None] * one_hot(motion).

    Args:
        motion: number of the Brownian motion of each entry of a sample's state, whole numbers from 0.
    """

    motion: Tensor
    commutes = False

    @property
    def is_matrix(self) -> bool:
        """See `AbstractNoise.is_matrix`."""
        return False

    def noise_shape(self, y: Flat, given: tuple[int, ...]) -> tuple[int, ...] | None:
        """See `AbstractNoise.noise_shape`."""
        if not isinstance(y, Tensor) or y.shape[1:] != self.motion.shape:
            raise ValueError(
                f"`motion` of SharedNoise must have the shape of a sample's state, one tensor, got "
                f"{tuple(self.motion.shape)}. Give one number per entry."
            )
        needed = int(self.motion.max()) + 1
        return None if math.prod(given) >= needed else (needed,)

    def times(self, g: Flat, w: Tensor) -> Flat:
        """See `AbstractNoise.times`."""
        assert isinstance(g, Tensor)
        return g * w.flatten(1)[:, self.motion]


@final
@dataclass(frozen=True)
class CommutativeNoise(AbstractNoise):
    """m Brownian motions whose vector fields commute: g (batch, *state, m).

    That they do is taken on trust. If they do not, methods have the orders of `GeneralNoise`, and adaptive steps in the
    sense of Ito tend to another equation, whatever the tolerance.
    """

    commutes = True

    def noise_shape(self, y: Flat, given: tuple[int, ...]) -> tuple[int, ...] | None:
        """See `AbstractNoise.noise_shape`."""
        return _vector(given)

    def times(self, g: Flat, w: Tensor) -> Flat:
        """See `AbstractNoise.times`."""
        return map_leaves(lambda leaf: _contract(leaf, w), g)


@final
@dataclass(frozen=True)
class GeneralNoise(AbstractNoise):
    """m Brownian motions without further structure: g (batch, *state, m)."""

    commutes = False

    def noise_shape(self, y: Flat, given: tuple[int, ...]) -> tuple[int, ...] | None:
        """See `AbstractNoise.noise_shape`."""
        return _vector(given)

    def times(self, g: Flat, w: Tensor) -> Flat:
        """See `AbstractNoise.times`."""
        return map_leaves(lambda leaf: _contract(leaf, w), g)


def column(g: Flat, k: int) -> Flat:
    """g_k, like the state, of a diffusion with an axis for the Brownian motions."""
    return map_leaves(lambda leaf: leaf[..., k], g)


def _vector(given: tuple[int, ...]) -> tuple[int, ...] | None:
    return None if len(given) == 1 else (math.prod(given),)


def _in_all(y: Flat, given: tuple[int, ...]) -> tuple[int, ...] | None:
    """One vector for the entries of all leaves."""
    total = sum(leaf[0].numel() for leaf in leaves_of(y))
    return None if given == (total,) else (total,)


def _entrywise(g: Flat, w: Tensor) -> Flat:
    if isinstance(g, Tensor):
        return g * (w if w.shape == g.shape else w.reshape(g.shape))
    parts = w.split([leaf[0].numel() for leaf in g], dim=1)
    return tuple(leaf * part.reshape(leaf.shape) for leaf, part in zip(g, parts, strict=True))


def _contract(g: Tensor, w: Tensor) -> Tensor:
    """sum_j g_j w_j over the last axis."""
    if g.ndim == 3:
        return torch.bmm(g, w.unsqueeze(-1)).squeeze(-1)
    return torch.bmm(g.flatten(1, -2), w.unsqueeze(-1)).reshape(g.shape[:-1])
