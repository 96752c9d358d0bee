"""The Cahn-Hilliard equation: u_t = M Laplace(u³ - u - gamma Laplace(u))."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import AbstractDealiasing, Modes, Truncation
from sciml.integrate import Weighted
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_ndim, check_parameter, per_mode


@final
@dataclass(frozen=True, eq=False)
class CahnHilliard(AbstractEquation):
    """u_t = M Laplace(u³ - u - gamma Laplace(u)): two phases, u = -1 and u = 1, that separate and coarsen.

    The mean of u is conserved, and the free energy, the integral of (1 - u²)²/4 + gamma |grad u|²/2, descends. A
    mixture u = m separates where 3 m² < 1: waves grow at the rate M k² (1 - 3 m² - gamma k²). Interfaces have the
    profile tanh(x / sqrt(2 gamma)), which needs some four points per sqrt(2 gamma); domains grow as t^(1/3).

    Args:
        mobility: M, [length²/time], at least 0.
        interface: gamma, [length²], larger than 0.
        ndim: number of spatial axes.
        dealiasing: how the cube is kept free of aliases.

    Source: Cahn & Hilliard (1958), J. Chem. Phys. 28, 258; Cahn (1961), Acta Metall. 9, 795.
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 3
    mobility: Parameter = 1.0
    interface: Parameter = 1e-3
    ndim: int = 1
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_parameter("mobility", self.mobility, low=0.0)
        check_parameter("interface", self.interface, above=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-M |k|² (1/2 + gamma |k|²)."""
        laplacian = modes.laplacian()
        bending = per_mode(self.interface, self.ndim) * laplacian
        return as_channel(per_mode(self.mobility, self.ndim) * laplacian * (0.5 - bending), self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-M |k|² (u³ - 3 u / 2), whose slope 3 u² - 3/2 is as large in the phases as between them.

        That lets steps be some four times as large as with -u in the linear part (measured).
        """
        symbol = modes.masked(per_mode(self.mobility, self.ndim) * modes.laplacian())
        cubed = lambda y: modes.coefficients(_slope(modes.values(y)), zeroed=False)  # noqa: E731
        return Weighted(cubed, as_channel(symbol, self.ndim))


def _slope(u: Tensor) -> Tensor:
    """u³ - 3 u / 2."""
    return u * (u * u - 1.5)
