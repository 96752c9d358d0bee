"""Reference data from an equation: blocks of trajectories, solved, stored, checked, assembled.

A block is either complete on disk or made again, and the content depends on the recipe alone. So an
interrupted run that is started again ends with the same content as an uninterrupted one, and the output file
appears under its name only when complete.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import h5py
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import FileContentError, require_extra
from sciml.core.atomic import publish
from sciml.data.blocks import BlockStore, parts_folder
from sciml.data.files import open_hdf5, seal
from sciml.data.layout import create, plain_attributes, stored
from sciml.data.recipe import Progress, Recipe
from sciml.data.trajectories import Trajectories
from sciml.grids import Grid
from sciml.integrate import ETDRK4, AbstractMethod
from sciml.pde import AbstractEquation, AbstractInitial


def simulate(
    equation: AbstractEquation,
    grid: Grid,
    initial: AbstractInitial,
    out: str | os.PathLike[str],
    *,
    trajectories: int,
    frames: int,
    dt_frame: float,
    dt: float,
    spin_up: float = 0.0,
    seed: int,
    first_id: int = 0,
    method: AbstractMethod | None = None,
    parameters: Mapping[str, Float[Tensor, " trajectory"]] | None = None,
    store_points: tuple[int, ...] | None = None,
    block: int = 32,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Trajectories:
    """Solve initial-value problems in float64 and store them in a netCDF4 file; resumes by itself.

    Args:
        equation: the PDE.
        grid: where it is solved.
        initial: random initial fields; trajectory n starts from the one keyed by (seed, first_id + n).
        out: the file to make. Finished blocks are kept beside it in `<out>.parts` until it is complete.
        trajectories: how many.
        frames: stored frames per trajectory, at least 2.
        dt_frame: time between stored frames, [time], a whole multiple of `dt`.
        dt: step of the integrator, [time].
        spin_up: time before the first stored frame, [time], 0 or a whole multiple of `dt`.
        seed: of the initial fields.
        first_id: identity of the first trajectory; choose disjoint ranges for training and test data.
        method: integration method, `ETDRK4()` by default.
        parameters: values of the equation's parameters that differ between trajectories.
        store_points: points per axis to store, by Fourier truncation; the grid's by default.
        block: trajectories solved together: the unit of work and of resuming. Memory holds all of its
            stored frames.
        dtype: of the stored values, float32 or float64.
        device: where to solve.
        overwrite: replace a file, and discard blocks, of another configuration.
        progress: called as `progress(done, total)`, counted in stored frames of all trajectories.

    Returns:
        The trajectories in the file. A complete file of the same configuration is returned at once.

    Raises:
        ValueError, TypeError: for arguments that cannot work, before the first step.
        FileExistsError: if the file or its blocks belong to another configuration and `overwrite` is not set.
        FileContentError: if the file that exists cannot be read.
        OSError: if the folder is not writable.
        SolveError: if a trajectory becomes non-finite; names its id and the time.
        MissingExtraError: if netCDF4 is not installed.
    """
    require_extra("netCDF4", "data")
    out = Path(out)
    recipe = Recipe(
        equation=equation,
        grid=grid,
        initial=initial,
        trajectories=trajectories,
        frames=frames,
        dt_frame=dt_frame,
        dt=dt,
        spin_up=spin_up,
        seed=seed,
        first_id=first_id,
        method=method or ETDRK4(),
        parameters=dict(parameters or {}),
        store_points=store_points or grid.points,
        block=block,
        dtype=dtype,
        device=torch.device(device),
    )
    total = trajectories * frames
    if _is_finished(out, recipe.digest, overwrite):
        _tidy(recipe, out)
    else:
        _make(recipe, out, overwrite, progress)
    if progress is not None:
        progress(total, total)
    return Trajectories.open(out)


def _make(recipe: Recipe, out: Path, overwrite: bool, progress: Progress | None) -> None:
    store = BlockStore(out, recipe.configuration, recipe.digest, overwrite=overwrite)
    try:
        for number, rows in enumerate(recipe.blocks):
            if not store.finished(number):
                frames = recipe.solve(rows, progress)
                store.save(number, lambda path, rows=rows, frames=frames: recipe.write(path, rows, frames))
            if progress is not None:
                progress(rows.stop * recipe.frames, recipe.trajectories * recipe.frames)
        _assemble(recipe, store, out)
        store.remove()
    finally:
        store.release()


def _assemble(recipe: Recipe, store: BlockStore, out: Path) -> None:
    """All blocks in one file; built in the parts folder, so that a kill leaves nothing else behind."""
    temporary = store.folder / "assembled.tmp"
    with create(temporary, recipe.metadata(range(recipe.trajectories)), recipe.frames, recipe.dtype) as file:
        for number, rows in enumerate(recipe.blocks):
            with h5py.File(store.path(number), "r") as block:
                for name in recipe.equation.fields.names:
                    file[name][rows.start : rows.stop] = stored(block, name)[...]
    seal(temporary)
    publish(temporary, out)


def _is_finished(out: Path, wanted: str, overwrite: bool) -> bool:
    """Whether `out` holds this configuration; refuses another one unless it may be replaced."""
    if not out.exists():
        return False
    try:
        with open_hdf5(out) as file:
            found = plain_attributes(file.attrs).get("configuration_digest")
    except FileContentError:
        if overwrite:
            return False
        raise
    if found == wanted:
        return True
    if overwrite:
        return False
    raise FileExistsError(
        f"{out} must not hold other data, but its configuration is {str(found)[:12]}, not {wanted[:12]}. "
        "Choose another name, or set overwrite=True to replace it."
    )


def _tidy(recipe: Recipe, out: Path) -> None:
    """Remove blocks left by a run that was killed after it had completed the file."""
    if parts_folder(out).exists():
        with contextlib.suppress(FileExistsError, BlockingIOError):  # another configuration's, or at work
            store = BlockStore(out, recipe.configuration, recipe.digest, overwrite=False)
            store.remove()
            store.release()
