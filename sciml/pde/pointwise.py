"""Nonlinear parts that act at each point: reactions, and none at all."""

from collections.abc import Callable

import torch
from torch import Tensor

from sciml.core.symbols import Symbols
from sciml.grids import Modes
from sciml.pde.base import Nonlinearity
from sciml.pde.parameters import Parameter, per_mode


def pointwise(modes: Modes, function: Callable[..., Tensor], *parameters: Parameter) -> Nonlinearity:
    """N(t, y) = the coefficients of function(u, *parameters), [field/time].

    Args:
        modes: the modes that are kept.
        function: of the fields (batch, channel, *point) and the parameters, shaped to multiply them: a polynomial of
            the equation's degree, for others have aliases.
        parameters: numbers, or one value per sample.
    """
    shaped = Symbols(*(torch.as_tensor(per_mode(p, modes.grid.ndim), dtype=torch.float64) for p in parameters))

    def nonlinear(t: Tensor, y: Tensor) -> Tensor:
        u = modes.values(y)
        return modes.coefficients(function(u, *shaped(u)))

    return nonlinear


def nothing(t: Tensor, y: Tensor) -> Tensor:
    """N = 0, of the linear equations: every method is exact on them, for any step."""
    return torch.zeros_like(y)
