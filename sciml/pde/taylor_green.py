"""The Taylor-Green vortex in three dimensions."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.core.checks import check_positive, check_whole
from sciml.grids import Grid
from sciml.pde.base import AbstractInitial


@final
@dataclass(frozen=True)
class TaylorGreen3D(AbstractInitial):
    """(U sin x cos y cos z, -U cos x sin y cos z, 0), equal in all rows; x, y, z are 2 pi n times the part of the box.

    Energy per mass U²/8; vortices stretch and break up, and in a box of (2 pi)³ with U = n = 1 the dissipation of a
    viscous flow has its maximum at t = 4 to 9 for Reynolds numbers 1 / nu from 100 to 1600.

    Args:
        speed: U, [length/time].
        wavenumber: n, waves per box along each axis.

    Source: Taylor & Green (1937), Proc. R. Soc. A 158, 499; Brachet et al. (1983), J. Fluid Mech. 130, 411.
    """

    speed: float = 1.0
    wavenumber: int = 1

    def __post_init__(self) -> None:
        check_positive("speed", self.speed)
        check_whole("wavenumber", self.wavenumber, 1)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`.

        Raises:
            ValueError: unless the grid has three axes.
        """
        if grid.ndim != 3:
            raise ValueError(
                f"TaylorGreen3D is a flow in three dimensions, got a grid with {grid.ndim}. Give Grid((n, n, n), ...)."
            )
        turns = zip(grid.mesh(), grid.extent, strict=True)
        x, y, z = (2 * math.pi * self.wavenumber * x / length for x, length in turns)
        u, v = torch.sin(x) * torch.cos(y) * torch.cos(z), -torch.cos(x) * torch.sin(y) * torch.cos(z)
        field = self.speed * torch.stack([u, v, torch.zeros_like(u)])
        return field.expand(len(key.ids), *field.shape).to(key.ids.device).clone()
