"""Burgers equations: u_t + u u_x = nu u_xx on a line, a scalar and a vector form on more axes."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import AbstractDealiasing, Grid, Modes, Truncation
from sciml.pde.base import AbstractTransport, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_ndim, check_parameter, per_mode
from sciml.pde.quadratic import quadratic_flux, self_advection


@final
@dataclass(frozen=True, eq=False)
class Burgers(AbstractTransport):
    """u_t + (u²/2)_x = nu u_xx, the conservation form of u_t + u u_x = nu u_xx; the factor 1/2 stands in the flux.

    On more axes u is a scalar with the flux u²/2 along each of them: u_t + (u²/2)_x + (u²/2)_y + ... = nu Laplace(u).
    The mean of u is conserved.

    Args:
        viscosity: nu, [length²/time], at least 0. Fronts have width about nu / (jump of u); resolve it by a few
            points, or the solution oscillates.
        ndim: number of spatial axes.
        dealiasing: how the square is kept free of aliases.

    Source: Burgers (1948), Adv. Appl. Mech. 1, 171. Exact solutions by Hopf (1950) and Cole (1951).
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 2
    viscosity: Parameter = 0.01
    ndim: int = 1
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_parameter("viscosity", self.viscosity, low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-nu |k|²."""
        return as_channel(per_mode(self.viscosity, self.ndim) * modes.laplacian(), self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-(u²/2)_x - (u²/2)_y - ..."""
        return quadratic_flux(modes)

    def speed(self, u: Float[Tensor, "batch channel *space"], grid: Grid) -> Float[Tensor, "batch axis *space"]:
        """|u| along every axis."""
        return u.abs().expand(-1, self.ndim, *grid.points)


@final
@dataclass(frozen=True, eq=False)
class VectorBurgers(AbstractTransport):
    """u_t + (u . grad) u = nu Laplace(u) for a velocity u with one component per axis.

    On a line it is `Burgers`. Velocities that start as a gradient stay one, and are then given by Cole and Hopf's
    u = -2 nu grad(v) / v, v_t = nu Laplace(v); the means are conserved for those alone.

    Args:
        viscosity: nu, [length²/time], at least 0; see `Burgers`.
        ndim: number of spatial axes.
        dealiasing: how products are kept free of aliases.

    Source: Burgers (1948), Adv. Appl. Mech. 1, 171; Cole (1951), Q. Appl. Math. 9, 225, section 7.
    """

    degree: ClassVar[int] = 2
    viscosity: Parameter = 0.01
    ndim: int = 2
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_parameter("viscosity", self.viscosity, low=0.0)

    @property
    def fields(self) -> Fields:
        """Components along x, y, z."""
        return Fields(("u", "v", "w")[: self.ndim])

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-nu |k|²."""
        return as_channel(per_mode(self.viscosity, self.ndim) * modes.laplacian(), self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-(u . grad) u."""
        return self_advection(modes)

    def speed(self, u: Float[Tensor, "batch channel *space"], grid: Grid) -> Float[Tensor, "batch axis *space"]:
        """|u_i| along axis i."""
        return u.abs()
