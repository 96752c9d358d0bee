"""A block of a recipe, solved: its trajectories together, frame by frame."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.data.recipe import Recipe
from sciml.grids import Grid, resample
from sciml.integrate import Fixed, SaveAt, SolveError, solve
from sciml.pde.step_limit import unstable_step


@torch.no_grad()
def solve_block(
    recipe: Recipe, rows: range, progress: Callable[[int], None] = lambda kept: None
) -> Float[Tensor, "batch time channel *space"]:
    """The stored frames of some trajectories; `progress(kept)` after each.

    Raises:
        SolveError: if a trajectory becomes non-finite; names it, the time, and the CFL limit where there is one.
    """
    kept = 0

    def stored(_: Tensor, y: Tensor) -> Tensor:
        nonlocal kept
        kept += 1
        progress(kept)
        return recipe.as_stored(system.decode(y))

    with torch_threads(recipe.threads):
        system = recipe.system(rows)
        u0 = recipe.initial_fields(rows)
        times = recipe.times
        solution = solve(
            system.term,
            recipe.chosen_method,
            system.encode(u0),
            0.0,
            float(times[-1]),
            control=recipe.control or Fixed(n=recipe.steps(recipe.dt)[-1]),  # type: ignore[arg-type]
            save=SaveAt(ts=times, fn=stored),
            throw=False,
        )
    if bool(solution.result.any()):
        raise SolveError(_failure(recipe, rows, u0, solution))
    return solution.ys.cpu()


def _failure(recipe: Recipe, rows: range, u0: Tensor, solution: Any) -> str:
    """Which trajectory was lost first, when, and why."""
    failed, steps = solution.result.nonzero()[:, 0], solution.stats.steps
    row = int(failed[steps[failed].argmin()])
    begin = (
        f"every trajectory must stay finite, but {len(failed)} of this block did not, first trajectory "
        f"{recipe.first_id + rows.start + row}"
    )
    if recipe.dt is None:
        return (
            f"{begin} after {int(steps[row])} steps, which became too small. The equation may blow up there; else take "
            "a finer grid or larger tolerances."
        )
    until = float(steps[row]) * recipe.dt
    small = Grid(recipe.stored_grid_points, recipe.grid.extent)
    kept = [(t, u) for t, u in zip(recipe.times.tolist(), solution.ys[row], strict=True) if 0 < t < until]
    frames = [(0.0, u0[row]), *((t, resample(u.double(), small, recipe.grid.points)) for t, u in kept)]
    reason = unstable_step(recipe.varied(rows[row : row + 1]), recipe.grid, frames, recipe.dt, recipe.chosen_method)
    return f"{begin} at or shortly before time {until:g}: {reason}"


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
