"""Causal convolution against its sum, with gradients of all orders and broadcasting."""

import pytest
import torch
from torch import Tensor

from sciml.ssm.kernels import causal
from sciml.ssm.kernels.convolution import correlate, fast_length


def direct(u: Tensor, k: Tensor) -> Tensor:
    """The definition, as a product with a Toeplitz matrix."""
    time = u.shape[-1]
    k = torch.nn.functional.pad(k, (0, max(0, time - k.shape[-1])))[..., :time]
    lag = torch.arange(time)[:, None] - torch.arange(time)
    matrix = torch.where(lag >= 0, k[..., lag.clamp(min=0)], 0.0)
    return (matrix @ u.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize(("time", "lags"), [(1, 1), (7, 7), (32, 32), (20, 6), (20, 33)])
def test_values_and_gradients_are_those_of_the_sum(time: int, lags: int) -> None:
    u, k = torch.randn(4, 3, time, requires_grad=True), torch.randn(3, lags, requires_grad=True)
    y, plain = causal(u, k), direct(u, k)
    torch.testing.assert_close(y, plain)
    direction = torch.randn_like(y)
    expected = torch.autograd.grad(plain, (u, k), direction)
    for got, want in zip(torch.autograd.grad(y, (u, k), direction), expected, strict=True):
        torch.testing.assert_close(got, want)


def test_gradients_of_gradients() -> None:
    inputs = torch.randn(2, 3, 5, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    assert torch.autograd.gradcheck(causal, inputs)
    assert torch.autograd.gradgradcheck(causal, inputs)


def test_correlation_is_the_transpose() -> None:
    u, v, k = torch.randn(9), torch.randn(9), torch.randn(9)
    torch.testing.assert_close((causal(u, k) * v).sum(), (u * correlate(v, k)).sum())


def test_outputs_before_an_input_do_not_know_it() -> None:
    u = torch.zeros(64)
    u[40] = 1.0
    k = torch.randn(64)
    assert causal(u, k)[:40].abs().max() < 1e-15 * k.abs().sum()


def test_lengths_are_even_with_small_factors_and_never_too_short() -> None:
    for least in (1, 2, 3, 63, 64, 65, 97, 1023, 2047, 5000):
        n = fast_length(least)
        assert least <= n <= 1.25 * least + 2 and n % 2 == 0
        for factor in (2, 3, 5):
            while n % factor == 0:
                n //= factor
        assert n == 1
