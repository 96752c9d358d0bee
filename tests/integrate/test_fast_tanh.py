"""tanh as compiled float32 code computes it."""

import math

import torch

from sciml.integrate.decompositions import decompositions
from sciml.integrate.fast_tanh import fast_tanh


def test_it_is_tanh_to_some_units_in_the_last_place():
    x = torch.cat([torch.linspace(-12, 12, 400_001), torch.logspace(-30, 1, 100_001)]).float()
    exact = x.double().tanh()
    error = (fast_tanh(x).double() - exact).abs()
    assert bool((error <= 5e-7 * exact.abs()).all())


def test_its_limits():
    x = torch.tensor([0.0, math.inf, -math.inf, math.nan], dtype=torch.float32)
    torch.testing.assert_close(fast_tanh(x), x.tanh(), rtol=0, atol=0, equal_nan=True)


def test_other_precisions_keep_their_own():
    made = decompositions()[torch.ops.aten.tanh.default]
    assert made(torch.zeros(2, dtype=torch.float64)) is NotImplemented
    assert made(torch.zeros(2, dtype=torch.float32)).dtype == torch.float32
