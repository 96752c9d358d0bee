"""Flows: forcing, scalars, three dimensions, random forcing."""

import math

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid, leray_projection
from sciml.integrate import ETDRK4
from sciml.pde import (
    ABCForcing,
    DiagonalForcing,
    Diffusion,
    GaussianRandomField,
    KolmogorovForcing,
    KortewegDeVries,
    NavierStokes2D,
    NavierStokes3D,
    PassiveScalar,
    ShearForcing,
    Spectral,
    TaylorGreen3D,
    WhiteForcing,
    evolve,
    evolve_noisy,
    step_limit,
)

TAU = 2 * math.pi
PLANE, BOX = Grid((24, 24), (TAU, TAU)), Grid((16, 16, 16), (TAU,) * 3)


def at(*times):
    return torch.tensor(times, dtype=torch.float64)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def curl(system, y):
    """Vorticity coefficients of velocity coefficients."""
    kx, ky, kz = system.modes.wavenumbers(odd=True)
    u, v, w = y.unbind(1)
    return 1j * torch.stack([ky * w - kz * v, kz * u - kx * w, kx * v - ky * u], dim=1)


def budget(field, rate):
    """The mean of field . rate in units of both sizes."""
    return float((field * rate).sum(1).mean() / (field.pow(2).mean().sqrt() * rate.pow(2).mean().sqrt()))


def test_the_fno_forcing_from_rest_is_exact():
    grid = Grid((24, 24), (1.0, 1.0))
    u = evolve(
        NavierStokes2D(1e-3, forcing=DiagonalForcing()), grid, torch.zeros(1, 1, 24, 24).double(), at(2.0), dt=0.5
    )
    x, y = grid.mesh()
    force = 0.1 * (torch.sin(TAU * (x + y)) + torch.cos(TAU * (x + y)))
    rate = 8 * math.pi**2 * 1e-3
    assert float((u[0, 0, 0] - force * (1 - math.exp(-2 * rate)) / rate).abs().max()) < 1e-13


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("dtype", "drift"), [(torch.float64, 2e-12), (torch.float32, 5e-4)])
def test_a_shear_flow_stays_but_for_rounding(axis, dtype, drift):
    grid = Grid((64, 64), (TAU, TAU))
    u0 = (10 * torch.cos(grid.mesh()[axis])).expand(1, 1, 64, 64).to(dtype)
    u = evolve(NavierStokes2D(0.0), grid, u0, torch.tensor([4.0]), dt=0.01)[:, 0]
    found = float((u - u0).norm() / u0.norm())
    print(f"shear flow after 400 steps: {found:.1e}")
    assert found < drift


def test_a_system_built_in_inference_mode_is_trained_later():
    with torch.inference_mode():
        system = Spectral(NavierStokes2D(), Grid((24, 20), (1.0, 1.0)))
    u = torch.randn(1, 1, 24, 20, dtype=torch.float64, requires_grad=True)
    system.term.nonlinear(torch.tensor(0.0), system.encode(u)).abs().sum().backward()
    assert u.grad is not None and bool(u.grad.isfinite().all()) and bool(u.grad.any())


def test_a_scalar_is_carried_as_the_vorticity_is():
    """With equal diffusivity the vorticity itself is such a scalar."""
    omega = GaussianRandomField(3, 2.0).sample(Key.rows(0, 2), PLANE)
    equation = NavierStokes2D(0.01, scalar=PassiveScalar(0.01))
    u = evolve(equation, PLANE, omega.repeat(1, 2, 1, 1), at(0.5), dt=0.05)[:, 0]
    assert equation.fields.names == ("vorticity", "scalar")
    assert torch.allclose(u[:, 0], u[:, 1], rtol=0, atol=1e-12)
    alone = evolve(NavierStokes2D(0.01), PLANE, omega, at(0.5), dt=0.05)[:, 0]
    assert torch.allclose(u[:, :1], alone, rtol=0, atol=1e-13)
    zero = torch.zeros_like(u)
    shear = zero.clone()
    shear[:, 0] = torch.cos(PLANE.mesh()[0])  # v = sin x, u = 0
    steady = evolve(NavierStokes2D(0.0, scalar=PassiveScalar(0.0, 2.0)), PLANE, shear, at(0.5), dt=0.1)[:, 0]
    # c_t = -G v, for nothing varies along y.
    assert torch.allclose(steady[0, 1], -2.0 * 0.5 * torch.sin(PLANE.mesh()[0]), rtol=0, atol=1e-13)


def test_scalar_variance_is_conserved_and_gradients_are_right():
    system = Spectral(NavierStokes2D(0.0, scalar=PassiveScalar(0.0)), PLANE)
    y = system.encode(noise(2, 2, 24, 24))
    rate = system.decode(system.term.nonlinear(torch.tensor(0.0), y))
    fields = system.decode(y)
    for channel in (0, 1):
        assert abs(budget(fields[:, channel : channel + 1], rate[:, channel : channel + 1])) < 1e-15
    grid = Grid((6, 6), (TAU, TAU))
    diffusivity = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)

    def final(diffusivity):
        equation = NavierStokes2D(0.1, forcing=KolmogorovForcing(1), scalar=PassiveScalar(diffusivity, 1.0))
        return evolve(equation, grid, u0, at(0.2), dt=0.1)

    u0 = noise(1, 2, 6, 6)
    u0 = u0 - u0.mean((-2, -1), keepdim=True)
    assert torch.autograd.gradcheck(final, diffusivity)


def test_energy_and_helicity_are_conserved_without_viscosity():
    system = Spectral(NavierStokes3D(0.0), BOX)
    y = system.encode(noise(1, 3, 16, 16, 16))
    rate = system.decode(system.term.nonlinear(torch.tensor(0.0), y))
    for field in (system.decode(y), system.decode(curl(system, y))):
        assert abs(budget(field, rate)) < 1e-15
    assert torch.allclose(leray_projection(rate, BOX), rate, rtol=0, atol=1e-12 * float(rate.abs().max()))


def test_the_flux_form_equals_the_rotational_form():
    system = Spectral(NavierStokes3D(0.0), BOX)
    y = system.encode(noise(2, 3, 16, 16, 16))
    modes = system.modes
    force = torch.linalg.cross(modes.values(y), modes.values(curl(system, y)), dim=1)
    rotational = system.encode(leray_projection(modes.decode(modes.coefficients(force)), BOX))
    slope = system.term.nonlinear(torch.tensor(0.0), y)
    assert torch.allclose(slope, rotational, rtol=0, atol=1e-13 * float(slope.abs().max()))
    recorded = system.term.nonlinear(torch.tensor(0.0), y.clone().requires_grad_())
    assert torch.allclose(recorded.detach(), slope, rtol=0, atol=1e-15)


def test_a_beltrami_flow_decays_exactly_and_its_forcing_holds_it():
    velocity = ABCForcing(1, 1.0, 1.0, 0.7, 0.4).force(Spectral(NavierStokes3D(), BOX).modes)[None]
    u = evolve(NavierStokes3D(0.1), BOX, velocity, at(2.0), dt=0.5)[:, 0]
    assert float((u - velocity * math.exp(-0.1 * 2.0)).abs().max()) < 1e-13
    held = NavierStokes3D(0.1, 0.2, ABCForcing(1, 0.3, 1.0, 0.7, 0.4))
    assert float((evolve(held, BOX, velocity, at(1.0), dt=0.25)[:, 0] - velocity).abs().max()) < 1e-13
    shear = NavierStokes3D(0.1, forcing=ShearForcing(2, 0.4))
    laminar = torch.zeros_like(velocity)
    laminar[:, 0] = torch.sin(2 * BOX.mesh()[1])
    assert float((evolve(shear, BOX, laminar, at(1.0), dt=0.25)[:, 0] - laminar).abs().max()) < 1e-13


def test_a_plane_flow_in_a_box_is_that_of_the_plane():
    omega = GaussianRandomField(2, 2.0).sample(Key.rows(0, 1), PLANE)
    from sciml.grids import velocity_from_vorticity, vorticity_from_velocity

    grid = Grid((24, 24, 4), (TAU,) * 3)
    plane = Spectral(NavierStokes2D(0.02), PLANE)
    omega = plane.decode(plane.encode(omega))
    flat = velocity_from_vorticity(omega, PLANE)
    velocity = torch.cat([flat, torch.zeros_like(omega)], dim=1)[..., None].expand(-1, -1, -1, -1, 4)
    u = evolve(NavierStokes3D(0.02), grid, velocity, at(0.5), dt=0.05)[:, 0]
    expected = evolve(NavierStokes2D(0.02), PLANE, omega, at(0.5), dt=0.05)[:, 0]
    assert torch.allclose(vorticity_from_velocity(u[:, :2, :, :, 1], PLANE), expected, rtol=0, atol=1e-10)


def test_taylor_green_starts_to_dissipate_as_its_series_says():
    """Energy 1/8, enstrophy 3/8 + 5 t²/128 + ... without viscosity (Brachet et al. 1983)."""
    u0 = TaylorGreen3D().sample(Key.rows(0, 1), BOX)
    system = Spectral(NavierStokes3D(0.0), BOX)
    t = 0.2
    u = evolve(NavierStokes3D(0.0), BOX, u0, at(t), dt=0.02)[:, 0]
    assert float(0.5 * (u**2).sum(1).mean()) == pytest.approx(0.125, abs=1e-10)
    enstrophy = [0.5 * float((system.decode(curl(system, system.encode(v))) ** 2).sum(1).mean()) for v in (u0, u)]
    assert enstrophy[0] == pytest.approx(0.375, abs=1e-14)
    assert (enstrophy[1] - 0.375) / t**2 == pytest.approx(5 / 128, rel=0.02)


def test_gradients_in_three_dimensions():
    grid = Grid((4, 4, 4), (TAU,) * 3)
    viscosity = torch.tensor([0.1, 0.2], dtype=torch.float64, requires_grad=True)

    def final(viscosity):
        return evolve(NavierStokes3D(viscosity, forcing=ShearForcing()), grid, noise(2, 3, 4, 4, 4), at(0.2), dt=0.1)

    assert torch.autograd.gradcheck(final, viscosity)


def test_random_forcing_has_the_exact_variance_for_any_step():
    forcing, nu = WhiteForcing(rate=2.0, low=2.0, high=3.0), 0.1
    u = evolve_noisy(
        Diffusion(nu, ndim=2), forcing, Grid((12, 12), (TAU, TAU)), torch.zeros(3000, 1, 12, 12), at(0.5, 1.0), dt=0.5,
        key=Key.rows(0, 3000),
    )  # fmt: skip
    squares = [a * a + b * b for a in range(-3, 4) for b in range(-3, 4) if 4 <= a * a + b * b <= 9]
    for i, t in enumerate((0.5, 1.0)):
        exact = 2.0 / len(squares) * sum((1 - math.exp(-2 * nu * k * t)) / (2 * nu * k) for k in squares)
        assert float((u[:, i] ** 2).mean()) == pytest.approx(exact, rel=0.02)


def test_random_forcing_is_the_same_on_finer_grids_and_injects_energy_at_its_rate():
    forcing = WhiteForcing(rate=0.2, low=2.0, high=3.0, power=1.0)
    ends = []
    for points in (24, 32):
        grid = Grid((points, points), (TAU, TAU))
        zero = torch.zeros(2, 1, points, points, dtype=torch.float64)
        ends.append(evolve_noisy(Diffusion(0.1, ndim=2), forcing, grid, zero, at(0.2), dt=0.1, key=Key.rows(0, 2)))
    assert torch.allclose(ends[0][..., ::3, ::3], ends[1][..., ::4, ::4], rtol=0, atol=1e-13)
    ring = forcing.ring(Spectral(NavierStokes2D(), PLANE).modes)
    modes = Spectral(NavierStokes2D(), PLANE).modes
    weight = torch.where(modes.numbers()[1] == 0, 1.0, 2.0)
    # d<|u|²>/dt = sum over all modes of E |d omega_k|² / k² / dt
    rate = (ring.strength**2).sum(-1) * -modes.inverse_laplacian() * weight
    assert float(rate.sum()) == pytest.approx(0.2, rel=1e-12)
    u = evolve_noisy(NavierStokes2D(0.05), forcing, PLANE, torch.zeros(2, 1, 24, 24).double(), at(1.0), dt=0.05,
                     key=Key.rows(1, 2))  # fmt: skip
    assert bool(torch.isfinite(u).all()) and float(u.std()) > 0.1


def test_the_limit_of_the_step_is_that_of_the_velocity():
    x, y, _ = BOX.mesh()
    u = torch.stack([2 * torch.sin(y), torch.zeros_like(x), 3 * torch.sin(x)])[None]
    assert float(step_limit(NavierStokes3D(), BOX, u, ETDRK4())) == pytest.approx(2.83 / (5 * 5), rel=0.05)
    omega = -2 * torch.cos(PLANE.mesh()[1])[None, None]  # u = 2 sin y
    assert float(step_limit(NavierStokes2D(), PLANE, omega, ETDRK4())) == pytest.approx(2.83 / (2 * 7), rel=0.01)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: Spectral(NavierStokes3D(forcing=ABCForcing(6)), BOX), ValueError, "at least 19 points along x"),
        (lambda: Spectral(NavierStokes3D(forcing=ShearForcing(6)), BOX), ValueError, "at least 19 points along y"),
        (lambda: Spectral(NavierStokes2D(forcing=DiagonalForcing(8)), PLANE), ValueError, "at least 25 points along x"),
        (lambda: NavierStokes3D(-1.0), ValueError, "`viscosity` must be finite and at least 0"),
        (lambda: PassiveScalar(-1.0), ValueError, "`diffusivity` must be finite and at least 0"),
        (lambda: ABCForcing(0), ValueError, "`wavenumber` must be a whole number of at least 1"),
        (
            lambda: TaylorGreen3D().sample(Key.rows(0, 1), PLANE),
            ValueError,
            "a flow in three dimensions, got a grid with 2",
        ),
        (lambda: WhiteForcing(rate=0.0), ValueError, "`rate` must be positive"),
        (lambda: WhiteForcing(1.0, low=3.0, high=2.0), ValueError, "`high`"),
        (
            lambda: WhiteForcing(1.0, low=2.3, high=2.4).ring(
                Spectral(NavierStokes2D(), Grid((8, 8), (1.0, 1.0))).modes
            ),
            ValueError,
            "the ring of the forcing must hold a wave",
        ),
        (
            lambda: WhiteForcing(1.0, high=9.0).ring(Spectral(NavierStokes2D(), PLANE).modes),
            ValueError,
            "the ring of the forcing must lie on modes that are kept, got wavenumber 9",
        ),
        (
            lambda: evolve_noisy(
                KortewegDeVries(),
                WhiteForcing(1.0),
                Grid((32,), (TAU,)),
                torch.zeros(1, 1, 32),
                at(1.0),
                dt=0.5,
                key=Key.rows(0, 1),
            ),  # fmt: skip
            ValueError,
            "random forcing needs real fields and a real linear part, got KortewegDeVries",
        ),
    ],
)
def test_bad_input_is_answered(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


AMPLITUDES = torch.tensor([0.5, 2.0], dtype=torch.float64)


@pytest.mark.parametrize("points", [24, 2])
@pytest.mark.parametrize(
    "equation",
    [
        lambda a: NavierStokes2D(0.1, forcing=KolmogorovForcing(1, a)),
        lambda a: NavierStokes2D(0.1, forcing=DiagonalForcing(1, a)),
        lambda a: NavierStokes2D(0.1, forcing=KolmogorovForcing(2, a), scalar=PassiveScalar(0.1, a)),
        lambda a: NavierStokes3D(0.1, forcing=ShearForcing(1, a)),
        lambda a: NavierStokes3D(0.1, forcing=ABCForcing(1, a, 1.0, a, 2 * a)),
    ],
    ids=["kolmogorov", "diagonal", "scalar", "shear", "abc"],
)
def test_forcing_and_gradient_of_each_sample(equation, points):
    """A value per sample, whatever the number of points: as many as samples, too."""
    ndim = equation(1.0).ndim
    grid = Grid((8, 10, 6)[:ndim] if points == 2 else (8,) * ndim, (TAU,) * ndim)
    amplitudes = AMPLITUDES if points == 2 else torch.linspace(0.5, 2, 8, dtype=torch.float64)
    u0 = noise(len(amplitudes), len(equation(1.0).fields.names), *grid.points)
    u0 = u0 - u0.flatten(2).mean(2).reshape(*u0.shape[:2], *[1] * ndim)
    together = evolve(equation(amplitudes), grid, u0, at(0.2), dt=0.1)
    alone = [evolve(equation(float(a)), grid, u[None], at(0.2), dt=0.1) for a, u in zip(amplitudes, u0, strict=True)]
    assert torch.allclose(together, torch.cat(alone), rtol=0, atol=1e-13)
    assert float((together[0] - together[-1]).abs().max()) > 1e-3


def test_gradients_of_forcing_and_mean_gradient_of_each_sample():
    grid = Grid((6, 6), (TAU, TAU))
    amplitude, gradient = AMPLITUDES.clone().requires_grad_(), (1 + AMPLITUDES).requires_grad_()
    u0 = noise(2, 2, 6, 6)
    u0 = u0 - u0.mean((-2, -1), keepdim=True)

    def final(amplitude, gradient):
        equation = NavierStokes2D(0.1, forcing=KolmogorovForcing(1, amplitude), scalar=PassiveScalar(0.1, gradient))
        return evolve(equation, grid, u0, at(0.2), dt=0.1)

    assert torch.autograd.gradcheck(final, (amplitude, gradient))
