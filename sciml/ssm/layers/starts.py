"""Random numbers that layers start from, in the default dtype."""

import math

import torch
from torch import Tensor

from sciml.core.checks import check_positive, check_whole


def complex_normal(*shape: int, variance: float = 1.0) -> Tensor:
    """Complex numbers with E|x|^2 = variance, in the complex dtype of the default one."""
    dtype = torch.promote_types(torch.get_default_dtype(), torch.complex64)
    return torch.randn(*shape, dtype=dtype) * math.sqrt(variance)


def log_uniform(*shape: int, low: float, high: float) -> Tensor:
    """Numbers whose logarithm is uniform.

    Raises:
        ValueError: unless 0 < low <= high.
    """
    check_positive("low", low)
    if not high >= low:
        raise ValueError(f"the longest step must not be below the shortest, got {low:g} to {high:g}. Swap them.")
    return torch.exp(torch.empty(*shape).uniform_(math.log(low), math.log(high)))


def as_default(value: Tensor) -> Tensor:
    """In the default dtype, or its complex one."""
    default = torch.get_default_dtype()
    return value.to(torch.promote_types(default, torch.complex64) if value.is_complex() else default)


def check_sizes(**sizes: float) -> None:
    """Raise unless each is a whole number of at least 1."""
    for name, value in sizes.items():
        check_whole(name, value, 1)
