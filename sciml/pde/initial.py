"""Random initial fields, keyed per trajectory and independent of the resolution:

    u(x) = Re sum_m c_m a(|m|) exp(2 pi i m . x / L),    c_m complex normal, drawn per mode from the row's key

The sum is evaluated directly, so that a row gives the same function of x on every grid that holds its modes.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.core.checks import check_at_least, check_positive, check_whole
from sciml.grids import Grid
from sciml.pde.base import AbstractInitial


def _random_series(key: Key, grid: Grid, cutoff: int, weight: Tensor, rms: float) -> Tensor:
    """Real random field with amplitude `weight` per mode of the box |m_i| <= cutoff, expected RMS `rms`."""
    if any(2 * cutoff >= count for count in grid.points):
        raise ValueError(
            f"the initial field has modes up to {cutoff}, which need more than {2 * cutoff} points per axis, got "
            f"{grid.points}. Refine the grid or lower the cutoff."
        )
    device = key.ids.device
    modes = torch.arange(-cutoff, cutoff + 1, dtype=torch.float64, device=device)
    weight = weight.to(device)
    re, im = key.normal(2, *weight.shape, dtype=torch.float64).unbind(1)
    # Each mode contributes weight² E[c²] cos² + ... = weight² to the variance.
    coefficients = torch.complex(re, im) * (weight * rms / torch.sqrt((weight**2).sum()))
    field = coefficients
    for x, length in zip(grid.axes(), grid.extent, strict=True):
        waves = torch.exp(2j * math.pi / length * modes[:, None] * x[None, :].to(device))
        # Contract the leading mode axis; the new space axis goes last, so x, y, z end in order.
        field = torch.tensordot(field, waves, dims=([1], [0]))  # type: ignore[arg-type]
    return field.real[:, None]


def _radius(cutoff: int, ndim: int) -> Tensor:
    modes = torch.arange(-cutoff, cutoff + 1, dtype=torch.float64)
    return torch.sqrt(sum(m**2 for m in torch.meshgrid(*[modes] * ndim, indexing="ij")))  # type: ignore[arg-type]


@final
@dataclass(frozen=True)
class TruncatedFourier(AbstractInitial):
    """Equal variance in all modes 0 < |m| <= cutoff, mean 0.

    Args:
        cutoff: largest wavenumber in waves per box, at least 1.
        rms: expected root mean square, [field].
    """

    cutoff: int = 8
    rms: float = 1.0

    def __post_init__(self) -> None:
        check_whole("cutoff", self.cutoff, 1)
        check_positive("rms", self.rms)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        radius = _radius(self.cutoff, grid.ndim)
        weight = ((radius > 0) & (radius <= self.cutoff + 1e-9)).double()
        return _random_series(key, grid, self.cutoff, weight, self.rms)


@final
@dataclass(frozen=True)
class GaussianRandomField(AbstractInitial):
    """A ring in wavenumber space: variance per mode proportional to (r exp(-r²/2))² with r = |m| / peak, mean 0.

    Modes above 3 peak carry less than 1e-3 of the peak's amplitude and are left out.

    Args:
        peak: wavenumber of the largest amplitude, waves per box, at least 1.
        rms: expected root mean square, [field].
    """

    peak: float = 4.0
    rms: float = 1.0

    def __post_init__(self) -> None:
        check_at_least("peak", self.peak, 1)
        check_positive("rms", self.rms)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        cutoff = math.ceil(3 * self.peak)
        r = _radius(cutoff, grid.ndim) / self.peak
        return _random_series(key, grid, cutoff, r * torch.exp(-(r**2) / 2), self.rms)
