"""Parameters of equations: a float shared by the batch, or a tensor with one value per sample."""

import math

import torch
from torch import Tensor

Parameter = float | Tensor


def per_mode(parameter: Parameter, ndim: int) -> Parameter:
    """A parameter shaped to multiply (batch, channel, *mode) arrays, in float64."""
    if not isinstance(parameter, Tensor):
        return parameter
    # On the CPU, where the symbols are made; they move to the state's device when they are ready.
    if parameter.ndim == 0:
        return parameter.cpu().double()
    return parameter.cpu().double().reshape(-1, 1, *[1] * ndim)


def as_channel(symbol: Tensor, ndim: int) -> Tensor:
    """A symbol (*mode) or (batch, 1, *mode) with its channel axis."""
    return symbol[None] if symbol.ndim == ndim else symbol


def check_parameter(name: str, parameter: Parameter, *, low: float = -math.inf) -> None:
    """Raise unless every value is finite and at least `low`, and the shape is () or (batch,)."""
    if not isinstance(parameter, int | float | Tensor):
        raise TypeError(f"`{name}` must be a number or a tensor, got {parameter!r}. Wrap several values in a tensor.")
    value = torch.as_tensor(parameter)
    if value.ndim > 1:
        raise ValueError(f"`{name}` must be a number or have shape (batch,), got {tuple(value.shape)}.")
    if not bool(((value >= low) & torch.isfinite(value)).all()):
        rule = "finite" if low == -math.inf else f"finite and at least {low:g}"
        raise ValueError(f"`{name}` must be {rule}, got {parameter}. Check its sign and its units.")
