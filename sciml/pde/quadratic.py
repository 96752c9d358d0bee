"""Quadratic transport: the flux of scalar conservation laws, and the advection of a velocity by itself."""

import torch
from torch import Tensor

from sciml.core.symbols import Symbols
from sciml.core.transforms import kept_for_later
from sciml.grids import Modes
from sciml.integrate import Weighted
from sciml.pde.base import Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, dot, per_mode


def quadratic_flux(modes: Modes, strength: Parameter = 1.0) -> Nonlinearity:
    """N(y) = -strength (i k_x + i k_y + ...) (u²)_k / 2: equal fluxes along all axes, [field/time]."""
    ndim = modes.grid.ndim
    k = dot(1.0, modes.wavenumbers(odd=True))
    symbol = as_channel(modes.masked(-0.5j * k * per_mode(strength, ndim)), ndim)
    return Weighted(lambda y: modes.coefficients(_squared(modes.values(y)), zeroed=False), symbol)


def _squared(u: Tensor) -> Tensor:
    """u², in the memory of u where nothing else needs it."""
    return u * u if kept_for_later(u) else u.square_()


def slopes(y: Tensor, ks: Tensor) -> Tensor:
    """Coefficients of all first derivatives, (batch, channel * axis, *mode), of `ks` = i k, (axis, *mode)."""
    return (y[:, :, None] * ks).flatten(1, 2)


def self_advection(modes: Modes) -> Nonlinearity:
    """N(y) = -(u . grad) u of a velocity with one channel per axis, [velocity/time]."""
    ndim = modes.grid.ndim
    symbols = Symbols(1j * torch.stack(torch.broadcast_tensors(*modes.wavenumbers(odd=True))))

    def nonlinear(t: Tensor, y: Tensor) -> Tensor:
        values = modes.values(torch.cat([y, slopes(y, symbols(y)[0])], 1))
        u, gradient = values[:, None, :ndim], values[:, ndim:].unflatten(1, (ndim, ndim))
        return modes.coefficients(-(u * gradient).sum(2))

    return nonlinear
