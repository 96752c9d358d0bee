"""2-D incompressible Navier-Stokes in vorticity form on a periodic plane:

    omega_t + (u . grad) omega = nu Laplace(omega) - mu omega + curl(force),    omega = dv/dx - du/dy

With u (x) u the advection is

    (u . grad) omega = (d_xx - d_yy)(u v) + d_xy (v² - u²),

which takes four transforms per evaluation instead of five. It equals the other forms to rounding, since quadratic
products are dealiased exactly.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.core.checks import check_whole
from sciml.grids import AbstractDealiasing, Grid, Modes, Truncation, velocity_from_vorticity
from sciml.pde.base import AbstractTransport, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode
from sciml.pde.symbols import Symbols


@final
@dataclass(frozen=True)
class KolmogorovForcing:
    """The body force (A sin(k y), 0) with k = 2 pi n / L_y, whose curl is -A k cos(k y).

    Args:
        wavenumber: n, waves per box along y, at least 1.
        amplitude: A, [length/time²].

    Source: Arnold & Meshalkin (1960), Usp. Mat. Nauk 15, 247 (Kolmogorov's problem).
    """

    wavenumber: int = 4
    amplitude: float = 1.0

    def __post_init__(self) -> None:
        check_whole("wavenumber", self.wavenumber, 1)
        check_parameter("amplitude", self.amplitude)

    def curl(self, modes: Modes) -> Float[Tensor, "x y"]:
        """-A k cos(k y) at the grid's points, [1/time²].

        Raises:
            ValueError: if the modes do not hold the forcing.
        """
        modes.holds("the forcing", self.wavenumber, 1)
        k = 2 * math.pi * self.wavenumber / modes.grid.extent[1]
        return -self.amplitude * k * torch.cos(k * modes.grid.mesh()[1])


@final
@dataclass(frozen=True, eq=False)
class NavierStokes2D(AbstractTransport):
    """Vorticity equation on a periodic plane, decaying (no forcing) or forced.

    Args:
        viscosity: nu, [length²/time], at least 0.
        drag: mu of the linear drag -mu omega, [1/time], at least 0; positive damps.
        forcing: body force, or None.
        dealiasing: how products are kept free of aliases.

    Source: Canuto, Hussaini, Quarteroni & Zang (2007), Spectral Methods, section 3.4 (vorticity form).
    """

    ndim: ClassVar[int] = 2
    fields: ClassVar[Fields] = Fields(("vorticity",))
    degree: ClassVar[int] = 2
    viscosity: Parameter = 1e-3
    drag: Parameter = 0.0
    forcing: KolmogorovForcing | None = None
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_parameter("viscosity", self.viscosity, low=0.0)
        check_parameter("drag", self.drag, low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-nu |k|² - mu."""
        return as_channel(per_mode(self.viscosity, 2) * modes.laplacian() - per_mode(self.drag, 2), 2)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-(u . grad) omega + curl(force)."""
        kx, ky = modes.wavenumbers(odd=True)
        to_stream = -modes.inverse_laplacian()
        to_velocity = torch.stack([1j * ky * to_stream, -1j * kx * to_stream])
        to_slope = torch.stack(torch.broadcast_tensors(kx**2 - ky**2, kx * ky))
        force = [] if self.forcing is None else [modes.encode(self.forcing.curl(modes))]
        symbols = Symbols(to_velocity, to_slope, *force)

        def nonlinear(t: Tensor, omega_hat: Tensor) -> Tensor:
            velocity_symbol, slope_symbol, *force_hat = symbols(omega_hat)
            u, v = modes.values(velocity_symbol * omega_hat).unbind(1)
            products = modes.coefficients(torch.stack([u * v, (v - u) * (v + u)], dim=1))
            slope = (slope_symbol * products).sum(1, keepdim=True)
            return slope + force_hat[0] if force_hat else slope

        return nonlinear

    def speed(self, u: Float[Tensor, "batch channel x y"], grid: Grid) -> Float[Tensor, "batch axis x y"]:
        """|u|, |v|."""
        return velocity_from_vorticity(u, grid).abs()
