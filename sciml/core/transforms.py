"""What autograd and `torch.func` do to a tensor: whether it is differentiated, whether it stands for many (vmap)."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch._C import _functorch  # type: ignore[attr-defined]
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.autograd import forward_ad


def is_differentiated(t: Tensor) -> bool:
    """Whether `t` may be differentiated: in reverse, in forward mode, or by a transform of `torch.func`.

    What is made inside a transform is wrapped by it too; it counts only if a level of it is differentiated, or mapped.
    """
    if torch.compiler.is_compiling():  # no transform goes on inside a compiled solve
        return t.requires_grad
    if not _functorch.is_functorch_wrapped_tensor(t):
        return t.requires_grad or _has_tangent(t)
    top = _functorch.peek_interpreter_stack()
    if top is not None and top.level() > _functorch.maybe_get_level(t):  # tangents are seen on their own level only
        with temporarily_pop_interpreter_stack():
            return is_differentiated(t)
    if t.requires_grad or _functorch.is_batchedtensor(t) or _has_tangent(t):
        return True
    return is_differentiated(_functorch.get_unwrapped(t))


def kept_for_later(x: Tensor) -> bool:
    """Whether autograd or a compiler keeps what is made of `x`, so that it may not be overwritten."""
    return torch.compiler.is_compiling() or is_differentiated(x)


def _has_tangent(t: Tensor) -> bool:
    """Whether forward mode goes through `t`."""
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(t).tangent is not None


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


def is_recording() -> bool:
    """Whether what is computed now may be differentiated: recorded by autograd, in forward mode, or transformed."""
    return torch.is_grad_enabled() or is_transforming() or forward_ad._current_level >= 0


@contextlib.contextmanager
def unrecorded() -> Iterator[None]:
    """Nothing computed inside is differentiated: neither recorded for reverse mode nor given a tangent."""
    with torch.no_grad(), forward_ad._set_fwd_grad_enabled(False):
        yield
