"""Where the frames of a rollout go: an xarray dataset, or a file that grows as they come."""

import os
from pathlib import Path
from typing import Any, final

import torch
import xarray
from jaxtyping import Float
from torch import Tensor

from sciml.core.atomic import prepare_folder, publish
from sciml.core.checks import check_at_least, check_shape
from sciml.data.files import seal
from sciml.data.layout import create
from sciml.data.lazy import as_dataset
from sciml.data.metadata import Metadata


@final
class XarraySink:
    """Collects frames; `close` returns an xarray dataset laid out as our files.

    With several members the rows are trajectories times members, members in succession (as `rollout` flattens
    them), and the dataset has an axis `member` after the trajectories.

    Args:
        metadata: the trajectories that are continued; its `t0` is the time of the first frame to come.
        members: ensemble size.
    """

    def __init__(self, metadata: Metadata, *, members: int = 1) -> None:
        check_at_least("members", members, 1)
        self.metadata, self.members = metadata, members
        self._frames: list[Tensor] = []

    def write(self, frames: Float[Tensor, "batch time channel *space"]) -> None:
        """Keep `frames` in host memory.

        Raises:
            ValueError: if the rows, channels or points are not those announced.
        """
        _check_frames(frames, self.metadata, self.members)
        self._frames.append(frames.detach().cpu())

    def close(self) -> xarray.Dataset:
        """All frames, one variable per field.

        Raises:
            ValueError: if nothing was written.
        """
        if not self._frames:
            raise ValueError("a sink must receive frames before it is closed, got none. Roll out at least one step.")
        values = torch.cat(self._frames, dim=1).unflatten(0, (-1, self.members)).unbind(3)
        arrays = [value.squeeze(1).numpy() if self.members == 1 else value.numpy() for value in values]
        frames = sum(part.shape[1] for part in self._frames)
        return as_dataset(self.metadata, frames, arrays, None if self.members == 1 else self.members)


@final
class NetCDFSink:
    """Streams frames to a netCDF4 file of our layout, which appears under its name when closed.

    Use it as a context manager where the rollout may fail: an exception then leaves no file behind.

    Args:
        path: the file to make; an existing one is replaced on `close`.
        metadata: the trajectories that are continued; its `t0` is the time of the first frame to come.
        dtype: of the stored values, float32 or float64.

    Raises:
        MissingExtraError: if netCDF4 is not installed.
        OSError: if the folder is not writable.
    """

    def __init__(self, path: str | os.PathLike[str], metadata: Metadata, *, dtype: torch.dtype = torch.float32) -> None:
        self.path, self.metadata = Path(path), metadata
        self._temporary = self.path.with_name(self.path.name + ".tmp")
        self._written = 0
        prepare_folder(self.path.parent)
        self._file: Any = create(self._temporary, metadata, None, dtype)

    def write(self, frames: Float[Tensor, "batch time channel *space"]) -> None:
        """Append `frames` to the file.

        Raises:
            ValueError: if the rows, channels or points are not those announced.
        """
        _check_frames(frames, self.metadata, 1)
        values = frames.detach().cpu().numpy()
        end = self._written + values.shape[1]
        for channel, name in enumerate(self.metadata.fields.names):
            self._file[name][:, self._written : end] = values[:, :, channel]
        self._written = end

    def close(self) -> Path:
        """Complete the file and give it its name.

        Raises:
            ValueError: if nothing was written.
        """
        if self._written == 0:
            self.discard()
            raise ValueError("a sink must receive frames before it is closed, got none. Roll out at least one step.")
        self._file["time"][:] = self.metadata.times(self._written).numpy()
        self._file.close()
        self._file = None
        seal(self._temporary)
        publish(self._temporary, self.path)
        return self.path

    def discard(self) -> None:
        """Remove what was written; a closed file stays."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> "NetCDFSink":
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


def _check_frames(frames: Tensor, metadata: Metadata, members: int) -> None:
    shape = (len(metadata.ids) * members, None, len(metadata.fields.names), *metadata.grid.points)
    check_shape("frames", frames, shape, "(trajectory * member, time, channel, *space)")
