"""Energy, enstrophy and divergence against Taylor-Green values."""

import math

import pytest
import torch

from sciml.grids import Grid, derivative, leray_projection, velocity_from_vorticity
from sciml.metrics import (
    divergence,
    drift,
    energy,
    energy_ratio,
    enstrophy,
    enstrophy_ratio,
    kinetic_energy,
)

GRID = Grid((16, 20), (2 * math.pi, 2 * math.pi))


def taylor_green(k=2, amplitude=1.0):
    """Vorticity 2 k sin(k x) sin(k y) of (u, v) = amplitude (sin kx cos ky, -cos kx sin ky)."""
    x, y = GRID.mesh()
    velocity = torch.stack([torch.sin(k * x) * torch.cos(k * y), -torch.cos(k * x) * torch.sin(k * y)])
    omega = 2 * k * torch.sin(k * x) * torch.sin(k * y)
    return amplitude * omega[None, None], amplitude * velocity[None]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_taylor_green(k):
    omega, velocity = taylor_green(k, 3.0)
    assert energy(omega, GRID).item() == pytest.approx(9 / 4)
    assert kinetic_energy(velocity, GRID).item() == pytest.approx(9 / 4)
    assert enstrophy(omega).item() == pytest.approx(9 * k**2 / 2)
    assert divergence(velocity, GRID).item() == pytest.approx(0, abs=1e-14)


def test_energy_of_vorticity_is_that_of_its_velocity():
    omega = torch.randn(3, 1, 15, 17)  # odd sizes: no Nyquist mode, which a velocity cannot carry
    omega -= omega.mean((-2, -1), keepdim=True)
    grid = Grid((15, 17), (2.0, 3.0))
    torch.testing.assert_close(energy(omega, grid), kinetic_energy(velocity_from_vorticity(omega, grid), grid))


def test_trajectories_and_fields_agree():
    u = torch.randn(2, 3, 1, 16, 20)
    torch.testing.assert_close(energy(u, GRID).flatten(), energy(u.flatten(0, 1), GRID))
    torch.testing.assert_close(enstrophy(u).flatten(), enstrophy(u.flatten(0, 1)))


def test_kinetic_energy_of_a_scalar_in_one_dimension():
    grid = Grid((16,), (1.0,))
    assert kinetic_energy(torch.full((1, 2, 1, 16), 3.0), grid).tolist() == [[4.5, 4.5]]


def test_drift():
    quantity = torch.tensor([[2.0, 3.0, math.nan], [-1.0, -0.5, -2.0]])
    expected = torch.tensor([[0.0, 0.5, math.inf], [0.0, 0.5, -1.0]])
    torch.testing.assert_close(drift(quantity, torch.tensor([2.0, -1.0])), expected)


def test_ratios_are_against_the_time_mean():
    omega, _ = taylor_green()
    truth = torch.cat([omega, math.sqrt(3) * omega])[None]  # energies 1 : 3, mean 2
    prediction = torch.cat([2 * omega, float("nan") * omega])[None]
    for ratio in (energy_ratio(prediction, truth, GRID), enstrophy_ratio(prediction, truth)):
        torch.testing.assert_close(ratio, torch.tensor([[2.0, math.inf]]))


def test_a_gradient_field_has_relative_divergence_one():
    potential = torch.randn(2, 1, 15, 15)
    grid = Grid((15, 15), (1.0, 2.0))
    gradient = torch.cat([derivative(potential, grid, 0), derivative(potential, grid, 1)], dim=1)
    torch.testing.assert_close(divergence(gradient, grid), torch.ones(2))


@pytest.mark.parametrize("points", [(12, 10), (8, 8, 6)])
def test_projected_fields_are_solenoidal(points):
    grid = Grid(points, (1.0,) * len(points))
    velocity = torch.randn(3, len(points), *points)
    assert (divergence(velocity, grid) > 0.1).all()
    assert (divergence(leray_projection(velocity, grid), grid) < 1e-13).all()


def test_divergence_of_mixed_field():
    # u = (sin x, sin x): div = cos x, |grad|² = 2 cos² x.
    x, _ = GRID.mesh()
    velocity = torch.stack([torch.sin(x), torch.sin(x)])[None, None].expand(2, 3, -1, -1, -1)
    torch.testing.assert_close(divergence(velocity, GRID), torch.full((2, 3), math.sqrt(0.5)))
    assert divergence(torch.ones(1, 2, 16, 20), GRID).item() == 0
    assert divergence(float("nan") * velocity, GRID)[0, 0] == math.inf


def test_bad_input(without_shape_checks):
    with pytest.raises(ValueError, match=r"`omega` must have one channel.*got \(1, 2, 16, 20\)"):
        energy(torch.zeros(1, 2, 16, 20), GRID)
    with pytest.raises(ValueError, match="`omega` must have one channel"):
        enstrophy(torch.zeros(1, 2, 16, 20))
    with pytest.raises(ValueError, match=r"one channel per spatial axis \(2\), got shape \(1, 3, 16, 20\)"):
        divergence(torch.zeros(1, 3, 16, 20), GRID)
    for ratio in (lambda p, u: energy_ratio(p, u, GRID), enstrophy_ratio):
        with pytest.raises(ValueError, match="`prediction` must have shape"):
            ratio(torch.ones(1, 1, 1, 16, 20), torch.ones(1, 2, 1, 16, 20))
