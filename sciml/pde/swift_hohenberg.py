"""The Swift-Hohenberg equation: u_t = r u - (q² + Laplace)² u + g u² - u³."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import AbstractDealiasing, Modes, Truncation
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_ndim, check_parameter, per_mode
from sciml.pde.pointwise import pointwise


def _saturation(u: Tensor, quadratic: Tensor) -> Tensor:
    return u * u * (quadratic - u)


@final
@dataclass(frozen=True, eq=False)
class SwiftHohenberg(AbstractEquation):
    """u_t = r u - (q² + Laplace)² u + g u² - u³: patterns of one wavelength, 2 pi / q.

    A wave of wavenumber k grows at the rate r - (q² - k²)². For small r > 0 and g = 0 stripes of amplitude
    2 sqrt(r / 3) form; with g of order sqrt(r) and larger, hexagons of spots. The free energy descends.

    Args:
        growth: r, [1/time].
        quadratic: g, [1/(field time)].
        wavenumber: q, [1/length], at least 0.
        ndim: number of spatial axes.
        dealiasing: how the cube is kept free of aliases.

    Source: Swift & Hohenberg (1977), Phys. Rev. A 15, 319.
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 3
    growth: Parameter = 0.1
    quadratic: Parameter = 0.0
    wavenumber: Parameter = 1.0
    ndim: int = 1
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_parameter("growth", self.growth)
        check_parameter("quadratic", self.quadratic)
        check_parameter("wavenumber", self.wavenumber, low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """r - (q² - |k|²)²."""
        detuning = per_mode(self.wavenumber, self.ndim) ** 2 + modes.laplacian()
        return as_channel(per_mode(self.growth, self.ndim) - detuning**2, self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """g u² - u³."""
        return pointwise(modes, _saturation, self.quadratic)
