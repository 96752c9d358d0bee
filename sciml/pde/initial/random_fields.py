"""Gaussian random fields of mean 0 with a given spectrum, keyed per trajectory and independent of the resolution."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.core.checks import check_at_least, check_number, check_positive, check_whole
from sciml.grids import Grid, velocity_from_vorticity
from sciml.pde.base import AbstractInitial
from sciml.pde.initial.series import mode_box, radius, random_series


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
        m = radius(self.cutoff, grid.ndim)
        return random_series(key, grid, ((m > 0) & (m <= self.cutoff + 1e-9)).double(), self.rms)


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
        check_number("peak", self.peak)
        check_positive("rms", self.rms)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        r = radius(math.ceil(3 * self.peak), grid.ndim) / self.peak
        return random_series(key, grid, r * torch.exp(-(r**2) / 2), self.rms)


@final
@dataclass(frozen=True)
class PowerLaw(AbstractInitial):
    """Variance per mode proportional to |m|^-exponent for lowest <= |m| <= cutoff, else 0; mean 0.

    The spectrum summed over shells falls as |m|^(ndim - 1 - exponent).

    Args:
        exponent: of the variance per mode, [1]; 0 is white noise.
        cutoff: largest wavenumber in waves per box, at least 1.
        lowest: smallest wavenumber in waves per box, at least 1.
        rms: expected root mean square, [field].
    """

    exponent: float = 3.0
    cutoff: int = 16
    lowest: int = 1
    rms: float = 1.0

    def __post_init__(self) -> None:
        check_whole("lowest", self.lowest, 1)
        check_whole("cutoff", self.cutoff, self.lowest)
        check_positive("rms", self.rms)
        if not math.isfinite(self.exponent):
            raise ValueError(f"`exponent` must be finite, got {self.exponent}. Give e.g. 3.0.")

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        m = radius(self.cutoff, grid.ndim)
        kept = (m >= self.lowest) & (m <= self.cutoff + 1e-9)
        return random_series(key, grid, torch.where(kept, m.clamp(min=1.0) ** (-self.exponent / 2), 0.0), self.rms)


@final
@dataclass(frozen=True)
class Matern(AbstractInitial):
    """Matern covariance of given smoothness and length, periodised, without its mean:

        variance of mode k proportional to (2 nu / l² + |k|²)^-(nu + ndim/2)

    The field has nu derivatives. The initial vorticity of the FNO paper, covariance (-Laplace + 49)^-2.5 on the unit
    square, is smoothness 1.5 and length sqrt(3)/7 (with its mean 0).

    Args:
        smoothness: nu, [1], positive.
        length: l, the correlation length, [length], positive.
        cutoff: largest wavenumber along each axis in waves per box, at least 1; take it well above L / (2 pi l).
        rms: expected root mean square, [field].

    Source: Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. (4.15).
    """

    smoothness: float = 1.5
    length: float = 0.25
    cutoff: int = 16
    rms: float = 1.0

    def __post_init__(self) -> None:
        check_whole("cutoff", self.cutoff, 1)
        for name in ("smoothness", "length", "rms"):
            check_positive(name, getattr(self, name))

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        boxes = mode_box(self.cutoff, grid.ndim)
        squared = torch.stack(
            [(2 * math.pi / length * m) ** 2 for m, length in zip(boxes, grid.extent, strict=True)]
        ).sum(0)
        rate = 2 * self.smoothness / self.length**2
        weight = (1 + squared / rate) ** (-(self.smoothness + grid.ndim / 2) / 2)
        return random_series(key, grid, torch.where(squared > 0, weight, 0.0), self.rms)


@final
@dataclass(frozen=True)
class McWilliams(AbstractInitial):
    """Vorticity of decaying two-dimensional turbulence, of random phase and the energy spectrum

        E(m) proportional to m / (1 + (m / peak)^4)

    which falls as m^-3, scaled so that every sample has the same energy, the mean of |u|²/2 over the box.

    Args:
        peak: about where the spectrum is largest (at peak 3^(-1/4)), waves per box, at least 1.
        energy: kinetic energy, [length²/time²].
        cutoff: largest wavenumber in waves per box, at least 1.

    Source: McWilliams (1984), J. Fluid Mech. 146, 21, section 3: peak 6 and energy 1/2 on (2 pi)².
    """

    peak: float = 6.0
    energy: float = 0.5
    cutoff: int = 31

    def __post_init__(self) -> None:
        check_at_least("peak", self.peak, 1)
        check_number("peak", self.peak)
        check_positive("energy", self.energy)
        check_whole("cutoff", self.cutoff, 1)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`.

        Raises:
            ValueError: on other than two axes.
        """
        omega = self._vorticity(key, grid)
        velocity = velocity_from_vorticity(omega, grid)
        energy = velocity.square().sum(1, keepdim=True).mean((-2, -1), keepdim=True) / 2
        return omega * torch.sqrt(self.energy / energy)

    def _vorticity(self, key: Key, grid: Grid) -> Tensor:
        m = radius(self.cutoff, grid.ndim)
        kept = (m > 0) & (m <= self.cutoff + 1e-9)
        # E(m) is a sum over about 2 pi m modes of |omega|²/(2 k²).
        return random_series(key, grid, torch.where(kept, m / torch.sqrt(1 + (m / self.peak) ** 4), 0.0), 1.0)
