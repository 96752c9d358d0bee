"""What autograd and `torch.func` do to a tensor: whether it is differentiated, whether it stands for many (vmap)."""

import torch
from torch import Tensor
from torch._C import _functorch  # type: ignore[attr-defined]
from torch.autograd import forward_ad


def is_differentiated(t: Tensor) -> bool:
    """Whether `t` may be differentiated: in reverse, in forward mode, or by a transform of `torch.func`."""
    if torch.compiler.is_compiling():  # no transform goes on inside a compiled solve
        return t.requires_grad
    return t.requires_grad or _functorch.is_functorch_wrapped_tensor(t) or forward_ad.unpack_dual(t).tangent is not None


def is_mapped(*tensors: Tensor) -> bool:
    """Whether one of the tensors is a sample of `torch.vmap`, whose values nobody may read."""
    for t in tensors:
        while _functorch.is_functorch_wrapped_tensor(t):
            if _functorch.is_batchedtensor(t):
                return True
            t = _functorch.get_unwrapped(t)
    return False


def is_transforming() -> bool:
    """Whether a transform of `torch.func` is going on."""
    return _functorch.peek_interpreter_stack() is not None
