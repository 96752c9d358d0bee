"""`Trajectories`: a lazily read set of (trajectory, time, channel, *space), and views of it.

Views (`subset`, `every`, `crop`) share the source and read nothing. Nothing is resampled or repaired on
reading.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
import xarray
from jaxtyping import Float, Int
from torch import Tensor

from sciml.core import Fields, FileContentError
from sciml.core.checks import check_at_least, check_shape
from sciml.data.adopt import adopt
from sciml.data.containers import open_container
from sciml.data.layout import read_metadata
from sciml.data.lazy import as_dataset, lazy_array
from sciml.data.metadata import Metadata, Provenance
from sciml.data.sinks import XarraySink
from sciml.data.sources import AbstractSource, FileSource, MemorySource
from sciml.grids import Grid

Indices = int | Sequence[int] | range | np.ndarray | Tensor
_PIECE_BYTES = 1 << 25


@final
class Trajectories:
    """Fields along trajectories, read when asked for.

    Make one with `open`, `from_xarray` or `from_tensor`. Safe to hand to DataLoader workers: files are opened
    once per process, on first use.

    Args:
        source: where the values are.
        metadata: description of this view.
        rows: trajectories of the source that belong to the view; all by default.
        frames: frames of the source that belong to the view; all by default.
        dtype: of the values handed out; the source's by default.
    """

    def __init__(
        self,
        source: AbstractSource,
        metadata: Metadata,
        *,
        rows: np.ndarray | None = None,
        frames: range | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._source = source
        self._rows = np.arange(source.shape[0]) if rows is None else rows
        self._frames = range(source.shape[1]) if frames is None else frames
        self.metadata = metadata
        self.dtype = dtype or source.dtype

    @staticmethod
    def open(path: str | os.PathLike[str], *, dtype: torch.dtype | None = None) -> "Trajectories":
        """A netCDF4 file or Zarr group of our layout (see `sciml.data.layout`), read lazily.

        Args:
            path: the file, or the group's folder.
            dtype: cast values to this on reading; by default they stay as stored.

        Raises:
            FileNotFoundError: if there is no such file.
            FileContentError: if the file is truncated, neither netCDF4 nor Zarr, of another layout, or inconsistent.
        """
        path = Path(path)
        with open_container(path) as file:
            try:
                metadata, frames, stored = read_metadata(file, path)
            except OSError as error:
                raise FileContentError(
                    f"{path}: must be readable, but reading failed ({error}). The file is damaged: delete it "
                    "and copy or simulate it again."
                ) from error
        shape = (len(metadata.ids), frames, len(metadata.fields.names), *metadata.grid.points)
        return Trajectories(FileSource(path.absolute(), metadata.fields.names, shape, stored), metadata, dtype=dtype)

    @staticmethod
    def from_xarray(
        dataset: xarray.Dataset,
        *,
        fields: Sequence[str] | None = None,
        trajectory: str = "trajectory",
        time: str = "time",
        space: Sequence[str] | None = None,
        extent: Sequence[float] | None = None,
        dtype: torch.dtype | None = None,
    ) -> "Trajectories":
        """Any xarray dataset, lazily: dask- or file-backed arrays are read window by window, each chunk once.

        The box is taken to be periodic. Numeric variables on the trajectory axis alone become parameters.

        Args:
            dataset: e.g. from `xarray.open_dataset`.
            fields: variables to use as channels; by default those the dataset's attribute `fields` lists, or
                else all that have a time axis.
            trajectory: dimension of the trajectories; if the fields do not have it, there is one trajectory.
            time: dimension of time.
            space: dimensions of space in the order x, y, z; known by name if they are called x, y, z.
            extent: length of the box along each, [length]; by default from the coordinates.
            dtype: cast values to this on reading.

        Raises:
            ValueError: for names that are not there, dimensions without a role, non-uniform times or
                coordinates.
        """
        source, metadata = adopt(dataset, fields, trajectory, time, space, extent)
        return Trajectories(source, metadata, dtype=dtype)

    @staticmethod
    def from_tensor(values: Float[Tensor, "trajectory time channel *space"], metadata: Metadata) -> "Trajectories":
        """Values in memory.

        Raises:
            ValueError: if the shape does not fit the description.
        """
        fits = (len(metadata.ids), None, len(metadata.fields.names), *metadata.grid.points)
        check_shape("values", values, fits, "(trajectory, time, channel, *space)")
        return Trajectories(MemorySource(values), metadata)

    @property
    def fields(self) -> Fields:
        """Names and units of the channels."""
        return self.metadata.fields

    @property
    def grid(self) -> Grid:
        """Where the values live."""
        return self.metadata.grid

    @property
    def dt(self) -> float:
        """Time between frames, [time]."""
        return self.metadata.dt

    @property
    def times(self) -> Float[Tensor, " time"]:
        """Time of each frame, float64, [time]."""
        return self.metadata.times(len(self._frames))

    @property
    def ids(self) -> Int[Tensor, " trajectory"]:
        """Data-set identity of each trajectory; keys its random numbers."""
        return self.metadata.ids

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """PDE parameters, one number per trajectory for each name."""
        return self.metadata.parameters

    @property
    def provenance(self) -> Provenance:
        """How the values came about."""
        return self.metadata.provenance

    @property
    def shape(self) -> tuple[int, ...]:
        """(trajectory, time, channel, *space)."""
        return (len(self._rows), len(self._frames), *self._source.shape[2:])

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        names, points = ", ".join(self.fields.names), "x".join(map(str, self.grid.points))
        return f"Trajectories({names}: {len(self)} x {self.shape[1]} frames every {self.dt:g} on {points})"

    def read(
        self, trajectories: Indices, start: Indices, frames: int, stride: int = 1
    ) -> Float[Tensor, "batch time channel *space"]:
        """Windows of frames.

        Args:
            trajectories: numbers (not ids) of the trajectories, one per window.
            start: first frame of each window, or one for all.
            frames: how many frames per window.
            stride: take every stride-th frame.

        Raises:
            IndexError: if a window reaches beyond the trajectories or their frames.
            ValueError: for counts below 1.
            TypeError: for numbers that are not whole.
        """
        check_at_least("frames", frames, 1)
        check_at_least("stride", stride, 1)
        rows = _indices("trajectories", trajectories, len(self))
        starts = _indices("start", start, self.shape[1] - (frames - 1) * stride)
        return self.read_windows(rows, np.broadcast_to(starts, rows.shape), frames, stride)

    def read_windows(
        self, rows: np.ndarray, starts: np.ndarray, frames: int, stride: int
    ) -> Float[Tensor, "batch time channel *space"]:
        """`read` without its checks, for loops over known windows."""
        every = stride * self._frames.step
        wanted = (self._frames.start + starts * self._frames.step)[:, None] + np.arange(0, frames * every, every)
        return self._source.read(self._rows[rows], wanted, range(self.shape[2])).to(self.dtype)

    def pieces(self, overlap: int = 0) -> Iterator[tuple[int, int, Float[Tensor, "time channel *space"]]]:
        """All values in pieces of bounded size: (trajectory number, first frame, frames).

        Args:
            overlap: frames that a piece shares with the one before it.
        """
        frame_bytes = int(np.prod(self.shape[2:])) * self.dtype.itemsize
        length = max(overlap + 1, _PIECE_BYTES // frame_bytes)
        for row in range(len(self)):
            for start in range(0, max(1, self.shape[1] - overlap), length - overlap):
                count = min(length, self.shape[1] - start)
                yield row, start, self.read_windows(np.array([row]), np.array([start]), count, 1)[0]

    def load(self, *, finite: bool = True) -> "Trajectories":
        """The same with all values in memory.

        Args:
            finite: refuse NaN and infinite values.

        Raises:
            FileContentError: naming trajectory and time of the first value that is not finite.
        """
        values = torch.empty(self.shape, dtype=self.dtype)
        for row, start, frames in self.pieces():
            if finite:
                check_finite_frames(self.metadata, row, start, frames)
            values[row, start : start + len(frames)] = frames
        return Trajectories(MemorySource(values), self.metadata)

    def subset(self, trajectories: Indices) -> "Trajectories":
        """A view of some trajectories, by number.

        Raises:
            IndexError: for numbers that do not exist.
        """
        rows = _indices("trajectories", trajectories, len(self))
        return self._view(self.metadata.select(torch.from_numpy(rows)), self._rows[rows], self._frames)

    def every(self, n: int) -> "Trajectories":
        """A view of every n-th frame, so with n times the `dt`."""
        check_at_least("n", n, 1)
        return self._view(self.metadata.at(0, n), self._rows, self._frames[::n])

    def crop(self, start: int, stop: int | None = None) -> "Trajectories":
        """A view of the frames `start, ..., stop - 1`.

        Raises:
            IndexError: if no frame is left or the frames do not exist.
        """
        stop = self.shape[1] if stop is None else stop
        if not 0 <= start < stop <= self.shape[1]:
            raise IndexError(
                f"frames must satisfy 0 <= start < stop <= {self.shape[1]}, got start={start}, stop={stop}. "
                "Choose frames that exist."
            )
        return self._view(self.metadata.at(start), self._rows, self._frames[start:stop])

    def _view(self, metadata: Metadata, rows: np.ndarray, frames: range) -> "Trajectories":
        return Trajectories(self._source, metadata, rows=rows, frames=frames, dtype=self.dtype)

    def to_xarray(self) -> xarray.Dataset:
        """The same as an xarray dataset laid out as our files; values are read when used."""
        kind = np.dtype(np.float32 if self.dtype == torch.float32 else np.float64)
        frames = np.array(self._frames)
        arrays = [lazy_array(self._source, c, self._rows, frames, kind) for c in range(self.shape[2])]
        return as_dataset(self.metadata, self.shape[1], arrays)

    def sink(self, trajectories: Indices | None = None, start: int = 1, *, members: int = 1) -> XarraySink:
        """Collects frames that continue some of these trajectories from frame `start` on.

            forecast = rollout(stepper, truth.read(range(8), 0, n), 100, dt=truth.dt,
            sink=truth.sink(range(8), n))

        Args:
            trajectories: numbers of the trajectories, as given to `read`; all by default.
            start: frame number of the first frame to come: how many frames were given.
            members: ensemble size of the rollout.
        """
        check_at_least("start", start, 0)
        chosen = self if trajectories is None else self.subset(trajectories)
        return XarraySink(chosen.metadata.at(start), members=members)


def check_finite_frames(metadata: Metadata, row: int, start: int, frames: Float[Tensor, "time channel *space"]) -> None:
    """Raise FileContentError unless all frames of trajectory number `row` are finite."""
    if bool(torch.isfinite(frames).all()):
        return
    frame, channel = (~torch.isfinite(frames)).nonzero()[0][:2].tolist()
    raise FileContentError(
        f"every value must be finite, but {metadata.fields.names[channel]!r} is not in trajectory "
        f"{int(metadata.ids[row])} (number {row}) at time {metadata.t0 + metadata.dt * (start + frame):g}. "
        "Leave that trajectory out with `subset`, or make it again."
    )


def _indices(name: str, value: Indices, size: int) -> np.ndarray:
    """Whole numbers in [0, size) as a vector."""
    array = np.atleast_1d(np.asarray(value))
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(
            f"`{name}` must be a whole number or a vector of them, got {array.dtype} of shape {array.shape}. "
            "Give trajectory or frame numbers, not a mask."
        )
    bad = array[(array < 0) | (array >= size)]
    if len(bad) > 0:
        raise IndexError(
            f"`{name}` must lie in 0..{size - 1}, got {int(bad[0])}. Choose numbers that exist; they do not "
            "count from the end."
        )
    return array.astype(np.int64)
