"""Reference data from an equation: blocks of trajectories, solved, stored, checked, assembled.

A block is either complete on disk or made again, and the content depends on the recipe alone: not on who solved which
block when. So an interrupted run that is started again ends with the same content as an uninterrupted one, and the
output appears under its name only when complete.
"""

import contextlib
import errno
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import FileContentError
from sciml.core.atomic import sync
from sciml.data.blocks import BlockStore, parts_folder, records
from sciml.data.compute import AbstractCompute, BlockTask, Serial
from sciml.data.containers import is_zarr, open_container
from sciml.data.formats import AbstractFormat, format_of
from sciml.data.recipe import Recipe
from sciml.data.trajectories import Trajectories
from sciml.grids import Grid
from sciml.integrate import AbstractControl, AbstractMethod
from sciml.pde import AbstractEquation, AbstractInitial, AbstractRandom

Progress = Callable[[int, int], None]


def simulate(
    equation: AbstractEquation,
    grid: Grid,
    initial: AbstractInitial,
    out: str | os.PathLike[str],
    *,
    trajectories: int,
    frames: int,
    dt_frame: float,
    dt: float | None = None,
    control: AbstractControl | None = None,
    spin_up: float = 0.0,
    seed: int,
    first_id: int = 0,
    method: AbstractMethod | None = None,
    parameters: Mapping[str, Float[Tensor, " trajectory"] | AbstractRandom] | None = None,
    store_points: tuple[int, ...] | None = None,
    block: int = 32,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    threads: int = 1,
    compute: AbstractCompute | None = None,
    format: AbstractFormat | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Trajectories:
    """Solve initial-value problems in float64 and store them; resumes by itself. `Recipe` and `produce` in one call.

    Args:
        equation, grid, initial: see `Recipe`.
        out: the file to make, see `produce`.
        trajectories, frames, dt_frame, dt, control, spin_up, seed, first_id, method: see `Recipe`.
        parameters, store_points, block, dtype, device, threads: see `Recipe`.
        compute, format, overwrite, progress: see `produce`.

    Returns:
        The trajectories in the file. A complete file of the same configuration is returned at once.

    Raises:
        ValueError, TypeError: for arguments that cannot work, before the first step.
        Exception: see `produce`.
    """
    recipe = Recipe(
        equation,
        grid,
        initial,
        trajectories=trajectories,
        frames=frames,
        dt_frame=dt_frame,
        dt=dt,
        control=control,
        spin_up=spin_up,
        seed=seed,
        first_id=first_id,
        method=method,
        parameters=dict(parameters or {}),
        store_points=store_points,
        block=block,
        dtype=dtype,
        device=device,
        threads=threads,
    )
    return produce(recipe, out, compute=compute, format=format, overwrite=overwrite, progress=progress)


def produce(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    compute: AbstractCompute | None = None,
    format: AbstractFormat | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Trajectories:
    """Make the data of a recipe; resumes by itself, with any `compute`.

    Args:
        recipe: what to make.
        out: the file to make, or the folder of a Zarr group. Finished blocks are kept beside it in `<out>.parts`
            until it is complete.
        compute: who solves the blocks: `Serial()` by default, `Workers()` or `Scheduler(address)`.
        format: `NetCDF4()` or `Zarr()`; by default what the name says, Zarr if it ends in `.zarr`.
        overwrite: replace data, and discard blocks, of another configuration.
        progress: called as `progress(done, total)`, counted in stored frames of all trajectories.

    Returns:
        The trajectories. Complete data of the same configuration are returned at once.

    Raises:
        FileExistsError: if the file or its blocks belong to another configuration and `overwrite` is not set, or a
            folder stands in the way.
        FileContentError: if the file that exists, or what says whose blocks lie beside it, cannot be read.
        BlockingIOError: if another process is making the same file.
        OSError: if the folder is not writable, or the disk does not hold the data; finished blocks are kept.
        SolveError: if a trajectory becomes non-finite; names its id and the time.
        ConnectionError, LostWorkersError: if there is no scheduler or worker, or they are lost again and again.
        MissingExtraError: if the package of the format, or dask, is not installed.
    """
    out = Path(out).absolute()
    if is_finished(out, recipe.digest, overwrite):
        _tidy(recipe, out)
    else:
        _make(recipe, out, compute or Serial(), format or format_of(out), overwrite, progress)
    if progress is not None:
        progress(recipe.trajectories * recipe.frames, recipe.trajectories * recipe.frames)
    return Trajectories.open(out)


def _make(
    recipe: Recipe,
    out: Path,
    compute: AbstractCompute,
    format: AbstractFormat,
    overwrite: bool,
    progress: Progress | None,
) -> None:
    with _full_disk(out, recipe):
        store = BlockStore(out, recipe.configuration, recipe.digest, overwrite=overwrite)
    try:
        missing = [number for number in range(len(recipe.blocks)) if not store.finished(number)]
        check_space(out, format.bytes_needed(recipe, missing))
        with _full_disk(out, recipe):
            format.prepare(recipe, store.folder)
            if missing:
                compute.run(BlockTask(recipe, format, store.folder), missing, _counter(recipe, missing, progress))
            _publish(format.assemble(recipe, store.folder), out, store.folder)
        store.remove()
    finally:
        store.release()


def _counter(recipe: Recipe, missing: Sequence[int], progress: Progress | None) -> Callable[[int, int], None]:
    """Adds up the frames of all blocks."""
    if progress is None:
        return lambda number, frames: None
    sizes, total = [len(rows) for rows in recipe.blocks], recipe.trajectories * recipe.frames
    # A block that is begun again because its worker died does not count down.
    kept = dict.fromkeys(range(len(sizes)), recipe.frames) | dict.fromkeys(missing, 0)

    def report(number: int, frames: int) -> None:
        kept[number] = max(kept[number], frames)
        progress(sum(frames * sizes[n] for n, frames in kept.items()), total)

    progress(total - recipe.frames * sum(sizes[number] for number in missing), total)
    return report


def _publish(temporary: Path, out: Path, folder: Path) -> None:
    """Give the result its name. A folder replaces nothing, so what is there moves aside first."""
    if out.exists() and (out.is_dir() or temporary.is_dir()):
        os.replace(out, folder / "replaced")
    os.replace(temporary, out)
    sync(out.parent)


def check_space(out: Path, needed: int) -> None:
    """Raise unless the disk of `out` holds so many bytes more."""
    free = shutil.disk_usage(out.parent).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"the disk of {out} must hold {in_words(needed)} more, but {in_words(free)} are free. Make space, store "
            "fewer trajectories, frames or points, write Zarr, which needs no second copy, or choose another disk",
        )


@contextlib.contextmanager
def _full_disk(out: Path, recipe: Recipe) -> Iterator[None]:
    """A disk that becomes full, in our words."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        done = records(parts_folder(out))
        free = shutil.disk_usage(out.parent).free
        raise OSError(
            error.errno,
            f"the disk of {out} must hold the data, but it is full ({in_words(free)} free). Nothing is lost: {done} of "
            f"{len(recipe.blocks)} blocks are finished. Make space, and run the same again to continue",
        ) from error


def in_words(count: int) -> str:
    """Bytes with a unit that suits them."""
    power = min(4, int(math.log10(max(1, count))) // 3)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def is_finished(out: Path, wanted: str, overwrite: bool) -> bool:
    """Whether `out` holds the configuration with this digest; refuses another one unless it may be replaced."""
    if not out.exists():
        return False
    if out.is_dir() and not is_zarr(out):
        raise FileExistsError(f"{out} must be free or hold simulated data, but it is a folder. Choose another name.")
    try:
        with open_container(out) as file:
            found = file.attributes.get("configuration_digest")
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
        # Another configuration's, at work, or damaged.
        with contextlib.suppress(FileExistsError, BlockingIOError, FileContentError):
            store = BlockStore(out, recipe.configuration, recipe.digest, overwrite=False)
            store.remove()
            store.release()
