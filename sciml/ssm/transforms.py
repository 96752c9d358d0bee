"""Whether a transform of `torch.func` is at work."""

import torch
from torch import Tensor


def is_batched(value: Tensor) -> bool:
    """Whether `torch.vmap` maps over a tensor, so that no number can be read from it."""
    return not torch.compiler.is_compiling() and torch._C._functorch.is_batchedtensor(value)  # pyright: ignore


def within_transform() -> bool:
    """Whether anything is being transformed: gradients of registered operators do not pass there."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore
