"""Korteweg-de Vries equation: u_t + a u u_x + d u_xxx = 0."""

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
class KortewegDeVries(AbstractTransport):
    """u_t + a u u_x + d u_xxx = 0 on a periodic line; mass and energy, the means of u and u², are conserved.

    With a = 6, d = 1 a soliton is u = c/2 sech²(sqrt(c) (x - c t - x0) / 2); with a = -6 it is its negative.
    The linear part is purely imaginary.

    Args:
        steepening: a, [1].
        dispersion: d, [length³/time].
        dealiasing: how the square is kept free of aliases.

    Source: Korteweg & de Vries (1895), Phil. Mag. 39, 422.
    """

    ndim: ClassVar[int] = 1
    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 2
    steepening: Parameter = 6.0
    dispersion: Parameter = 1.0
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_parameter("steepening", self.steepening)
        check_parameter("dispersion", self.dispersion)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """i d k³."""
        k = modes.wavenumbers(odd=True)[0]
        return as_channel(1j * per_mode(self.dispersion, 1) * k**3, 1)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-a (u²/2)_x."""
        return quadratic_flux(modes, self.steepening)

    def speed(self, u: Float[Tensor, "batch channel x"], grid: Grid) -> Float[Tensor, "batch axis x"]:
        """|a u|."""
        strength = per_mode(self.steepening, 1)
        return ((strength.to(u) if isinstance(strength, Tensor) else strength) * u).abs()
