"""The wave equation u_tt = c² Laplace(u), as a first-order system in u and v = u_t.

Per mode, with omega = c |k|, the characteristic variables

    p = (u + v / (i omega)) / 2,    q = (u - v / (i omega)) / 2,    p_t = i omega p,    q_t = -i omega q

do not couple, so that exponential methods are exact. The mean (omega = 0) has none: there u_t = v, v_t = 0 is kept.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import Modes
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_ndim, check_parameter, per_mode, stack_states
from sciml.pde.representation import AbstractRepresentation


def _frequency(speed: Parameter, modes: Modes) -> Tensor:
    """omega = c |k|, (1, *mode) or (batch, 1, *mode)."""
    ndim = modes.grid.ndim
    return as_channel(per_mode(speed, ndim) * torch.sqrt(-modes.laplacian()), ndim)


def _is_mean(modes: Modes) -> Tensor:
    """1 at k = 0, else 0, (1, *mode)."""
    return as_channel((modes.laplacian() == 0).double(), modes.grid.ndim)


@final
@dataclass(frozen=True, eq=False)
class WaveCharacteristics(AbstractRepresentation):
    """p and q of the fields u and v; the means of u and v themselves.

    Args:
        speed: c, [length/time].
    """

    speed: Parameter
    real: ClassVar[bool] = True

    def encode(self, u: Float[Tensor, "batch channel *space"], modes: Modes) -> Complex[Tensor, "batch state *mode"]:
        """See `AbstractRepresentation.encode`."""
        channel = -modes.grid.ndim - 1
        position, velocity = modes.encode(u).split(1, channel)
        mean = _is_mean(modes).to(u)
        # 1 is added to omega = 0, in the place of the mean, whose result is not used.
        half = velocity / (2j * (_frequency(self.speed, modes).to(u) + mean))
        p = torch.where(mean > 0, position, position / 2 + half)
        q = torch.where(mean > 0, velocity, position / 2 - half)
        return torch.cat([p, q], channel)

    def decode(self, y: Complex[Tensor, "batch state *mode"], modes: Modes) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractRepresentation.decode`."""
        channel = -modes.grid.ndim - 1
        p, q = y.split(1, channel)
        mean, omega = _is_mean(modes).to(y.real), _frequency(self.speed, modes).to(y.real)
        position = torch.where(mean > 0, p, p + q)
        velocity = torch.where(mean > 0, q, 1j * omega * (p - q))
        return modes.decode(torch.cat([position, velocity], channel))


@final
@dataclass(frozen=True, eq=False)
class Wave(AbstractEquation):
    """u_tt = c² Laplace(u), solved exactly for any step. Fields are u and v = u_t.

    Conserved are the mean of v, and the energy, the mean of v² + c² |grad u|², each to rounding.

    Args:
        speed: c, [length/time], larger than 0.
        ndim: number of spatial axes.
    """

    fields: ClassVar[Fields] = Fields(("u", "v"), ("1", "1/time"))
    degree: ClassVar[int] = 1
    speed: Parameter = 1.0
    ndim: int = 1

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_parameter("speed", self.speed, above=0.0)

    @property
    def representation(self) -> AbstractRepresentation:
        """Waves to the left and to the right along each wavenumber."""
        return WaveCharacteristics(self.speed)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """(i omega, -i omega)."""
        turning = 1j * _frequency(self.speed, modes)
        return stack_states([turning, -turning], self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """0, but the mean of u grows by the mean of v, which is constant."""
        channel, is_mean = -self.ndim - 1, _is_mean(modes)

        def drift(t: Tensor, y: Tensor) -> Tensor:
            velocity = y.narrow(channel, 1, 1) * is_mean.to(y.real)
            return torch.cat([velocity, torch.zeros_like(velocity)], channel)

        return drift
