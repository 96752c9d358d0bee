"""The Fourier modes a computation keeps, and the way between them and fields:

    u(x) = sum_m u_hat_m exp(i k_m x),    k_m = 2 pi m / L,    |m_i| <= highest_i

Coefficients are those of the Fourier series, so that they mean the same on every grid. In three dimensions, and along
the last axis of a plane, only the modes that are kept are stored: m = 0 ... M, -M ... -1, along the last axis of real
fields m = 0 ... M. Elsewhere those that are not kept are stored too, as zeros, which costs less than to leave them out.
Each axis is transformed on its own, for the modes that are stored along the others only. Where modes are centred, those
that are kept are stored in the order -M ... M.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.grids.grid import Grid


class _Axis(NamedTuple):
    """One axis of the coefficients.

    Args:
        dim: its place, from the end.
        points: of the grid.
        highest: largest |m| kept.
        count: of modes stored.
        halved: only m >= 0 are stored.
        zeros: how many of those stored are not kept, behind m = highest.
        centred: m = -highest comes first.
    """

    dim: int
    points: int
    highest: int
    count: int
    halved: bool
    zeros: int
    centred: bool


@final
@dataclass(frozen=True)
class Modes:
    """Modes |m_i| <= highest_i of fields on a grid, and the points at which products of fields are formed.

    Args:
        grid: where fields are given and wanted.
        highest: largest |m| kept per axis; N // 2 keeps all of N points.
        points: where products are formed, per axis; by default the grid's points.
        real: whether fields are real; only half of their modes are stored then.
        centred: whether modes are stored in the order -M ... M, so that those of -k are those of k read backwards; see
            `Pairs`.

    Raises:
        ValueError: if the grid does not hold the modes, or the points do not; for centred ones at N/2.
    """

    grid: Grid
    highest: tuple[int, ...]
    points: tuple[int, ...] = ()
    real: bool = True
    centred: bool = False
    _others: tuple[_Axis, ...] = field(init=False, repr=False, compare=False)
    _last: _Axis = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.points:
            object.__setattr__(self, "points", self.grid.points)
        sizes = zip(self.highest, self.grid.points, self.points, strict=True)
        if any(m < 0 or 2 * m > n or 2 * m > p or (2 * m == n and p != n) for m, n, p in sizes):
            raise ValueError(
                f"`highest` must lie in 0..N/2 for a grid of {self.grid.points} points and products on {self.points}, "
                f"got {self.highest}. Keep fewer modes; those at N/2 only where products are formed on the grid."
            )
        if self.centred and any(2 * m == n for m, n in zip(self.highest, self.grid.points, strict=True)):
            raise ValueError(
                f"centred modes must lie below N/2 for a grid of {self.grid.points} points, got {self.highest}. Keep "
                "fewer modes."
            )
        *others, last = (self._axis(axis) for axis in range(self.grid.ndim))
        object.__setattr__(self, "_others", tuple(others))
        object.__setattr__(self, "_last", last)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the coefficients of one field."""
        return tuple(axis.count for axis in (*self._others, self._last))

    def numbers(self) -> tuple[Float[Tensor, "..."], ...]:
        """m along each axis, shaped to broadcast against coefficients."""
        numbers = []
        for place, axis in enumerate((*self._others, self._last)):
            if axis.halved:
                m = torch.arange(axis.count, dtype=torch.float64)
            elif axis.centred:
                m = torch.arange(-axis.highest, axis.highest + 1, dtype=torch.float64)
            else:
                m = torch.fft.fftfreq(axis.count, 1 / axis.count, dtype=torch.float64)
            numbers.append(m.reshape([-1 if place == other else 1 for other in range(self.grid.ndim)]))
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
        return torch.where(symbol == 0, 0.0, 1 / torch.where(symbol == 0, 1.0, symbol))

    def projection(self) -> tuple[Float[Tensor, "axis *mode"], Float[Tensor, "axis *mode"]]:
        """k and k / |k|², of the part of a vector field without divergence: u - k (k / |k|² . u).

        Real fields have no divergence along modes at N/2, whose k counts as 0.
        """
        k = torch.stack(torch.broadcast_tensors(*self.wavenumbers(odd=True)))
        squared = (k**2).sum(0, keepdim=True)
        return k, k / torch.where(squared > 0, squared, 1.0)

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
        return self.values(y, self.grid.points)

    def values(self, y: Inexact[Tensor, "*modes"], points: tuple[int, ...] | None = None) -> Inexact[Tensor, "*field"]:
        """Fields at the points where products are formed.

        Args:
            y: coefficients.
            points: other points per axis.
        """
        points = points or self.points
        for axis, count in zip(self._others, points, strict=False):
            y = torch.fft.ifft(_spread(y, axis, count), dim=axis.dim, norm="forward")
        if self.real:
            return torch.fft.irfft(y, n=points[-1], dim=-1, norm="forward")
        return torch.fft.ifft(_spread(y, self._last, points[-1]), dim=-1, norm="forward")

    def coefficients(self, u: Inexact[Tensor, "*field"], *, zeroed: bool = True) -> Inexact[Tensor, "*modes"]:
        """The kept coefficients of fields, at whatever points they are given.

        Fields that nobody else holds are freed on the way, so that the transforms work on memory that is still cached.

        Args:
            u: the fields.
            zeroed: set modes that are stored but not kept to 0. What is to be multiplied by a symbol that is `masked`
                may hold whatever the fields have of them, in fewer passes.
        """
        transformed = torch.fft.rfft if self.real else torch.fft.fft
        y = _kept(transformed(u, dim=-1, norm="forward"), self._last, zeroed)
        del u
        for axis in reversed(self._others):
            y = _kept(torch.fft.fft(y, dim=axis.dim, norm="forward"), axis, zeroed)
        return y

    def masked(self, symbol: Inexact[Tensor, "*modes"]) -> Inexact[Tensor, "*modes"]:
        """A symbol, 0 for modes that are stored but not kept."""
        for m, highest in zip(self.numbers(), self.highest, strict=True):
            symbol = torch.where(m.abs() <= highest, symbol, 0.0)
        return symbol

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

    def _axis(self, place: int) -> _Axis:
        n, m = self.grid.points[place], self.highest[place]
        halved = self.real and place == self.grid.ndim - 1
        kept = m + 1 if halved else min(2 * m + 1, n)
        if place == 0 and self.grid.ndim < 3 and self.points == self.grid.points and not self.centred:
            count = n // 2 + 1 if halved else n
        else:
            count = kept
        return _Axis(place - self.grid.ndim, n, m, count, halved, count - kept, self.centred and not halved)


def _spread(y: Tensor, axis: _Axis, points: int) -> Tensor:
    """Zeros put between the positive and the negative modes of an axis."""
    if axis.count == points and not axis.centred:
        return y
    shape = list(y.shape)
    shape[axis.dim] = points - axis.count
    if axis.centred:
        high, low = y.split((axis.highest, axis.highest + 1), axis.dim)
    else:
        low, high = y.split((axis.highest + 1, axis.highest), axis.dim)
    return torch.cat([low, y.new_zeros(shape), high], dim=axis.dim)


def _kept(y: Tensor, axis: _Axis, zeroed: bool) -> Tensor:
    """The stored modes of an axis that holds all, which may be overwritten."""
    have, m = y.shape[axis.dim], axis.highest
    if have == axis.count and not axis.centred:
        if axis.zeros and zeroed:
            y.narrow(axis.dim, m + 1, axis.zeros).zero_()
        return y
    if axis.halved:
        return y.narrow(axis.dim, 0, axis.count)
    low, _, high = y.split((m + 1, have - 2 * m - 1, m), axis.dim)
    return torch.cat([high, low] if axis.centred else [low, high], dim=axis.dim)
