"""Gravity waves and geostrophic balance of a rotating layer: the eigenvectors of the linear shallow-water equations.

Per wavenumber k, of length K, let a and b be the velocities along and across k (b to the left of a) and
h = sqrt(g/H) eta. Then

    h_t = -i c K a,    a_t = -i c K h + f b,    b_t = -f a,    c = sqrt(g H),    omega² = f² + c² K²

With s = c K / omega and p = f / omega the orthonormal eigenvectors (h, a, b) are the geostrophic mode (p, 0, i s), at
rest, and the waves (+-s, 1, -+i p) / sqrt(2), which turn as exp(-+i omega t). For the mean s = 0, p = 1, omega = f.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from sciml.grids import Modes
from sciml.pde.parameters import Parameter
from sciml.pde.representation import AbstractRepresentation


def _rows(parameter: Parameter) -> Tensor:
    """(1 | batch, 1, 1), float64."""
    return torch.as_tensor(parameter, dtype=torch.float64).cpu().reshape(-1, 1, 1)


def combine(vectors: Sequence[Tensor], y: Tensor) -> Tensor:
    """sum_j y_j e_j of eigenvectors e_j, (1 | batch, 3, *mode)."""
    first, second, third = y.split(1, 1)
    return vectors[0] * first + vectors[1] * second + vectors[2] * third


def project(vectors: Sequence[Tensor], fields: Tensor) -> Tensor:
    """The products of the fields with each eigenvector, which are the y of `combine`."""
    return torch.stack([(vector.conj() * fields).sum(1) for vector in vectors], 1)


@final
@dataclass(frozen=True, eq=False)
class GravityWaves(AbstractRepresentation):
    """Fields eta, u, v by the amplitudes of the geostrophic mode and of the waves of frequency omega and -omega.

    Args:
        gravity: g, [length/time²].
        depth: H, [length].
        rotation: f, [1/time].

    Source: Vallis (2017), Atmospheric and Oceanic Fluid Dynamics, section 3.8 (Poincaré waves).
    """

    gravity: Parameter
    depth: Parameter
    rotation: Parameter
    real: ClassVar[bool] = True

    def encode(self, u: Float[Tensor, "batch channel x y"], modes: Modes) -> Complex[Tensor, "batch state kx ky"]:
        """See `AbstractRepresentation.encode`."""
        y, unit = modes.encode(u), self.unit().to(u)
        vectors = [vector.to(y) for vector in self.eigenvectors(modes)]
        return project(vectors, torch.cat([y[:, :1] / unit, y[:, 1:]], 1))

    def decode(self, y: Complex[Tensor, "batch state kx ky"], modes: Modes) -> Float[Tensor, "batch channel x y"]:
        """See `AbstractRepresentation.decode`."""
        unit = self.unit().to(y.real)
        fields = combine([vector.to(y) for vector in self.eigenvectors(modes)], y)
        return modes.decode(torch.cat([fields[:, :1] * unit, fields[:, 1:]], 1))

    def unit(self) -> Tensor:
        """sqrt(H/g), the height that counts as much as a unit of velocity, (1 | batch, 1, 1, 1), [time]."""
        return torch.sqrt(_rows(self.depth) / _rows(self.gravity))[:, None]

    def frequency(self, modes: Modes) -> Tensor:
        """omega, (1 | batch, *mode), [1/time]; f itself for the mean, which has the derivative that |f| lacks at 0."""
        kx, ky = modes.wavenumbers(odd=True)
        squared, rotation = kx**2 + ky**2, _rows(self.rotation)
        waves = _rows(self.gravity) * _rows(self.depth) * torch.where(squared > 0, squared, 1.0)
        return torch.where(squared > 0, torch.sqrt(rotation**2 + waves), rotation)

    def eigenvectors(self, modes: Modes) -> tuple[Tensor, ...]:
        """sqrt(g/H) eta, u and v of each amplitude, (1 | batch, 3, *mode), of norm 1 and at right angles."""
        kx, ky = torch.broadcast_tensors(*modes.wavenumbers(odd=True))
        length = torch.sqrt(kx**2 + ky**2)
        has_none = length == 0  # any direction will do for the mean
        east = torch.where(has_none, 1.0, kx / torch.where(has_none, 1.0, length))
        north = ky / torch.where(has_none, 1.0, length)
        divisor = torch.where(has_none, 1.0, self.frequency(modes))
        s = torch.sqrt(_rows(self.gravity) * _rows(self.depth)) * length / divisor
        p = torch.where(has_none, 1.0, _rows(self.rotation) / divisor)
        half = math.sqrt(0.5)
        one = torch.full_like(s, half)
        columns = [(p, 0 * s, 1j * s), (half * s, one, -1j * half * p), (-half * s, one, 1j * half * p)]
        turned = [(h + 0j, east * a - north * b, north * a + east * b) for h, a, b in columns]
        return tuple(torch.stack(torch.broadcast_tensors(*column), 1) for column in turned)
