"""Fourier analysis against closed forms and against a plain complex FFT."""

import math

import pytest
import torch

from sciml.core import Key
from sciml.grids import (
    Grid,
    dealias_mask,
    derivative,
    inverse_transform,
    laplacian_symbol,
    leray_projection,
    resample,
    streamfunction,
    transform,
    velocity_from_vorticity,
    vorticity_from_velocity,
)

PLANES = [Grid((16, 12), (2 * math.pi, 3.0)), Grid((15, 9), (1.0, 2.0)), Grid((8, 17), (5.0, 2 * math.pi))]


def noise(grid: Grid, channels: int = 1, batch: int = 2) -> torch.Tensor:
    return Key.rows(0, batch).normal(channels, *grid.points)


@pytest.mark.parametrize("points", [16, 15])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_derivatives_of_a_wave(points, order):
    grid = Grid((points,), (3.0,))
    k = 2 * math.pi * 4 / 3.0
    x = grid.axes()[0]
    u = torch.sin(k * x + 0.3)[None, None]
    exact = k**order * torch.sin(k * x + 0.3 + order * math.pi / 2)
    assert torch.allclose(derivative(u, grid, 0, order)[0, 0], exact, rtol=0, atol=1e-11 * k**order)


def test_derivative_axes_are_x_then_y():
    grid = Grid((16, 12), (2 * math.pi, 2 * math.pi))
    x, y = grid.mesh()
    u = (torch.sin(2 * x) * torch.cos(3 * y))[None, None]
    assert torch.allclose(derivative(u, grid, 0)[0, 0], 2 * torch.cos(2 * x) * torch.cos(3 * y), rtol=0, atol=1e-12)
    assert torch.allclose(derivative(u, grid, 1)[0, 0], -3 * torch.sin(2 * x) * torch.sin(3 * y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", PLANES)
def test_streamfunction_and_velocity_invert_the_curl(grid):
    omega = noise(grid)
    omega = resample(resample(omega, grid, (7, 7)), grid.with_points(7, 7), grid.points)
    omega = omega - omega.mean(dim=(-2, -1), keepdim=True)
    velocity = velocity_from_vorticity(omega, grid)
    assert torch.allclose(vorticity_from_velocity(velocity, grid), omega, rtol=0, atol=1e-12)
    psi = streamfunction(omega, grid)
    minus_laplacian = -inverse_transform(laplacian_symbol(grid) * transform(psi, grid), grid)
    assert torch.allclose(minus_laplacian, omega, rtol=0, atol=1e-12)
    u_and_minus_v = torch.cat([derivative(psi, grid, 1), -derivative(psi, grid, 0)], dim=1)
    assert torch.allclose(u_and_minus_v, velocity, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", [*PLANES, Grid((8, 6, 9), (1.0, 2.0, 3.0))])
def test_leray_projection_is_divergence_free_and_idempotent(grid):
    u = noise(grid, channels=grid.ndim)
    projected = leray_projection(u, grid)
    divergence = sum(derivative(projected[:, i : i + 1], grid, i) for i in range(grid.ndim))
    assert float(torch.as_tensor(divergence).abs().max()) < 1e-11
    assert torch.allclose(leray_projection(projected, grid), projected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("points", [12, 13, 15, 16])
def test_dealiasing_removes_exactly_the_modes_that_alias(points):
    """A square of kept modes, computed on the grid, equals the exact convolution on every kept mode."""
    grid, fine = Grid((points,), (1.0,)), Grid((4 * points,), (1.0,))
    mask = dealias_mask(grid)
    u = inverse_transform(transform(noise(grid), grid) * mask, grid)
    on_grid = transform(u**2, grid)[..., mask]
    exact = transform(resample(u, grid, fine.points) ** 2, fine)[..., : len(mask)][..., mask] / 4
    assert torch.allclose(on_grid, exact, rtol=0, atol=1e-11)
    first_removed = int(mask.sum())
    wider = torch.arange(len(mask)) <= first_removed
    u = inverse_transform(transform(noise(grid), grid) * wider, grid)
    aliased = transform(u**2, grid)[..., wider]
    exact = transform(resample(u, grid, fine.points) ** 2, fine)[..., : len(mask)][..., wider] / 4
    assert 3 * first_removed < points or not torch.allclose(aliased, exact, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("old", "new"), [((16, 12), (32, 30)), ((15, 9), (16, 12)), ((12, 16), (15, 17))])
def test_resample_is_exact_for_resolved_waves(old, new):
    grid = Grid(old, (2 * math.pi, 2 * math.pi))

    def wave(g: Grid) -> torch.Tensor:
        x, y = g.mesh()
        return (torch.cos(3 * x - 2 * y) + 0.5 * torch.sin(4 * y) + 2)[None, None]

    assert torch.allclose(resample(wave(grid), grid, new), wave(grid.with_points(*new)), rtol=0, atol=1e-12)
    back = resample(resample(wave(grid), grid, new), grid.with_points(*new), old)
    assert torch.allclose(back, wave(grid), rtol=0, atol=1e-12)


def test_grid_facts():
    grid = Grid((8, 10), (4.0, 5.0))
    assert grid.spacing == (0.5, 0.5) and grid.modes == (8, 6) and grid.size == 80 and grid.axis_names == ("x", "y")
    assert grid.axes()[0][-1] == 3.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Grid((8,), (1.0, 2.0)), "one entry per axis"),
        (lambda: Grid((2,), (1.0,)), "`points` must be a whole number of at least 4"),
        (lambda: Grid((8,), (0.0,)), "`extent` must be positive"),
        (lambda: transform(torch.zeros(1, 1, 9), Grid((8,), (1.0,))), "must match the grid"),
        (lambda: derivative(torch.zeros(1, 1, 8), Grid((8,), (1.0,)), 1), r"`axis` must lie in 0..0"),
        (lambda: streamfunction(torch.zeros(1, 1, 8), Grid((8,), (1.0,))), "defined on 2-D grids"),
        (
            lambda: leray_projection(torch.zeros(1, 1, 8, 8), Grid((8, 8), (1.0, 1.0))),
            "must have 2 channels on the axis before space",
        ),
    ],
)
def test_bad_input_is_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_trajectories_are_projected_like_batches():
    grid = Grid((16, 12), (2 * math.pi, 3.0))
    u = Key.rows(0, 3).normal(4, 2, *grid.points)
    for function in (leray_projection, vorticity_from_velocity):
        assert torch.allclose(function(u, grid)[:, 1], function(u[:, 1], grid), rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="`velocity` must have 2 channels"):
        vorticity_from_velocity(u[:, :, :1], grid)
    with pytest.raises(ValueError, match="`omega` must have 1 channel on the axis"):
        velocity_from_vorticity(u, grid)
