"""Spectral vanishing viscosity: shocks of conservation laws without diffusion of what the grid resolves."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_positive
from sciml.grids import Modes


@final
@dataclass(frozen=True)
class VanishingViscosity:
    """A viscosity that acts on the short waves alone and vanishes as the grid is refined:

        -epsilon Q(m) k²,    epsilon = strength L / (2 pi M),    Q = exp(-((M - m)/(m - m0))²) for m > m0, else 0

    for modes m up to M, with m0 = 2 sqrt(M). As the grid is refined the solution tends to the entropy solution of the
    law without viscosity, of first order in the mean of |error|.

    Args:
        strength: of the order of the largest speed, [length/time].

    Source: Tadmor (1989), SIAM J. Numer. Anal. 26, 30; kernel of Maday, Ould Kaber & Tadmor (1993), ibid. 30, 321.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        check_positive("strength", self.strength)

    def symbol(self, modes: Modes) -> Float[Tensor, "*mode"]:
        """-epsilon Q k² summed over the axes, [1/time].

        Raises:
            ValueError: if the modes leave no short waves to damp.
        """
        total = torch.zeros(modes.shape, dtype=torch.float64)
        for m, top, length in zip(modes.numbers(), modes.highest, modes.grid.extent, strict=True):
            free = 2 * math.sqrt(top)
            if free >= top:
                raise ValueError(
                    f"VanishingViscosity needs modes above 2 sqrt(M), got M = {top} on {modes.grid.points} points. Use "
                    "at least 16 points along every axis."
                )
            above = (m.abs() - free).clamp(min=1e-3)
            share = torch.where(m.abs() > free, torch.exp(-(((top - m.abs()) / above) ** 2)), 0.0)
            total = total - self.strength * length / (2 * math.pi * top) * share * (2 * math.pi / length * m) ** 2
        return total
