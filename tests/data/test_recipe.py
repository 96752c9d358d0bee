"""Recipes: parameters of each trajectory wherever they are in the equation, sizes that do not fit, what is written."""

import json
import math
from typing import Any

import pytest
import torch

from sciml.core import Key
from sciml.data import Recipe, Trajectories, estimate, simulate
from sciml.grids import Grid
from sciml.integrate import PID, Ladder
from sciml.pde import (
    Advection,
    Bumps,
    Burgers,
    Channels,
    Combined,
    Constant,
    GaussianRandomField,
    KolmogorovForcing,
    NavierStokes2D,
    PassiveScalar,
    RandomSines,
    ShallowWater,
    TruncatedFourier,
    Uniform,
    evolve,
)

TAU = 2 * math.pi
LINE, PLANE = Grid((16,), (1.0,)), Grid((16, 16), (TAU, TAU))
TWO = Channels((GaussianRandomField(1.0), GaussianRandomField(1.0)))
SMALL: dict[str, Any] = dict(trajectories=4, frames=3, dt_frame=0.1, dt=0.05, seed=0, block=2, dtype=torch.float64)
FOUR = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


@pytest.mark.parametrize(
    ("equation", "grid", "initial", "path"),
    [
        (NavierStokes2D(scalar=PassiveScalar(FOUR)), PLANE, TWO, "scalar.diffusivity"),
        (NavierStokes2D(forcing=KolmogorovForcing(1, FOUR)), PLANE, GaussianRandomField(1.0), "forcing.amplitude"),
        (Advection((FOUR[:2],)), LINE, TruncatedFourier(2), "velocity.0"),
        (Combined(forcing=RandomSines().sample(Key.rows(0, 2))), LINE, TruncatedFourier(2), "forcing.amplitudes"),
    ],
    ids=["scalar", "forcing", "tuple", "sines"],
)
def test_rows_inside_the_equation_are_refused(equation, grid, initial, path):
    """Blocks would each begin with the first of them."""
    with pytest.raises(ValueError, match=rf"single numbers here, got '{path}' of shape .*parameters={{'{path}'"):
        Recipe(equation, grid, initial, **SMALL)


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_parameters_of_parts_differ_between_trajectories(tmp_path, name):
    values = {"scalar.diffusivity": FOUR, "forcing.amplitude": 10 * FOUR, "drag": Uniform(0.0, 1.0)}
    equation = NavierStokes2D(0.1, forcing=KolmogorovForcing(1), scalar=PassiveScalar(0.5, 1.0))
    data = simulate(equation, PLANE, TWO, tmp_path / name, parameters=values, **SMALL)
    drag = data.parameters["drag"]
    whole = NavierStokes2D(0.1, drag, KolmogorovForcing(1, 10 * FOUR), PassiveScalar(FOUR, 1.0))
    want = evolve(whole, PLANE, TWO.sample(Key.rows(0, 4), PLANE), data.times, dt=0.05)
    assert torch.allclose(data.read(range(4), 0, 3), want, rtol=0, atol=1e-12)
    read = Trajectories.open(tmp_path / name)
    assert torch.equal(read.parameters["scalar.diffusivity"], FOUR) and len(drag.unique()) == 4


def test_velocities_along_one_axis_differ_between_trajectories(tmp_path):
    equation, start = Advection((1.0, 0.5), 2), GaussianRandomField(1.0)
    data = simulate(equation, PLANE, start, tmp_path / "a.nc", parameters={"velocity.1": FOUR}, **SMALL)
    want = evolve(Advection((1.0, FOUR), 2), PLANE, start.sample(Key.rows(0, 4), PLANE), data.times)
    assert torch.allclose(data.read(range(4), 0, 3), want, rtol=0, atol=1e-12)


def test_a_part_and_what_is_in_it_are_not_given_both():
    values = {"forcing": RandomSines(), "forcing.amplitudes": FOUR}
    forcing = RandomSines().sample(Key.rows(0, 1))
    with pytest.raises(ValueError, match="got 'forcing' and 'forcing.amplitudes'. Drop one"):
        Recipe(Combined(forcing=forcing), LINE, TruncatedFourier(2), parameters=values, **SMALL)


def test_one_row_serves_all_trajectories(tmp_path):
    forcing = RandomSines(highest=2).sample(Key.rows(0, 1))
    data = simulate(Combined(forcing=forcing), LINE, TruncatedFourier(2), tmp_path / "a.nc", **SMALL)
    u0 = TruncatedFourier(2).sample(Key.rows(0, 4), LINE)
    want = evolve(Combined(forcing=forcing), LINE, u0, data.times, dt=0.05)
    assert torch.allclose(data.read(range(4), 0, 3), want, rtol=0, atol=1e-12)


def test_a_billion_frames_are_counted_and_not_listed(tmp_path):
    recipe = Recipe(Burgers(), LINE, TruncatedFourier(2), **{**SMALL, "frames": 10**9})
    assert recipe.steps(0.05)[-1] == 2 * (10**9 - 1) and recipe.end == pytest.approx(0.1 * (10**9 - 1))
    expected = estimate(recipe, tmp_path / "a.nc")
    assert expected.steps == 2 * (10**9 - 1) and not expected.fits
    with pytest.raises(OSError, match="must hold"):
        simulate(Burgers(), LINE, TruncatedFourier(2), tmp_path / "a.nc", **{**SMALL, "frames": 10**9})


def test_what_memory_does_not_hold_is_refused_by_name(tmp_path, monkeypatch):
    with pytest.raises(MemoryError, match="symbols of the equation on the `grid` must fit into memory.*fewer points"):
        Recipe(Burgers(), Grid((10**12,), (1.0,)), TruncatedFourier(2), **SMALL)
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 1000}.get)
    recipe = Recipe(Burgers(), LINE, TruncatedFourier(2), **SMALL)
    assert recipe.memory_bytes > 5000
    with pytest.raises(MemoryError, match="all frames of a block must fit.*per `block`, fewer `frames`"):
        simulate(Burgers(), LINE, TruncatedFourier(2), tmp_path / "a.nc", **{**SMALL, "block": 4, "frames": 20})


def test_initial_fields_that_the_equation_has_no_solution_for_are_refused():
    with pytest.raises(ValueError, match="depth H . eta must be positive"):
        Recipe(ShallowWater(), PLANE, Channels((Bumps(1, 0.5, -2.0), Constant((0.0, 0.0)))), **SMALL)


def test_waves_that_are_dropped_are_said():
    with pytest.warns(UserWarning, match=r"of the mean square .* Burgers does not keep .* above \(5,\)"):
        Recipe(Burgers(), LINE, TruncatedFourier(7), **SMALL)
    Recipe(Advection(), LINE, TruncatedFourier(7), **SMALL)


def test_only_ladders_choose_steps():
    with pytest.raises(TypeError, match="`control` must be Ladder"):
        Recipe(Burgers(), LINE, TruncatedFourier(2), control=PID(), **{**SMALL, "dt": None})


def test_provenance_is_strict_json(tmp_path):
    given = {**SMALL, "dt": None, "control": Ladder(dt_max=math.inf)}
    data = simulate(Burgers(), LINE, TruncatedFourier(2), tmp_path / "a.nc", **given)

    def refuse(constant):
        raise AssertionError(constant)

    control = json.loads(str(data.provenance["control"]), parse_constant=refuse)
    assert control["dt_max"] == "inf" and control["dt_min"] is None
