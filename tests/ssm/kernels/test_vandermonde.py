"""Sums of exponentials against their definition, and in float32 against multiple precision at length 2^20."""

import math

import mpmath
import pytest
import torch
from torch import Tensor

from sciml.ssm.kernels import exponential_sum


def direct(c: Tensor, z: Tensor, length: int) -> Tensor:
    """The definition: the whole Vandermonde matrix."""
    return 2 * (c.unsqueeze(-1) * torch.exp(z.unsqueeze(-1) * torch.arange(length))).sum(-2).real


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 100])
def test_values_and_gradients_are_those_of_the_sum(length: int) -> None:
    c = torch.randn(3, 4, dtype=torch.complex128, requires_grad=True)
    z = torch.complex(-torch.rand(3, 4), 5 * torch.randn(3, 4)).requires_grad_()
    k, plain = exponential_sum(c, z, length), direct(c, z, length)
    torch.testing.assert_close(k, plain, rtol=1e-12, atol=1e-13)
    direction = torch.randn_like(k)
    expected = torch.autograd.grad(plain, (c, z), direction)
    for got, want in zip(torch.autograd.grad(k, (c, z), direction), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


def test_gradients_of_gradients() -> None:
    c = torch.randn(2, dtype=torch.complex128, requires_grad=True)
    z = torch.complex(-torch.rand(2), torch.randn(2)).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda c, z: exponential_sum(c, z, 9), (c, z))


def exponents(states: int) -> Tensor:
    """S4D-Inv at dt = 0.1: angles of up to 1e8 at length 2^20; the real parts are small, so that late values count."""
    n = torch.arange(states // 2)
    frequency = states / math.pi * (states / (2 * n + 1) - 1)
    return (0.1 * torch.complex(torch.full_like(frequency, -1e-5), frequency)).to(torch.complex64)


def test_float32_at_length_2_to_the_20_against_multiple_precision() -> None:
    """The exponents are those numbers that float32 holds; the error is of the sum alone."""
    length = 2**20
    z = exponents(64)
    c = torch.randn(32, dtype=torch.complex64)
    k = exponential_sum(c, z, length)
    places = [*range(0, length, length // 16), length - 1]
    with mpmath.workdps(40):
        exact = [
            2
            * sum(
                (mpmath.mpc(w) * mpmath.exp(mpmath.mpc(s) * place)).real
                for w, s in zip(c.tolist(), z.tolist(), strict=True)
            )
            for place in places
        ]
    error = max(abs(float(k[i]) - float(e)) for i, e in zip(places, exact, strict=True)) / float(c.abs().sum())
    print(f"float32, length 2^20: largest error / sum |c| = {error:.1e}; against float64 below")
    assert error < 3e-7
    double = exponential_sum(c.to(torch.complex128), z.to(torch.complex128), length)
    everywhere = float((k.double() - double).abs().max() / c.abs().sum())
    print(f"float64 at all {length} points: {everywhere:.1e}")
    assert everywhere < 5e-7
    with mpmath.workdps(40):
        wide = max(abs(float(double[i]) - float(e)) for i, e in zip(places, exact, strict=True)) / float(c.abs().sum())
    assert wide < 1e-8


def test_float32_gradients_at_length_2_to_the_20() -> None:
    length = 2**20
    z, c = exponents(16), torch.randn(8, dtype=torch.complex64)
    direction = torch.randn(length)
    narrow, wide = (
        torch.autograd.grad(exponential_sum(inputs[0], inputs[1], length), inputs, direction.to(inputs[0].real.dtype))
        for inputs in ([v.to(d).requires_grad_() for v in (c, z)] for d in (torch.complex64, torch.complex128))
    )
    for got, want in zip(narrow, wide, strict=True):
        assert float((got - want).abs().max() / want.abs().max()) < 2e-6
