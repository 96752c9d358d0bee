"""Kuramoto-Sivashinsky equation, conservation form: u_t + u u_x + u_xx + u_xxxx = 0."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import Grid, wavenumbers
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode
from sciml.pde.quadratic import check_line, quadratic_flux


@final
@dataclass(frozen=True, eq=False)
class KuramotoSivashinsky(AbstractEquation):
    """u_t + u u_x + u_xx + nu u_xxxx = 0 on a periodic line; the mean of u is conserved.

    Long waves (k < 1/sqrt(nu)) grow at rate k² - nu k⁴, short waves are damped, and the flux carries energy from one
    to the other. With nu = 1 the solution is chaotic from L about 22 on; at L = 64 it has some ten humps.

    Args:
        viscosity: nu, [1] in the scaled equation, positive; short waves grow without bound at 0.

    Source: Kuramoto & Tsuzuki (1976), Prog. Theor. Phys. 55, 356; Sivashinsky (1977), Acta Astronaut. 4, 1177.
    """

    ndim: ClassVar[int] = 1
    fields: ClassVar[Fields] = Fields(("u",))
    viscosity: Parameter = 1.0

    def __post_init__(self) -> None:
        check_parameter("viscosity", self.viscosity, low=1e-12)

    def linear(self, grid: Grid) -> Inexact[Tensor, "..."]:
        """k² - nu k⁴."""
        check_line("KuramotoSivashinsky", grid)
        k = wavenumbers(grid)[0]
        return as_channel(k**2 - per_mode(self.viscosity, 1) * k**4, 1)

    def nonlinear(self, grid: Grid) -> Nonlinearity:
        """-(u²/2)_x."""
        return quadratic_flux(grid)
