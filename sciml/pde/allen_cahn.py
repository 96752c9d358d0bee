"""The Allen-Cahn equation: u_t = D Laplace(u) + r (u - u³)."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import AbstractDealiasing, Modes, Truncation
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_ndim, check_parameter, per_mode
from sciml.pde.pointwise import pointwise


def _loss(u: Tensor, rate: Tensor) -> Tensor:
    return -rate * u * u * u


@final
@dataclass(frozen=True, eq=False)
class AllenCahn(AbstractEquation):
    """u_t = D Laplace(u) + r (u - u³): two phases, u = -1 and u = 1, that coarsen without conserving either.

    Descends the free energy, the integral of r (1 - u²)²/4 + D |grad u|²/2. A flat interface is at rest and has the
    profile tanh(x / sqrt(2 D / r)), which needs some four points per sqrt(2 D / r); a disc of radius R shrinks as
    dR/dt = -(ndim - 1) D / R once R is much larger than that.

    Args:
        diffusivity: D, [length²/time], larger than 0.
        rate: r, [1/time], at least 0.
        ndim: number of spatial axes.
        dealiasing: how the cube is kept free of aliases.

    Source: Allen & Cahn (1979), Acta Metall. 27, 1085.
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 3
    diffusivity: Parameter = 1e-3
    rate: Parameter = 1.0
    ndim: int = 1
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_parameter("diffusivity", self.diffusivity, above=0.0)
        check_parameter("rate", self.rate, low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """r - D |k|²."""
        decay = per_mode(self.diffusivity, self.ndim) * modes.laplacian()
        return as_channel(decay + per_mode(self.rate, self.ndim), self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-r u³."""
        return pointwise(modes, _loss, self.rate)
