"""Constant symbols in the dtype and on the device of whatever state they meet."""

from typing import final

import torch
from torch import Tensor

from sciml.core.memory import Order, in_order, memory_order


@final
class Symbols:
    """Symbols made in double precision on the CPU, cast to a state when they meet one.

    Casts are kept unless a symbol requires a gradient.

    Args:
        symbols: float64 or complex128 tensors that broadcast against states.
    """

    def __init__(self, *symbols: Tensor) -> None:
        with torch.inference_mode(False):  # systems built in inference mode may be trained later
            self._symbols = tuple(symbol.clone() if symbol.is_inference() else symbol for symbol in symbols)
        self._keep = not any(symbol.requires_grad for symbol in symbols)
        self._casts: dict[tuple[torch.dtype, torch.device, Order], tuple[Tensor, ...]] = {}

    def __call__(self, y: Tensor) -> tuple[Tensor, ...]:
        """The symbols in the dtype and on the device of `y`, and lying in memory like it."""
        key = (y.dtype, y.device, memory_order(y))
        if key in self._casts:
            return self._casts[key]
        with torch.inference_mode(False):  # they may serve a training step later
            casts = tuple(in_order(symbol.to(device=y.device, dtype=y.dtype), key[2]) for symbol in self._symbols)
        if self._keep:
            self._casts[key] = casts
        return casts
