"""Shallow water: linear waves, balance, inertial turning, and budgets."""

import math

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid
from sciml.pde import Channels, GravityWaves, ShallowWater, TruncatedFourier, evolve
from sciml.pde.gravity_waves import combine, project

TAU = 2 * math.pi
PLANE = Grid((24, 24), (TAU, TAU))
X, Y = PLANE.mesh()


def at(t: float) -> torch.Tensor:
    return torch.tensor([t])


@pytest.mark.parametrize("dt", [4.0, 0.5])
@pytest.mark.parametrize("f", [0.0, 1.3, -0.6])
def test_small_waves_have_the_frequency_of_poincare(f, dt):
    """omega² = f² + g H k², for a wave along (2, 1)."""
    g, depth, amplitude, (kx, ky) = 2.0, 1.5, 1e-9, (2, 1)
    k = math.sqrt(kx**2 + ky**2)
    omega = math.sqrt(f**2 + g * depth * k**2)

    def exact(t):
        phase = kx * X + ky * Y - omega * t
        along = omega / (depth * k) * torch.cos(phase)
        across = f / (depth * k) * torch.sin(phase)
        u, v = (kx * along - ky * across) / k, (ky * along + kx * across) / k
        return amplitude * torch.stack([torch.cos(phase), u, v])[None]

    end = evolve(ShallowWater(g, depth, f), PLANE, exact(0.0), at(4.0), dt=dt)[:, 0]
    error = float((end - exact(4.0)).abs().max()) / amplitude
    print(f"\nPoincare wave, f {f}, dt {dt}: relative error {error:.1e}")
    assert error < 1e-7  # what is not linear is 1e-9 of it


def test_a_geostrophic_jet_rests_at_any_amplitude():
    g, f = 2.0, 1.3
    eta = 0.3 * torch.cos(X) + 0.1 * torch.sin(3 * X)
    slope = -0.3 * torch.sin(X) + 0.3 * torch.cos(3 * X)
    jet = torch.stack([eta, torch.zeros_like(eta), g / f * slope])[None]
    end = evolve(ShallowWater(g, 1.0, f), PLANE, jet, at(10.0), dt=0.1)[:, 0]
    assert float((end - jet).abs().max()) < 1e-13


def test_a_uniform_stream_turns_to_the_right_and_slows_down():
    f, drag, t = 0.7, 0.2, 3.0
    stream = torch.stack([0 * X, 1 + 0 * X, 0 * X])[None]
    end = evolve(ShallowWater(rotation=f, drag=drag), PLANE, stream, at(t), dt=0.01)[0, 0]
    assert float(end[0].abs().max()) < 1e-14
    assert float(end[1].mean()) == pytest.approx(math.exp(-drag * t) * math.cos(f * t), abs=1e-9)
    assert float(end[2].mean()) == pytest.approx(-math.exp(-drag * t) * math.sin(f * t), abs=1e-9)


def test_mass_is_conserved_to_rounding_and_energy_to_the_order_of_the_method():
    g, depth = 2.0, 1.5
    u0 = Channels((TruncatedFourier(1, 0.05),) * 3).sample(Key.rows(0, 1), PLANE)

    def energy(fields):
        eta, u, v = fields[0]
        return float(((depth + eta) * (u**2 + v**2) + g * eta**2).mean()) / 2

    drifts = []
    for steps in (10, 20, 40):
        end = evolve(ShallowWater(g, depth, 0.5), PLANE, u0, at(1.0), dt=1 / steps)[:, 0]
        assert abs(float((end - u0)[:, 0].mean())) < 1e-16
        drifts.append(abs(energy(end) / energy(u0) - 1))
    print(f"\nshallow water: relative drift of energy {drifts} at dt 0.1, 0.05, 0.025")
    assert drifts[-1] < 1e-9 and (drifts[0] > 8 * drifts[1] or drifts[1] < 1e-11)


def test_the_amplitudes_are_a_unitary_change_of_variables_also_without_rotation():
    for f in (0.0, 0.7):
        waves = GravityWaves(2.0, torch.tensor([1.0, 3.0]), f)
        modes = ShallowWater().modes(PLANE)
        vectors = waves.eigenvectors(modes)
        assert vectors[0].shape == (2, 3, *modes.shape)
        y = torch.randn(2, 3, *modes.shape, dtype=torch.complex128)
        assert torch.allclose(project(vectors, combine(vectors, y)), y, rtol=0, atol=1e-13)
        assert torch.allclose(combine(vectors, y).abs().square().sum(1), y.abs().square().sum(1), atol=1e-12)


def test_gravity_waves_move_energy_at_their_speed():
    """A hump splits into rings whose crests move at sqrt(g H)."""
    grid = Grid((96, 8), (24.0, 2.0))
    x = grid.mesh()[0] - 12
    hump = torch.stack([1e-3 * torch.exp(-(x**2)), 0 * x, 0 * x])[None]
    end = evolve(ShallowWater(2.0, 2.0), grid, hump, at(4.0), dt=0.1)[0, 0, 0, :, 0]
    assert float(x[48 + int(end[48:].argmax()), 0]) == pytest.approx(8.0, abs=0.26)
    assert float(end.max()) == pytest.approx(0.5e-3, rel=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ShallowWater(gravity=0.0), "`gravity` must be finite and larger than 0"),
        (lambda: ShallowWater(depth=-1.0), "`depth` must be finite and larger than 0"),
        (lambda: ShallowWater(rotation=math.nan), "`rotation` must be finite"),
        (lambda: ShallowWater(viscosity=-1.0), "`viscosity` must be finite and at least 0"),
        (lambda: ShallowWater(drag=-1.0), "`drag` must be finite and at least 0"),
    ],
)
def test_parameters_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
