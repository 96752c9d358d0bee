"""3-D incompressible Navier-Stokes for the velocity in a periodic box:

    u_t + div(u u) = -grad p + nu Laplace(u) - mu u + f,    div u = 0

The pressure takes off whatever has a divergence, and so any multiple of the identity may be taken from u u: with
u_z² on its diagonal there are five products to transform, beside the three velocities.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.core.symbols import Symbols
from sciml.core.transforms import kept_for_later
from sciml.grids import AbstractDealiasing, Grid, Modes, Truncation
from sciml.pde.base import AbstractTransport, Nonlinearity
from sciml.pde.body_forcing import AbstractBodyForcing
from sciml.pde.parameters import Parameter, as_channel, check_parameter, per_mode
from sciml.pde.representation import AbstractRepresentation
from sciml.pde.solenoidal import LerayProjection, Solenoidal


@final
@dataclass(frozen=True, eq=False)
class NavierStokes3D(AbstractTransport):
    """Velocity in a periodic box, decaying or forced. Without viscosity, energy and helicity are conserved.

    What an initial field has of divergence is taken off; its mean stays as it is but for drag and force.

    Args:
        viscosity: nu, [length²/time], at least 0.
        drag: mu of the linear drag -mu u, [1/time], at least 0; positive damps.
        forcing: body force, or None.
        dealiasing: how products are kept free of aliases.

    Source: Canuto, Hussaini, Quarteroni & Zang (2007), Spectral Methods: Evolution to Complex Geometries, section 3.3;
    Basdevant (1983), J. Comput. Phys. 50, 209 (eight transforms).
    """

    ndim: ClassVar[int] = 3
    fields: ClassVar[Fields] = Fields(("u", "v", "w"))
    degree: ClassVar[int] = 2
    representation: ClassVar[AbstractRepresentation] = Solenoidal()
    viscosity: Parameter = 1e-2
    drag: Parameter = 0.0
    forcing: AbstractBodyForcing | None = None
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_parameter("viscosity", self.viscosity, low=0.0)
        check_parameter("drag", self.drag, low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-nu |k|² - mu."""
        return as_channel(per_mode(self.viscosity, 3) * modes.laplacian() - per_mode(self.drag, 3), 3)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """-div(u u) and the force, without what has a divergence."""
        project = LerayProjection(modes)
        waves = torch.stack(torch.broadcast_tensors(*(-1j * k for k in modes.wavenumbers(odd=True))))
        force = [] if self.forcing is None else [project(_rows(modes.encode(self.forcing.force(modes))))]
        symbols = Symbols(waves, *force)

        def nonlinear(t: Tensor, y: Tensor) -> Tensor:
            k, *force_hat = symbols(y)
            slope = project(_minus_divergence(modes.coefficients(_products(modes.values(y))), k))
            return slope + force_hat[0] if force_hat else slope

        return nonlinear

    def speed(self, u: Float[Tensor, "batch channel x y z"], grid: Grid) -> Float[Tensor, "batch axis x y z"]:
        """|u|, |v|, |w|."""
        return u.abs()


def _rows(force: Tensor) -> Tensor:
    """With the batch axis that a force shared by all samples lacks."""
    return force if force.ndim == 5 else force[None]


def _products(velocity: Tensor) -> Tensor:
    """u² - w², v² - w², u v, u w, v w; the velocity may be overwritten."""
    u, v, w = velocity.unbind(1)
    if kept_for_later(velocity):
        return torch.stack([(u - w) * (u + w), (v - w) * (v + w), u * v, u * w, v * w], dim=1)
    made = velocity.new_empty(len(velocity), 5, *u.shape[1:])
    for place, (a, b) in enumerate(((u, v), (u, w), (v, w)), start=2):
        torch.mul(a, b, out=made[:, place])
    w.square_()
    for place, a in enumerate((u, v)):
        torch.sub(a.square_(), w, out=made[:, place])
    return made


def _minus_divergence(products: Tensor, k: Tensor) -> Tensor:
    """-i k_j T_ij of the symmetric tensor whose last diagonal entry is 0."""
    xx, yy, xy, xz, yz = products.unbind(1)
    rows = (((xx, 0), (xy, 1), (xz, 2)), ((xy, 0), (yy, 1), (yz, 2)), ((xz, 0), (yz, 1)))
    made = products.new_zeros(len(products), 3, *products.shape[2:])
    if kept_for_later(products):
        return torch.stack([sum((entry * k[axis] for entry, axis in row), made[:, 0]) for row in rows], dim=1)
    for place, row in enumerate(rows):
        for entry, axis in row:
            made[:, place].addcmul_(entry, k[axis])
    return made
