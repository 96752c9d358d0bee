"""Causal convolution by the real Fourier transform."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def causal(u: Float[Tensor, "*#batch time"], k: Float[Tensor, "*#batch lags"]) -> Float[Tensor, "*batch time"]:
    """Causal convolution over the last axis, of as many outputs as inputs; axes in front broadcast.

        y[t] = sum_{s <= t} k[t - s] u[s]

    O(time log time) by real transforms of twice the length. Backward correlates in frequency and keeps only u and k; it
    can be differentiated again.

    Args:
        u: inputs.
        k: kernel; lags beyond the last input are not used, and it may be shorter than the input.

    Returns:
        y.
    """
    return _Causal.apply(u, k[..., : u.shape[-1]])  # pyright: ignore[reportReturnType]


def correlate(y: Float[Tensor, "*#batch time"], k: Float[Tensor, "*#batch lags"]) -> Float[Tensor, "*batch time"]:
    """The transpose of `causal` in its input: v[s] = sum_{t >= s} k[t - s] y[t]."""
    return causal(y.flip(-1), k).flip(-1)


def fast_length(least: int) -> int:
    """The smallest even 2^a 3^b 5^c that is at least `least`: lengths for which Fourier transforms are fast."""
    candidates = (
        2 * 3**three * 5**five * 2 ** max(0, math.ceil(math.log2(max(1.0, least / (2 * 3**three * 5**five)))))
        for three in range(0, 3)
        for five in range(0, 2)
    )
    return min(n for n in candidates if n >= least)


class _Causal(torch.autograd.Function):
    """The convolution, with the transposes of its two arguments computed from one transform of the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, k: Tensor) -> Tensor:
        length = u.shape[-1]
        n = fast_length(length + k.shape[-1] - 1)
        return torch.fft.irfft(torch.fft.rfft(u, n) * torch.fft.rfft(k, n), n)[..., :length].contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        u, k = ctx.saved_tensors
        of_u, of_k = ctx.needs_input_grad
        if torch.is_grad_enabled():  # to be differentiated again: made of the convolution itself
            return (
                correlate(grad, k).sum_to_size(u.shape) if of_u else None,
                correlate(grad, u)[..., : k.shape[-1]].sum_to_size(k.shape) if of_k else None,
            )
        n = fast_length(u.shape[-1] + k.shape[-1] - 1)
        g = torch.fft.rfft(grad, n)
        grad_u = grad_k = None
        if of_u:
            product = (g * torch.fft.rfft(k, n).conj()).sum_to_size(*u.shape[:-1], g.shape[-1])
            grad_u = torch.fft.irfft(product, n)[..., : u.shape[-1]].contiguous()
        if of_k:
            product = (g * torch.fft.rfft(u, n).conj()).sum_to_size(*k.shape[:-1], g.shape[-1])
            grad_k = torch.fft.irfft(product, n)[..., : k.shape[-1]].contiguous()
        return grad_u, grad_k
