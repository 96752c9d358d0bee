"""The exact noise of free motion with friction, for every size of friction times step."""

import math

import numpy as np
import pytest
import torch

from sciml.core import Key
from sciml.integrate import UBU, Fixed, Langevin, solve
from sciml.integrate.methods.langevin import _covariance, _weights
from sciml.paths import BrownianMotion, SpaceTime

SIZES = [1e-9, 1e-6, 1e-3, 0.5, 0.999, 1.001, 5.0, 60.0, 600.0, 1e3, 1e4, 1e6]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("friction", [1e-3, 1.0, 1e4])
def test_the_variance_of_the_speed_is_exact(size, friction):
    """1 - exp(-2 z) at temperature 1, of what W, of variance h, and H, of variance h/12, are taken with."""
    h = size / friction
    noise = _weights(friction, h).noise
    made = 2 * friction * h * float(noise[0] ** 2 + noise[1] ** 2 / 12)
    assert made == pytest.approx(-math.expm1(-2 * size), rel=1e-13)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.5, 0.999, 1.001, 5.0, 30.0])
def test_covariances_are_those_of_quadrature(size):
    nodes, weights = (torch.tensor(x) for x in np.polynomial.legendre.leggauss(64))
    u = (nodes + 1) / 2
    kernels = torch.stack([torch.exp(-size * u), -torch.expm1(-size * u) / size])
    exact = (kernels * weights / 2) @ kernels.T
    made = _covariance(torch.tensor(-size, dtype=torch.float64))
    torch.testing.assert_close(made, exact, rtol=1e-11 if size < 0.1 else 1e-13, atol=0)


@pytest.mark.parametrize("friction", [1.0, 1e4, 1e6])
def test_speeds_have_the_temperature_whatever_the_friction(friction):
    rows = 4000
    path = BrownianMotion.over(Key.rows(0, rows), (1,), 0.0, 1.0, levy=SpaceTime(), intervals=4)
    start = torch.zeros(rows, 1), torch.randn(rows, 1, generator=torch.Generator().manual_seed(1))
    term = Langevin(lambda t, x: 0 * x, path, friction=friction, temperature=0.5)
    _, v = solve(term, UBU(), (start[0], start[1] * 0.5**0.5), 0.0, 1.0, control=Fixed(n=4)).ys
    assert float(v.var()) == pytest.approx(0.5, rel=5 * (2 / rows) ** 0.5)
