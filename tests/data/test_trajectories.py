"""Every way in gives the same values; views, windows and xarray agree with plain indexing."""

import os
import pickle
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray

from sciml.core import FileContentError
from sciml.data import Metadata, Trajectories
from sciml.data.sources import plan
from sciml.grids import Grid
from tests.data import samples


def from_file(tmp_path, **shape):
    return Trajectories.open(samples.file(tmp_path / "a.nc", **shape))


def from_dask(tmp_path, **shape):
    dataset = samples.memory(**shape).to_xarray().load()
    return Trajectories.from_xarray(dataset.chunk({"trajectory": 2, "time": 5}))


def from_file_backed_xarray(tmp_path, **shape):
    return Trajectories.from_xarray(xarray.open_dataset(samples.file(tmp_path / "b.nc", **shape)))


def in_memory(tmp_path, **shape):
    return samples.memory(**shape)


WAYS = [from_file, from_dask, from_file_backed_xarray, in_memory]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request):
    return request.param


@pytest.mark.parametrize("points", [(8,), (4, 6), (4, 5, 6)])
def test_every_way_reads_the_same(way, tmp_path, points):
    data, want = way(tmp_path, points=points), samples.values(points=points)
    assert data.shape == tuple(want.shape)
    assert data.grid == samples.metadata(points=points).grid
    rows, starts = [4, 0, 0, 2], [3, 0, 1, 9]
    got = data.read(rows, starts, 3)
    assert torch.equal(got, torch.stack([want[r, s : s + 3] for r, s in zip(rows, starts, strict=True)]))
    assert torch.equal(data.read(range(5), 1, 4, stride=3), want[:, 1:11:3])
    assert torch.equal(data.load().read(range(5), 0, 12), want)


def test_description_survives_every_way(way, tmp_path):
    data, want = way(tmp_path), samples.metadata()
    assert data.fields == want.fields
    assert data.dt == samples.DT and torch.equal(data.ids, want.ids)
    assert torch.allclose(data.times, 3.0 + 0.25 * torch.arange(12))
    assert torch.equal(data.parameters["viscosity"].double(), want.parameters["viscosity"].double())
    assert data.provenance == want.provenance


def test_views_compose(way, tmp_path):
    data, want = way(tmp_path), samples.values()
    view = data.subset([3, 1]).crop(1, 11).every(3).subset(1)
    assert torch.equal(view.read(0, 0, 4), want[1:2, 1:11:3])
    assert view.dt == 3 * samples.DT and view.ids.tolist() == [11]
    assert torch.allclose(view.times, 3.25 + 0.75 * torch.arange(4))
    assert view.parameters["viscosity"].tolist() == pytest.approx([0.2])
    assert torch.equal(view.read([0, 0], [0, 1], 2, stride=2), want[1, [[1, 7], [4, 10]]])


def test_to_xarray_is_lazy_and_right(way, tmp_path):
    data, want = way(tmp_path, points=(4, 6)), samples.values(points=(4, 6)).numpy()
    dataset = data.subset([4, 2]).every(2).to_xarray()
    chosen = dataset.v.isel(trajectory=1, time=slice(1, 4), x=[3, 0], y=2)
    assert chosen.dims == ("time", "x")
    assert np.array_equal(chosen.values, want[2, 2:8:2, 1][:, [3, 0], 2])
    assert np.array_equal(dataset.u.values, want[[4, 2], ::2, 0])
    assert dataset.time.values.tolist() == [3.0 + 0.5 * n for n in range(6)]
    assert dataset.sel(trajectory=12).viscosity.item() == pytest.approx(0.3)


def test_to_xarray_reads_only_what_is_used(tmp_path, monkeypatch):
    data, asked = from_file(tmp_path), []
    read = type(data._source).read

    def spy(self, rows, frames, channels):
        asked.append((rows.tolist(), frames.size))
        return read(self, rows, frames, channels)

    monkeypatch.setattr(type(data._source), "read", spy)
    dataset = data.to_xarray()
    assert asked == []
    dataset.u.isel(trajectory=2, time=5).load()
    assert asked == [([2], 1)]


def test_dask_chunks_are_decoded_once_per_batch():
    dask = pytest.importorskip("dask.array", reason="dask (extra `data`) is not installed")
    decoded = []

    def block(block_info: Any = None):
        location = block_info[None]["array-location"]
        decoded.append(tuple(location))
        return np.zeros([b - a for a, b in location], "f4")

    array = dask.map_blocks(block, chunks=((2, 2), (5, 5, 2), (8,)), dtype="f4", meta=np.zeros((0, 0, 0), "f4"))
    dataset = xarray.Dataset({"u": (("trajectory", "time", "x"), array)}, {"time": np.arange(12.0)})
    data = Trajectories.from_xarray(dataset, extent=(1.0,))
    decoded.clear()
    data.read([0, 1, 0, 1, 0, 3], [0, 1, 2, 3, 4, 6], 2)
    assert sorted(decoded) == sorted(set(decoded)) and len(decoded) == 3


def test_plan_covers_every_request_and_no_chunk_twice():
    rng = np.random.default_rng(0)
    rows, frames = rng.integers(0, 10, 40), rng.integers(0, 90, 40)[:, None] + np.arange(0, 9, 3)
    row_edges, frame_edges = np.array([0, 3, 4, 10]), np.array([0, 7, 20, 21, 60, 99])
    out, chunks = np.zeros((40, 3, 2), int), []
    for run in plan(rows, frames, row_edges, frame_edges):
        out[run.window, run.time] = np.stack([run.rows.start + run.row, run.frames.start + run.frame], -1)
        a = {int(np.searchsorted(row_edges, r, "right")) for r in (run.rows.start, run.rows.stop - 1)}
        first, last = (int(np.searchsorted(frame_edges, f, "right")) for f in (run.frames.start, run.frames.stop - 1))
        assert len(a) == 1
        chunks += [(*a, b) for b in range(first, last + 1)]
    assert np.array_equal(out[..., 0], np.broadcast_to(rows[:, None], (40, 3)))
    assert np.array_equal(out[..., 1], frames)
    assert len(chunks) == len(set(chunks))


def test_plan_merges_neighbouring_chunks():
    runs = list(plan(np.array([0, 1]), np.array([[5, 6, 7], [0, 8, 16]]), np.arange(3), np.arange(0, 25, 6)))
    assert [(run.rows, run.frames) for run in runs] == [
        (slice(0, 1), slice(5, 8)),  # chunks 0 and 1
        (slice(1, 2), slice(0, 17)),  # chunks 0, 1 and 2
    ]


def test_dtype_on_reading(tmp_path):
    data = Trajectories.open(samples.file(tmp_path / "a.nc"), dtype=torch.float64)
    assert data.read(0, 0, 1).dtype == data.load().dtype == torch.float64
    assert data.to_xarray().u.dtype == np.float64


def test_pickles_without_its_open_file(tmp_path):
    data = from_file(tmp_path)
    data.read(0, 0, 1)
    assert torch.equal(pickle.loads(pickle.dumps(data)).read(2, 3, 4), samples.values()[2:3, 3:7])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # numerical threads exist, none is used
def test_file_is_reopened_after_fork(tmp_path):
    data = from_file(tmp_path)
    data.read(0, 0, 1)
    source: Any = data._source
    parent = source._file
    child = os.fork()
    if child == 0:
        right = torch.equal(data.read(2, 3, 4), samples.values()[2:3, 3:7])
        os._exit(0 if right and source._file is not parent else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(data.read(2, 3, 4), samples.values()[2:3, 3:7])


def test_time_axis_length_comes_from_the_fields(tmp_path):
    path = samples.file(tmp_path / "a.nc")
    with h5py.File(path, "a") as file:  # a file whose time coordinate is one longer than its fields
        del file["time"]
        file["time"] = 3.0 + 0.25 * np.arange(13)
    assert Trajectories.open(path).shape[1] == 12


def test_repr_and_len():
    assert repr(samples.memory()) == "Trajectories(u, v: 5 x 12 frames every 0.25 on 8)"
    assert len(samples.memory()) == 5


def test_read_refuses_what_does_not_exist():
    data = samples.memory()
    with pytest.raises(IndexError, match=r"`trajectories` must lie in 0..4, got 5"):
        data.read(5, 0, 1)
    with pytest.raises(IndexError, match=r"`start` must lie in 0..9, got 10"):
        data.read(0, 10, 3)
    with pytest.raises(IndexError, match=r"got -1"):
        data.subset(-1)
    with pytest.raises(TypeError, match="must be a whole number or a vector"):
        data.read(np.array([0.5]), 0, 1)
    with pytest.raises(ValueError, match="`frames` must be at least 1"):
        data.read(0, 0, 0)
    with pytest.raises(IndexError, match=r"0 <= start < stop <= 12, got start=4, stop=4"):
        data.crop(4, 4)
    with pytest.raises(ValueError, match="`n` must be at least 1"):
        data.every(0)
    with pytest.raises(ValueError, match=r"`values` must have shape \(5, any, 2, 8\)"):
        Trajectories.from_tensor(samples.values(4), samples.metadata(5))


def test_load_refuses_nan_unless_told(tmp_path):
    values = samples.values()
    values[3, 7, 1, 2] = torch.nan
    data = Trajectories.from_tensor(values, samples.metadata())
    with pytest.raises(FileContentError, match=r"'v' is not in trajectory 13 \(number 3\) at time 4.75.*subset"):
        data.load()
    assert torch.isnan(data.load(finite=False).read(3, 7, 1)).sum() == 1


def test_metadata_checks():
    base = samples.metadata()
    make: dict[str, Any] = dict(fields=base.fields, grid=base.grid, ids=base.ids, dt=0.1)
    for dt in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="`dt` must be positive"):
            Metadata(**{**make, "dt": dt})
    with pytest.raises(TypeError, match="`ids` must be integers"):
        Metadata(**{**make, "ids": torch.ones(3)})
    with pytest.raises(ValueError, match="'x' is used twice"):
        Metadata(**make, parameters={"x": torch.ones(5)})
    with pytest.raises(ValueError, match=r"one number per trajectory \(5\)"):
        Metadata(**make, parameters={"nu": torch.ones(4)})


# --- from_xarray ---------------------------------------------------------------------------------------------------


def foreign():
    """A dataset as others lay it out: other names, another order, no identities, a single precision clock."""
    u = np.random.default_rng(0).normal(size=(6, 6, 4, 5)).astype("f4")
    fields = {"u": (("t", "lon", "sample", "lat"), u, {"units": "m/s"}), "beta": ("sample", np.arange(4.0))}
    clock = (np.arange(6) * 0.1).astype("f4")
    coordinates = {"t": clock, "lon": np.arange(6) / 3, "lat": 2.0 * np.arange(5)}
    return xarray.Dataset({**fields, "mask": (("lon", "lat"), np.ones((6, 5)))}, coordinates)


NAMES: dict[str, Any] = dict(trajectory="sample", time="t", space=("lon", "lat"))


def test_foreign_names_and_order():
    dataset = foreign()
    data = Trajectories.from_xarray(dataset, **NAMES)
    assert data.shape == (4, 6, 1, 6, 5)
    assert data.grid.points == (6, 5) and data.grid.extent == pytest.approx((2.0, 10.0))
    assert data.dt == pytest.approx(0.1) and data.fields.units == ("m/s",)
    assert data.parameters["beta"].tolist() == [0, 1, 2, 3] and data.ids.tolist() == [0, 1, 2, 3]
    want = dataset.u.transpose("sample", "t", "lon", "lat").values
    assert np.array_equal(data.read([3, 1], 2, 3)[:, :, 0].numpy(), want[[3, 1], 2:5])


def test_dates_count_in_seconds_and_one_trajectory_needs_no_axis():
    times = np.datetime64("2020-01-01", "ns") + np.arange(7) * np.timedelta64(6, "h")
    dataset = xarray.Dataset({"u": (("time", "x"), np.ones((7, 8)))}, {"time": times, "x": np.arange(8.0)})
    data = Trajectories.from_xarray(dataset)
    assert data.shape == (1, 7, 1, 8) and data.dt == 6 * 3600 and data.dtype == torch.float64
    assert data.grid == Grid((8,), (8.0,))
    assert data.read(0, 2, 2).shape == (1, 2, 1, 8)


def line(**coordinates):
    return xarray.Dataset({"u": (("trajectory", "time", "x"), np.ones((2, 4, 8)))}, coordinates)


def test_from_xarray_refusals():
    good: dict[str, Any] = dict(time=np.arange(4.0), x=np.arange(8.0))
    with pytest.raises(ValueError, match="must name variables of the dataset, got \\['w'\\]"):
        Trajectories.from_xarray(line(**good), fields=["w"])
    with pytest.raises(ValueError, match="must name variables of the dataset, got \\[\\]"):
        Trajectories.from_xarray(line(**good), time="clock")
    with pytest.raises(ValueError, match="must have the time dimension 'clock'"):
        Trajectories.from_xarray(line(**good), fields=["u"], time="clock")
    with pytest.raises(ValueError, match=r"must have a coordinate.*assign_coords\(time="):
        Trajectories.from_xarray(line(x=np.arange(8.0)))
    with pytest.raises(ValueError, match=r"time\[2\]=2.5 where 2.33333 would be uniform"):
        Trajectories.from_xarray(
            line(time=[0.0, 1.2, 2.5, 3.5], x=np.arange(8.0))
            .isel(time=[0, 1, 2, 3])
            .assign_coords(time=[0.0, 1.1666666666666667, 2.5, 3.5])
        )
    with pytest.raises(ValueError, match="must increase in uniform steps"):
        Trajectories.from_xarray(line(time=[3.0, 2.0, 1.0, 0.0], x=np.arange(8.0)))
    with pytest.raises(ValueError, match=r"\['x'\] have no coordinate. Give extent"):
        Trajectories.from_xarray(line(time=np.arange(4.0)))
    with pytest.raises(ValueError, match="must have a role.*left over \\['lat', 'lev'\\]"):
        renamed = line(**good).rename(x="lat").expand_dims(lev=2, axis=3)
        Trajectories.from_xarray(renamed)
    with pytest.raises(ValueError, match="'v' has .'time', 'x'."):
        Trajectories.from_xarray(line(**good).assign(v=line(**good).u[0]))
    with pytest.raises(ValueError, match="must be float32 or float64, got int64"):
        Trajectories.from_xarray(line(**good).astype(int))
    with pytest.raises(ValueError, match="at least 2 values to have a spacing"):
        Trajectories.from_xarray(line(**good).isel(time=[0]))


def test_forecast_continues_the_trajectories():
    truth = samples.memory(frames=12)
    sink = truth.sink(range(1, 4), 2)
    for n in range(2, 12):
        sink.write(truth.read(range(1, 4), n, 1))
    forecast = sink.close()
    want = truth.to_xarray().isel(trajectory=slice(1, 4), time=slice(2, None)).load()
    xarray.testing.assert_identical(forecast.drop_attrs(deep=False), want.drop_attrs(deep=False))
    again = Trajectories.from_xarray(forecast)
    assert torch.equal(again.read(range(3), 0, 10), truth.read(range(1, 4), 2, 10))
