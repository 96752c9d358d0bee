"""Small data sets for the tests of the data room."""

from pathlib import Path

import h5py
import torch
from torch import Tensor

from sciml.core import Fields
from sciml.data import Metadata, NetCDFSink, Trajectories
from sciml.grids import Grid

DT = 0.25


def metadata(trajectories: int = 5, *, points: tuple[int, ...] = (8,), channels: int = 2) -> Metadata:
    """Ids 10, 11, ...; t0 3; one parameter."""
    return Metadata(
        fields=Fields(tuple("uvw"[:channels]), ("m/s",) * channels),
        grid=Grid(points, tuple(2.0 + n for n in range(len(points)))),
        dt=DT,
        ids=torch.arange(10, 10 + trajectories),
        t0=3.0,
        parameters={"viscosity": torch.linspace(0.1, 0.5, trajectories)},
        provenance={"seed": 4, "title": "made for a test"},
    )


def values(trajectories: int = 5, frames: int = 12, *, points: tuple[int, ...] = (8,), channels: int = 2) -> Tensor:
    """Every value tells where it stands: 1000 trajectory + time, then the channel, then space in the decimals."""
    row = 1000.0 * torch.arange(trajectories).reshape(-1, 1, 1, *[1] * len(points))
    time = torch.arange(float(frames)).reshape(-1, 1, *[1] * len(points))
    channel = 100.0 * torch.arange(channels).reshape(-1, *[1] * len(points))
    space = torch.arange(float(torch.tensor(points).prod())).reshape(points) / 1024
    return (row + time + channel + space).float()


def memory(trajectories: int = 5, frames: int = 12, **shape) -> Trajectories:
    """The sample in memory."""
    return Trajectories.from_tensor(values(trajectories, frames, **shape), metadata(trajectories, **shape))


def file(path: Path, trajectories: int = 5, frames: int = 12, **shape) -> Path:
    """The sample as a file of our layout."""
    with NetCDFSink(path, metadata(trajectories, **shape)) as sink:
        sink.write(values(trajectories, frames, **shape))
        return sink.close()


def stored(file: h5py.File, name: str) -> h5py.Dataset:
    """A variable of an open file."""
    found = file[name]
    assert isinstance(found, h5py.Dataset)
    return found
