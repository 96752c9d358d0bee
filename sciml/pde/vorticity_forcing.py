"""Body forces of 2-D flows, constant in time, by their curl, which drives the vorticity."""

import abc
import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.grids import Modes
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode


class AbstractVorticityForcing(abc.ABC):
    """A constant force. Subclasses are frozen dataclasses, and final."""

    @abc.abstractmethod
    def curl(self, modes: Modes) -> Float[Tensor, "*batch channel x y"]:
        """Its curl d f_y/dx - d f_x/dy at the grid's points, (1, x, y) or (batch, 1, x, y), [1/time²].

        Raises:
            ValueError: if the modes do not hold it.
        """


@final
@dataclass(frozen=True, eq=False)
class KolmogorovForcing(AbstractVorticityForcing):
    """The body force (A sin(k y), 0) with k = 2 pi n / L_y, whose curl is -A k cos(k y).

    exponax writes its vorticity with the other sign and leaves 2 pi / L out of the factor k.

    Args:
        wavenumber: n, waves per box along y, at least 1.
        amplitude: A, [length/time²].

    Source: Arnold & Meshalkin (1960), Usp. Mat. Nauk 15, 247 (Kolmogorov's problem).
    """

    wavenumber: int = 4
    amplitude: Parameter = 1.0

    def __post_init__(self) -> None:
        check_whole("wavenumber", self.wavenumber, 1)
        check_parameter("amplitude", self.amplitude)

    def curl(self, modes: Modes) -> Float[Tensor, "*batch channel x y"]:
        """-A k cos(k y); see `AbstractVorticityForcing.curl`."""
        modes.holds("the forcing", self.wavenumber, 1)
        k = 2 * math.pi * self.wavenumber / modes.grid.extent[1]
        return as_channel(-per_mode(self.amplitude, 2) * k * torch.cos(k * modes.grid.mesh()[1]), 2)


@final
@dataclass(frozen=True, eq=False)
class DiagonalForcing(AbstractVorticityForcing):
    """The curl A (sin(s) + cos(s)) with s = 2 pi n (x / L_x + y / L_y): the forcing of the FNO paper on a unit square.

    Advection vanishes where the vorticity depends on s only, so that the flow from rest is known exactly.

    Args:
        wavenumber: n, waves per box along each axis, at least 1.
        amplitude: A, [1/time²].

    Source: Li et al. (2021), Fourier Neural Operator for Parametric Partial Differential Equations, section 5.3.
    """

    wavenumber: int = 1
    amplitude: Parameter = 0.1

    def __post_init__(self) -> None:
        check_whole("wavenumber", self.wavenumber, 1)
        check_parameter("amplitude", self.amplitude)

    def curl(self, modes: Modes) -> Float[Tensor, "*batch channel x y"]:
        """See `AbstractVorticityForcing.curl`."""
        for axis in (0, 1):
            modes.holds("the forcing", self.wavenumber, axis)
        x, y = (x / length for x, length in zip(modes.grid.mesh(), modes.grid.extent, strict=True))
        s = 2 * math.pi * self.wavenumber * (x + y)
        return as_channel(per_mode(self.amplitude, 2) * (torch.sin(s) + torch.cos(s)), 2)
