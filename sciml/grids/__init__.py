"""Functions of space: the periodic grid and its Fourier transform."""

from sciml.grids.fourier import (
    dealias_mask,
    derivative,
    inverse_laplacian,
    inverse_transform,
    laplacian_symbol,
    leray_projection,
    resample,
    streamfunction,
    transform,
    velocity_from_vorticity,
    vorticity_from_velocity,
    wavenumbers,
)
from sciml.grids.grid import Grid

__all__ = [
    "Grid",
    "dealias_mask",
    "derivative",
    "inverse_laplacian",
    "inverse_transform",
    "laplacian_symbol",
    "leray_projection",
    "resample",
    "streamfunction",
    "transform",
    "velocity_from_vorticity",
    "vorticity_from_velocity",
    "wavenumbers",
]
