"""Parameters of equations: a float shared by the batch, or a tensor with one value per sample."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Parameter = float | Tensor
AxisParameter = Parameter | tuple[Parameter, ...]
"""One value for all spatial axes, or one for each."""


def per_mode(parameter: Parameter, ndim: int) -> Parameter:
    """A parameter shaped to multiply (batch, channel, *mode) and (batch, channel, *space) arrays, in float64."""
    if not isinstance(parameter, Tensor):
        return parameter
    # On the CPU, where the symbols are made; they move to the state's device when they are ready.
    if parameter.ndim == 0:
        return parameter.cpu().double()
    return parameter.cpu().double().reshape(-1, 1, *[1] * ndim)


def dot(parameter: AxisParameter, symbols: Sequence[Tensor]) -> Tensor:
    """p_x s_x + p_y s_y + ..., (*mode) or (batch, 1, *mode), of one symbol per spatial axis."""
    ndim = len(symbols)
    values = parameter if isinstance(parameter, tuple) else (parameter,) * ndim
    total = torch.zeros((), dtype=torch.float64)
    for value, symbol in zip(values, symbols, strict=True):
        total = total + per_mode(value, ndim) * symbol
    return total


def as_channel(symbol: Tensor, ndim: int) -> Tensor:
    """A symbol (*mode) or (batch, 1, *mode) with its channel axis."""
    return symbol[None] if symbol.ndim == ndim else symbol


def stack_states(symbols: Sequence[Tensor], ndim: int) -> Tensor:
    """Symbols (*mode) or (batch, 1, *mode), one for each state, as (state, *mode) or (batch, state, *mode)."""
    rows = torch.broadcast_tensors(*(as_channel(symbol, ndim) for symbol in symbols))
    return torch.cat(rows, dim=-ndim - 1)


def check_parameter(
    name: str, parameter: Parameter, *, low: float = -math.inf, high: float = math.inf, above: float = -math.inf
) -> None:
    """Raise unless every value is finite, at least `low`, at most `high`, larger than `above`, of shape () or (batch,).

    Raises:
        TypeError: for something that is not a number.
        ValueError: for a value out of range, or another shape.
    """
    if isinstance(parameter, bool) or not isinstance(parameter, int | float | Tensor):
        raise TypeError(f"`{name}` must be a number or a tensor, got {parameter!r}. Wrap several values in a tensor.")
    value = torch.as_tensor(parameter)
    if value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"`{name}` must be real, got a tensor of {value.dtype}. Give its real part, or a float tensor.")
    if value.ndim > 1:
        raise ValueError(
            f"`{name}` must be a number or have shape (batch,), got {tuple(value.shape)}. Give one value per row."
        )
    if not bool(((value >= low) & (value <= high) & (value > above) & torch.isfinite(value)).all()):
        bounds = [("at least", low, -math.inf), ("larger than", above, -math.inf), ("at most", high, math.inf)]
        rule = " and ".join(["finite"] + [f"{word} {bound:g}" for word, bound, free in bounds if bound != free])
        raise ValueError(f"`{name}` must be {rule}, got {parameter}. Check its sign and its units.")


def check_axis_parameter(name: str, parameter: AxisParameter, ndim: int, *, low: float = -math.inf) -> None:
    """Raise unless it is one good value, or a tuple with a good value for each of `ndim` axes."""
    if isinstance(parameter, tuple) and len(parameter) != ndim:
        raise ValueError(
            f"`{name}` must be one value or a tuple of {ndim}, one per spatial axis, got {len(parameter)} values. "
            "Set `ndim` to the number of axes."
        )
    for value in parameter if isinstance(parameter, tuple) else (parameter,):
        check_parameter(name, value, low=low)


def check_ndim(ndim: int) -> None:
    """Raise unless an equation can be posed on so many axes."""
    if isinstance(ndim, bool) or ndim not in (1, 2, 3):
        raise ValueError(f"`ndim` must be 1, 2 or 3, got {ndim!r}. It is the number of spatial axes.")
