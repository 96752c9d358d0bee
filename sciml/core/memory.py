"""How tensors lie in memory."""

import functools

import torch
from torch import Tensor

Order = tuple[int, ...] | None
"""Axes from the slowest to the fastest in memory; None for the usual order."""


def memory_order(x: Tensor) -> Order:
    """In which order the axes of a dense tensor lie in memory."""
    return None if x.is_contiguous() else _falling(x.stride())


@functools.lru_cache(maxsize=1024)
def _falling(strides: tuple[int, ...]) -> tuple[int, ...]:
    """The axes from the largest stride to the smallest."""
    return tuple(sorted(range(len(strides)), key=lambda axis: -strides[axis]))


def in_order(x: Tensor, order: Order) -> Tensor:
    """The same values in another order of memory, of as many of the last axes as there are."""
    if order is None:
        return x.contiguous()
    missing = len(order) - x.ndim
    own = [axis - missing for axis in order if axis >= missing]
    back = sorted(range(len(own)), key=lambda axis: own[axis])
    return x.permute(own).contiguous().permute(back)


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep memory that is freed for the next request, once per process.

    glibc hands large blocks back to the system as soon as they are free, so that every step pays for mapping its
    temporaries again, up to as much as it computes; once it has seen a block of nearly 32 MiB freed it keeps up to 64.
    The block is never touched and costs nothing. Other allocators do not notice.

    Source: mallopt(3), M_MMAP_THRESHOLD: dynamic adjustment.
    """
    torch.empty(2**25 - 2**17, dtype=torch.uint8)
