"""How fields become the state an integrator steps, and come back."""

import abc
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from sciml.grids import Modes


class AbstractRepresentation(abc.ABC):
    """Fields as Fourier coefficients on which the linear part is diagonal. Subclasses are frozen, and final."""

    real: ClassVar[bool]
    """Whether the modes are those of real fields."""

    @abc.abstractmethod
    def encode(self, u: Float[Tensor, "batch channel *space"], modes: Modes) -> Complex[Tensor, "batch state *mode"]:
        """The state of fields at the grid's points."""

    @abc.abstractmethod
    def decode(self, y: Complex[Tensor, "batch state *mode"], modes: Modes) -> Float[Tensor, "batch channel *space"]:
        """The fields of a state, at the grid's points."""


@final
@dataclass(frozen=True)
class RealFields(AbstractRepresentation):
    """Each channel by the coefficients of its real field, half of which are stored."""

    real: ClassVar[bool] = True

    def encode(self, u: Float[Tensor, "batch channel *space"], modes: Modes) -> Complex[Tensor, "batch state *mode"]:
        """See `AbstractRepresentation.encode`."""
        return modes.encode(u)

    def decode(self, y: Complex[Tensor, "batch state *mode"], modes: Modes) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractRepresentation.decode`."""
        return modes.decode(y)


@final
@dataclass(frozen=True)
class ComplexPairs(AbstractRepresentation):
    """Channels (2 j, 2 j + 1) are real and imaginary part of complex field j, of which all modes are stored."""

    real: ClassVar[bool] = False

    def encode(self, u: Float[Tensor, "batch channel *space"], modes: Modes) -> Complex[Tensor, "batch state *mode"]:
        """See `AbstractRepresentation.encode`."""
        return modes.encode(torch.complex(u[:, 0::2], u[:, 1::2]))

    def decode(self, y: Complex[Tensor, "batch state *mode"], modes: Modes) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractRepresentation.decode`."""
        field = modes.decode(y)
        return torch.stack([field.real, field.imag], dim=2).flatten(1, 2)
