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
from sciml.grids import Grid, dealias_mask, inverse_laplacian, laplacian_symbol, transform, wavenumbers
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode


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

    def curl(self, grid: Grid) -> Float[Tensor, "x y"]:
        """-A k cos(k y), [1/time²].

        Raises:
            ValueError: if the grid's dealiased modes do not hold the forcing.
        """
        limit = math.ceil(grid.points[1] / 3) - 1
        if self.wavenumber > limit:
            raise ValueError(
                f"the forcing wavenumber must be at most {limit} on {grid.points[1]} points (2/3 rule), got "
                f"{self.wavenumber}. Use at least {3 * self.wavenumber + 1} points along y."
            )
        k = 2 * math.pi * self.wavenumber / grid.extent[1]
        return -self.amplitude * k * torch.cos(k * grid.mesh()[1])


@final
@dataclass(frozen=True, eq=False)
class NavierStokes2D(AbstractEquation):
    """Vorticity equation on a periodic plane, decaying (no forcing) or forced.

    Args:
        viscosity: nu, [length²/time], at least 0.
        drag: mu of the linear drag -mu omega, [1/time], at least 0; positive damps.
        forcing: body force, or None.

    Source: Canuto, Hussaini, Quarteroni & Zang (2007), Spectral Methods, section 3.4 (vorticity form).
    """

    ndim: ClassVar[int] = 2
    fields: ClassVar[Fields] = Fields(("vorticity",))
    viscosity: Parameter = 1e-3
    drag: Parameter = 0.0
    forcing: KolmogorovForcing | None = None

    def __post_init__(self) -> None:
        check_parameter("viscosity", self.viscosity, low=0.0)
        check_parameter("drag", self.drag, low=0.0)

    def linear(self, grid: Grid) -> Inexact[Tensor, "..."]:
        """-nu |k|² - mu."""
        if grid.ndim != 2:
            raise ValueError(
                f"NavierStokes2D is posed on two spatial axes, got a grid with {grid.ndim}. Give Grid((n, n), (L, L))."
            )
        return as_channel(per_mode(self.viscosity, 2) * laplacian_symbol(grid) - per_mode(self.drag, 2), 2)

    def nonlinear(self, grid: Grid) -> Nonlinearity:
        """-(u . grad) omega + curl(force)."""
        kx, ky = wavenumbers(grid, odd=True)
        mask = dealias_mask(grid)
        to_stream = torch.where(mask, -inverse_laplacian(grid), 0.0)
        to_velocity = torch.stack([1j * ky * to_stream, -1j * kx * to_stream])
        to_slope = torch.stack(torch.broadcast_tensors((kx**2 - ky**2) * mask, kx * ky * mask))
        force = None if self.forcing is None else transform(self.forcing.curl(grid), grid)
        cache: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor, Tensor | None]] = {}

        def symbols(like: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
            key = (like.dtype, like.device)
            if key not in cache:
                dtype, device = key
                with torch.inference_mode(False):  # they may serve a training step later
                    cast = (to_velocity.to(device, dtype), to_slope.to(device, dtype))
                    cache[key] = (*cast, None if force is None else force.to(device, dtype))
            return cache[key]

        def nonlinear(t: Tensor, omega_hat: Tensor) -> Tensor:
            velocity_symbol, slope_symbol, force_hat = symbols(omega_hat)
            u, v = torch.fft.irfftn(velocity_symbol * omega_hat, s=grid.points, dim=grid.space).unbind(1)
            products = torch.fft.rfftn(torch.stack([u * v, (v - u) * (v + u)], dim=1), dim=grid.space)
            slope = (slope_symbol * products).sum(1, keepdim=True)
            return slope if force_hat is None else slope + force_hat

        return nonlinear
