"""The derivative of a function along a direction, by forward differentiation; differentiable in reverse itself."""

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map


def along(function: Callable[[Any], Any], y: Any, direction: Any) -> Any:
    """d/ds function(y + s direction) at s = 0, for trees of tensors."""
    return valued_along(function, y, direction)[1]


def valued_along(function: Callable[[Any], Any], y: Any, direction: Any) -> tuple[Any, Any]:
    """function(y), and what `along` gives: one evaluation for both."""
    _loaded()
    y, direction = tree_map(torch.Tensor.contiguous, (y, direction))  # forward mode refuses expanded tensors
    return torch.func.jvp(function, (y,), (direction,))  # type: ignore[return-value]


@functools.cache
def _loaded() -> None:
    """Load what torch loads at the first forward derivative, without its warning about its own deprecated calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("torch._decomp.decompositions_for_jvp")
