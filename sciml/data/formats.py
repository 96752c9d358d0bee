"""How simulated blocks lie on the disk, and how they become the result: netCDF4 or Zarr."""

import abc
import contextlib
import errno
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import h5py
from jaxtyping import Float
from torch import Tensor

from sciml.core import require_extra
from sciml.core.atomic import sync
from sciml.data.blocks import written_once
from sciml.data.files import seal
from sciml.data.layout import create, create_zarr
from sciml.data.recipe import Recipe


class AbstractFormat(abc.ABC):
    """What data are written as; the content, and so its identity, is the same. Subclasses are frozen, and final."""

    @abc.abstractmethod
    def prepare(self, recipe: Recipe, folder: Path) -> None:
        """Make in the folder of the blocks what has to be there before the first of them.

        Raises:
            MissingExtraError: if the package of the format is not installed.
        """

    @abc.abstractmethod
    def write(self, recipe: Recipe, folder: Path, number: int, frames: Float[Tensor, "..."]) -> list[Path]:
        """Store a block, flushed to the disk; its files. Safe beside other blocks, and beside the same one."""

    @abc.abstractmethod
    def assemble(self, recipe: Recipe, folder: Path) -> Path:
        """All blocks as one sealed file or folder, still under a temporary name."""

    @abc.abstractmethod
    def bytes_needed(self, recipe: Recipe, missing: list[int]) -> int:
        """How much more the disk must hold at some moment until the result is complete."""


@final
@dataclass(frozen=True)
class NetCDF4(AbstractFormat):
    """One netCDF4 (HDF5) file. Until it is complete, the disk holds its blocks as well: twice its size."""

    def prepare(self, recipe: Recipe, folder: Path) -> None:
        """See `AbstractFormat.prepare`."""
        require_extra("netCDF4", "data")

    def write(self, recipe: Recipe, folder: Path, number: int, frames: Float[Tensor, "..."]) -> list[Path]:
        """See `AbstractFormat.write`; a file of our layout by itself."""
        path, rows = self._block(folder, number), recipe.blocks[number]
        with (
            written_once(path) as temporary,
            _clear_errors(temporary, recipe.stored_bytes(rows)),
            create(temporary, recipe.metadata(rows), recipe.frames, recipe.dtype) as file,
        ):
            for channel, name in enumerate(recipe.equation.fields.names):
                file[name][:] = frames[:, :, channel].numpy()
        return [path]

    def assemble(self, recipe: Recipe, folder: Path) -> Path:
        """See `AbstractFormat.assemble`."""
        temporary, size = folder / "assembled.tmp", recipe.stored_bytes(range(recipe.trajectories))
        try:
            with (
                _clear_errors(temporary, size),
                create(temporary, recipe.dated_metadata(), recipe.frames, recipe.dtype) as file,
            ):
                for number, rows in enumerate(recipe.blocks):
                    with h5py.File(self._block(folder, number), "r") as block:
                        for name in recipe.equation.fields.names:
                            file[name][rows.start : rows.stop] = block[name][...]  # type: ignore[index]
            with _clear_errors(temporary, 1 << 16):
                seal(temporary)
            sync(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def bytes_needed(self, recipe: Recipe, missing: list[int]) -> int:
        """See `AbstractFormat.bytes_needed`."""
        return _bytes(recipe, missing) + _bytes(recipe, range(len(recipe.blocks)))

    def _block(self, folder: Path, number: int) -> Path:
        return folder / f"block-{number:05d}.nc"


@final
@dataclass(frozen=True)
class Zarr(AbstractFormat):
    """A folder with a Zarr group, one file per block and field. Workers write it in place: no more than its size."""

    def prepare(self, recipe: Recipe, folder: Path) -> None:
        """See `AbstractFormat.prepare`."""
        require_extra("zarr", "data")
        if self._group(folder).exists():
            return
        temporary = folder / f"{uuid.uuid4().hex}.tmp"
        try:
            create_zarr(temporary, recipe.dated_metadata(), recipe.frames, recipe.dtype, self._rows(recipe))
            _sync_tree(temporary)
            os.replace(temporary, self._group(folder))
            sync(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def write(self, recipe: Recipe, folder: Path, number: int, frames: Float[Tensor, "..."]) -> list[Path]:
        """See `AbstractFormat.write`; a shard per field."""
        group: Any = require_extra("zarr", "data").open_group(self._group(folder), mode="r+")
        rows = recipe.blocks[number]
        paths = []
        for channel, name in enumerate(recipe.equation.fields.names):
            group[name][rows.start : rows.stop] = frames[:, :, channel].numpy()  # by a temporary file and a rename
            shard = [str(number), *["0"] * (group[name].ndim - 1)]
            path = self._group(folder).joinpath(name, "c", *shard)
            for entry in (path, *path.parents[: len(shard)]):
                sync(entry)
            paths.append(path)
        return paths

    def assemble(self, recipe: Recipe, folder: Path) -> Path:
        """See `AbstractFormat.assemble`."""
        group = self._group(folder)
        for left in group.rglob("*.partial"):  # of writers that were killed
            left.unlink(missing_ok=True)
        seal(group)
        with warnings.catch_warnings():  # the one about metadata that other programs may not know, but xarray asks for
            warnings.simplefilter("ignore")
            require_extra("zarr", "data").consolidate_metadata(group)
        _sync_tree(group)
        return group

    def bytes_needed(self, recipe: Recipe, missing: list[int]) -> int:
        """See `AbstractFormat.bytes_needed`."""
        return _bytes(recipe, missing)

    def _group(self, folder: Path) -> Path:
        return folder / "data.zarr"

    def _rows(self, recipe: Recipe) -> int:
        return min(recipe.block, recipe.trajectories)


def format_of(out: Path) -> AbstractFormat:
    """The format that a name asks for: `Zarr` for one that ends in `.zarr`, else `NetCDF4`."""
    return Zarr() if out.suffix == ".zarr" else NetCDF4()


def _bytes(recipe: Recipe, numbers: list[int] | range) -> int:
    """Bytes of some blocks with their descriptions."""
    return sum(recipe.stored_bytes(recipe.blocks[number]) + (1 << 15) for number in numbers)


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        sync(path)


@contextlib.contextmanager
def _clear_errors(path: Path, size: int) -> Iterator[None]:
    """Give the netCDF library's "HDF error" the number of the system's error: it is always the disk."""
    try:
        yield
    except RuntimeError as error:
        full = shutil.disk_usage(path.parent).free < size
        code = errno.ENOSPC if full else errno.EIO
        raise OSError(code, f"{os.strerror(code)} ({error})", str(path)) from error
