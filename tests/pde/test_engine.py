"""How equations are solved: adaptive steps, precision, gradients, and the answers to bad input."""

import math

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid, Padding, Truncation
from sciml.integrate import ETD2RK, ETDRK4, PID, Fixed, KenCarp4, Ladder, SaveAt, SemiLinear, SolveError, Split, solve
from sciml.pde import (
    Burgers,
    GaussianRandomField,
    KuramotoSivashinsky,
    NavierStokes2D,
    Spectral,
    TruncatedFourier,
    evolve,
    step_limit,
)

TAU = 2 * math.pi
LINE, PLANE = Grid((64,), (22.0,)), Grid((24, 24), (TAU, TAU))


def at(*times):
    return torch.tensor(times, dtype=torch.float64)


@pytest.mark.parametrize("case", ["line", "plane"])
def test_chosen_steps_reach_their_tolerance_and_equal_fixed_ones(case):
    if case == "line":
        equation, grid, u0 = KuramotoSivashinsky(), LINE, TruncatedFourier(4, 1.0).sample(Key.rows(0, 2), LINE)
    else:
        equation, grid = NavierStokes2D(0.01), PLANE
        u0 = GaussianRandomField(2, 3.0).sample(Key.rows(0, 2), PLANE)
    ts = at(0.0, 0.3, 1.0)
    exact = evolve(equation, grid, u0, ts, dt=1 / 400)
    for tolerance in (1e-4, 1e-7):
        u = evolve(equation, grid, u0, ts, control=Ladder(tolerance, 1e-12))
        error = float((u - exact).norm() / exact.norm())
        print(f"\n{case}, rtol {tolerance:g}: error {error:.1e}")
        assert error < 20 * tolerance
    assert float((evolve(equation, grid, u0, ts) - exact).norm() / exact.norm()) < 2e-4


def test_float32_states_use_tables_of_double_precision():
    u0 = TruncatedFourier(4, 1.0).sample(Key.rows(0, 2), LINE)
    exact = evolve(KuramotoSivashinsky(), LINE, u0, at(2.0), dt=0.02)
    u = evolve(KuramotoSivashinsky(), LINE, u0.float(), at(2.0), dt=0.02)
    assert u.dtype == torch.float32
    assert float((u - exact).norm() / exact.norm()) < 1e-5
    term = Spectral(KuramotoSivashinsky(), LINE).term
    assert isinstance(term.linear, torch.Tensor) and term.linear.dtype == torch.float64
    adaptive = evolve(KuramotoSivashinsky(), LINE, u0.float(), at(2.0), control=Ladder(1e-5, 1e-7))
    assert float((adaptive - exact).norm() / exact.norm()) < 1e-3


def test_both_rules_against_aliasing_give_the_same_flow():
    """Truncation on 24 points keeps the modes that padding does on 16, and products are formed on 24 in both."""
    coarse = PLANE.with_points(16)
    u0 = GaussianRandomField(2, 3.0).sample(Key.rows(0, 2), PLANE)
    start = Spectral(NavierStokes2D(0.01), PLANE).modes
    u0 = start.decode(start.encode(u0))
    cut = evolve(NavierStokes2D(0.01, dealiasing=Truncation()), PLANE, u0, at(0.5), dt=0.05)
    padded = Spectral(NavierStokes2D(0.01, dealiasing=Padding()), coarse)
    assert padded.modes.highest == start.highest
    v0 = start.encode(u0)
    wide = start.numbers()[0][:, 0].abs() <= start.highest[0]
    y0 = v0[..., wide, :]
    y1 = solve(padded.term, ETDRK4(), y0, 0.0, 0.5, control=Fixed(dt=0.05)).ys
    assert torch.allclose(y1, start.encode(cut[:, 0])[..., wide, :], rtol=0, atol=1e-14)


def test_memory_order_of_the_state_does_not_matter():
    system = Spectral(NavierStokes2D(0.01), PLANE)
    y = system.encode(GaussianRandomField(2, 3.0).sample(Key.rows(0, 2), PLANE)).mT.contiguous().mT
    assert not y.is_contiguous()
    results = [solve(system.term, ETD2RK(), z, 0.0, 0.2, control=Fixed(n=4)).ys for z in (y, y.contiguous())]
    assert torch.allclose(*results, rtol=0, atol=1e-15)


def test_frames_and_gradients_without_and_with_recording_agree():
    """Products are formed in place unless something is differentiated; last digits differ where vectors end."""
    u0 = GaussianRandomField(2, 3.0).sample(Key.rows(0, 2), PLANE)
    plain = evolve(NavierStokes2D(0.01), PLANE, u0, at(0.0, 0.2), dt=0.05)
    recorded = evolve(NavierStokes2D(0.01), PLANE, u0.clone().requires_grad_(), at(0.0, 0.2), dt=0.05)
    assert torch.allclose(plain, recorded.detach(), rtol=0, atol=1e-13)


def test_gradients_of_a_flow_equal_finite_differences():
    grid = Grid((8, 8), (TAU, TAU))
    u0 = GaussianRandomField(1, 1.0).sample(Key.rows(0, 2), grid).requires_grad_()
    viscosity = torch.tensor([0.02, 0.05], dtype=torch.float64, requires_grad=True)
    drag = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)

    def final(u0, viscosity, drag):
        return evolve(NavierStokes2D(viscosity, drag), grid, u0, at(0.2), dt=0.1)

    assert torch.autograd.gradcheck(final, (u0, viscosity, drag))


# PyTorch scripts rules of its own at the first dual level.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("dt", [0.1, None])
def test_torch_func_through_evolve(dt):
    """What evolve makes inside a transform, as its times, is no differentiated time."""
    u0 = GaussianRandomField(1, 1.0).sample(Key.rows(0, 2), PLANE)
    viscosity = torch.tensor(0.05, dtype=torch.float64)

    def loss(u0, viscosity):
        return evolve(NavierStokes2D(viscosity), PLANE, u0, at(0.1, 0.2), dt=dt).square().sum()

    inputs = (u0.clone().requires_grad_(), viscosity.clone().requires_grad_())
    wanted = torch.autograd.grad(loss(*inputs), inputs)
    for got, want in zip(torch.func.grad(loss, argnums=(0, 1))(u0, viscosity), wanted, strict=True):
        assert torch.allclose(got, want, rtol=1e-10, atol=1e-12)
    slope = torch.func.jvp(loss, (u0, viscosity), (u0, viscosity))[1]
    assert float(slope) == pytest.approx(float((wanted[0] * u0).sum() + wanted[1] * viscosity), rel=1e-10)


def test_implicit_explicit_steps_agree_where_the_linear_part_is_not_diagonal():
    """u_t + (u²/2)_x = ((nu + eps cos x) u_x)_x: the variable part of the diffusion is not diagonal on modes."""
    grid = Grid((32,), (TAU,))
    system = Spectral(Burgers(0.1), grid)
    x = grid.axes()[0]
    k = system.modes.wavenumbers(odd=True)[0]
    conductivity = 0.1 + 0.05 * torch.cos(x)

    def diffuse(t, u):
        slope = system.modes.decode(1j * k * system.modes.encode(u))
        return system.modes.decode(1j * k * system.modes.encode(conductivity * slope))

    def advect(t, u):
        y = system.modes.encode(u)
        return system.modes.decode(system.term.nonlinear(t, y))

    u0 = system.decode(system.encode(torch.sin(x)[None, None]))
    imex = solve(Split(advect, diffuse), KenCarp4(), u0, 0.0, 0.5, control=PID(1e-9, 1e-11)).ys

    def rest(t, y):
        spread = system.modes.encode(diffuse(t, system.modes.decode(y)))
        return system.term.nonlinear(t, y) + spread - system.term.linear * y

    term = SemiLinear(system.term.linear, rest)
    etd = system.decode(solve(term, ETDRK4(), system.encode(u0), 0.0, 0.5, control=Fixed(n=400)).ys)
    assert torch.allclose(imex, etd, rtol=0, atol=1e-7)


def test_the_limit_of_the_step_separates_stable_from_unstable():
    """Inviscid advection of small ripples by a large mean: the limit is sharp."""
    grid = Grid((32,), (TAU,))
    u0 = (5.0 + 1e-6 * TruncatedFourier(8, 1.0).sample(Key.rows(0, 1), grid)).double()
    for method, interval in ((ETDRK4(), 2.83), (ETD2RK(), 0.53)):
        limit = float(step_limit(Burgers(0.0), grid, u0, method))
        assert limit == pytest.approx(interval / (5.0 * 10), rel=2e-2)
    limit = float(step_limit(Burgers(0.0), grid, u0, ETDRK4()))
    for factor, stable in ((0.95, True), (1.1, False)):
        dt = factor * limit
        u = evolve(Burgers(0.0), grid, u0, at(200 * dt), dt=dt, throw=False)
        ripple = float((u[:, 0] - 5.0).abs().max())
        assert (ripple < 1e-4) == stable
    assert float(step_limit(KuramotoSivashinsky(), LINE, torch.zeros(1, 1, 64), ETDRK4())) == math.inf


def test_an_unstable_step_is_named_with_its_limit_and_the_step_to_take():
    u0 = 20 * GaussianRandomField(3, 3.0).sample(Key.rows(0, 2), PLANE)
    with pytest.raises(
        SolveError, match=r"exceeds the CFL limit .* of ETDRK4 for the fields at t=0 .* Take dt="
    ) as caught:
        evolve(NavierStokes2D(1e-4), PLANE, u0, at(20.0), dt=0.5)
    dt = float(str(caught.value).split("Take dt=")[1].split(" ")[0])
    count = math.ceil(0.5 / dt)
    assert bool(torch.isfinite(evolve(NavierStokes2D(1e-4), PLANE, u0, at(0.5), dt=0.5 / count)).all())
    frozen = evolve(NavierStokes2D(1e-4), PLANE, u0, at(20.0), dt=0.5, throw=False)
    assert bool(torch.isfinite(frozen).all())


def test_a_blow_up_below_the_limit_is_named_too():
    grid = Grid((32,), (TAU,))
    u0 = torch.full((1, 1, 32), 0.1, dtype=torch.float64)
    growth = KuramotoSivashinsky(viscosity=1e-12)
    with pytest.raises(SolveError, match=r"below the CFL limit|exceeds the CFL limit"):
        evolve(growth, grid, u0 + 1e-3 * torch.cos(5 * grid.axes()[0]), at(2000.0), dt=1.0)
    with pytest.raises(SolveError, match=r"after \d+ steps their size came down to .* at t=.* CFL limit of ETD43 is"):
        evolve(growth, grid, u0 + 1e-3 * torch.cos(5 * grid.axes()[0]), at(2000.0), control=Ladder(dt_min=1e-3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: evolve(Burgers(), LINE, torch.zeros(1, 1, 64), at(1.0), dt=0.1, control=Ladder()),
            "give `dt` or `control`, not both",
        ),
        (lambda: evolve(Burgers(), LINE, torch.zeros(1, 1, 64), at(-1.0, 1.0)), "`ts` must start at 0 or later"),
        (
            lambda: evolve(Burgers(dealiasing=Padding()), Grid((63,), (1.0,)), torch.zeros(1, 1, 63), at(1.0), dt=0.1),
            "Padding needs an even number of points",
        ),
        (
            lambda: Spectral(Burgers(), PLANE),
            r"posed on one spatial axis, got a grid with 2. Give Grid\(\(n,\), \(L,\)\)",
        ),
    ],
)
def test_bad_input_is_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_kept_frames_are_those_of_a_solve():
    system = Spectral(KuramotoSivashinsky(), LINE)
    u0 = TruncatedFourier(4, 1.0).sample(Key.rows(0, 2), LINE)
    made = solve(
        system.term, ETDRK4(), system.encode(u0), 0.0, 0.5, control=Fixed(dt=0.1), save=SaveAt(ts=at(0.2, 0.5))
    )
    assert torch.equal(
        evolve(KuramotoSivashinsky(), LINE, u0, at(0.2, 0.5), dt=0.1)[:, 1], system.decode(made.ys[:, 1])
    )
