"""The rotating shallow-water equations on a periodic plane, in vector-invariant form:

    eta_t + H div u + div(eta u) = nu Laplace(eta)
    u_t + g grad eta + f (-v, u) + zeta (-v, u) + grad(|u|²/2) = nu Laplace(u) - r u,    zeta = dv/dx - du/dy

It is stepped in the variables of `gravity_waves`, in which gravity and rotation are exact.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.core.symbols import Symbols
from sciml.grids import AbstractDealiasing, Grid, Modes, Truncation
from sciml.pde.base import AbstractTransport, Nonlinearity
from sciml.pde.conditions import AbstractCondition, PositiveDepth
from sciml.pde.gravity_waves import GravityWaves, combine, project
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode, stack_states


@final
@dataclass(frozen=True, eq=False)
class ShallowWater(AbstractTransport):
    """A layer of fluid of depth H + eta under gravity, rotating or not. Fields are eta, u and v.

    Linear waves and geostrophic balance are exact for any step. The mean of eta is conserved to rounding; without
    viscosity and drag so is the energy, the mean of ((H + eta) |u|² + g eta²)/2, as long as the fields are resolved.
    Fronts steepen into bores, which take a viscosity that their width resolves. The depth must stay positive: that of
    initial fields is checked, and where it is lost on the way the equations have no solution: steps shrink to nothing.

    Args:
        gravity: g, [length/time²], larger than 0.
        depth: H, [length], larger than 0.
        rotation: f, the Coriolis parameter, [1/time]; positive turns velocities to the right.
        viscosity: nu, [length²/time], at least 0, of eta, u and v alike, as in spectral models of the atmosphere.
        drag: r, [1/time], at least 0, of u and v; positive damps.
        dealiasing: how products are kept free of aliases.

    Source: Vallis (2017), Atmospheric and Oceanic Fluid Dynamics, eq. (3.7) and (3.8).
    """

    ndim: ClassVar[int] = 2
    fields: ClassVar[Fields] = Fields(("eta", "u", "v"), ("length", "length/time", "length/time"))
    degree: ClassVar[int] = 2
    gravity: Parameter = 1.0
    depth: Parameter = 1.0
    rotation: Parameter = 0.0
    viscosity: Parameter = 0.0
    drag: Parameter = 0.0
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_parameter("gravity", self.gravity, above=0.0)
        check_parameter("depth", self.depth, above=0.0)
        check_parameter("rotation", self.rotation)
        check_parameter("viscosity", self.viscosity, low=0.0)
        check_parameter("drag", self.drag, low=0.0)

    @property
    def conditions(self) -> tuple[AbstractCondition, ...]:
        """A positive depth."""
        return (PositiveDepth(self.depth),)

    @property
    def representation(self) -> GravityWaves:
        """Geostrophic mode and waves."""
        return GravityWaves(self.gravity, self.depth, self.rotation)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """(0, -i omega, i omega) - nu |k|²."""
        turning = 1j * self.representation.frequency(modes)[:, None]
        decay = as_channel(per_mode(self.viscosity, 2) * modes.laplacian(), 2)
        return stack_states([decay + 0 * turning, decay - turning, decay + turning], 2)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """(-div(eta u), zeta v - (|u|²/2)_x - r u, -zeta u - (|u|²/2)_y - r v), in the waves' variables."""
        vectors, unit = self.representation.eigenvectors(modes), self.representation.unit()
        ks = 1j * torch.stack(torch.broadcast_tensors(*modes.wavenumbers(odd=True)))[None]
        drag = torch.as_tensor(per_mode(self.drag, 2), dtype=torch.float64)
        symbols = Symbols(unit, ks, drag, *vectors)

        def nonlinear(t: Tensor, y: Tensor) -> Tensor:
            unit, k, loss, *vectors = symbols(y)
            hats = combine(vectors, y)
            eta_hat, velocity = hats[:, :1] * unit, hats[:, 1:]
            spin = k[:, :1] * velocity[:, 1:] - k[:, 1:] * velocity[:, :1]
            eta, u, v, zeta = modes.values(torch.cat([eta_hat, velocity, spin], 1)).unbind(1)
            products = torch.stack([eta * u, eta * v, zeta * v, -zeta * u, (u * u + v * v) / 2], 1)
            flux, lift, energy = modes.coefficients(products).split((2, 2, 1), 1)
            mass = -(k * flux).sum(1, keepdim=True) / unit
            return project(vectors, torch.cat([mass, lift - k * energy - loss * velocity], 1))

        return nonlinear

    def speed(self, u: Float[Tensor, "batch channel x y"], grid: Grid) -> Float[Tensor, "batch axis x y"]:
        """|u_i| along axis i, and the difference of the waves' speed from that at the mean depth."""
        gravity, depth = (
            p.to(u) if isinstance(p, Tensor) else p for p in (per_mode(self.gravity, 2), per_mode(self.depth, 2))
        )
        waves = torch.sqrt(gravity * (depth + u[:, :1]).clamp(min=0.0)) - (gravity * depth) ** 0.5
        return u[:, 1:].abs() + waves.abs()
