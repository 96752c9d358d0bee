"""phi_1(z) = (exp(z) - 1) / z in the precision of z, for tensors with an entry per sample, time and state.

`sciml.integrate.phi` goes through double precision and 30 Taylor terms, which tables of a step can afford and the scan
of a series cannot. Here the value is one quotient, and the series is needed in the derivative alone.
"""

import math
from typing import Any

import torch
from torch import Tensor

_NEAR = 0.5
_TERMS = {torch.float32: 8, torch.complex64: 8}  # 0.5^9 / 9! * 10 is below rounding; doubles take 15


def _value(z: Tensor) -> Tensor:
    away = z != 0
    return torch.where(away, torch.expm1(z) / torch.where(away, z, 1), 1)


def _slope(z: Tensor, value: Tensor) -> Tensor:
    """(exp(z) - phi_1(z)) / z, by its series sum_k z^k / (k! (k + 2)) where that would cancel."""
    near = z.abs() < _NEAR
    z_near = torch.where(near, z, 0)
    terms = _TERMS.get(z.dtype, 15)
    series = torch.full_like(z, 1 / (math.factorial(terms) * (terms + 2)))
    for k in range(terms - 1, -1, -1):
        series = series * z_near + 1 / (math.factorial(k) * (k + 2))
    return torch.where(near, series, (torch.exp(z) - value) / torch.where(near, 1, z))


class _Phi1(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return _value(z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        z, value = ctx.saved_tensors
        return grad_outputs[0] * _slope(z, value).conj()


def phi1(z: Tensor) -> Tensor:
    """(exp(z) - 1) / z, and 1 at 0.

    The first derivative is right to rounding everywhere, 0 included; higher ones are those of its formulas, and lose
    some digits within |z| < 1/2, where a series is cut for the first.

    Args:
        z: real or complex, [1].
    """
    return _Phi1.apply(z)  # type: ignore[return-value]
