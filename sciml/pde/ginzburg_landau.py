"""The complex Ginzburg-Landau equation: A_t = mu A + (1 + i b) Laplace(A) - (1 + i c) |A|² A."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import AbstractDealiasing, Modes, Truncation
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_ndim, check_parameter, per_mode
from sciml.pde.pointwise import pointwise
from sciml.pde.representation import AbstractRepresentation, ComplexPairs


def _saturation(amplitude: Tensor, twist: Tensor) -> Tensor:
    return -(1 + 1j * twist) * amplitude * (amplitude.real**2 + amplitude.imag**2)


@final
@dataclass(frozen=True, eq=False)
class GinzburgLandau(AbstractEquation):
    """A_t = mu A + (1 + i b) Laplace(A) - (1 + i c) |A|² A for a complex A. Fields are its real and imaginary part.

    Plane waves sqrt(mu - k²) exp(i (k . x - w t)) with w = b k² + c (mu - k²) are solutions. Where 1 + b c < 0
    (Benjamin, Feir and Newell) none is stable, and the field is turbulent; elsewhere defects and spirals live long.

    Args:
        growth: mu, [1/time]; 1 in the scaled equation.
        dispersion: b, [1].
        twist: c, [1], which turns the phase with the amplitude.
        ndim: number of spatial axes.
        dealiasing: how the cube is kept free of aliases.

    Source: Aranson & Kramer (2002), Rev. Mod. Phys. 74, 99, eq. (1).
    """

    fields: ClassVar[Fields] = Fields(("re", "im"))
    degree: ClassVar[int] = 3
    representation: ClassVar[AbstractRepresentation] = ComplexPairs()
    growth: Parameter = 1.0
    dispersion: Parameter = 0.0
    twist: Parameter = 0.0
    ndim: int = 2
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        for name in ("growth", "dispersion", "twist"):
            check_parameter(name, getattr(self, name))

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """mu - (1 + i b) |k|²."""
        laplacian = modes.laplacian().to(torch.complex128)
        spreading = (1 + 1j * per_mode(self.dispersion, self.ndim)) * laplacian
        return as_channel(per_mode(self.growth, self.ndim) + spreading, self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-(1 + i c) |A|² A."""
        return pointwise(modes, _saturation, self.twist)
