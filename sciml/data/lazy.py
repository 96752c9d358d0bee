"""The xarray view of trajectories: values are read when xarray asks for them, and only those."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import xarray
from xarray.backends import BackendArray
from xarray.core import indexing

from sciml.data.layout import file_attributes
from sciml.data.metadata import Metadata
from sciml.data.sources import AbstractSource


@final
class LazyField(BackendArray):
    """One channel as an array (trajectory, time, *space) that reads what is indexed.

    Args:
        source: where the values are.
        channel: which channel.
        rows: trajectory numbers of the view.
        frames: frame numbers of the view.
        dtype: of the values handed out.
    """

    def __init__(
        self, source: AbstractSource, channel: int, rows: np.ndarray, frames: np.ndarray, dtype: np.dtype
    ) -> None:
        self.source, self.channel, self.rows, self.frames = source, channel, rows, frames
        self.shape = (len(rows), len(frames), *source.shape[3:])
        self.dtype = dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        scalars = tuple(axis for axis, part in enumerate(key) if isinstance(part, int | np.integer))
        rows, frames, *space = (np.arange(n)[part].reshape(-1) for n, part in zip(self.shape, key, strict=True))
        wanted = np.broadcast_to(self.frames[frames], (len(rows), len(frames)))
        values = self.source.read(self.rows[rows], wanted, [self.channel])[:, :, 0].numpy(force=True)
        if [len(part) for part in space] != list(self.shape[2:]) or any((np.diff(part) != 1).any() for part in space):
            values = values[np.ix_(np.arange(len(rows)), np.arange(len(frames)), *space)]
        return values.squeeze(scalars).astype(self.dtype, copy=False)


def as_dataset(metadata: Metadata, frames: int, values: Sequence[Any], members: int | None = None) -> xarray.Dataset:
    """An xarray dataset in the layout of our files, with a `member` axis after the trajectories if asked for.

    Args:
        metadata: description of the trajectories.
        frames: how many frames there are.
        values: one array per field, (trajectory, [member,] time, *space).
        members: size of the member axis, or None for no such axis.
    """
    ensemble = () if members is None else ("member",)
    axes = ("trajectory", *ensemble, "time", *metadata.grid.axis_names)
    coordinates = {
        "trajectory": metadata.ids.numpy(),
        "time": metadata.times(frames).numpy(),
        **{name: x.numpy() for name, x in zip(metadata.grid.axis_names, metadata.grid.axes(), strict=True)},
        **({} if members is None else {"member": np.arange(members)}),
    }
    units = metadata.fields.units
    fields = {
        name: (axes, array, {"units": unit})
        for name, array, unit in zip(metadata.fields.names, values, units, strict=True)
    }
    parameters = {name: ("trajectory", value.numpy()) for name, value in metadata.parameters.items()}
    return xarray.Dataset({**fields, **parameters}, coordinates, file_attributes(metadata))


def lazy_array(
    source: AbstractSource, channel: int, rows: np.ndarray, frames: np.ndarray, dtype: np.dtype
) -> indexing.LazilyIndexedArray:
    """A channel that xarray slices without reading."""
    return indexing.LazilyIndexedArray(LazyField(source, channel, rows, frames, dtype))
