"""The phi functions of exponential integrators:

    phi_0(z) = exp(z),    phi_k(z) = int_0^1 exp((1 - s) z) s^(k-1) / (k-1)! ds

so that phi_{k+1}(z) = (phi_k(z) - 1/k!) / z and phi_k(0) = 1/k!. Differentiating the integral gives

    phi_k'(z) = phi_k(z) - k phi_{k+1}(z),

which has no division and hence no trouble at 0; derivatives of any order are made of phi functions again.
"""

import math
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

_TAYLOR_TERMS = 30  # far below rounding for |z| < 1, and enough for the wider disc of larger k


def _wide(dtype: torch.dtype) -> torch.dtype:
    """float64 or complex128, in which phi is computed whatever comes in."""
    return torch.complex128 if dtype.is_complex else torch.float64


def _evaluate(z: Tensor, k: int) -> Tensor:
    """Taylor series for |z| < 1, the upward recursion elsewhere; each branch sees only arguments it can do."""
    if k == 0:
        return torch.exp(z)
    near = z.abs() < max(1.0, k / 2)  # the recursion loses a digit per step where |z| is small beside k
    z_near = torch.where(near, z, torch.zeros_like(z))
    taylor = torch.full_like(z, 1 / math.factorial(_TAYLOR_TERMS + k))
    for n in range(_TAYLOR_TERMS - 1, -1, -1):
        taylor = taylor * z_near + 1 / math.factorial(n + k)
    z_far = torch.where(near, torch.ones_like(z), z)
    recursion = torch.expm1(z_far) / z_far
    for j in range(1, k):
        recursion = (recursion - 1 / math.factorial(j)) / z_far
    return torch.where(near, taylor, recursion)


class _Phi(torch.autograd.Function):
    """phi_k with its analytic derivative, so that no branch that was not taken enters a gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, k: int) -> Tensor:
        return _evaluate(z.to(_wide(z.dtype)), k).to(z.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        z, ctx.k = inputs
        ctx.save_for_backward(z)
        ctx.save_for_forward(z)

    @staticmethod
    def _slope(z: Tensor, k: int) -> Tensor:
        return phi(0, z) if k == 0 else phi(k, z) - k * phi(k + 1, z)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return grad_outputs[0] * _Phi._slope(z, ctx.k).conj(), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        (z,) = ctx.saved_tensors
        return tangents[0] * _Phi._slope(z, ctx.k)


def phi(k: int, z: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
    """phi_k(z), real or complex, computed in double precision and returned in the dtype of `z`.

    Differentiable to any order, finite everywhere including z = 0 and z = -inf (where phi_k is 0).

    Args:
        k: index, 0 or more.
        z: argument, [1].

    Raises:
        ValueError: if `k` is negative.

    Source: Hochbruck & Ostermann (2010), Acta Numerica 19, eq. (2.9)-(2.11).
    """
    if k < 0:
        raise ValueError(f"`k` must be at least 0, got {k}. phi_0 is the exponential.")
    return _Phi.apply(z, k)  # type: ignore[return-value]
