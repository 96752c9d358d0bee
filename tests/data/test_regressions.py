"""Defects that were once there."""

import numpy as np
import pytest
import torch
import xarray

from sciml.core import Fields, Key
from sciml.data import Metadata, Trajectories, simulate, split
from sciml.grids import Grid
from sciml.pde import Burgers, TruncatedFourier


def test_fields_in_memory_and_in_dask_with_other_axis_orders_are_read_alike():
    a, b = np.random.default_rng(0).normal(size=(2, 2, 5, 6, 6))
    h = np.arange(6) * 0.5
    coords = {"x": h, "y": h, "time": np.arange(5) * 0.1}
    dims = ("trajectory", "time", "x", "y")
    plain = xarray.Dataset({"a": (dims, a), "b": (("trajectory", "time", "y", "x"), b.swapaxes(2, 3))}, coords)
    for chunked in ((), ("a",), ("b",), ("a", "b")):
        mixed = plain.copy()
        for name in chunked:
            mixed[name] = mixed[name].chunk({"time": 2})
        read = Trajectories.from_xarray(mixed).read([0, 1], 0, 5)
        assert torch.equal(read, torch.from_numpy(np.stack([a, b], axis=2)))


def test_a_split_with_the_seed_of_the_simulation_does_not_sort_the_initial_fields():
    grid, ids = Grid((16,), (1.0,)), torch.arange(64)
    u0 = TruncatedFourier(4).sample(Key(0, ids), grid)
    data = Trajectories.from_tensor(u0[:, None].repeat(1, 2, 1, 1), Metadata(Fields(("u",)), grid, 1.0, ids))
    train, test = split(data, (0.75, 0.25), seed=0)
    amplitude = torch.fft.rfft(u0[:, 0]).abs()[:, 1:5]
    for mode in range(4):
        inside, outside = amplitude[train.ids, mode], amplitude[test.ids, mode]
        assert float(inside.min()) < float(outside.max()) and float(outside.min()) < float(inside.max())


def test_values_per_trajectory_on_the_equation_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"single numbers here, got 'viscosity'.*parameters=\{'viscosity'"):
        simulate(
            Burgers(torch.tensor([0.1, 0.9])),
            Grid((16,), (1.0,)),
            TruncatedFourier(2),
            tmp_path / "x.nc",
            trajectories=4,
            frames=2,
            dt_frame=0.1,
            dt=0.1,
            seed=0,
            block=2,
        )
