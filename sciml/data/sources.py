"""Where values come from: memory, a file or Zarr group, or xarray arrays. All answer the same question lazily.

A batched read names, for every window, a trajectory and its frames. `plan` groups these by the chunks they
fall into and merges neighbouring chunks into runs, so that one call reads one run and no chunk is decoded
twice per batch.
"""

import abc
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import xarray
from jaxtyping import Float
from torch import Tensor

from sciml.core import FileContentError, require_extra
from sciml.data.containers import AbstractContainer, open_container
from sciml.data.layout import CHUNK_BYTES

TORCH_DTYPES = {np.dtype("f4"): torch.float32, np.dtype("f8"): torch.float64}


class AbstractSource(abc.ABC):
    """Values (trajectory, time, channel, *space), read by trajectory and frame. Subclasses are final."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @abc.abstractmethod
    def read(self, rows: np.ndarray, frames: np.ndarray, channels: Sequence[int]) -> Float[Tensor, "..."]:
        """Windows (batch, time, channel, *space).

        Args:
            rows: trajectory number of each window, (batch,) int64, valid.
            frames: frame numbers of each window, (batch, time) int64, valid.
            channels: channel numbers to read.
        """


@final
class MemorySource(AbstractSource):
    """A tensor (trajectory, time, channel, *space)."""

    def __init__(self, values: Float[Tensor, "trajectory time channel *space"]) -> None:
        self.values = values.contiguous()
        self.shape = tuple(values.shape)
        self.dtype = values.dtype

    def read(self, rows: np.ndarray, frames: np.ndarray, channels: Sequence[int]) -> Float[Tensor, "..."]:
        """See `AbstractSource.read`."""
        flat = torch.from_numpy((rows[:, None] * self.shape[1] + frames).ravel()).to(self.values.device)
        taken = self.values.flatten(0, 1).index_select(0, flat)
        if len(channels) != self.shape[2]:
            taken = taken[:, list(channels)]
        return taken.unflatten(0, frames.shape)


@dataclass(slots=True)
class _Run:
    """One rectangle to read, and where its entries go: out[window, time] = block[row, frame]."""

    rows: slice
    frames: slice
    window: np.ndarray
    time: np.ndarray
    row: np.ndarray
    frame: np.ndarray


def plan(rows: np.ndarray, frames: np.ndarray, row_edges: np.ndarray, frame_edges: np.ndarray) -> Iterator[_Run]:
    """Rectangles that cover all requested frames; each chunk belongs to one of them.

    Args:
        rows: trajectory number of each window, (batch,).
        frames: frame numbers of each window, (batch, time).
        row_edges: boundaries of the chunks along trajectories, from 0.
        frame_edges: boundaries of the chunks along time, from 0.
    """
    length = frames.shape[1]
    row, frame = np.repeat(rows, length), frames.ravel()
    a = np.searchsorted(row_edges, row, side="right")
    b = np.searchsorted(frame_edges, frame, side="right")
    order = np.lexsort((b, a))
    starts = np.concatenate([[0], np.flatnonzero((np.diff(a[order]) != 0) | (np.diff(b[order]) > 1)) + 1])
    row, frame, window, time = row[order], frame[order], order // length, order % length
    bounds = [f.reduceat(x, starts).tolist() for x in (row, frame) for f in (np.minimum, np.maximum)]
    stops = [*starts[1:].tolist(), len(order)]
    for start, stop, r0, r1, f0, f1 in zip(starts.tolist(), stops, *bounds, strict=True):
        part = slice(start, stop)
        yield _Run(slice(r0, r1 + 1), slice(f0, f1 + 1), window[part], time[part], row[part] - r0, frame[part] - f0)


def _edges(size: int, chunk: int) -> np.ndarray:
    return np.arange(0, size + chunk, chunk)


@final
class FileSource(AbstractSource):
    """Variables of a file or Zarr group, opened on first use in each process; pickles without the open file."""

    def __init__(self, path: Path, names: Sequence[str], shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.path, self.names, self.shape, self.dtype = path, tuple(names), shape, dtype
        self._file: AbstractContainer | None = None
        self._variables: list[Any] = []
        self._edges: tuple[np.ndarray, np.ndarray] | None = None
        self._process = -1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_variables": [], "_process": -1}

    def _opened(self) -> list[Any]:
        if self._process != os.getpid():
            if self._file is not None:  # inherited by a fork: let go of the parent's handle, open our own
                self._file.close()
            self._file = open_container(self.path)
            self._variables = [self._file.variable(name).values for name in self.names]
            self._process = os.getpid()
        return self._variables

    def _chunk_edges(self, variable: Any) -> tuple[np.ndarray, np.ndarray]:
        if self._edges is None:
            frame_bytes = variable.dtype.itemsize * int(np.prod(variable.shape[2:]))
            row_chunk, frame_chunk = (variable.chunks or (1, max(1, CHUNK_BYTES // frame_bytes)))[:2]
            self._edges = _edges(self.shape[0], row_chunk), _edges(self.shape[1], frame_chunk)
        return self._edges

    def read(self, rows: np.ndarray, frames: np.ndarray, channels: Sequence[int]) -> Float[Tensor, "..."]:
        """See `AbstractSource.read`."""
        variables = self._opened()
        out = np.empty((*frames.shape, len(channels), *self.shape[3:]), variables[0].dtype)
        try:
            for run in plan(rows, frames, *self._chunk_edges(variables[0])):
                for place, channel in enumerate(channels):
                    out[run.window, run.time, place] = variables[channel][run.rows, run.frames][run.row, run.frame]
        except OSError as error:
            raise FileContentError(
                f"{self.path}: must be readable, but reading failed ({error}). The file is damaged or was "
                "replaced while open: make or copy it again."
            ) from error
        return torch.from_numpy(out)


@final
class XarraySource(AbstractSource):
    """Variables of an xarray dataset, backed by dask, by a file or by memory; only the runs asked for are
    read.

    Args:
        variables: one per channel.
        axes: names of the dimensions in the order trajectory (None if there is no such dimension), time,
            *space.
    """

    def __init__(self, variables: Sequence[xarray.Variable], axes: tuple[str | None, ...]) -> None:
        self.variables, self.axes = tuple(variables), axes
        sizes = variables[0].sizes
        points = tuple(sizes[axis] for axis in axes[2:] if axis is not None)
        self.shape = (sizes[axes[0]] if axes[0] else 1, sizes[axes[1]], len(variables), *points)
        self.dtype = TORCH_DTYPES[np.result_type(*(v.dtype for v in variables)).newbyteorder("=")]
        self._edges = self._chunk_edges(axes[0], self.shape[0]), self._chunk_edges(axes[1], self.shape[1])

    def _chunk_edges(self, axis: str | None, size: int) -> np.ndarray:
        first = self.variables[0]
        if axis is None:
            return _edges(1, 1)
        if first.chunks is not None:
            return np.concatenate([[0], np.cumsum(first.chunksizes[axis])])
        stored = first.encoding.get("preferred_chunks") or {}
        return _edges(size, stored.get(axis, 1))

    def read(self, rows: np.ndarray, frames: np.ndarray, channels: Sequence[int]) -> Float[Tensor, "..."]:
        """See `AbstractSource.read`."""
        runs = list(plan(rows, frames, *self._edges))
        blocks = self._loaded([self._lazy(self.variables[c], run) for run in runs for c in channels])
        out = torch.empty(*frames.shape, len(channels), *self.shape[3:], dtype=self.dtype)
        target = out.numpy()
        for n, run in enumerate(runs):
            for place in range(len(channels)):
                target[run.window, run.time, place] = blocks[n * len(channels) + place][run.row, run.frame]
        return out

    def _lazy(self, variable: xarray.Variable, run: _Run) -> xarray.Variable:
        trajectory, time = self.axes[:2]
        return variable.isel({time: run.frames} | ({trajectory: run.rows} if trajectory else {}))

    def _loaded(self, parts: list[xarray.Variable]) -> list[np.ndarray]:
        axes = tuple(axis for axis in self.axes if axis)
        chunked = [n for n, part in enumerate(parts) if part.chunks is not None]
        if chunked:
            # One graph for the whole batch. A forked worker has none of the parent's threads to run it on.
            in_worker = torch.utils.data.get_worker_info() is not None
            options = {"scheduler": "synchronous"} if in_worker else {}
            values = require_extra("dask", "data").compute(*(parts[n].data for n in chunked), **options)
            for n, value in zip(chunked, values, strict=True):
                parts[n] = parts[n].copy(data=value)
        blocks = [part.load().transpose(*axes).values for part in parts]
        return [block if self.axes[0] else block[None] for block in blocks]
