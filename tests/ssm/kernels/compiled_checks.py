"""Kernels inside compiled code, whole graphs, forward and backward; run by `test_compiled.py` in a process without the
jaxtyping hook, because functions that it decorates cannot be compiled."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sciml.ssm.kernels import causal, linear_recurrence, selective_scan


def real_sum(a: Tensor, b: Tensor) -> Tensor:
    return linear_recurrence(torch.sigmoid(a), b).square().sum()


def convolved(u: Tensor, k: Tensor) -> Tensor:
    return causal(u, k).square().sum()


def selected(v: Tensor, s: Tensor) -> Tensor:
    rows = v[..., :4]
    y, last = selective_scan(v, s.square(), -s[0, :1].mT.square().expand(-1, 4).contiguous(), rows, rows, v[:, :4].mT)
    return y.square().sum() + last.sum()


@pytest.mark.parametrize("function", [real_sum, convolved, selected])
def test_compiled_is_eager(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    inputs = [torch.randn(2, 200, 6, requires_grad=True) for _ in range(2)]
    compiled = torch.compile(function, fullgraph=True)
    torch.testing.assert_close(compiled(*inputs), function(*inputs))
    expected = torch.autograd.grad(function(*inputs), inputs)
    for got, want in zip(torch.autograd.grad(compiled(*inputs), inputs), expected, strict=True):
        torch.testing.assert_close(got, want)
