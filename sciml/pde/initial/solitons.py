"""Trains of solitons on a line, evenly spaced from a random place on."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.core.checks import check_number, check_positive
from sciml.grids import Grid
from sciml.pde.base import AbstractInitial


def _distances(key: Key, count: int, grid: Grid) -> Tensor:
    """x less the place of each soliton, wrapped to half a box on either side, (batch, count, point)."""
    if grid.ndim != 1:
        raise ValueError(f"solitons move on one spatial axis, got a grid with {grid.ndim}. Give Grid((n,), (L,)).")
    length, device = grid.extent[0], key.ids.device
    first = key.uniform(1, dtype=torch.float64) * length
    places = first + length / count * torch.arange(count, dtype=torch.float64, device=device)
    return torch.remainder(grid.axes()[0].to(device) - places[..., None] + length / 2, length) - length / 2


def _check_tails(rates: Float[Tensor, "*soliton"], peak: float, grid: Grid) -> None:
    """Raise unless peak exp(-rate |x|) falls to 1e-4 of the soliton at half a box from its middle."""
    tail = peak * torch.exp(-rates.min() * grid.extent[0] / 2)
    if float(tail) > 1e-4:
        needed = 2 * math.log(peak / 1e-4) / float(rates.min())
        raise ValueError(
            f"every soliton must fit into the periodic box of {grid.extent[0]:g}, but the widest still has "
            f"{float(tail):.2g} of its height where its ends meet. Take a box of at least {needed:.3g}, or narrower "
            "ones."
        )


@final
@dataclass(frozen=True)
class Solitons(AbstractInitial):
    """Solitons of the Korteweg-de Vries equation: u = sum_i 3 c_i / a sech²(sqrt(c_i / d) (x - x_i) / 2).

    They follow each other in the order given, to the right. Each moves at its c; faster ones pass through slower ones.
    The sum is a solution as far as they do not overlap.

    Args:
        speeds: c_i, [length/time], positive, at least one.
        steepening: a of the equation, [1], not 0.
        dispersion: d of the equation, [length³/time], positive.

    Source: Zabusky & Kruskal (1965), Phys. Rev. Lett. 15, 240.
    """

    speeds: tuple[float, ...] = (8.0, 2.0)
    steepening: float = 6.0
    dispersion: float = 1.0

    def __post_init__(self) -> None:
        for speed in self.speeds:
            check_positive("speeds", speed)
        check_positive("dispersion", self.dispersion)
        check_number("steepening", self.steepening)
        if not self.speeds or not abs(self.steepening) > 0:
            raise ValueError(
                f"Solitons need at least one speed and a steepening other than 0, got {self.speeds} and "
                f"{self.steepening}. Give e.g. (8.0, 2.0) and 6.0."
            )

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        x = _distances(key, len(self.speeds), grid)
        speeds = torch.tensor(self.speeds, dtype=torch.float64, device=x.device)[:, None]
        _check_tails(torch.sqrt(speeds / self.dispersion), 4.0, grid)
        angle = torch.sqrt(speeds / self.dispersion) * x / 2
        return (3 * speeds / self.steepening / torch.cosh(angle) ** 2).sum(1, keepdim=True)


@final
@dataclass(frozen=True)
class BrightSolitons(AbstractInitial):
    """Solitons of the focusing Schroedinger equation with its default coefficients, each at a random phase:

        psi = sum_i a_i sech(a_i (x - x_i)) exp(i v_i (x - x_i) + i phase_i)

    Args:
        amplitudes: a_i, [field], positive, at least one.
        velocities: v_i, [length/time], one each.
    """

    amplitudes: tuple[float, ...] = (1.0, 1.0)
    velocities: tuple[float, ...] = (1.0, -1.0)

    def __post_init__(self) -> None:
        for amplitude in self.amplitudes:
            check_positive("amplitudes", amplitude)
        if len(self.amplitudes) != len(self.velocities) or not self.amplitudes:
            raise ValueError(
                f"`velocities` must have one entry per amplitude, got {self.velocities} for {self.amplitudes}. "
                "Give e.g. (1.0, 1.0) and (1.0, -1.0)."
            )
        check_number("velocities", *self.velocities)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        x = _distances(key, len(self.amplitudes), grid)
        _check_tails(torch.tensor(self.amplitudes), 2.0, grid)
        a, v = torch.tensor([self.amplitudes, self.velocities], dtype=torch.float64, device=x.device)[..., None]
        phase = 2 * torch.pi * key.fold(1).uniform(len(self.amplitudes), 1, dtype=torch.float64)
        psi = (torch.polar(a / torch.cosh(a * x), v * x + phase)).sum(1)
        return torch.stack([psi.real, psi.imag], 1)
