"""What is simulated, as recipes: the data of a scenario, or of an equation's demonstration."""

from sciml.bench.registry import demonstration
from sciml.bench.scenario import DataConfig, Scenario
from sciml.core.checks import check_whole
from sciml.data import Recipe
from sciml.grids import Grid
from sciml.pde.travelling_sines import ForcingAtStart


def scenario_recipe(scenario: Scenario, config: DataConfig, trajectories: int | None = None) -> Recipe:
    """The training or test data of a scenario; all trajectories that it names, or another number of them."""
    return Recipe(
        scenario.built_equation,
        scenario.grid(config.solve_points),
        scenario.built_initial,
        trajectories=config.trajectories if trajectories is None else trajectories,
        frames=config.frames,
        dt_frame=config.dt_stored,
        dt=config.dt,
        spin_up=config.spin_up,
        seed=config.seed,
        first_id=config.first_id,
        store_points=scenario.grid(config.points).points,
        block=config.block,
    )


def demonstration_recipe(
    name: str, *, trajectories: int = 32, points: int | None = None, seed: int = 0, first_id: int = 0
) -> Recipe:
    """Trajectories of the set-up that the gallery shows of an equation.

    Args:
        name: of the equation, as scenarios write it.
        trajectories: how many.
        points: per axis along the first one, the same spacing along the others; the set-up's own by default.
        seed: of the initial fields and of random forcing.
        first_id: identity of the first trajectory.

    Raises:
        ValueError: for an unknown name, or points that do not suit the equation or its initial fields.
    """
    setup = demonstration(name)
    grid = setup.grid
    if points is not None:
        check_whole("points", points, 4)
        grid = Grid(tuple(round(points * count / grid.points[0]) for count in grid.points), grid.extent)
    # A forcing that starts as the initial field is drawn anew for each trajectory, as the field is.
    drawn = {"forcing": setup.initial.forcing} if isinstance(setup.initial, ForcingAtStart) else {}
    return Recipe(
        setup.equation,
        grid,
        setup.initial,
        trajectories=trajectories,
        frames=setup.frames,
        dt_frame=setup.dt_frame,
        dt=setup.dt,
        seed=seed,
        first_id=first_id,
        parameters=drawn,
        block=max(1, min(32, 2**22 // (setup.frames * grid.size))),
    )
