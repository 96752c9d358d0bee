"""An equation on a grid: the term an integrator steps, and the way between fields and its state."""

from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from sciml.core.memory import keep_freed_memory
from sciml.grids import Grid, Modes
from sciml.integrate import SemiLinear
from sciml.pde.base import AbstractEquation
from sciml.pde.hermitian import stay_real


@final
@dataclass(frozen=True, eq=False)
class Spectral:
    """The equation on Fourier coefficients.

    Args:
        equation: the PDE.
        grid: where fields are given and wanted.
        device: where it is computed.

    Raises:
        ValueError: if the grid does not suit the equation.
    """

    equation: AbstractEquation
    grid: Grid
    device: torch.device | str = "cpu"
    modes: Modes = field(init=False)
    """The modes of its state."""
    term: SemiLinear = field(init=False)
    """What `sciml.solve` steps."""

    def __post_init__(self) -> None:
        keep_freed_memory()
        modes = self.equation.modes(self.grid)
        linear = self.equation.linear(modes)
        nonlinear = stay_real(self.equation.nonlinear(modes), linear, modes)
        term = SemiLinear(linear.to(self.device), nonlinear)
        object.__setattr__(self, "modes", modes)
        object.__setattr__(self, "term", term)

    def encode(self, u: Float[Tensor, "batch channel *space"]) -> Complex[Tensor, "batch state *mode"]:
        """The state of fields at the grid's points; modes that the equation does not keep are dropped."""
        return self.equation.representation.encode(u, self.modes)

    def decode(self, y: Complex[Tensor, "batch state *mode"]) -> Float[Tensor, "batch channel *space"]:
        """The fields of a state, at the grid's points."""
        return self.equation.representation.decode(y, self.modes)
