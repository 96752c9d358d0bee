"""An equation is a linear symbol plus a nonlinear function, and nothing else:

    du_hat/dt = L(k) u_hat + N(t, u_hat)

on the Fourier coefficients of a periodic field. The integrator, not the equation, knows how to step it.
"""

import abc
from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Float, Inexact
from torch import Tensor

from sciml.core import Fields, Key
from sciml.grids import Grid

Nonlinearity = Callable[[Tensor, Tensor], Tensor]


class AbstractEquation(abc.ABC):
    """A semilinear PDE on a periodic grid. Subclasses are frozen dataclasses of their parameters, and final.

    A parameter is a float shared by the batch, or a tensor of shape (batch,); tensors may require gradients.
    """

    ndim: ClassVar[int]
    """Number of spatial axes it is posed on."""
    fields: ClassVar[Fields]
    """Names and units of its channels."""

    @abc.abstractmethod
    def linear(self, grid: Grid) -> Inexact[Tensor, "..."]:
        """L for each mode, (1, *mode) or (batch, 1, *mode), float64 or complex128, [1/time]."""

    @abc.abstractmethod
    def nonlinear(self, grid: Grid) -> Nonlinearity:
        """N(t, u_hat), mapping (batch, channel, *mode) to the same shape, dealiased, [field/time]."""


class AbstractInitial(abc.ABC):
    """Random initial fields, keyed per trajectory. Subclasses are frozen dataclasses, and final."""

    @abc.abstractmethod
    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """One float64 field per row of `key`; the same field for the same row at any resolution that holds it."""
