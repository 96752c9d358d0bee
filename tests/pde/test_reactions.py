"""Reaction and diffusion, phase separation, patterns and amplitudes: fronts, growth rates, steady states, budgets."""

import math

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid, derivative, transform
from sciml.pde import (
    AllenCahn,
    CahnHilliard,
    FisherKPP,
    GinzburgLandau,
    GrayScott,
    NoisyState,
    Spots,
    SwiftHohenberg,
    TruncatedFourier,
    evolve,
)

TAU = 2 * math.pi


def at(*times: float) -> torch.Tensor:
    return torch.tensor(times)


def test_fisher_front_of_ablowitz_and_zeppetella():
    """u = (1 + exp((x - 5 t/sqrt(6))/sqrt(6)))^-2 for D = r = 1, here once to the right and once to the left."""
    grid = Grid((256,), (200.0,))
    x = (grid.axes()[0] - 100).abs()

    def exact(t):
        return (1 + torch.exp((x - 50 - 5 * t / math.sqrt(6)) / math.sqrt(6))).pow(-2)[None, None]

    u = evolve(FisherKPP(1.0, 1.0), grid, exact(0.0), at(4.0), dt=0.02)[:, 0]
    error = float((u - exact(4.0)).abs().max())
    print(f"\nAblowitz-Zeppetella front: error {error:.1e}")
    assert error < 1e-8


def test_fisher_fronts_from_a_patch_reach_twice_the_root_of_d_r():
    diffusivity, rate = torch.tensor([0.5, 1.0]), torch.tensor([1.0, 1.0])
    grid = Grid((400,), (100.0,))
    x = grid.axes()[0] - 50
    u0 = torch.exp(-(x**2) / 4).repeat(2, 1, 1)
    t = (9.0, 18.0)  # rounding ahead of the front grows as exp(r t), to 1e-8 by then
    u = evolve(FisherKPP(diffusivity, rate), grid, u0, at(*t), dt=0.05)[:, :, 0]
    width = u.sum(-1) * 0.25 / 2  # each front by the mass behind it
    speed = (width[:, 1] - width[:, 0]) / (t[1] - t[0])
    # Bramson: the front is at 2 sqrt(D r) t - (3/2) sqrt(D/r) ln t.
    late = 2 * torch.sqrt(diffusivity * rate) - 1.5 * torch.sqrt(diffusivity / rate) * math.log(2) / 9
    print(f"\nFisher fronts: speeds {speed.tolist()}, Bramson {late.tolist()}, 2 sqrt(D r) = [{math.sqrt(2):.4f}, 2.0]")
    assert torch.allclose(speed, late, rtol=0.02)
    assert torch.allclose(speed, 2 * torch.sqrt(diffusivity * rate), rtol=0.08)


def test_allen_cahn_interfaces_rest_and_discs_shrink():
    d, r = 1e-3, 4.0
    line = Grid((320,), (1.0,))
    x, scale = line.axes()[0], math.sqrt(2 * d / r)
    wall = (torch.tanh((x - 0.25) / scale) * torch.tanh((0.75 - x) / scale))[None, None]
    after = evolve(AllenCahn(d, r), line, wall, at(2.0), dt=0.05)[:, 0]
    print(f"\nAllen-Cahn interface: change {float((after - wall).abs().max()):.1e}")
    assert float((after - wall).abs().max()) < 1e-6
    plane = Grid((80, 80), (1.0, 1.0))
    radius = torch.sqrt((plane.mesh()[0] - 0.5) ** 2 + (plane.mesh()[1] - 0.5) ** 2)
    d, r = 2e-3, 2.0
    disc = torch.tanh((0.35 - radius) / math.sqrt(2 * d / r))[None, None]
    areas = (1 + evolve(AllenCahn(d, r, 2), plane, disc, at(1.0, 11.0), dt=0.2)[0].mean((1, 2, 3))) / 2
    rate = float(areas[1] - areas[0]) / 10 / math.pi  # of R²: -2 D
    print(f"Allen-Cahn disc: rate of R² {rate:.5f}, theory {-2 * d}")
    assert rate == pytest.approx(-2 * d, rel=0.04)


@pytest.mark.parametrize("mean", [0.0, 0.3])
def test_cahn_hilliard_separates_at_its_rate(mean):
    mobility, gamma, k = 0.7, 0.02, 2.0
    grid = Grid((48,), (TAU,))
    u0 = (mean + 1e-8 * torch.cos(k * grid.axes()[0]))[None, None]
    u = evolve(CahnHilliard(mobility, gamma), grid, u0, at(1.0), dt=0.01)[0, 0]
    growth = math.log(float(transform(u, grid)[0, 2].abs()) / (1e-8 * 24))
    assert growth == pytest.approx(mobility * k**2 * (1 - 3 * mean**2 - gamma * k**2), rel=1e-5)


def test_cahn_hilliard_conserves_mass_and_descends_its_energy():
    grid, gamma = Grid((48, 48), (1.0, 1.0)), 1e-3
    u0 = NoisyState((0.1,), TruncatedFourier(8, 0.05)).sample(Key.rows(0, 2), grid)
    frames = evolve(CahnHilliard(0.1, gamma, 2), grid, u0, 0.05 * torch.arange(31.0), dt=0.0125)
    mass = frames.mean((2, 3, 4))
    slopes = sum(derivative(frames, grid, axis).square() for axis in range(2))
    energy = ((1 - frames**2).square() / 4 + gamma / 2 * slopes).mean((2, 3, 4))
    print(
        f"\nCahn-Hilliard: mass drift {float((mass - mass[:, :1]).abs().max()):.1e}, energy {energy[0, ::6].tolist()}"
    )
    assert float((mass - mass[:, :1]).abs().max()) < 1e-15
    assert bool((energy.diff(dim=1) < 0).all()) and float(energy[:, -1].max()) < 0.5 * float(energy[:, 0].min())


def test_swift_hohenberg_growth_and_saturation():
    r, grid = 0.05, Grid((64,), (8 * TAU,))
    x = grid.axes()[0]
    for waves in (8, 7, 10):
        k = waves / 8
        u = evolve(SwiftHohenberg(r), grid, 1e-8 * torch.cos(k * x)[None, None], at(4.0), dt=0.1)[0, 0]
        growth = math.log(float(transform(u, grid)[0, waves].abs()) / (1e-8 * 32)) / 4
        assert growth == pytest.approx(r - (1 - k**2) ** 2, rel=1e-9)
    stripes = evolve(SwiftHohenberg(r), grid, 0.05 * torch.cos(x)[None, None], at(200.0), dt=0.5)[0, 0, 0]
    assert float(stripes.max()) == pytest.approx(2 * math.sqrt(r / 3), rel=0.01)


def test_gray_scott_without_removal_is_linear_in_the_sum():
    """With k = 0 and equal diffusivities u + v is fed and diffuses, whatever reacts."""
    feed, d, grid = 0.3, 0.05, Grid((32, 32), (TAU, TAU))
    u0 = 0.3 + 0.1 * torch.cat([TruncatedFourier(3).sample(Key.rows(i, 1), grid) for i in (0, 1)], 1)
    u = evolve(GrayScott(feed, 0.0, d, d), grid, u0, at(2.0), dt=0.05)[:, 0]
    from sciml.pde import Diffusion

    spread = evolve(Diffusion(d, ndim=2), grid, u0.sum(1, keepdim=True), at(2.0), dt=2.0)[:, 0]
    assert torch.allclose(u.sum(1, keepdim=True), 1 + math.exp(-feed * 2) * (spread - 1), rtol=0, atol=1e-12)
    bare = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 32, 32)
    assert torch.allclose(evolve(GrayScott(), grid, bare, at(100.0), dt=4.0)[:, 0], bare, rtol=0, atol=1e-14)


def spots(v: torch.Tensor) -> int:
    """Local maxima above 0.15."""
    neighbours = torch.stack([v.roll((i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)])
    return int(((v > neighbours.amax(0)) & (v > 0.15)).sum())


@pytest.mark.slow
def test_gray_scott_spots_divide():
    grid = Grid((64, 64), (0.7, 0.7))
    u0 = Spots((0.5, 0.25), (1.0, 0.0), 1, 0.05, 0.012).sample(Key.rows(0, 1), grid)
    frames = evolve(GrayScott(), grid, u0, at(1000.0, 2000.0, 4000.0), dt=4.0)[0, :, 1]
    counts = [spots(frame) for frame in frames]
    print(f"\nGray-Scott spots at t = 1000, 2000, 4000: {counts}")
    assert 1 < counts[0] < counts[1] < counts[2] and counts[2] > 15  # one at the start


@pytest.mark.parametrize("ndim", [1, 2])
def test_ginzburg_landau_plane_waves(ndim):
    """sqrt(mu - k²) exp(i (k x - w t)), w = b k² + c (mu - k²)."""
    mu, b, c, k = 1.5, 0.8, -0.6, 0.75
    grid = Grid((16,) * ndim, (TAU / k * 2,) * ndim)
    phase = sum(k * x for x in grid.mesh())
    squared = ndim * k**2
    amplitude, turn = math.sqrt(mu - squared), b * squared + c * (mu - squared)

    def exact(t):
        return torch.stack([torch.cos(phase - turn * t), torch.sin(phase - turn * t)])[None] * amplitude

    u = evolve(GinzburgLandau(mu, b, c, ndim), grid, exact(0.0), at(2.0), dt=0.01)[:, 0]
    print(f"\nGinzburg-Landau plane wave on {ndim} axes: error {float((u - exact(2.0)).abs().max()):.1e}")
    assert float((u - exact(2.0)).abs().max()) < 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FisherKPP(-1.0), "`diffusivity` must be finite and at least 0"),
        (lambda: FisherKPP(rate=-1.0), "`rate` must be finite and at least 0"),
        (lambda: AllenCahn(0.0), "`diffusivity` must be finite and larger than 0"),
        (lambda: CahnHilliard(interface=0.0), "`interface` must be finite and larger than 0"),
        (lambda: CahnHilliard(-1.0), "`mobility` must be finite and at least 0"),
        (lambda: SwiftHohenberg(wavenumber=-1.0), "`wavenumber` must be finite and at least 0"),
        (lambda: SwiftHohenberg(math.nan), "`growth` must be finite"),
        (lambda: GrayScott(kill=-0.1), "`kill` must be finite and at least 0"),
        (lambda: GinzburgLandau(dispersion=math.inf), "`dispersion` must be finite"),
    ],
)
def test_parameters_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
