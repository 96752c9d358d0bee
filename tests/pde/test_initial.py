"""Initial fields: their spectra, shapes and energies, and that a row's field depends on nothing but its key."""

import math

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid, transform, velocity_from_vorticity
from sciml.pde import (
    BrightSolitons,
    Bumps,
    Channels,
    Constant,
    ForcingAtStart,
    GaussianRandomField,
    Matern,
    McWilliams,
    NoisyState,
    PowerLaw,
    ShearLayers,
    Solitons,
    Spots,
    Vortices,
)

TAU = 2 * math.pi
LINE, PLANE = Grid((64,), (22.0,)), Grid((48, 64), (TAU, 4.0))
CASES = [
    (PowerLaw(2.0, 12, 2), PLANE),
    (Matern(1.5, 0.5, 12), PLANE),
    (McWilliams(cutoff=20), PLANE),
    (Bumps(3, 0.4, 2.0, 0.5, signed=True), PLANE),
    (Vortices(5), PLANE),
    (ShearLayers(0.2), PLANE),
    (Spots((0.5, 0.25), (1.0, 0.0), 3, 0.4, 0.1), PLANE),
    (Constant((1.0, 2.0)), PLANE),
    (NoisyState((1.0, 0.0), PowerLaw(0.0, 4, rms=0.01)), PLANE),
    (Channels((Bumps(1, 0.4), Bumps(1, 0.4), Constant())), PLANE),
    (Solitons(), LINE),
    (BrightSolitons(), LINE),
    (ForcingAtStart(), LINE),
]


@pytest.mark.parametrize(("initial", "grid"), CASES, ids=lambda value: type(value).__name__)
def test_fields_depend_on_the_row_alone(initial, grid):
    """Not on the batch, and not on the resolution."""
    u = initial.sample(Key.rows(3, 6), grid)
    assert u.dtype == torch.float64 and u.shape[0] == 6 and tuple(u.shape[2:]) == grid.points
    alone = initial.sample(Key(3, torch.tensor([4])), grid)
    assert torch.allclose(alone, u[4:5], rtol=0, atol=1e-12)
    fine = initial.sample(Key.rows(3, 6), grid.with_points(*(2 * n for n in grid.points)))
    assert torch.allclose(fine[(..., *[slice(None, None, 2)] * grid.ndim)], u, rtol=0, atol=1e-11)
    if not isinstance(initial, Constant):
        assert float((u[0] - u[1]).abs().max()) > 1e-4


def shells(u: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Variance per mode at each m along x, m = 0, 1, ..."""
    return (transform(u, grid).abs() / grid.size).square().mean(0)[0]


def test_power_law_and_matern_have_their_spectra():
    grid, key = Grid((48, 48), (TAU, TAU)), Key.rows(0, 400)
    law = shells(PowerLaw(3.0, 16, 2, rms=2.0).sample(key, grid), grid)
    assert float(law[0, 1]) < 1e-30 and float(law[0, 17]) < 1e-30
    assert float((law[0, 6] + law[6, 0]) / (law[0, 15] + law[15, 0])) == pytest.approx(2.5**3, rel=0.2)
    assert float(PowerLaw(3.0, 16, 2, rms=2.0).sample(key, grid).square().mean().sqrt()) == pytest.approx(2, rel=0.03)
    kernel = shells(Matern(1.5, 0.5, 16).sample(key, grid), grid)
    m = torch.tensor([2.0, 6.0, 12.0])
    expected = (2 * 1.5 / 0.5**2 + m**2) ** -2.5
    measured = torch.stack([(kernel[0, int(i)] + kernel[int(i), 0] + kernel[-int(i), 0]) / 3 for i in m])
    assert torch.allclose(measured / measured[0], expected / expected[0], rtol=0.25)


def test_mcwilliams_has_its_energy_and_spectrum():
    grid = Grid((96, 96), (TAU, TAU))
    omega = McWilliams().sample(Key.rows(0, 20), grid)
    u = velocity_from_vorticity(omega, grid)
    assert torch.allclose(u.square().sum(1).mean((1, 2)) / 2, torch.tensor(0.5), rtol=1e-12)
    density = (transform(u, grid).abs() / grid.size).square().sum(1).mean(0)
    density[:, 1:] *= 2  # the half that is not stored
    kx = torch.fft.fftfreq(96, 1 / 96)
    m = torch.sqrt(kx[:, None] ** 2 + torch.arange(49.0) ** 2).round()
    energy = torch.stack([density[m == i].sum() / 2 for i in range(31)])
    n = torch.arange(31.0)
    expected = n / (1 + (n / 6) ** 4)
    bands = ((2, 6), (6, 10), (10, 18), (18, 30))  # single shells hold more or fewer modes than 2 pi m
    ratio = torch.stack([energy[a:b].sum() / expected[a:b].sum() for a, b in bands])
    ratio = ratio / (energy[2:].sum() / expected[2:].sum())
    print(f"\nMcWilliams: E(m) over m/(1 + (m/6)^4) in bands: {ratio.tolist()}")
    assert torch.allclose(ratio, torch.tensor(1.0), rtol=0, atol=0.12)


def test_shapes_have_their_sizes():
    grid = Grid((96, 96), (6.0, 6.0))
    key = Key.rows(1, 5)
    bumps = Bumps(1, 0.3, 2.0, 0.5).sample(key, grid)
    assert torch.allclose((bumps - 0.5).mean((1, 2, 3)) * 36, torch.tensor(2.0 * TAU * 0.09), rtol=1e-10)
    vortices = Vortices(1, 0.4, 3.0, signed=False).sample(key, grid)
    peak = 3.0 / (math.pi * 0.16)
    assert float(vortices.mean((1, 2, 3)).abs().max()) < 1e-15
    assert vortices.amax((1, 2, 3)).tolist() == pytest.approx([peak - 3.0 / 36] * 5, rel=0.03)
    spots = Spots((0.5, 0.25), (1.0, 0.0), 1, 0.8, 0.1).sample(key, grid)
    area = (spots[:, 1] / 0.25).mean((1, 2)) * 36
    assert area.tolist() == pytest.approx([math.pi * 0.8**2] * 5, rel=0.03)
    assert torch.allclose(spots[:, 0], 1 - 2 * spots[:, 1], atol=1e-14)


def test_shear_layers_are_the_curl_of_their_streams():
    grid = Grid((32, 128), (TAU, TAU))
    layers = ShearLayers(0.15, 1.5, 0.04, 2)
    u = velocity_from_vorticity(layers.sample(Key.rows(0, 1), grid), grid)[0]
    y = grid.axes()[1]
    profile = 1.5 * torch.where(y < math.pi, torch.tanh((y - math.pi / 2) / 0.15), torch.tanh((4.71238898 - y) / 0.15))
    assert torch.allclose(u[0], profile.expand_as(u[0]), atol=2e-6)
    assert float(u[1].max()) == pytest.approx(1.5 * 0.04, rel=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PowerLaw(cutoff=2, lowest=3), "`cutoff` must be a whole number of at least 3"),
        (lambda: PowerLaw(math.nan), "`exponent` must be finite"),
        (lambda: Matern(length=0.0), "`length` must be positive"),
        (lambda: McWilliams(peak=0.5), "`peak` must be at least 1"),
        (lambda: McWilliams().sample(Key.rows(0, 1), PLANE), "need more than 62 points per axis"),
        (lambda: McWilliams(cutoff=5).sample(Key.rows(0, 1), LINE), "defined on 2-D grids"),
        (lambda: Bumps(0), "`count` must be a whole number of at least 1"),
        (lambda: Bumps(height=float("nan")), "`height` must be finite, got nan"),
        (lambda: GaussianRandomField(float("inf")), "`peak` must be finite, got inf"),
        (lambda: Constant((0.0, float("inf"))), "`values` must be finite, got inf"),
        (lambda: Spots((1.0,), (0.0,), 1, 0.02, 0.1), "`edge` must be at most a third of the radius 0.02, got 0.1"),
        (lambda: Vortices(1, 6.0).sample(Key.rows(0, 1), PLANE), "`core` must be at most 0.47 of the box"),
        (lambda: Solitons((0.05,)).sample(Key.rows(0, 1), Grid((64,), (20.0,))), "soliton must fit.*at least 94.8"),
        (lambda: BrightSolitons((0.2,), (1.0,)).sample(Key.rows(0, 1), Grid((64,), (20.0,))), "soliton must fit.*99"),
        (lambda: Bumps(width=10.0).sample(Key.rows(0, 1), LINE), "`width` must be at most 0.33 of the box"),
        (lambda: Vortices().sample(Key.rows(0, 1), LINE), "Vortices is defined on two spatial axes"),
        (lambda: ShearLayers().sample(Key.rows(0, 1), LINE), "ShearLayers is defined on two spatial axes"),
        (lambda: ShearLayers(0.5).sample(Key.rows(0, 1), PLANE), "`thickness` must be at most L_y / 16 = 0.25"),
        (lambda: Spots((1.0,), (1.0, 0.0)), "one value per channel"),
        (lambda: Channels(()), "must hold at least one initial field"),
    ],
)
def test_bad_input_is_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()
