"""The dealiased quadratic flux -a d/dx (u²/2) of the 1-D equations."""

import torch
from torch import Tensor

from sciml.grids import Grid, dealias_mask, wavenumbers
from sciml.pde.base import Nonlinearity
from sciml.pde.parameters import Parameter, per_mode


def quadratic_flux(grid: Grid, strength: Parameter = 1.0) -> Nonlinearity:
    """N(u_hat) = -strength i k FFT(u²) / 2, with the 2/3 rule on state and product, [field/time].

    Source: Orszag (1971), J. Atmos. Sci. 28, 1074 (2/3 rule).
    """
    kept = int(dealias_mask(grid).sum())
    points = grid.points[0]
    symbol = -0.5j * wavenumbers(grid, odd=True)[0][:kept] * per_mode(strength, 1)

    def nonlinear(t: Tensor, u_hat: Tensor) -> Tensor:
        # The kept modes are a leading slice; irfft fills the rest with zeros.
        u = torch.fft.irfft(u_hat[..., :kept], n=points)
        flux = torch.fft.rfft(u * u)[..., :kept] * symbol.to(device=u_hat.device, dtype=u_hat.dtype)
        return torch.nn.functional.pad(flux, (0, u_hat.shape[-1] - kept))

    return nonlinear


def check_line(equation: str, grid: Grid) -> None:
    """Raise unless the grid has one axis."""
    if grid.ndim != 1:
        raise ValueError(
            f"{equation} is posed on one spatial axis, got a grid with {grid.ndim}. Give Grid((n,), (L,))."
        )
