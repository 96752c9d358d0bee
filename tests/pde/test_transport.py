"""Burgers on more axes, the combined family with its forcing, shocks, and the flame front."""

import inspect
import math
from types import SimpleNamespace

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid, derivative
from sciml.pde import (
    MP_PDE_E3,
    AllenCahn,
    Burgers,
    Combined,
    ForcingAtStart,
    KortewegDeVries,
    KuramotoSivashinsky,
    KuramotoSivashinskyCombustion,
    RandomSines,
    Spectral,
    SwiftHohenberg,
    TravellingSines,
    TruncatedFourier,
    Uniform,
    VanishingViscosity,
    VectorBurgers,
    evolve,
    parameter_key,
)
from sciml.pde.hermitian import stay_real, unreal_part

TAU = 2 * math.pi
LINE = Grid((64,), (16.0,))
WRONG = {name: torch.ones(1, 3 if name == "phases" else 2) for name in TravellingSines.__annotations__}


def at(*times: float) -> torch.Tensor:
    return torch.tensor(times)


def test_vector_burgers_against_cole_hopf_on_a_plane():
    """u = -2 nu grad(v)/v with v = 1 + products of decaying waves."""
    nu, grid = 0.1, Grid((64, 64), (TAU, TAU))
    x, y = grid.mesh()

    def exact(t):
        a, b = 0.5 * math.exp(-2 * nu * t), 0.2 * math.exp(-4 * nu * t)
        v = 1 + a * torch.cos(x) * torch.cos(y) + b * torch.sin(2 * x)
        v_x = -a * torch.sin(x) * torch.cos(y) + 2 * b * torch.cos(2 * x)
        return torch.stack([-2 * nu * v_x / v, 2 * nu * a * torch.cos(x) * torch.sin(y) / v])[None]

    u = evolve(VectorBurgers(nu), grid, exact(0.0), at(2.0), dt=0.05)[:, 0]
    error = float((u - exact(2.0)).abs().max() / exact(2.0).abs().max())
    print(f"\nvector Burgers against Cole-Hopf: relative error {error:.1e}")
    assert error < 1e-8
    assert float(u.mean((-2, -1)).abs().max()) < 1e-15


def test_burgers_of_one_variable_is_the_same_on_more_axes_and_as_vector():
    u0 = TruncatedFourier(3).sample(Key.rows(0, 1), LINE)
    alone = evolve(Burgers(0.1), LINE, u0, at(1.0), dt=0.05)
    assert torch.allclose(evolve(VectorBurgers(0.1, 1), LINE, u0, at(1.0), dt=0.05), alone, rtol=0, atol=1e-12)
    plane = Grid((64, 8), (16.0, 1.0))
    spread = evolve(Burgers(0.1, 2), plane, u0[..., None].expand(-1, -1, -1, 8), at(1.0), dt=0.05)
    assert torch.allclose(spread, alone[..., None].expand_as(spread), rtol=0, atol=1e-12)


def test_the_combined_family_holds_burgers_and_korteweg_de_vries():
    u0 = TruncatedFourier(3).sample(Key.rows(0, 2), LINE)
    for member, equation in (
        (Combined(0.5, 0.1, 0.0), Burgers(0.1)),
        (Combined(3.0, 0.0, 1.0), KortewegDeVries(6.0, 1.0)),
    ):
        a, b = (evolve(e, LINE, u0, at(0.5), dt=0.01) for e in (member, equation))
        assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_travelling_sines_force_what_they_say():
    """Without transport each wave's coefficient is c exp(i w t) with L = -beta k²: integrated in closed form."""
    draw = RandomSines().sample(Key.rows(0, 3))
    assert float(draw.amplitudes.abs().max()) <= 0.5 and set(draw.wavenumbers.unique().tolist()) <= {1.0, 2.0, 3.0}
    beta, t = 0.3, 1.5
    u = evolve(Combined(0.0, beta, 0.0, draw), LINE, torch.zeros(3, 1, 64), at(t), dt=0.01)[:, 0, 0]
    decay = beta * (TAU / 16 * draw.wavenumbers) ** 2
    factor = (torch.exp(1j * draw.frequencies * t) - torch.exp(-decay * t)) / (decay + 1j * draw.frequencies)
    turns = draw.phases[..., None] + TAU / 16 * draw.wavenumbers[..., None] * LINE.axes()[0]
    exact = (draw.amplitudes[..., None] * (factor[..., None] * torch.exp(1j * turns)).imag).sum(1)
    assert torch.allclose(u, exact, rtol=0, atol=1e-9)


def test_the_forcing_at_the_start_is_the_one_the_equation_is_given():
    key = Key.rows(5, 3)
    values = {name: distribution.sample(parameter_key(key, name)) for name, distribution in MP_PDE_E3.items()}
    assert torch.equal(ForcingAtStart().sample(key, LINE), values["forcing"].field(0.0, LINE))
    u = evolve(Combined(**values), LINE, ForcingAtStart().sample(key, LINE), at(0.4), dt=0.01)
    assert u.shape == (3, 1, 1, 64) and bool(u.isfinite().all())
    assert isinstance(MP_PDE_E3["dispersion"], Uniform)


def entropy_solution(x: torch.Tensor, t: float) -> torch.Tensor:
    """u_t + (u²/2)_x = 0 from u = sin(x): by Lax and Oleinik, the minimum over s of (x - s)²/(2 t) - cos(s)."""
    s = torch.linspace(-math.pi, 3 * math.pi, 8001)
    best = ((x[:, None] - s) ** 2 / (2 * t) - torch.cos(s)).argmin(1)
    return (x - s[best]) / t


def test_vanishing_viscosity_finds_the_entropy_solution_of_a_shock():
    t, errors = 2.0, []
    for points in (64, 128, 256):
        grid = Grid((points,), (TAU,))
        x = grid.axes()[0]
        equation = Combined(0.5, 0.0, 0.0, vanishing=VanishingViscosity(1.0))
        u = evolve(equation, grid, torch.sin(x)[None, None], at(t), dt=0.01)[0, 0, 0]
        errors.append(float((u - entropy_solution(x, t)).abs().mean()))
    print(f"\nshock by vanishing viscosity: mean |error| {errors} on 64, 128, 256 points")
    assert errors[0] > 1.5 * errors[1] > 1.5 * 1.5 * errors[2] and errors[2] < 0.02


def test_the_slope_of_a_flame_front_obeys_the_conservation_form():
    grid = Grid((64,), (22.0,))
    front = TruncatedFourier(4, 1.0).sample(Key.rows(0, 2), grid)
    slope = evolve(KuramotoSivashinsky(0.8), grid, derivative(front, grid, 0), at(2.0), dt=0.05)[:, 0]
    for hold_mean in (False, True):
        later = evolve(KuramotoSivashinskyCombustion(0.8, 1, hold_mean), grid, front, at(2.0), dt=0.05)[:, 0]
        assert torch.allclose(derivative(later, grid, 0), slope, rtol=0, atol=1e-6)
        fall = float((later - front).mean())
        assert abs(fall) < 1e-15 if hold_mean else fall < -0.1


@pytest.mark.parametrize("equation", [SwiftHohenberg(0.5, ndim=3), AllenCahn(1e-2, 1.0, 3)], ids=["swift", "allen"])
def test_rounding_that_no_real_field_has_does_not_grow(equation):
    grid = Grid((12,) * 3, (9.0,) * 3)
    system = Spectral(equation, grid)
    y = system.encode(TruncatedFourier(2, 0.1).sample(Key.rows(0, 1), grid))
    y[..., 1, 1, 0] += 1e-8  # and not its mirror image

    def after(nonlinear):
        from sciml.integrate import ETDRK4, Fixed, SemiLinear, solve

        end = solve(SemiLinear(system.term.linear, nonlinear), ETDRK4(), y, 0.0, 20.0, control=Fixed(dt=0.25)).ys
        return float(unreal_part(end, system.modes).abs().max())

    bare = equation.nonlinear(system.modes)
    assert after(bare) > 1e-6
    assert after(stay_real(bare, equation.linear(system.modes), system.modes)) < 1e-11
    assert after(system.term.nonlinear) < 1e-11


@pytest.mark.slow
def test_the_largest_lyapunov_exponent_of_kuramoto_sivashinsky_at_22():
    """Benettin: a neighbour at the distance 1e-7, brought back every 5 time units; published are 0.043 to 0.048."""
    from sciml.integrate import ETDRK4, Fixed, solve

    grid, batch, span, dt = Grid((48,), (22.0,)), 64, 5.0, 0.25
    system = Spectral(KuramotoSivashinsky(), grid)

    def advance(y, t):
        return solve(system.term, ETDRK4(), y, 0.0, t, control=Fixed(n=round(t / dt))).ys

    y = advance(system.encode(TruncatedFourier(4, 1.0).sample(Key.rows(0, batch), grid)), 400.0)
    tangent = system.encode(TruncatedFourier(6, 1.0).sample(Key.rows(1, batch), grid))
    logs = []
    for _ in range(160):
        size = torch.linalg.vector_norm(system.decode(tangent), dim=(1, 2))
        tangent = tangent / size[:, None, None]
        y, neighbour = advance(torch.cat([y, y + 1e-7 * tangent]), span).chunk(2)
        tangent = (neighbour - y) / 1e-7
        logs.append(torch.log(torch.linalg.vector_norm(system.decode(tangent), dim=(1, 2))) / span)
    exponents = torch.stack(logs[20:]).mean(0)
    mean, half = float(exponents.mean()), 2 * float(exponents.std()) / math.sqrt(batch)
    print(f"\nKuramoto-Sivashinsky, L 22: largest Lyapunov exponent {mean:.4f} +- {half:.4f} (95 %)")
    assert 0.043 - half < mean < 0.048 + half and half < 0.004


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Burgers(-1.0, 2), "`viscosity` must be finite and at least 0"),
        (lambda: Burgers(ndim=0), "`ndim` must be 1, 2 or 3, got 0"),
        (lambda: VectorBurgers(math.nan), "`viscosity` must be finite"),
        (lambda: KuramotoSivashinsky(0.0), "`viscosity` must be finite and larger than 0"),
        (lambda: KuramotoSivashinskyCombustion(-1.0), "`viscosity` must be finite and larger than 0"),
        (lambda: Combined(diffusion=-0.1), "`diffusion` must be finite and at least 0"),
        (lambda: VanishingViscosity(0.0), "`strength` must be positive"),
        (
            lambda: Combined(vanishing=VanishingViscosity()).linear(Combined().modes(Grid((12,), (1.0,)))),
            "needs modes above 2 sqrt",
        ),
        (
            lambda: inspect.unwrap(TravellingSines.__post_init__)(SimpleNamespace(**WRONG)),
            r"one shape \(batch, wave\), got \[\(1, 2\), \(1, 3\)\]",
        ),
        (lambda: TravellingSines(*torch.full((4, 1, 2), 0.5)), "whole numbers of at least 1"),
        (lambda: RandomSines(waves=0), "`waves` must be a whole number of at least 1"),
        (
            lambda: Spectral(Combined(forcing=RandomSines(highest=9).sample(Key.rows(0, 9))), Grid((12,), (1.0,))),
            "got wavenumber 9 along x, where 12 points keep modes up to 3",
        ),
    ],
)
def test_bad_input_is_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()
