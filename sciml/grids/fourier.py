"""Fourier analysis on a periodic grid, with the real half-spectrum throughout.

    u(x) = sum_k u_hat(k) exp(i k x) / N,    k = 2 pi m / L

`transform` is torch's `rfftn` over the spatial axes without scaling, so that products of coefficients with symbols
need none. Odd derivatives drop the Nyquist mode of an even axis, which has no real odd derivative.

2-D velocity and vorticity: omega = dv/dx - du/dy, Laplace(psi) = -omega, u = dpsi/dy, v = -dpsi/dx.
"""

import math

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from sciml.grids.grid import Grid
from sciml.grids.modes import Modes


def transform(u: Float[Tensor, "*axes"], grid: Grid) -> Complex[Tensor, "*modes"]:
    """Fourier coefficients of real fields, over the last `grid.ndim` axes."""
    if tuple(u.shape[-grid.ndim :]) != grid.points:
        raise ValueError(
            f"the last {grid.ndim} axes of the field must match the grid {grid.points}, got shape {tuple(u.shape)}. "
            "Fields are (batch, channel, *space) with space in order x, y, z."
        )
    return torch.fft.rfftn(u, dim=grid.space)


def inverse_transform(u_hat: Complex[Tensor, "*modes"], grid: Grid) -> Float[Tensor, "*axes"]:
    """Real fields from their Fourier coefficients, over the last `grid.ndim` axes."""
    return torch.fft.irfftn(u_hat, s=grid.points, dim=grid.space)


def mode_numbers(grid: Grid) -> tuple[Float[Tensor, "..."], ...]:
    """Integer wavenumber m along each axis, shaped to broadcast against the half-spectrum."""
    numbers = []
    for axis, count in enumerate(grid.points):
        full = axis < grid.ndim - 1
        m = torch.fft.fftfreq(count, 1 / count, dtype=torch.float64) if full else torch.arange(count // 2 + 1.0)
        shape = [1] * grid.ndim
        shape[axis] = -1
        numbers.append(m.double().reshape(shape))
    return tuple(numbers)


def wavenumbers(grid: Grid, *, odd: bool = False) -> tuple[Float[Tensor, "..."], ...]:
    """Wavenumber k = 2 pi m / L along each axis, [1/length], shaped to broadcast against the half-spectrum.

    Args:
        grid: the grid.
        odd: set the Nyquist mode of even axes to 0, as odd derivatives need.
    """
    ks = []
    for m, count, length in zip(mode_numbers(grid), grid.points, grid.extent, strict=True):
        kept = torch.where(m.abs() * 2 == count, torch.zeros_like(m), m) if odd else m
        ks.append(kept * (2 * math.pi / length))
    return tuple(ks)


def laplacian_symbol(grid: Grid) -> Float[Tensor, "*mode"]:
    """-|k|² for each mode, [1/length²]."""
    return -sum(torch.broadcast_tensors(*(k**2 for k in wavenumbers(grid))))  # type: ignore[operator]


def derivative(u: Float[Tensor, "*axes"], grid: Grid, axis: int, order: int = 1) -> Float[Tensor, "*axes"]:
    """The `order`-th derivative along spatial axis `axis` (0 is x), [field/length^order].

    Raises:
        ValueError: if `axis` is not an axis of the grid or `order` is negative.
    """
    if not 0 <= axis < grid.ndim or order < 0:
        raise ValueError(
            f"`axis` must lie in 0..{grid.ndim - 1} and `order` be at least 0, got axis={axis}, order={order}."
        )
    k = wavenumbers(grid, odd=order % 2 == 1)[axis].to(u.device)
    symbol = ((1j * k) ** order).to(u.dtype.to_complex())
    return inverse_transform(symbol * transform(u, grid), grid)


def dealias_mask(grid: Grid, fraction: float = 2 / 3) -> Bool[Tensor, "*mode"]:
    """Modes kept by the brick-wall rule |m| < fraction * N / 2 on every axis.

    With 2/3, products of two kept fields alias onto removed modes only.

    Source: Orszag (1971), J. Atmos. Sci. 28, 1074.
    """
    kept = [m.abs() < fraction * count / 2 - 1e-9 for m, count in zip(mode_numbers(grid), grid.points, strict=True)]
    mask = kept[0]
    for other in kept[1:]:
        mask = mask & other
    return mask


def resample(u: Float[Tensor, "*axes"], grid: Grid, points: tuple[int, ...]) -> Float[Tensor, "*new_axes"]:
    """Fourier interpolation to (or truncation at) another number of points in the same box.

    Exact for fields whose modes lie below both Nyquist limits; modes at a Nyquist limit are dropped.
    """
    old, new = grid, Grid(points, grid.extent)
    u_hat = transform(u, old)
    for axis in range(grid.ndim):
        count = min(old.points[axis], new.points[axis])
        half = (count - 1) // 2  # modes strictly below both Nyquist limits
        dim = axis - grid.ndim
        if axis == grid.ndim - 1:
            low = u_hat.narrow(dim, 0, half + 1)
            pad = new.modes[-1] - (half + 1)
            zeros = list(low.shape)
            zeros[dim] = pad
            u_hat = torch.cat([low, low.new_zeros(zeros)], dim=dim)
        else:
            low = u_hat.narrow(dim, 0, half + 1)
            high = u_hat.narrow(dim, u_hat.shape[dim] - half, half)
            zeros = list(low.shape)
            zeros[dim] = new.points[axis] - 2 * half - 1
            u_hat = torch.cat([low, low.new_zeros(zeros), high], dim=dim)
    return inverse_transform(u_hat * (new.size / old.size), new)


def _check_plane(grid: Grid) -> None:
    if grid.ndim != 2:
        raise ValueError(f"this is defined on 2-D grids, got {grid.ndim} axes. Give a Grid with two axes (x, y).")


def _check_channels(name: str, field: Tensor, grid: Grid, channels: int) -> None:
    """Raise unless the axis before space has this many channels."""
    if field.ndim <= grid.ndim or field.shape[-grid.ndim - 1] != channels:
        raise ValueError(
            f"`{name}` must have {channels} channel{'s' if channels > 1 else ''} on the axis before space, got shape "
            f"{tuple(field.shape)}. Fields are (batch, channel, *space), trajectories (batch, time, channel, *space)."
        )


def streamfunction(omega: Float[Tensor, "*axes"], grid: Grid) -> Float[Tensor, "*axes"]:
    """psi with Laplace(psi) = -omega and mean 0, [length²/time]."""
    _check_plane(grid)
    return inverse_transform(_every_mode(grid).inverse_laplacian().to(omega) * -transform(omega, grid), grid)


def _every_mode(grid: Grid) -> Modes:
    """All modes of real fields; their order is that of `transform`."""
    return Modes(grid, tuple(count // 2 for count in grid.points))


def velocity_from_vorticity(omega: Float[Tensor, "*lead channel x y"], grid: Grid) -> Float[Tensor, "*lead 2 x y"]:
    """The divergence-free velocity (u, v) with zero mean whose curl is omega, [length/time]."""
    _check_plane(grid)
    _check_channels("omega", omega, grid, 1)
    kx, ky = (k.to(omega.device) for k in wavenumbers(grid, odd=True))
    psi_hat = -_every_mode(grid).inverse_laplacian().to(omega) * transform(omega, grid)
    u_hat = torch.cat([1j * ky * psi_hat, -1j * kx * psi_hat], dim=-3)
    return inverse_transform(u_hat.to(psi_hat.dtype), grid)


def vorticity_from_velocity(velocity: Float[Tensor, "*lead component x y"], grid: Grid) -> Float[Tensor, "*lead 1 x y"]:
    """omega = dv/dx - du/dy, [1/time]."""
    _check_plane(grid)
    _check_channels("velocity", velocity, grid, 2)
    u, v = velocity.split(1, dim=-3)
    return derivative(v, grid, 0) - derivative(u, grid, 1)


def leray_projection(velocity: Float[Tensor, "*axes"], grid: Grid) -> Float[Tensor, "*axes"]:
    """Remove the gradient part: u_hat - k (k . u_hat) / |k|², divergence-free to rounding.

    Raises:
        ValueError: if the channel axis does not hold one component per spatial axis.
    """
    _check_channels("velocity", velocity, grid, grid.ndim)
    k, inverse = (symbol.to(velocity) for symbol in _every_mode(grid).projection())
    u_hat = transform(velocity, grid)
    return inverse_transform(u_hat - k * (inverse * u_hat).sum(-grid.ndim - 1, keepdim=True), grid)
