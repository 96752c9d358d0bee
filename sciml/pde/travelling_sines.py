"""The forcing of the MP-PDE paper, a sum of travelling sine waves, and its random draw:

delta(t, x) = sum_j A_j sin(omega_j t + 2 pi l_j x / L + phi_j)
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.core.checks import check_at_least, check_whole
from sciml.core.symbols import Symbols
from sciml.grids import Grid, Modes
from sciml.pde.base import AbstractInitial, Nonlinearity
from sciml.pde.sampling import AbstractRandom, parameter_key


@final
@dataclass(frozen=True, eq=False)
class TravellingSines:
    """A sum of sine waves for each sample.

    Args:
        amplitudes: A_j, [field/time].
        frequencies: omega_j, [1/time]; positive moves the wave towards smaller x.
        wavenumbers: l_j, whole numbers of waves per box, at least 1.
        phases: phi_j, [1].
    """

    amplitudes: Float[Tensor, "batch wave"]
    frequencies: Float[Tensor, "batch wave"]
    wavenumbers: Float[Tensor, "batch wave"]
    phases: Float[Tensor, "batch wave"]

    def __post_init__(self) -> None:
        shapes = {tuple(t.shape) for t in (self.amplitudes, self.frequencies, self.wavenumbers, self.phases)}
        if len(shapes) > 1 or self.amplitudes.ndim != 2:
            raise ValueError(f"all parts of TravellingSines must have one shape (batch, wave), got {sorted(shapes)}.")
        if not bool(((self.wavenumbers >= 1) & (self.wavenumbers == self.wavenumbers.round())).all()):
            raise ValueError(
                f"`wavenumbers` must be whole numbers of at least 1, got {self.wavenumbers.unique().tolist()}. Other "
                "waves do not fit the periodic box."
            )

    def field(self, t: float, grid: Grid) -> Float[Tensor, "batch 1 x"]:
        """delta(t, x) at the grid's points."""
        turns = 2 * math.pi / grid.extent[0] * grid.axes()[0].to(self.amplitudes.device)
        angle = self.frequencies * t + self.phases
        waves = torch.sin(angle[..., None] + self.wavenumbers[..., None] * turns)
        return (self.amplitudes[..., None] * waves).sum(1, keepdim=True)

    def added_to(self, nonlinear: Nonlinearity, modes: Modes) -> Nonlinearity:
        """N(t, y) + the coefficients of delta(t, x).

        Raises:
            ValueError: if the modes do not hold the forcing.
        """
        modes.holds("the forcing", float(self.wavenumbers.max()), 0)
        # A sin(a + i l x) has the coefficient A exp(i a) / 2i at mode l.
        place = self.wavenumbers.cpu().double()[..., None] == modes.numbers()[0]
        weight = place * (self.amplitudes * torch.exp(1j * self.phases)).cpu().to(torch.complex128)[..., None] / 2j
        symbols = Symbols(weight, 1j * self.frequencies.cpu().double()[..., None])

        def forced(t: Tensor, y: Tensor) -> Tensor:
            waves, turning = symbols(y)
            return nonlinear(t, y) + (waves * torch.exp(turning * t)).sum(1, keepdim=True)

        return forced


@final
@dataclass(frozen=True)
class RandomSines(AbstractRandom):
    """Draws `TravellingSines`: A_j and omega_j uniform in +-amplitude and +-frequency, l_j among 1..highest, any phase.

    The defaults are those of the paper. (The code published with it draws wavenumbers 1 and 2 only.)

    Args:
        waves: how many, at least 1.
        amplitude: bound of |A_j|, [field/time].
        frequency: bound of |omega_j|, [1/time].
        highest: largest l_j, at least 1.

    Source: Brandstetter, Worrall & Welling (2022), ICLR, section 4.1, eq. (11).
    """

    waves: int = 5
    amplitude: float = 0.5
    frequency: float = 0.4
    highest: int = 3

    def __post_init__(self) -> None:
        check_whole("waves", self.waves, 1)
        check_whole("highest", self.highest, 1)
        check_at_least("amplitude", self.amplitude, 0)
        check_at_least("frequency", self.frequency, 0)

    def sample(self, key: Key) -> TravellingSines:
        """One sum of waves per row of `key`."""
        share = key.uniform(4, self.waves, dtype=torch.float64).unbind(1)
        return TravellingSines(
            amplitudes=self.amplitude * (2 * share[0] - 1),
            frequencies=self.frequency * (2 * share[1] - 1),
            wavenumbers=torch.floor(self.highest * share[2]) + 1,
            phases=2 * math.pi * share[3],
        )


@final
@dataclass(frozen=True)
class ForcingAtStart(AbstractInitial):
    """u(0, x) = delta(0, x), with the same draw that the equation is given as its parameter `forcing`.

    Args:
        forcing: what `forcing` is drawn from.
    """

    forcing: RandomSines = RandomSines()

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        return self.forcing.sample(parameter_key(key, "forcing")).field(0.0, grid)
