"""Viscous Burgers equation: u_t + u u_x = nu u_xx."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import AbstractDealiasing, Grid, Modes, Truncation
from sciml.pde.base import AbstractTransport, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode
from sciml.pde.quadratic import quadratic_flux


@final
@dataclass(frozen=True, eq=False)
class Burgers(AbstractTransport):
    """u_t + u u_x = nu u_xx on a periodic line, in conservation form (the factor 1/2 stands inside the flux).

    Args:
        viscosity: nu, [length²/time], at least 0. Fronts have width about nu / (jump of u); resolve it by a few
            points, or the solution oscillates.
        dealiasing: how the square is kept free of aliases.

    Source: Burgers (1948), Adv. Appl. Mech. 1, 171. Exact solutions by Hopf (1950) and Cole (1951).
    """

    ndim: ClassVar[int] = 1
    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 2
    viscosity: Parameter = 0.01
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_parameter("viscosity", self.viscosity, low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-nu k²."""
        return as_channel(per_mode(self.viscosity, 1) * modes.laplacian(), 1)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-(u²/2)_x."""
        return quadratic_flux(modes)

    def speed(self, u: Float[Tensor, "batch channel x"], grid: Grid) -> Float[Tensor, "batch axis x"]:
        """|u|."""
        return u.abs()
