"""Body forces of 3-D flows, constant in time."""

import abc
import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.grids import Modes
from sciml.pde.parameters import Parameter, check_parameter, per_mode, stack_states


class AbstractBodyForcing(abc.ABC):
    """A constant force. Subclasses are frozen dataclasses, and final."""

    @abc.abstractmethod
    def force(self, modes: Modes) -> Float[Tensor, "*batch 3 x y z"]:
        """The force at the grid's points, [length/time²]; its gradient part has no effect.

        Raises:
            ValueError: if the modes do not hold it.
        """


@final
@dataclass(frozen=True, eq=False)
class ShearForcing(AbstractBodyForcing):
    """(A sin(k y), 0, 0) with k = 2 pi n / L_y: Kolmogorov's flow in three dimensions.

    Args:
        wavenumber: n, waves per box along y, at least 1.
        amplitude: A, [length/time²].
    """

    wavenumber: int = 1
    amplitude: Parameter = 1.0

    def __post_init__(self) -> None:
        check_whole("wavenumber", self.wavenumber, 1)
        check_parameter("amplitude", self.amplitude)

    def force(self, modes: Modes) -> Float[Tensor, "*batch 3 x y z"]:
        """See `AbstractBodyForcing.force`."""
        modes.holds("the forcing", self.wavenumber, 1)
        y = modes.grid.mesh()[1]
        wave = torch.sin(2 * math.pi * self.wavenumber / modes.grid.extent[1] * y)
        return per_mode(self.amplitude, 3) * torch.stack([wave, torch.zeros_like(wave), torch.zeros_like(wave)])


@final
@dataclass(frozen=True, eq=False)
class ABCForcing(AbstractBodyForcing):
    """A force along the Arnold-Beltrami-Childress flow, F (A sin z + C cos y, B sin x + A cos z, C sin y + B cos x).

    x, y, z are 2 pi n times the part of the box. In a cube the curl of the force is k = 2 pi n / L times itself, so
    that it injects helicity, and velocity = force / (nu k²) is a steady flow.

    Args:
        wavenumber: n, waves per box along each axis, at least 1.
        amplitude: F, [length/time²].
        a, b, c: A, B and C, [1].

    Source: Dombre et al. (1986), J. Fluid Mech. 167, 353.
    """

    wavenumber: int = 1
    amplitude: Parameter = 1.0
    a: Parameter = 1.0
    b: Parameter = 1.0
    c: Parameter = 1.0

    def __post_init__(self) -> None:
        check_whole("wavenumber", self.wavenumber, 1)
        for name in ("amplitude", "a", "b", "c"):
            check_parameter(name, getattr(self, name))

    def force(self, modes: Modes) -> Float[Tensor, "*batch 3 x y z"]:
        """See `AbstractBodyForcing.force`."""
        for axis in range(3):
            modes.holds("the forcing", self.wavenumber, axis)
        turns = zip(modes.grid.mesh(), modes.grid.extent, strict=True)
        x, y, z = (2 * math.pi * self.wavenumber * x / length for x, length in turns)
        a, b, c = (per_mode(parameter, 3) for parameter in (self.a, self.b, self.c))
        flow = [
            a * torch.sin(z) + c * torch.cos(y),
            b * torch.sin(x) + a * torch.cos(z),
            c * torch.sin(y) + b * torch.cos(x),
        ]
        return per_mode(self.amplitude, 3) * stack_states(flow, 3)
