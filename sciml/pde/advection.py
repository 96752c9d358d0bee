"""Linear transport: u_t + c . grad u = 0, and with diffusion u_t + c . grad u = D Laplace(u)."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import Modes
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import (
    AxisParameter,
    Parameter,
    as_channel,
    check_axis_parameter,
    check_ndim,
    check_parameter,
    dot,
    per_mode,
)
from sciml.pde.pointwise import nothing


def _transport(velocity: AxisParameter, modes: Modes) -> Tensor:
    """-i c . k; the mode N/2 of even axes stands still, since it has no real odd derivative."""
    return -1j * dot(velocity, modes.wavenumbers(odd=True))


@final
@dataclass(frozen=True, eq=False)
class Advection(AbstractEquation):
    """u_t + c . grad u = 0: the field moves unchanged with velocity c, u(t, x) = u(0, x - c t).

    Solved exactly for any step. Positive velocities move it towards larger coordinates.

    Args:
        velocity: c, [length/time]: one value for all axes, or a tuple with one per axis.
        ndim: number of spatial axes.
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 1
    velocity: AxisParameter = 1.0
    ndim: int = 1

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_axis_parameter("velocity", self.velocity, self.ndim)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-i c . k."""
        return as_channel(_transport(self.velocity, modes), self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """0."""
        return nothing


@final
@dataclass(frozen=True, eq=False)
class AdvectionDiffusion(AbstractEquation):
    """u_t + c . grad u = D Laplace(u). Solved exactly for any step; the mean is conserved.

    Args:
        velocity: c, [length/time]: one value for all axes, or a tuple with one per axis.
        diffusivity: D, [length²/time], at least 0.
        ndim: number of spatial axes.
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 1
    velocity: AxisParameter = 1.0
    diffusivity: Parameter = 0.01
    ndim: int = 1

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_axis_parameter("velocity", self.velocity, self.ndim)
        check_parameter("diffusivity", self.diffusivity, low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-i c . k - D |k|²."""
        decay = per_mode(self.diffusivity, self.ndim) * modes.laplacian().to(torch.complex128)
        return as_channel(_transport(self.velocity, modes) + decay, self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """0."""
        return nothing
