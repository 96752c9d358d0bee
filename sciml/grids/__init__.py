"""Functions of space: the periodic grid, its Fourier transform, the modes that are kept."""

from sciml.grids.dealiasing import AbstractDealiasing, NoDealiasing, Padding, Truncation
from sciml.grids.fourier import (
    dealias_mask,
    derivative,
    inverse_transform,
    laplacian_symbol,
    leray_projection,
    mode_numbers,
    resample,
    streamfunction,
    transform,
    velocity_from_vorticity,
    vorticity_from_velocity,
    wavenumbers,
)
from sciml.grids.grid import Grid
from sciml.grids.modes import Modes
from sciml.grids.pairs import Pairs

__all__ = [
    "AbstractDealiasing",
    "Grid",
    "Modes",
    "NoDealiasing",
    "Padding",
    "Pairs",
    "Truncation",
    "dealias_mask",
    "derivative",
    "inverse_transform",
    "laplacian_symbol",
    "leray_projection",
    "mode_numbers",
    "resample",
    "streamfunction",
    "transform",
    "velocity_from_vorticity",
    "vorticity_from_velocity",
    "wavenumbers",
]
