"""The Fourier modes a computation keeps, and the way between them and fields:

    u(x) = sum_m u_hat_m exp(i k_m x),    k_m = 2 pi m / L,    |m_i| <= highest_i

Coefficients are those of the Fourier series, so that they mean the same on every grid. Only the modes that are kept are
stored: along all axes but the last m = 0 ... M, -M ... -1, along the last of real fields m = 0 ... M. Each axis is
transformed on its own, for the modes that are kept along the others only.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.grids.grid import Grid


@final
@dataclass(frozen=True)
class Modes:
    """Modes |m_i| <= highest_i of fields on a grid, and the points at which products of fields are formed.

    Args:
        grid: where fields are given and wanted.
        highest: largest |m| kept per axis; N // 2 keeps all of N points.
        points: where products are formed, per axis; by default the grid's points.
        real: whether fields are real; only half of their modes are stored then.

    Raises:
        ValueError: if the grid does not hold the modes, or the points do not.
    """

    grid: Grid
    highest: tuple[int, ...]
    points: tuple[int, ...] = ()
    real: bool = True

    def __post_init__(self) -> None:
        if not self.points:
            object.__setattr__(self, "points", self.grid.points)
        sizes = zip(self.highest, self.grid.points, self.points, strict=True)
        if any(m < 0 or 2 * m > n or 2 * m > p or (2 * m == n and p != n) for m, n, p in sizes):
            raise ValueError(
                f"`highest` must lie in 0..N/2 for a grid of {self.grid.points} points and products on {self.points}, "
                f"got {self.highest}. Keep fewer modes; those at N/2 only where products are formed on the grid."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the coefficients of one field."""
        counts = [min(2 * m + 1, n) for m, n in zip(self.highest, self.grid.points, strict=True)]
        return (*counts[:-1], self.highest[-1] + 1) if self.real else tuple(counts)

    def numbers(self) -> tuple[Float[Tensor, "..."], ...]:
        """m along each axis, shaped to broadcast against coefficients."""
        numbers = []
        for axis, (count, n) in enumerate(zip(self.shape, self.grid.points, strict=True)):
            if self._halved(axis):
                m = torch.arange(count, dtype=torch.float64)
            else:
                m = torch.fft.fftfreq(count, 1 / count, dtype=torch.float64)
            shape = [1] * len(self.shape)
            shape[axis] = count
            numbers.append(m.reshape(shape))
            assert count <= n
        return tuple(numbers)

    def wavenumbers(self, *, odd: bool = False) -> tuple[Float[Tensor, "..."], ...]:
        """k = 2 pi m / L along each axis, [1/length], shaped to broadcast against coefficients.

        Args:
            odd: set the mode N/2 of N points to 0, as odd derivatives of real fields need.
        """
        ks = []
        for m, count, length in zip(self.numbers(), self.grid.points, self.grid.extent, strict=True):
            kept = torch.where(m.abs() * 2 == count, 0.0, m) if odd else m
            ks.append(kept * (2 * math.pi / length))
        return tuple(ks)

    def laplacian(self) -> Float[Tensor, "*mode"]:
        """-|k|² for each mode, [1/length²]."""
        return -sum(torch.broadcast_tensors(*(k**2 for k in self.wavenumbers())))  # type: ignore[operator]

    def inverse_laplacian(self) -> Float[Tensor, "*mode"]:
        """-1 / |k|², 0 for the mean, [length²]."""
        symbol = self.laplacian()
        mean = (0,) * symbol.ndim
        symbol[mean] = 1.0
        inverse = 1 / symbol
        inverse[mean] = 0.0
        return inverse

    def encode(self, u: Inexact[Tensor, "*field"]) -> Inexact[Tensor, "*modes"]:
        """The coefficients of fields given at the grid's points, over the last axes; other modes are dropped."""
        if tuple(u.shape[-self.grid.ndim :]) != self.grid.points:
            raise ValueError(
                f"the last {self.grid.ndim} axes of the field must match the grid {self.grid.points}, got shape "
                f"{tuple(u.shape)}. Fields are (batch, channel, *space) with space in order x, y, z."
            )
        return self.coefficients(u)

    def decode(self, y: Inexact[Tensor, "*modes"]) -> Inexact[Tensor, "*field"]:
        """Fields at the grid's points."""
        return self._inverse(y, self.grid.points)

    def values(self, y: Inexact[Tensor, "*modes"]) -> Inexact[Tensor, "*field"]:
        """Fields at the points where products are formed."""
        return self._inverse(y, self.points)

    def coefficients(self, u: Inexact[Tensor, "*field"]) -> Inexact[Tensor, "*modes"]:
        """The kept coefficients of fields, at whatever points they are given."""
        last = self.grid.ndim - 1
        transformed = torch.fft.rfft if self.real else torch.fft.fft
        y = self._kept(transformed(u, dim=-1, norm="forward"), last)
        for axis in range(last - 1, -1, -1):
            y = self._kept(torch.fft.fft(y, dim=axis - self.grid.ndim, norm="forward"), axis)
        return y

    def holds(self, what: str, wavenumber: float, axis: int) -> None:
        """Raise unless the modes reach the wavenumber of a forcing or an initial field.

        Args:
            what: its name, for the message.
            wavenumber: in waves per box.
            axis: along which axis, 0 is x.
        """
        count, highest = self.grid.points[axis], self.highest[axis]
        if abs(wavenumber) > highest:
            needed = max(2, (count - 1) // max(highest, 1)) * math.ceil(abs(wavenumber)) + 1
            needed += needed % 2 if self.points != self.grid.points else 0
            name = self.grid.axis_names[axis]
            raise ValueError(
                f"{what} must lie on modes that are kept, got wavenumber {wavenumber:g} along {name}, where {count} "
                f"points keep modes up to {highest}. Use at least {needed} points along {name}."
            )

    def _halved(self, axis: int) -> bool:
        return self.real and axis == self.grid.ndim - 1

    def _inverse(self, y: Tensor, points: tuple[int, ...]) -> Tensor:
        last = self.grid.ndim - 1
        for axis in range(last):
            y = torch.fft.ifft(self._spread(y, axis, points), dim=axis - self.grid.ndim, norm="forward")
        if self.real:
            return torch.fft.irfft(y, n=points[-1], dim=-1, norm="forward")
        return torch.fft.ifft(self._spread(y, last, points), dim=-1, norm="forward")

    def _spread(self, y: Tensor, axis: int, points: tuple[int, ...]) -> Tensor:
        """Zeros put between the positive and the negative modes of an axis."""
        dim, m = axis - self.grid.ndim, self.highest[axis]
        gap = points[axis] - y.shape[dim]
        if gap == 0:
            return y
        shape = list(y.shape)
        shape[dim] = gap
        return torch.cat([y.narrow(dim, 0, m + 1), y.new_zeros(shape), y.narrow(dim, m + 1, m)], dim=dim)

    def _kept(self, y: Tensor, axis: int) -> Tensor:
        """The kept modes of an axis that holds all."""
        dim, m, count = axis - self.grid.ndim, self.highest[axis], self.shape[axis]
        if y.shape[dim] == count:
            return y
        if self._halved(axis):
            return y.narrow(dim, 0, count)
        return torch.cat([y.narrow(dim, 0, m + 1), y.narrow(dim, y.shape[dim] - m, m)], dim=dim)
