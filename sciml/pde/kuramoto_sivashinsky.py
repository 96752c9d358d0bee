"""Kuramoto-Sivashinsky equation, conservation form: u_t + u u_x + u_xx + u_xxxx = 0."""

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
class KuramotoSivashinsky(AbstractTransport):
    """u_t + u u_x + u_xx + nu u_xxxx = 0 on a periodic line; the mean of u is conserved.

    Long waves (k < 1/sqrt(nu)) grow at rate k² - nu k⁴, short waves are damped, and the flux carries energy from one
    to the other. With nu = 1 the solution is chaotic from L about 22 on; at L = 64 it has some ten humps.

    Args:
        viscosity: nu, [1] in the scaled equation, positive; short waves grow without bound at 0.
        dealiasing: how the square is kept free of aliases.

    Source: Kuramoto & Tsuzuki (1976), Prog. Theor. Phys. 55, 356; Sivashinsky (1977), Acta Astronaut. 4, 1177.
    """

    ndim: ClassVar[int] = 1
    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 2
    viscosity: Parameter = 1.0
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_parameter("viscosity", self.viscosity, low=1e-12)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """k² - nu k⁴."""
        k = modes.wavenumbers()[0]
        return as_channel(k**2 - per_mode(self.viscosity, 1) * k**4, 1)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-(u²/2)_x."""
        return quadratic_flux(modes)

    def speed(self, u: Float[Tensor, "batch channel x"], grid: Grid) -> Float[Tensor, "batch axis x"]:
        """|u|."""
        return u.abs()
