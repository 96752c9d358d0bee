"""2-D incompressible Navier-Stokes in vorticity form on a periodic plane:

    omega_t + (u . grad) omega = nu Laplace(omega) - mu omega + curl(force),    omega = dv/dx - du/dy

With u (x) u the advection is

    (u . grad) omega = (d_xx - d_yy)(u v) + d_xy (v² - u²),

which takes four transforms per evaluation instead of five. It equals the other forms to rounding, since quadratic
products are dealiased exactly.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.core.symbols import Symbols
from sciml.grids import AbstractDealiasing, Grid, Modes, Truncation, velocity_from_vorticity
from sciml.integrate.transforms import kept_for_later
from sciml.pde.base import AbstractTransport, Nonlinearity
from sciml.pde.conditions import AbstractCondition, ZeroMean
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode, stack_states
from sciml.pde.vorticity_forcing import AbstractVorticityForcing


@final
@dataclass(frozen=True, eq=False)
class PassiveScalar:
    """A substance c that the flow carries along:

        c_t + (u . grad) c = kappa Laplace(c) - G v

    Args:
        diffusivity: kappa, [length²/time], at least 0.
        gradient: G of a mean concentration G y, whose fluctuation c then is, [1/length].
    """

    diffusivity: Parameter = 1e-3
    gradient: Parameter = 0.0

    def __post_init__(self) -> None:
        check_parameter("diffusivity", self.diffusivity, low=0.0)
        check_parameter("gradient", self.gradient)


@final
@dataclass(frozen=True, eq=False)
class NavierStokes2D(AbstractTransport):
    """Vorticity equation on a periodic plane, decaying (no forcing) or forced, alone or with a passive scalar.

    The vorticity is the curl omega = dv/dx - du/dy with u = dpsi/dy, v = -dpsi/dx; its mean, and that of the velocity,
    is 0: no periodic velocity has another one, so initial vorticity with a mean is refused.
    Positive drag damps. Forcing that is white in time is `WhiteForcing`, with `evolve_noisy`.

    Args:
        viscosity: nu, [length²/time], at least 0.
        drag: mu of the linear drag -mu omega, [1/time], at least 0.
        forcing: body force, or None.
        scalar: a substance carried along, the second channel, or None.
        dealiasing: how products are kept free of aliases.

    Source: Canuto, Hussaini, Quarteroni & Zang (2007), Spectral Methods, section 3.4 (vorticity form); Basdevant
    (1983), J. Comput. Phys. 50, 209 (four transforms).
    """

    ndim: ClassVar[int] = 2
    degree: ClassVar[int] = 2
    conditions: ClassVar[tuple[AbstractCondition, ...]] = (
        ZeroMean(0, "vorticity", "as that of every periodic velocity"),
    )
    viscosity: Parameter = 1e-3
    drag: Parameter = 0.0
    forcing: AbstractVorticityForcing | None = None
    scalar: PassiveScalar | None = None
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_parameter("viscosity", self.viscosity, low=0.0)
        check_parameter("drag", self.drag, low=0.0)

    @property
    def fields(self) -> Fields:
        """See `AbstractEquation.fields`."""
        return Fields(("vorticity",) if self.scalar is None else ("vorticity", "scalar"))

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-nu |k|² - mu, and -kappa |k|² for the scalar."""
        laplacian = modes.laplacian()
        flow = as_channel(per_mode(self.viscosity, 2) * laplacian - per_mode(self.drag, 2), 2)
        if self.scalar is None:
            return flow
        return stack_states([flow, per_mode(self.scalar.diffusivity, 2) * laplacian], 2)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-(u . grad) omega + curl(force), and -(u . grad) c - G v for the scalar."""
        kx, ky = modes.wavenumbers(odd=True)
        to_stream = -modes.inverse_laplacian()
        to_velocity = torch.stack([1j * ky * to_stream, -1j * kx * to_stream])
        to_slope = modes.masked(torch.stack(torch.broadcast_tensors(kx**2 - ky**2, kx * ky)))
        divergence = modes.masked(-1j * torch.stack(torch.broadcast_tensors(kx, ky)))
        force = [] if self.forcing is None else [modes.encode(self.forcing.curl(modes))]
        alone = self.scalar is None
        gradient = 0.0 if self.scalar is None else per_mode(self.scalar.gradient, 2)
        symbols = Symbols(to_velocity, to_slope, divergence, torch.as_tensor(gradient, dtype=torch.float64), *force)

        def nonlinear(t: Tensor, y: Tensor) -> Tensor:
            velocity_symbol, slope_symbol, divergence_symbol, gradient, *force_hat = symbols(y)
            # What has no name is freed when it was used, and its memory, which is still cached, serves what follows.
            if alone:
                products = modes.coefficients(_products(modes.values(velocity_symbol * y)), zeroed=False)
            else:
                velocity_hat = velocity_symbol * y[:, :1]
                carried = torch.cat([velocity_hat, y[:, 1:]], dim=1)
                products = modes.coefficients(_products(modes.values(carried)), zeroed=False)
            slope = _sum_of_two(products if alone else products[:, :2], slope_symbol)
            if force_hat:
                slope = slope + force_hat[0]
            if alone:
                return slope
            scalar_slope = _sum_of_two(products[:, 2:], divergence_symbol) - gradient * velocity_hat[:, 1:]
            return torch.cat([slope, scalar_slope], dim=1)

        return nonlinear

    def speed(self, u: Float[Tensor, "batch channel x y"], grid: Grid) -> Float[Tensor, "batch axis x y"]:
        """|u|, |v|."""
        return velocity_from_vorticity(u[:, :1], grid).abs()


def _products(fields: Tensor) -> Tensor:
    """(u v, v² - u²) of (u, v), then u c and v c of a scalar; the fields may be overwritten."""
    u, v, *scalar = fields.unbind(1)
    if kept_for_later(fields):
        return torch.stack([u * v, (v - u) * (v + u), *(w * c for c in scalar for w in (u, v))], dim=1)
    made = fields.new_empty(len(fields), 2 + 2 * len(scalar), *u.shape[1:])
    product, difference, *carried = made.unbind(1)
    torch.mul(u, v, out=product)
    for c in scalar:
        torch.mul(u, c, out=carried[0])
        torch.mul(v, c, out=carried[1])
    torch.sub(v, u, out=difference)
    difference.mul_(v.add_(u))
    return made


def _sum_of_two(products: Tensor, symbol: Tensor) -> Tensor:
    """symbol_0 p_0 + symbol_1 p_1, with a channel axis of 1."""
    (p, q), (s, r) = products.split(1, 1), symbol.split(1, -3)
    return (p * s).addcmul_(q, r)
