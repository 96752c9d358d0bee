"""Random Fourier series, the same function of x on every grid that holds its modes:

u(x) = Re sum_m c_m a(m) exp(2 pi i m . x / L),    c_m complex normal, drawn per mode from the row's key
"""

import math

import torch
from torch import Tensor

from sciml.core import Key
from sciml.grids import Grid


def mode_box(cutoff: int, ndim: int) -> tuple[Tensor, ...]:
    """m along each axis for all |m_i| <= cutoff, each of the shape of the box of modes."""
    modes = torch.arange(-cutoff, cutoff + 1, dtype=torch.float64)
    return torch.meshgrid(*[modes] * ndim, indexing="ij")


def radius(cutoff: int, ndim: int) -> Tensor:
    """|m| for all |m_i| <= cutoff."""
    return torch.sqrt(torch.stack([m**2 for m in mode_box(cutoff, ndim)]).sum(0))


def random_series(key: Key, grid: Grid, weight: Tensor, rms: float) -> Tensor:
    """Real random fields (batch, 1, *space) with amplitude `weight` per mode of a box, and expected RMS `rms`.

    The sum is evaluated directly, axis by axis.

    Raises:
        ValueError: if the grid does not hold the modes.
    """
    cutoff = len(weight) // 2
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
    field = torch.complex(re, im) * (weight * rms / torch.sqrt((weight**2).sum()))
    for x, length in zip(grid.axes(), grid.extent, strict=True):
        waves = torch.exp(2j * math.pi / length * modes[:, None] * x[None, :].to(device))
        # Contract the leading mode axis; the new space axis goes last, so x, y, z end in order.
        field = torch.tensordot(field, waves, dims=([1], [0]))  # type: ignore[arg-type]
    return field.real[:, None]
