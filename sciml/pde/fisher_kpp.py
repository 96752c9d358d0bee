"""The Fisher-KPP equation: u_t = D Laplace(u) + r u (1 - u)."""

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
    return -rate * u * u


@final
@dataclass(frozen=True, eq=False)
class FisherKPP(AbstractEquation):
    """u_t = D Laplace(u) + r u (1 - u): spreading and logistic growth; 0 is unstable, 1 is stable.

    A patch of u > 0 grows into the empty space behind a front of width about sqrt(D / r) that tends to the speed
    2 sqrt(D r). Values below 0 run away to minus infinity in finite time: start from fields that are not negative,
    resolve the front by a few points, and mind that errors of size e ahead of it are as large as it at t = ln(1/e) / r.

    Args:
        diffusivity: D, [length²/time], at least 0.
        rate: r, [1/time], at least 0.
        ndim: number of spatial axes.
        dealiasing: how the square is kept free of aliases.

    Source: Fisher (1937), Ann. Eugenics 7, 355; Kolmogorov, Petrovskii & Piskunov (1937), Bull. Univ. Moscow 1, 1.
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 2
    diffusivity: Parameter = 0.01
    rate: Parameter = 1.0
    ndim: int = 1
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_parameter("diffusivity", self.diffusivity, low=0.0)
        check_parameter("rate", self.rate, low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """r - D |k|²."""
        decay = per_mode(self.diffusivity, self.ndim) * modes.laplacian()
        return as_channel(decay + per_mode(self.rate, self.ndim), self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-r u²."""
        return pointwise(modes, _loss, self.rate)
