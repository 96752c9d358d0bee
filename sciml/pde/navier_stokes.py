"""2-D incompressible Navier-Stokes in vorticity form on a periodic plane:

    omega_t + (u . grad) omega = nu Laplace(omega) - mu omega + curl(force),    omega = dv/dx - du/dy

With u (x) u the advection is

    (u . grad) omega = (d_xx - d_yy)(u v) + d_xy (v² - u²),

which takes two transforms each way instead of four and one. As one complex field w = u + i v has both velocities and
w² both products, they are one complex transform each way. It equals the other forms to rounding, since quadratic
products are dealiased exactly; rounding is relative to |w|² for all modes, those of shear flows too.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.core.symbols import Symbols
from sciml.core.transforms import kept_for_later
from sciml.grids import AbstractDealiasing, Grid, Modes, Pairs, Truncation, velocity_from_vorticity
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
    Rounding errors of N are relative to |u|² |k|²: weak waves on strong jets want float64, and a shear flow, which is
    steady, drifts by 1e-4 in hundreds of steps in float32, by 1e-12 in float64.
    Positive drag damps. Forcing that is white in time is `WhiteForcing`, with `evolve_noisy`.

    Args:
        viscosity: nu, [length²/time], at least 0.
        drag: mu of the linear drag -mu omega, [1/time], at least 0.
        forcing: body force, or None.
        scalar: a substance carried along, the second channel, or None.
        dealiasing: how products are kept free of aliases; modes at N/2 are kept by none.

    Source: Canuto, Hussaini, Quarteroni & Zang (2007), Spectral Methods, section 3.4 (vorticity form); Basdevant
    (1983), J. Comput. Phys. 50, 209 (advection from two products).
    """

    ndim: ClassVar[int] = 2
    degree: ClassVar[int] = 2
    paired: ClassVar[bool] = True
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
        pairs = Pairs(modes)
        kx, ky = pairs.whole.wavenumbers()
        to_stream = -pairs.whole.inverse_laplacian()
        # Of u = i k_y psi, v = -i k_x psi, and of the scalar beside them.
        to_fields = as_channel((kx + 1j * ky) * to_stream, 2)
        # -(d_xx - d_yy) of u v = Im(w²) / 2 and -d_xy of v² - u² = -Re(w²); half of it, as its conjugate is added.
        to_slope = as_channel(-kx * ky / 2 - 0.25j * (kx**2 - ky**2), 2)
        along_gradient = as_channel(1j * modes.wavenumbers()[0] * -modes.inverse_laplacian(), 2)  # of -v
        if self.scalar is not None:
            to_fields = torch.cat([to_fields, torch.ones_like(to_fields)])
            to_slope = torch.cat([to_slope, as_channel(-(1j * kx + ky) / 2, 2)])  # -div of u c = Re(w c), v c = Im(w c)
            along_gradient = per_mode(self.scalar.gradient, 2) * along_gradient
        force = [] if self.forcing is None else [modes.encode(self.forcing.curl(modes))]
        symbols = Symbols(*pairs.of_values(to_fields), *pairs.of_products(to_slope), along_gradient, *force)

        def nonlinear(t: Tensor, y: Tensor) -> Tensor:
            field, other_field, flux, other_flux, gradient_symbol, *force_hat = symbols(y)
            # What has no name is freed when it was used, and its memory, which is still cached, serves what follows.
            slope = pairs.coefficients(_carried(pairs.values(y, (field, other_field))), (flux, other_flux))
            if self.scalar is None:
                return slope + force_hat[0] if force_hat else slope
            flow, scalar = slope.split(1, 1)
            if force_hat:
                flow = flow + force_hat[0]
            return torch.cat([flow, torch.addcmul(scalar, gradient_symbol, y[:, :1])], dim=1)

        return nonlinear

    def speed(self, u: Float[Tensor, "batch channel x y"], grid: Grid) -> Float[Tensor, "batch axis x y"]:
        """|u|, |v|."""
        return velocity_from_vorticity(u[:, :1], grid).abs()


def _carried(fields: Tensor) -> Tensor:
    """The first field, w = u + i v, times all of them."""
    if fields.shape[1] > 1 or kept_for_later(fields):
        return fields[:, :1] * fields
    return fields.mul_(fields)
