"""Linear equations are exact for any step: against their solutions in closed form."""

import inspect
import math

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid, derivative, transform
from sciml.pde import (
    Advection,
    AdvectionDiffusion,
    Channels,
    Diffusion,
    Dispersion,
    HyperDiffusion,
    TruncatedFourier,
    Wave,
    evolve,
)
from sciml.pde.parameters import check_parameter

BOX = Grid((24, 20), (3.0, 2.0))
X, Y = BOX.mesh()
KX, KY = 2 * math.pi / 3.0 * 2, 2 * math.pi / 2.0 * 3  # the wave (2, 3) of the box
TAU = 2 * math.pi


def at(t: float) -> torch.Tensor:
    return torch.tensor([t])


def after(equation, u0, t, dt):
    return evolve(equation, BOX, u0[None, None], at(t), dt=dt)[0, 0, 0]


@pytest.mark.parametrize("dt", [0.7, 0.1])
@pytest.mark.parametrize(
    ("equation", "exact"),
    [
        (Advection((1.3, -0.4), 2), lambda t: torch.sin(KX * (X - 1.3 * t) + KY * (Y + 0.4 * t))),
        (
            AdvectionDiffusion((1.3, -0.4), 0.02, 2),
            lambda t: math.exp(-0.02 * (KX**2 + KY**2) * t) * torch.sin(KX * (X - 1.3 * t) + KY * (Y + 0.4 * t)),
        ),
        (Diffusion(0.03, ndim=2), lambda t: math.exp(-0.03 * (KX**2 + KY**2) * t) * torch.sin(KX * X + KY * Y)),
        (
            Diffusion((0.03, 0.01), (-0.015,), 2),
            lambda t: math.exp(-(0.03 * KX**2 + 0.01 * KY**2 - 0.03 * KX * KY) * t) * torch.sin(KX * X + KY * Y),
        ),
        (
            HyperDiffusion(1e-4, 2, 2),
            lambda t: math.exp(-1e-4 * (KX**2 + KY**2) ** 2 * t) * torch.sin(KX * X + KY * Y),
        ),
        (
            Dispersion((0.02, -0.01), 2),
            lambda t: torch.sin(KX * X + KY * Y + (0.02 * KX**3 - 0.01 * KY**3) * t),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wave_is_exact_for_any_step(equation, exact, dt):
    error = float((after(equation, exact(0.0), 0.7, dt) - exact(0.7)).abs().max())
    print(f"\n{type(equation).__name__}, dt {dt}: error {error:.1e}")
    assert error < 2e-14


@pytest.mark.parametrize("dt", [5.0, 0.5])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_waves_are_exact_for_any_step_and_conserve_energy(ndim, dt):
    grid, c = Grid((12,) * ndim, (TAU,) * ndim), 1.7
    x = grid.mesh()[0]
    phase = 2 * x + sum(grid.mesh()[1:], 0 * x)
    omega = c * math.sqrt(4 + ndim - 1)

    def exact(t):  # a wave to the right, a standing one, and a mean that drifts
        u = torch.sin(phase - omega * t) + math.cos(c * t) * torch.cos(x) + 0.3 + 0.2 * t
        return torch.stack([u, -omega * torch.cos(phase - omega * t) - c * math.sin(c * t) * torch.cos(x) + 0.2])[None]

    u = evolve(Wave(c, ndim), grid, exact(0.0), at(5.0), dt=dt)[:, 0]
    print(f"\nwave on {ndim} axes, dt {dt}: error {float((u - exact(5.0)).abs().max()):.1e}")
    assert float((u - exact(5.0)).abs().max()) < 5e-14

    def energy(fields):
        u, v = fields.split(1, 1)
        return float((v**2 + c**2 * sum(derivative(u, grid, i) ** 2 for i in range(ndim))).mean())

    random = Channels((TruncatedFourier(4), TruncatedFourier(4))).sample(Key.rows(0, 1), grid)
    later = evolve(Wave(c, ndim), grid, random, at(50.0), dt=dt)[:, 0]
    assert energy(later) == pytest.approx(energy(random), rel=1e-13)


def test_short_waves_of_a_pulse_run_ahead_to_the_left():
    """Dispersion with d > 0 has group velocity -3 d k²; the packet's k² has the mean k² + 1."""
    grid = Grid((256,), (20.0,))
    k = 2 * math.pi / 20 * 16
    x = grid.axes()[0]
    packet = (torch.exp(-((x - 15) ** 2)) * torch.cos(k * x))[None, None]
    u = evolve(Dispersion(0.01), grid, packet, at(5.0), dt=5.0)[0, 0, 0]
    middle = float((x * u**2).sum() / (u**2).sum())
    assert middle == pytest.approx(15 - 3 * 0.01 * (k**2 + 1) * 5, rel=1e-4)


def test_an_anisotropic_gaussian_spreads_by_its_tensor():
    grid = Grid((96, 96), (1.0, 1.0))
    x, y = (z - 0.5 for z in grid.mesh())
    tensor = torch.tensor([[0.01, 0.004], [0.004, 0.005]])

    def gaussian(t):
        covariance = 0.0012 * torch.eye(2) + 2 * t * tensor
        inverse = torch.linalg.inv(covariance)
        square = inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2
        return (torch.exp(-square / 2) / torch.sqrt(torch.det(covariance)))[None, None]

    u = evolve(Diffusion((0.01, 0.005), (0.004,), 2), grid, gaussian(0.0), at(0.1), dt=0.1)[:, 0]
    assert float((u - gaussian(0.1)).abs().max() / gaussian(0.1).max()) < 1e-8


def test_hyper_diffusion_of_power_one_is_diffusion():
    u0 = TruncatedFourier(5).sample(Key.rows(0, 1), BOX)
    a, b = (evolve(e, BOX, u0, at(1.0), dt=1.0) for e in (HyperDiffusion(0.02, 1, 2), Diffusion(0.02, ndim=2)))
    assert torch.allclose(a, b, rtol=0, atol=1e-14)
    assert float(transform(a, BOX).abs().max()) > 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Advection((1.0, 2.0)), "`velocity` must be one value or a tuple of 1"),
        (lambda: Advection(math.inf), "`velocity` must be finite"),
        (lambda: Advection(ndim=4), "`ndim` must be 1, 2 or 3, got 4"),
        (lambda: AdvectionDiffusion(1.0, -0.1), "`diffusivity` must be finite and at least 0"),
        (lambda: Diffusion((0.1, -0.1), ndim=2), "`diffusivity` must be finite and at least 0, got -0.1"),
        (lambda: Diffusion(0.1, (0.2,), 2), "must have no negative eigenvalue, got -0.1"),
        (lambda: Diffusion(0.1, (0.01,), 3), "`mixed` must have 3 entries on 3 spatial axes, got 1"),
        (lambda: HyperDiffusion(power=0), "`power` must be a whole number of at least 1"),
        (lambda: HyperDiffusion(-1.0), "`hyperdiffusivity` must be finite and at least 0"),
        (lambda: Dispersion(math.nan), "`dispersion` must be finite"),
        (lambda: Wave(0.0), "`speed` must be finite and larger than 0, got 0.0"),
        (lambda: Wave(torch.tensor([[1.0]])), r"`speed` must be a number or have shape \(batch,\)"),
    ],
)
def test_parameters_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match="`speed` must be a number or a tensor, got 'fast'"):
        inspect.unwrap(check_parameter)("speed", "fast")  # without the tests' own check of types
