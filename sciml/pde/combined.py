"""The combined equation of the MP-PDE paper: u_t + (alpha u² - beta u_x + gamma u_xx)_x = delta(t, x)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import AbstractDealiasing, Grid, Modes, Truncation
from sciml.pde.base import AbstractTransport, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode
from sciml.pde.quadratic import quadratic_flux
from sciml.pde.sampling import AbstractRandom, Choice, Uniform
from sciml.pde.travelling_sines import RandomSines, TravellingSines
from sciml.pde.vanishing_viscosity import VanishingViscosity


@final
@dataclass(frozen=True, eq=False)
class Combined(AbstractTransport):
    """u_t + (alpha u² - beta u_x + gamma u_xx)_x = delta(t, x): Burgers, heat and Korteweg-de Vries in one family.

    alpha = 1/2 is the flux of Burgers' equation and alpha = 3, gamma = 1 that of Korteweg-de Vries with u_t + 6 u u_x,
    as the paper writes it. Its published code has alpha u²/2 in place of alpha u²: halve its alpha to compare.
    Without forcing the mean is conserved. With beta = gamma = 0 shocks form: give a `vanishing` viscosity.

    Args:
        steepening: alpha, [1].
        diffusion: beta, [length²/time], at least 0.
        dispersion: gamma, [length³/time].
        forcing: delta(t, x), or None.
        vanishing: a viscosity for the short waves alone, or None.
        dealiasing: how the square is kept free of aliases.

    Source: Brandstetter, Worrall & Welling (2022), ICLR, "Message passing neural PDE solvers", eq. (10).
    """

    ndim: ClassVar[int] = 1
    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 2
    steepening: Parameter = 1.0
    diffusion: Parameter = 0.1
    dispersion: Parameter = 0.0
    forcing: TravellingSines | None = None
    vanishing: VanishingViscosity | None = None
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_parameter("steepening", self.steepening)
        check_parameter("diffusion", self.diffusion, low=0.0)
        check_parameter("dispersion", self.dispersion)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-beta k² + i gamma k³."""
        k = modes.wavenumbers(odd=True)[0]
        decay = per_mode(self.diffusion, 1) * modes.laplacian()
        if self.vanishing is not None:
            decay = decay + self.vanishing.symbol(modes)
        return as_channel(decay + 1j * per_mode(self.dispersion, 1) * k**3, 1)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-(alpha u²)_x + delta(t, x)."""
        strength = 2 * self.steepening
        flux = quadratic_flux(modes, strength)
        return flux if self.forcing is None else self.forcing.added_to(flux, modes)

    def speed(self, u: Float[Tensor, "batch channel x"], grid: Grid) -> Float[Tensor, "batch axis x"]:
        """|2 alpha u|."""
        strength = per_mode(self.steepening, 1)
        return (2 * (strength.to(u) if isinstance(strength, Tensor) else strength) * u).abs()


MP_PDE_E1: Mapping[str, AbstractRandom] = {
    "steepening": Choice((1.0,)),
    "diffusion": Choice((0.0,)),
    "dispersion": Choice((0.0,)),
    "forcing": RandomSines(),
}
"""Parameters of the paper's E1, shocks: with `ForcingAtStart()` and a vanishing viscosity on L = 16 up to t = 4."""
MP_PDE_E2: Mapping[str, AbstractRandom] = {**MP_PDE_E1, "diffusion": Uniform(0.0, 0.2)}
"""Parameters of E2, variable diffusion. The smallest diffusions need a vanishing viscosity too."""
MP_PDE_E3: Mapping[str, AbstractRandom] = {
    "steepening": Uniform(0.0, 3.0),
    "diffusion": Uniform(0.0, 0.4),
    "dispersion": Uniform(0.0, 1.0),
    "forcing": RandomSines(),
}
"""Parameters of E3, all three at once."""
