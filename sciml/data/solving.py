"""A block of a recipe, solved: its trajectories together, frame by frame."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.data.recipe import Recipe, check_memory
from sciml.grids import Grid, resample
from sciml.integrate import Fixed, SaveAt, SolveError, solve
from sciml.pde.spectral import Spectral
from sciml.pde.start import check_fields
from sciml.pde.step_limit import LastSeen, one_row, shrunken_steps, unstable_step, watched


@torch.no_grad()
def solve_block(
    recipe: Recipe, rows: range, progress: Callable[[int], None] = lambda kept: None
) -> Float[Tensor, "batch time channel *space"]:
    """The stored frames of some trajectories; `progress(kept)` after each.

    Raises:
        SolveError: if a trajectory becomes non-finite; names it, the time, and the CFL limit where there is one.
        ValueError: if the equation has no solution for an initial field.
        MemoryError: if the memory of this machine does not hold the block.
    """
    if torch.device(recipe.device).type == "cpu":
        remedy = "Take fewer trajectories per `block`, fewer `frames`, or fewer points of the `grid`"
        check_memory("all frames of a block", recipe.memory_bytes, remedy)
    kept = 0

    def stored(_: Tensor, y: Tensor) -> Tensor:
        nonlocal kept
        kept += 1
        progress(kept)
        return recipe.as_stored(system.decode(y))

    with torch_threads(recipe.threads):
        system = recipe.system(rows)
        u0 = recipe.initial_fields(rows)
        check_fields(system.equation, recipe.grid, u0)
        term, seen = watched(system.term)
        times = recipe.times
        solution = solve(
            term,
            recipe.chosen_method,
            system.encode(u0),
            0.0,
            recipe.end,
            control=recipe.control or Fixed(n=recipe.steps(recipe.dt)[-1]),  # type: ignore[arg-type]
            save=SaveAt(ts=times, fn=stored),
            throw=False,
        )
    if bool(solution.result.any()):
        raise SolveError(_failure(recipe, rows, system, u0, solution, seen))
    return solution.ys.cpu()


def _failure(recipe: Recipe, rows: range, system: Spectral, u0: Tensor, solution: Any, seen: LastSeen) -> str:
    """Which trajectory was lost first, when, and why."""
    failed, steps = solution.result.nonzero()[:, 0], solution.stats.steps
    row = int(failed[steps[failed].argmin()])
    begin = (
        f"every trajectory must stay finite, but {len(failed)} of this block did not, first trajectory "
        f"{recipe.first_id + rows.start + row}"
    )
    if recipe.dt is None:
        size, method = float(solution.stats.last_step[row]), recipe.chosen_method
        return f"{begin}: " + shrunken_steps(system, seen, row, size, int(steps[row]), method)
    until = float(steps[row]) * recipe.dt
    small = Grid(recipe.stored_grid_points, recipe.grid.extent)
    kept = [(t, u) for t, u in zip(recipe.times.tolist(), solution.ys[row], strict=True) if 0 < t < until]
    frames = [(0.0, u0[row]), *((t, resample(u.double(), small, recipe.grid.points)) for t, u in kept)]
    reason = unstable_step(one_row(system.equation, row), recipe.grid, frames, recipe.dt, recipe.chosen_method)
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
