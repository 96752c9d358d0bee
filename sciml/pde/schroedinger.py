"""The cubic nonlinear Schroedinger equation: i psi_t + d Laplace(psi) + g |psi|² psi = 0."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import AbstractDealiasing, Modes, Truncation
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_ndim, check_parameter, per_mode
from sciml.pde.pointwise import pointwise
from sciml.pde.representation import AbstractRepresentation, ComplexPairs


def _phase(psi: Tensor, nonlinearity: Tensor) -> Tensor:
    return 1j * nonlinearity * psi * (psi.real**2 + psi.imag**2)


@final
@dataclass(frozen=True, eq=False)
class Schroedinger(AbstractEquation):
    """i psi_t + d Laplace(psi) + g |psi|² psi = 0. Fields are the real and the imaginary part of psi.

    With d > 0 it focuses for g > 0 and defocuses for g < 0; g = 0 is the free particle, solved exactly. Conserved are
    the norm, the mean of |psi|², and the energy, the mean of d |grad psi|² - g |psi|⁴/2. With the defaults a soliton is

        a sech(a (x - v t)) exp(i (v x + (a² - v²) t / 2))

    In two and three dimensions focusing fields of enough norm collapse to a point in finite time, which no grid
    resolves.

    Args:
        nonlinearity: g, [1/(field² time)].
        dispersion: d, [length²/time].
        ndim: number of spatial axes.
        dealiasing: how the cube is kept free of aliases.

    Source: Zakharov & Shabat (1972), Sov. Phys. JETP 34, 62; with d = 1/2 as in nonlinear optics.
    """

    fields: ClassVar[Fields] = Fields(("re", "im"))
    degree: ClassVar[int] = 3
    representation: ClassVar[AbstractRepresentation] = ComplexPairs()
    nonlinearity: Parameter = 1.0
    dispersion: Parameter = 0.5
    ndim: int = 1
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_parameter("nonlinearity", self.nonlinearity)
        check_parameter("dispersion", self.dispersion)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-i d |k|²."""
        return as_channel(1j * per_mode(self.dispersion, self.ndim) * modes.laplacian(), self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """i g |psi|² psi."""
        return pointwise(modes, _phase, self.nonlinearity)
