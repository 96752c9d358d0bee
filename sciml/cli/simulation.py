"""From the options of `sciml simulate` to a recipe, and to who works on it."""

from pathlib import Path

from sciml.bench import demonstration_recipe, load_scenario, scenario_recipe
from sciml.bench.registry import FORMATS
from sciml.data import AbstractCompute, AbstractFormat, Estimate, Recipe, Scheduler, Serial, Workers
from sciml.data.compute import available_cores

_TEST_IDS = 1_000_000
_WORTH_WORKERS = 20.0  # seconds of work from which on processes are started


def recipe_for(
    what: str, size: str | None, test: bool, trajectories: int | None, points: int | None, seed: int | None
) -> Recipe:
    """The data of a scenario file (or its folder), else of the equation of that name.

    Raises:
        FileNotFoundError, ValueError: if it is neither, or an option does not go with it.
    """
    if not Path(what).exists() and what.isidentifier():
        if size is not None:
            raise ValueError(
                f"`--size` goes with a scenario, got {size!r} with the equation {what} by name, which has one. Give "
                "`--points` and `--trajectories`."
            )
        return demonstration_recipe(
            what,
            trajectories=32 if trajectories is None else trajectories,
            points=points,
            seed=0 if seed is None else seed,
            first_id=_TEST_IDS if test else 0,
        )
    if points is not None or seed is not None:
        raise ValueError(
            f"`--points` and `--seed` go with an equation by name, got them with the scenario {what}. Change them in "
            "the scenario."
        )
    scenario = load_scenario(Path(what), size or "default")
    config = scenario.test_data if test else scenario.train_data
    return scenario_recipe(scenario, config, trajectories)


def compute_for(alone: Estimate, workers: int | None, scheduler: str | None) -> AbstractCompute:
    """Who works on it: the scheduler, so many processes, or as many as there are cores where that pays.

    Raises:
        ValueError: if both a scheduler and workers are asked for.
    """
    if scheduler is not None:
        if workers is not None:
            raise ValueError(
                f"give `--scheduler` or `--workers`, not both: got {scheduler} and {workers}. The scheduler's workers "
                "are started by `dask worker`."
            )
        return Scheduler(scheduler)
    if workers is not None:
        return Workers(workers)
    many = min(available_cores(), alone.blocks - alone.finished)
    return Workers(many) if many > 1 and alone.seconds > _WORTH_WORKERS else Serial()


def format_named(name: str | None) -> AbstractFormat | None:
    """The format of that name; None leaves it to the name of the file."""
    return None if name is None else FORMATS[name]()
