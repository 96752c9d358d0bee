"""Kuramoto-Sivashinsky equation: u_t + u u_x + u_xx + nu u_xxxx = 0, and the flame front u is the slope of."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.core.symbols import Symbols
from sciml.grids import AbstractDealiasing, Grid, Modes, Truncation, derivative
from sciml.pde.base import AbstractTransport, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_ndim, check_parameter, per_mode
from sciml.pde.quadratic import quadratic_flux, slopes


def _growth(viscosity: Parameter, modes: Modes) -> Tensor:
    """|k|² - nu |k|⁴."""
    ndim, squared = modes.grid.ndim, -modes.laplacian()
    return as_channel(squared - per_mode(viscosity, ndim) * squared**2, ndim)


@final
@dataclass(frozen=True, eq=False)
class KuramotoSivashinsky(AbstractTransport):
    """u_t + u u_x + u_xx + nu u_xxxx = 0 on a periodic line, the conservation form; the mean of u is conserved.

    Long waves (k < 1/sqrt(nu)) grow at rate k² - nu k⁴, short waves are damped, and the flux carries energy from one
    to the other. With nu = 1 the solution is chaotic from L about 22 on; at L = 64 it has some ten humps.

    On more axes use `KuramotoSivashinskyCombustion`. A scalar flux does nothing to waves across it, and the flux of the
    slopes nothing to what rounding adds to them that is no slope: both grow without bound.

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
        check_parameter("viscosity", self.viscosity, above=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """k² - nu k⁴."""
        return _growth(self.viscosity, modes)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-(u²/2)_x."""
        return quadratic_flux(modes)

    def speed(self, u: Float[Tensor, "batch channel x"], grid: Grid) -> Float[Tensor, "batch axis x"]:
        """|u|."""
        return u.abs()


@final
@dataclass(frozen=True, eq=False)
class KuramotoSivashinskyCombustion(AbstractTransport):
    """phi_t + |grad phi|²/2 + Laplace(phi) + nu Laplace²(phi) = 0: a flame front, or a growing surface, of height phi.

    On a line u = phi_x obeys `KuramotoSivashinsky`. The mean of phi falls at the rate of the mean of |grad phi|²/2,
    without end; nothing else depends on it. The fourth-order term is the biharmonic, the same in all directions.

    Args:
        viscosity: nu, [1] in the scaled equation, positive.
        ndim: number of spatial axes.
        hold_mean: move along with the front, so that the mean of phi stays what it was.
        dealiasing: how the square is kept free of aliases.

    Source: Sivashinsky (1977), Acta Astronaut. 4, 1177; Michelson & Sivashinsky (1977), ibid. 1207.
    """

    fields: ClassVar[Fields] = Fields(("phi",))
    degree: ClassVar[int] = 2
    viscosity: Parameter = 1.0
    ndim: int = 1
    hold_mean: bool = False
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_parameter("viscosity", self.viscosity, above=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """|k|² - nu |k|⁴."""
        return _growth(self.viscosity, modes)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-|grad phi|²/2."""
        symbols = Symbols(1j * torch.stack(torch.broadcast_tensors(*modes.wavenumbers(odd=True))))

        def nonlinear(t: Tensor, y: Tensor) -> Tensor:
            slope = modes.values(slopes(y, symbols(y)[0]))
            if self.hold_mean:
                squared = slope.square().sum(1, keepdim=True)
                return modes.coefficients(-0.5 * (squared - squared.mean(modes.grid.space, keepdim=True)))
            return modes.coefficients(-0.5 * slope.square().sum(1, keepdim=True))

        return nonlinear

    def speed(self, u: Float[Tensor, "batch channel *space"], grid: Grid) -> Float[Tensor, "batch axis *space"]:
        """|grad phi|, component by component: the velocity at which N carries a small wave."""
        return torch.cat([derivative(u, grid, axis) for axis in range(self.ndim)], 1).abs()
