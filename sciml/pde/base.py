"""An equation is a linear symbol plus a nonlinear function, and nothing else:

    dy/dt = L y + N(t, y)

on the Fourier coefficients y of periodic fields, with L diagonal. How fields become coefficients is its representation;
which modes are kept, and where products are formed, its rule against aliasing. The integrator, not the equation, knows
how to step it.
"""

import abc
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields, Key
from sciml.grids import AbstractDealiasing, Grid, Modes, Truncation
from sciml.pde.conditions import AbstractCondition
from sciml.pde.representation import AbstractRepresentation, RealFields

Nonlinearity = Callable[[Tensor, Tensor], Tensor]


class AbstractEquation(abc.ABC):
    """A semilinear PDE on a periodic grid. Subclasses are frozen dataclasses of their parameters, and final.

    A parameter is a float shared by the batch, or a tensor of shape (batch,); tensors may require gradients.
    """

    # Facts of the class, or fields or properties where they depend on the constructor's arguments.
    ndim: int
    """Number of spatial axes it is posed on."""
    fields: Fields
    """Names and units of its channels."""
    degree: ClassVar[int]
    """Most fields in one product of N; 1 where it has none."""
    representation: AbstractRepresentation = RealFields()
    """How its fields become the state."""
    dealiasing: AbstractDealiasing = Truncation()
    """How products are kept free of aliases."""
    conditions: tuple[AbstractCondition, ...] = ()
    """What its initial fields must satisfy."""
    paired: ClassVar[bool] = False
    """Whether N transforms real fields in `Pairs`, for which modes are centred and lie below N/2."""

    @abc.abstractmethod
    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """L for each mode, (1 | state, *mode) or (batch, 1 | state, *mode), float64 or complex128, [1/time]."""

    @abc.abstractmethod
    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """N(t, y), mapping (batch, state, *mode) to the same shape, [field/time].

        Products are formed on `modes.values(y)` and brought back by `modes.coefficients`, or those of `Pairs`. What
        does not suit the modes, such as a forcing they do not hold, is refused here. One that ends with a symbol is
        best given as `sciml.integrate.Weighted`, whose product then costs nothing.
        """

    def modes(self, grid: Grid) -> Modes:
        """The modes it keeps on a grid.

        Raises:
            ValueError: if the grid has another number of axes, or too few points to keep a wave.
        """
        if grid.ndim != self.ndim:
            count = {1: "one spatial axis", 2: "two spatial axes", 3: "three spatial axes"}[self.ndim]
            example = ", ".join(["n"] * self.ndim) + "," * (self.ndim == 1)
            raise ValueError(
                f"{type(self).__name__} is posed on {count}, got a grid with {grid.ndim}. Give Grid(({example}), "
                f"({example.replace('n', 'L')}))."
            )
        modes = self.dealiasing.modes(grid, self.degree, real=self.representation.real)
        if self.paired:
            below = tuple(min(m, (count - 1) // 2) for m, count in zip(modes.highest, grid.points, strict=True))
            modes = replace(modes, highest=below, centred=True)
        if min(modes.highest) < 1:
            raise ValueError(
                f"{type(self).__name__} must keep at least one wave along every axis, but with products of "
                f"{self.degree} fields {grid.points} points keep modes up to {modes.highest}. Use at least "
                f"{self.degree + 2} points."
            )
        return modes


class AbstractTransport(AbstractEquation):
    """An equation whose nonlinear part transports fields, which limits the step of every explicit treatment of it."""

    @abc.abstractmethod
    def speed(self, u: Float[Tensor, "batch channel *space"], grid: Grid) -> Float[Tensor, "batch axis *space"]:
        """The greatest |velocity| along each axis, waves carried by N included, [length/time]."""


class AbstractInitial(abc.ABC):
    """Random initial fields, keyed per trajectory. Subclasses are frozen dataclasses, and final."""

    @abc.abstractmethod
    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """One float64 field per row of `key`; the same field for the same row at any resolution that holds it."""
