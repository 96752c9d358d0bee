"""What is refused before an equation is solved, and how a solve that cannot go on ends."""

import math
from typing import Any

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid
from sciml.integrate import ETDRK4, PID, Fixed, Ladder, SolveError
from sciml.pde import (
    Advection,
    AllenCahn,
    Bumps,
    Burgers,
    Diffusion,
    FisherKPP,
    GaussianRandomField,
    GinzburgLandau,
    KortewegDeVries,
    NavierStokes2D,
    PassiveScalar,
    RandomSines,
    ShallowWater,
    TruncatedFourier,
    WhiteForcing,
    evolve,
    evolve_noisy,
)
from sciml.pde.combined import Combined
from sciml.pde.parts import parts, replaced, rowed, takes_numbers
from sciml.pde.start import check_times, dropped_share

TAU = 2 * math.pi
LINE, PLANE = Grid((32,), (1.0,)), Grid((16, 16), (TAU, TAU))
THREE = torch.tensor([1.0, 2.0, 3.0])


def at(*times):
    return torch.tensor(times, dtype=torch.float64)


def start(grid=PLANE, channels=1):
    fields = [GaussianRandomField(1.0).sample(Key.rows(i, 2), grid) for i in range(channels)]
    return torch.cat(fields, 1)


@pytest.mark.parametrize(
    ("equation", "grid", "channels", "path"),
    [
        (NavierStokes2D(THREE), PLANE, 1, "viscosity"),
        (NavierStokes2D(scalar=PassiveScalar(THREE)), PLANE, 2, "scalar.diffusivity"),
        (NavierStokes2D(scalar=PassiveScalar(0.1, THREE)), PLANE, 2, "scalar.gradient"),
        (KortewegDeVries(steepening=THREE), LINE, 1, "steepening"),
        (GinzburgLandau(twist=THREE), PLANE, 2, "twist"),
        (ShallowWater(10.0, 10.0, THREE), PLANE, 3, "rotation"),
        (Advection((THREE, 1.0), 2), PLANE, 1, "velocity.0"),
        (Combined(forcing=RandomSines().sample(Key.rows(0, 3))), LINE, 1, "forcing.amplitudes"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_rows_of_parameters_must_be_those_of_the_fields(equation, grid, channels, path):
    with pytest.raises(ValueError, match=rf"`{path}` of .* must have one row per sample of `u0`, 2, got \(3"):
        evolve(equation, grid, start(grid, channels), at(0.1), dt=0.1)


@pytest.mark.parametrize("value", [torch.tensor([1j, 2.0]), torch.tensor([True, False])])
def test_parameters_are_real(value):
    with pytest.raises(TypeError, match="`viscosity` must be real, got a tensor of"):
        Burgers(value)


def test_vorticity_has_no_mean():
    with pytest.raises(ValueError, match="mean of the vorticity must be 0, .* got 0.01 in sample 1. Take it off"):
        evolve(NavierStokes2D(), PLANE, start() + torch.tensor([0.0, 0.01]).reshape(2, 1, 1, 1), at(0.1), dt=0.1)
    evolve(NavierStokes2D(), PLANE, start().float(), at(0.1), dt=0.1)  # rounding is no mean


def test_depth_of_shallow_water_is_positive():
    hole = torch.cat([Bumps(1, 0.5, -1.5).sample(Key.rows(0, 2), PLANE), torch.zeros(2, 2, 16, 16)], 1)
    with pytest.raises(ValueError, match="depth H . eta must be positive everywhere, got -0.*Raise `depth`"):
        evolve(ShallowWater(), PLANE, hole, at(0.1), dt=0.01)
    evolve(ShallowWater(depth=torch.tensor([2.0, 3.0])), PLANE, hole, at(0.01), dt=0.01)
    with pytest.raises(ValueError, match="in sample 1"):
        evolve(ShallowWater(depth=torch.tensor([2.0, 1.0])), PLANE, hole, at(0.01), dt=0.01)


def test_grids_that_keep_no_wave_are_refused():
    with pytest.raises(ValueError, match=r"AllenCahn must keep .* up to \(0,\). Use at least 5 points"):
        evolve(AllenCahn(), Grid((4,), (1.0,)), torch.zeros(1, 1, 4), at(0.1), dt=0.1)
    assert AllenCahn().modes(Grid((5,), (1.0,))).highest == (1,)
    assert Diffusion().modes(Grid((4,), (1.0,))).highest == (2,)


def test_times_and_steps_that_do_not_go_together():
    with pytest.raises(TypeError, match="`ts` must be a tensor, got list"):
        check_times([0.1])
    with pytest.raises(ValueError, match="`ts` must be finite"):
        evolve(Burgers(), LINE, start(LINE), at(0.1, math.nan))
    with pytest.raises(TypeError, match=r"`control` must be Ladder\(...\).* got PID"):
        evolve(Burgers(), LINE, start(LINE), at(0.1), control=PID())
    with pytest.raises(ValueError, match=r"error estimate, got ETDRK4\(\) without `dt`. Give dt"):
        evolve(Burgers(), LINE, start(LINE), at(0.1), method=ETDRK4())


def test_chosen_steps_end_where_the_solution_does():
    """Where the depth becomes negative the equations are ill-posed: all waves grow, the shorter the faster."""
    hill = Bumps(1, 0.5, 0.5).sample(Key.rows(0, 1), PLANE)
    burst = torch.cat([0.5 * hill, 20 + 0 * hill, -20 * hill], 1)
    with pytest.raises(SolveError, match=r"after \d+ steps their size came down to \S+ at t=\S+, where the CFL limit"):
        evolve(ShallowWater(viscosity=1e-3), PLANE, burst, at(1.0), control=Ladder(dt_min=1e-5))


def test_steps_below_the_floor_end_the_solve():
    """u' = u (1 - u) from u = -2 has no solution beyond t = log(3/2)."""
    u0 = torch.full((1, 1, 32), -2.0, dtype=torch.float64)
    ends = []
    for control in (Ladder(dt_min=1e-2), Ladder()):
        with pytest.raises(SolveError, match="their size came down to") as caught:
            evolve(FisherKPP(1e-9, 1.0), LINE, u0, at(5.0), control=control)
        ends.append(float(str(caught.value).split("at t=")[1].split()[0].rstrip(",.")))
    assert 0.2 < ends[0] < ends[1] < 1.0001 * math.log(1.5)


def test_a_fixed_control_that_fails_names_its_step():
    with pytest.raises(SolveError, match="exceeds the CFL limit .* got dt=0.5"):
        evolve(Burgers(1e-4), LINE, 100 * start(LINE), at(5.0), control=Fixed(n=10))


def test_rows_of_a_batch_have_limits_of_their_own():
    with pytest.raises(SolveError, match="1 of 2 did not .* first sample 1 .* exceeds the CFL limit"):
        evolve(
            Burgers(torch.tensor([1.0, 1e-5])),
            LINE,
            torch.tensor([1.0, 100.0]).reshape(2, 1, 1) * start(LINE),
            at(1.0),
            dt=0.25,
        )


def noisy(**changes):
    given: dict[str, Any] = dict(forcing=WhiteForcing(1.0, 1, 3), u0=start(), ts=at(0.1), dt=0.05, key=Key.rows(0, 2))
    return evolve_noisy(**{"equation": NavierStokes2D(0.1), "grid": PLANE, **given, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(u0=start()[:, :, :8]), "`u0` must have shape"),
        (dict(u0=start().half()), "must be a non-empty float32 or float64 batch"),
        (dict(u0=start() * math.nan), "`u0` must be finite"),
        (dict(u0=start() + 1.0), "mean of the vorticity must be 0"),
        (dict(ts=at()), "non-empty vector of times"),
        (dict(ts=at(0.2, 0.1)), "increase strictly"),
        (dict(ts=at(-0.1)), "start at 0 or later"),
        (dict(ts=at(0.12)), "whole multiple of `dt`"),
        (dict(dt=0.0), "`dt` must be positive"),
        (dict(forcing=WhiteForcing(1.0, 1, 3, channel=3)), "`channel` of the forcing must be one of the 1 of"),
    ],
    ids=str,
)
def test_noisy_solves_refuse_what_others_do(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        noisy(**changes)


def test_noisy_solves_name_the_limit_of_the_step():
    with pytest.raises(SolveError, match="exceeds the CFL limit .* of ETD1 .* got dt=0.5"):
        noisy(equation=NavierStokes2D(1e-6), u0=1e5 * start(), ts=at(10.0), dt=0.5)
    assert bool(torch.isfinite(noisy()).all())


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_rings_are_finite(value):
    with pytest.raises(ValueError, match="`high` must be"):
        WhiteForcing(1.0, 1, value)
    with pytest.raises(ValueError, match="`power` must be finite"):
        WhiteForcing(1.0, power=value)


def test_parts_are_named_and_replaced_by_their_paths():
    equation = NavierStokes2D(0.1, scalar=PassiveScalar(torch.ones(2)))
    assert dict(parts(equation))["scalar.gradient"] == 0.0
    assert [path for path, _ in rowed(equation)] == ["scalar.diffusivity"]
    new = replaced(equation, {"scalar.diffusivity": 0.5, "drag": 0.25, "scalar.gradient": 2.0})
    assert (new.drag, new.viscosity, new.scalar.diffusivity, new.scalar.gradient) == (0.25, 0.1, 0.5, 2.0)
    wind = replaced(Advection((1, 2.0), 2), {"velocity.0": 3.0})
    assert wind.velocity == (3.0, 2.0)
    assert takes_numbers(Advection(1), "velocity") and takes_numbers(Advection((1, 2.0), 2), "velocity.0")
    assert not any(takes_numbers(Advection(1), name) for name in ("ndim",)) and not takes_numbers(equation, "forcing")
    with pytest.raises(ValueError, match="`viscosity` must be"):
        replaced(equation, {"viscosity": -1.0})


def test_share_of_a_field_that_is_dropped():
    grid = Grid((16, 16), (1.0, 1.0))
    modes = NavierStokes2D().modes(grid)
    x, y = grid.mesh()
    low, high = torch.cos(TAU * 2 * x), 0.5 * torch.sin(TAU * (7 * y + x))
    assert dropped_share((low + high)[None, None], modes) == pytest.approx(0.2)
    assert dropped_share(TruncatedFourier(4).sample(Key.rows(0, 2), grid), modes) < 1e-20
