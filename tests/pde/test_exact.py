"""Equations against exact solutions, budgets and growth rates."""

import math

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid, transform
from sciml.pde import (
    Burgers,
    GaussianRandomField,
    KolmogorovForcing,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokes2D,
    Spectral,
    TruncatedFourier,
    evolve,
)
from tests.problems import TAU, cole_hopf, kdv_soliton, taylor_green

PLANE = Grid((32, 32), (TAU, TAU))


def at(*times: float) -> torch.Tensor:
    return torch.tensor(times)


def test_kdv_soliton_moves_at_its_speed_with_order_four():
    grid = Grid((256,), (20.0,))
    exact = kdv_soliton(grid, 1.0)
    errors = []
    for dt in (1e-3, 5e-4):
        u = evolve(KortewegDeVries(-6.0, 1.0), grid, kdv_soliton(grid, 0.0), at(1.0), dt=dt)[:, 0]
        errors.append(float((u - exact).norm() / exact.norm()))
    print(f"\nKdV soliton c=5: relative error {errors[0]:.2e} at dt 1e-3, {errors[1]:.2e} at 5e-4")
    assert errors[0] < 3e-8 and errors[1] < 1.9e-9
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize(("points", "bound"), [(100, 1e-9), (200, 1e-14)])
def test_burgers_against_cole_hopf(points, bound):
    grid = Grid((points,), (TAU,))
    u0, exact = cole_hopf(grid, 0.0, 1e-3), cole_hopf(grid, 50.0, 1e-3)
    u = evolve(Burgers(1e-3), grid, u0, at(50.0), dt=0.01)[:, 0]
    error = float((u - exact).abs().max())
    print(f"\nBurgers against Cole-Hopf, {points} points: max error {error:.2e}, max u {float(exact.max()):.2e}")
    assert error < bound


@pytest.mark.parametrize("dt", [0.01, 1.0])
def test_taylor_green_decays_exactly_for_any_step(dt):
    exact = taylor_green(PLANE, 10.0, 0.1, k=2)
    u = evolve(NavierStokes2D(0.1), PLANE, taylor_green(PLANE, 0.0, 0.1, k=2), at(10.0), dt=dt)[:, 0]
    assert float((u - exact).abs().max()) < 1e-13


def test_diagonal_forcing_from_rest_is_exact():
    """The FNO paper's forcing depends on x + y only, so that advection vanishes."""
    grid = Grid((32, 32), (1.0, 1.0))
    x, y = grid.mesh()
    force = 0.1 * (torch.sin(TAU * (x + y)) + torch.cos(TAU * (x + y)))
    system = Spectral(NavierStokes2D(1e-3), grid)
    flow, force_hat = system.term.nonlinear, system.modes.encode(force)
    from sciml.integrate import ETDRK4, Fixed, SemiLinear, solve

    term = SemiLinear(system.term.linear, lambda t, u_hat: flow(t, u_hat) + force_hat)
    u_hat = solve(term, ETDRK4(), 0j * force_hat[None, None], 0.0, 1.0, control=Fixed(dt=0.1)).ys
    rate = 8 * math.pi**2 * 1e-3
    exact = force * (1 - math.exp(-rate)) / rate
    assert float((system.decode(u_hat)[0, 0] - exact).abs().max()) < 1e-13


def test_kolmogorov_laminar_state_is_steady():
    equation = NavierStokes2D(1e-3, 0.1, KolmogorovForcing(4, 1.0))
    amplitude = 1 / (1e-3 * 16 + 0.1)
    assert amplitude == pytest.approx(8.6207, abs=5e-5)
    omega = (-4 * amplitude * torch.cos(4 * PLANE.mesh()[1]))[None, None]
    after = evolve(equation, PLANE, omega, at(0.01), dt=0.01)[:, 0]
    assert float((after - omega).abs().max() / omega.abs().max()) < 1e-14


def test_inviscid_energy_and_enstrophy_budgets_vanish():
    system = Spectral(NavierStokes2D(0.0), PLANE)
    y = system.encode(GaussianRandomField(4, 3.0).sample(Key.rows(0, 3), PLANE))
    slope = system.term.nonlinear(torch.tensor(0.0), y)
    psi, rate, omega = map(system.decode, (-system.modes.inverse_laplacian() * y, slope, y))
    scale = (rate**2).mean().sqrt()
    for weight in (psi, omega):
        budget = (weight * rate).mean(dim=(-2, -1)).abs().max() / (scale * (weight**2).mean().sqrt())
        assert float(budget) < 1e-14


def test_advection_equals_the_velocity_form():
    """The four-transform form against u . grad omega written out."""
    from sciml.grids import derivative, velocity_from_vorticity

    system = Spectral(NavierStokes2D(0.0), PLANE)
    y = system.encode(GaussianRandomField(3, 2.0).sample(Key.rows(1, 2), PLANE))
    omega = system.decode(y)
    u, v = velocity_from_vorticity(omega, PLANE).split(1, dim=1)
    advection = u * derivative(omega, PLANE, 0) + v * derivative(omega, PLANE, 1)
    slope = system.term.nonlinear(torch.tensor(0.0), y)
    assert torch.allclose(slope, -system.encode(advection), rtol=0, atol=1e-12)


def test_kuramoto_sivashinsky_linear_growth_and_conserved_mean():
    grid = Grid((128,), (2 * math.sqrt(2) * math.pi * 8,))
    x = grid.axes()[0]
    u0 = (0.3 + 1e-9 * torch.cos(x / math.sqrt(2)))[None, None]
    u = evolve(KuramotoSivashinsky(), grid, u0, at(4.0), dt=0.01)[0, 0, 0]
    # The mean 0.3 only carries the wave along; its amplitude grows by exp(t/4) at k = 1/sqrt(2).
    assert float(transform(u, grid)[8].abs() / 64 / 1e-9) == pytest.approx(math.e, rel=1e-6)
    assert float(u.mean()) == pytest.approx(0.3, abs=1e-15)


def test_kdv_conserves_mass_and_energy():
    grid = Grid((128,), (20.0,))
    u0 = TruncatedFourier(4, 1.0).sample(Key.rows(0, 2), grid)
    u = evolve(KortewegDeVries(), grid, u0, at(0.5), dt=2.5e-4)[:, 0]
    assert torch.allclose(u.mean(-1), u0.mean(-1), rtol=0, atol=1e-14)
    assert torch.allclose((u**2).mean(-1), (u0**2).mean(-1), rtol=1e-9)


def test_a_batch_with_its_own_parameters_equals_each_alone():
    u0 = GaussianRandomField(3, 2.0).sample(Key.rows(0, 3), PLANE)
    viscosity, drag = torch.tensor([1e-3, 1e-2, 0.1]), torch.tensor([0.0, 0.1, 0.2])
    together = evolve(NavierStokes2D(viscosity, drag), PLANE, u0, at(0.5), dt=0.05)
    for i in range(3):
        alone = evolve(NavierStokes2D(float(viscosity[i]), float(drag[i])), PLANE, u0[i : i + 1], at(0.5), dt=0.05)
        assert torch.allclose(together[i : i + 1], alone, rtol=0, atol=1e-12)


def test_gradients_of_parameters_and_state_equal_finite_differences():
    grid = Grid((16,), (22.0,))
    u0 = TruncatedFourier(3, 1.0).sample(Key.rows(0, 2), grid).requires_grad_()
    viscosity = torch.tensor([1.0, 1.1], requires_grad=True)

    def final(u0, viscosity):
        return evolve(KuramotoSivashinsky(viscosity), grid, u0, at(0.4), dt=0.1)

    assert torch.autograd.gradcheck(final, (u0, viscosity))
    steepening = torch.tensor(2.0, requires_grad=True)
    dispersion = torch.tensor(0.1, requires_grad=True)

    def dispersive(a, d):
        return evolve(KortewegDeVries(a, d), grid, u0.detach(), at(0.4), dt=0.1)

    assert torch.autograd.gradcheck(dispersive, (steepening, dispersion))


def test_initial_fields_do_not_depend_on_batch_or_resolution():
    coarse, fine = Grid((32, 32), (TAU, 3.0)), Grid((64, 64), (TAU, 3.0))
    for initial in (TruncatedFourier(6, 2.0), GaussianRandomField(4, 2.0)):
        a = initial.sample(Key.rows(3, 64), coarse)
        assert torch.allclose(initial.sample(Key.rows(3, 64), fine)[..., ::2, ::2], a, rtol=0, atol=1e-12)
        assert torch.allclose(initial.sample(Key(3, torch.tensor([5])), coarse), a[5:6], rtol=0, atol=1e-13)
        assert float((a**2).mean().sqrt()) == pytest.approx(2.0, rel=0.05)
        assert float(a.mean(dim=(-2, -1)).abs().max()) < 1e-12


def test_evolve_in_one_go_equals_in_two():
    grid = Grid((64,), (22.0,))
    u0 = TruncatedFourier(4, 1.0).sample(Key.rows(0, 2), grid)
    whole = evolve(KuramotoSivashinsky(), grid, u0, at(0.0, 0.5, 1.0), dt=0.05)
    assert torch.allclose(whole[:, 0], u0, rtol=0, atol=1e-13)
    rest = evolve(KuramotoSivashinsky(), grid, whole[:, 1], at(0.5), dt=0.05)
    assert torch.allclose(whole[:, 2], rest[:, 0], rtol=0, atol=1e-12)


LINE = Grid((32,), (22.0,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Burgers(-1.0), "`viscosity` must be finite and at least 0, got -1.0"),
        (lambda: NavierStokes2D(math.nan), "`viscosity` must be finite and at least 0"),
        (lambda: KortewegDeVries(torch.zeros(2, 2)), r"have shape \(batch,\), got \(2, 2\)"),
        (lambda: Spectral(Burgers(), PLANE), "one spatial axis, got a grid with 2"),
        (lambda: Spectral(NavierStokes2D(), LINE), "two spatial axes, got a grid with 1"),
        (
            lambda: Spectral(NavierStokes2D(forcing=KolmogorovForcing(11)), PLANE),
            "Use at least 34 points along y",
        ),
        (lambda: TruncatedFourier(16).sample(Key.rows(0, 1), LINE), "need more than 32 points"),
        (lambda: TruncatedFourier(0), "`cutoff` must be a whole number of at least 1"),
        (lambda: GaussianRandomField(rms=0.0), "`rms` must be positive"),
        (lambda: evolve(Burgers(), LINE, torch.zeros(1, 1, 32), at(1.0), dt=0.0), "`dt` must be positive"),
        (lambda: evolve(Burgers(), LINE, torch.zeros(1, 1, 32), at(1.0), dt=0.3), "whole multiple of `dt`"),
        (
            lambda: evolve(Burgers(), LINE, torch.zeros(1, 1, 32), at(1.0, 0.5), dt=0.1),
            "must increase strictly",
        ),
        (
            lambda: evolve(Burgers(), LINE, torch.zeros(1, 32), at(1.0), dt=0.1),
            r"\(batch, channel, \*space\); got",
        ),
        (
            lambda: evolve(Burgers(), LINE, torch.full((1, 1, 32), math.nan), at(1.0), dt=0.1),
            "`u0` must be finite",
        ),
    ],
)
def test_bad_input_is_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_step_that_is_too_large_is_named():
    from sciml.integrate import SolveError

    u0 = 50 * GaussianRandomField(4, 5.0).sample(Key.rows(0, 2), PLANE)
    with pytest.raises(SolveError, match=r"exceeds the CFL limit 0.00163 of ETDRK4 .* Take dt=0.00081 or less"):
        evolve(NavierStokes2D(1e-4), PLANE, u0, at(100.0), dt=1.0)
