"""Viscous Burgers equation: u_t + u u_x = nu u_xx."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import Grid, laplacian_symbol
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode
from sciml.pde.quadratic import check_line, quadratic_flux


@final
@dataclass(frozen=True, eq=False)
class Burgers(AbstractEquation):
    """u_t + u u_x = nu u_xx on a periodic line, in conservation form (the factor 1/2 stands inside the flux).

    Args:
        viscosity: nu, [length²/time], at least 0. Fronts have width about nu / (jump of u); resolve it by a few
            points, or the solution oscillates.

    Source: Burgers (1948), Adv. Appl. Mech. 1, 171. Exact solutions by Hopf (1950) and Cole (1951).
    """

    ndim: ClassVar[int] = 1
    fields: ClassVar[Fields] = Fields(("u",))
    viscosity: Parameter = 0.01

    def __post_init__(self) -> None:
        check_parameter("viscosity", self.viscosity, low=0.0)

    def linear(self, grid: Grid) -> Inexact[Tensor, "..."]:
        """-nu k²."""
        check_line("Burgers", grid)
        return as_channel(per_mode(self.viscosity, 1) * laplacian_symbol(grid), 1)

    def nonlinear(self, grid: Grid) -> Nonlinearity:
        """-(u²/2)_x."""
        return quadratic_flux(grid)
