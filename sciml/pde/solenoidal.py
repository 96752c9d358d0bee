"""Velocities without divergence."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from sciml.core.symbols import Symbols
from sciml.grids import Modes
from sciml.pde.representation import AbstractRepresentation


@final
class LerayProjection:
    """The part of a vector field that has no divergence: u - k (k . u) / |k|².

    Args:
        modes: of the field, one channel per axis.
    """

    def __init__(self, modes: Modes) -> None:
        self._symbols = Symbols(*modes.projection())

    def __call__(self, y: Complex[Tensor, "batch axis *mode"]) -> Complex[Tensor, "batch axis *mode"]:
        """The projected coefficients, in new memory."""
        k, inverse = self._symbols(y)
        axes = range(len(k))
        divergence = y[:, 0] * inverse[0]
        for axis in axes[1:]:
            divergence.addcmul_(y[:, axis], inverse[axis])
        return torch.addcmul(y, divergence[:, None], k, value=-1)


@final
@dataclass(frozen=True)
class Solenoidal(AbstractRepresentation):
    """A velocity by its coefficients; what has a divergence is taken off at the start."""

    real: ClassVar[bool] = True

    def encode(self, u: Float[Tensor, "batch channel *space"], modes: Modes) -> Complex[Tensor, "batch state *mode"]:
        """See `AbstractRepresentation.encode`."""
        return LerayProjection(modes)(modes.encode(u))

    def decode(self, y: Complex[Tensor, "batch state *mode"], modes: Modes) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractRepresentation.decode`."""
        return modes.decode(y)
