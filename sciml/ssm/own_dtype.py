"""Layers run in the dtype of their parameters, whatever `torch.autocast` asks of the rest of a model."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
_NARROW = (torch.bfloat16, torch.float16)


def in_own_dtype(method: Callable[P, R]) -> Callable[P, R]:
    """A method (self, u, ...) of a layer, with autocast off, and u in the dtype of the layer where autocast made it
    narrow. Powers of a step lose all digits in bfloat16.

    Args:
        method: of something that has a `dtype`.
    """

    plain: Callable[..., Any] = method

    @functools.wraps(method)
    def run(self: Any, u: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(u, Tensor) or not torch.is_autocast_enabled(u.device.type):
            return plain(self, u, *args, **kwargs)
        with torch.autocast(u.device.type, enabled=False):
            return plain(self, u.to(self.dtype) if u.dtype in _NARROW else u, *args, **kwargs)

    return cast(Callable[P, R], run)
