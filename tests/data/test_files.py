"""Files: layout readable by others, identity, verification, and clear answers to bad ones."""

import importlib
import os
import shutil

import h5py
import netCDF4
import numpy as np
import pytest
import torch
import xarray

from sciml.core import FileContentError, MissingExtraError
from sciml.data import NetCDFSink, Trajectories, XarraySink, content_digest, verify
from tests.data import samples


def test_xarray_and_h5py_read_our_files(tmp_path):
    path, want = samples.file(tmp_path / "a.nc", points=(4, 6)), samples.values(points=(4, 6)).numpy()
    with xarray.open_dataset(path) as dataset:
        assert dataset.u.dims == ("trajectory", "time", "x", "y")
        assert np.array_equal(dataset.v.values, want[:, :, 1])
        assert dataset.u.units == "m/s" and dataset.attrs["Conventions"] == "CF-1.11"
        assert dataset.attrs["boundary_x"] == "periodic" and dataset.attrs["extent_y"] == 3.0
        assert np.allclose(dataset.time, 3 + 0.25 * np.arange(12)) and dataset.trajectory.values[0] == 10
        assert np.allclose(dataset.y, 0.5 * np.arange(6)) and dataset.viscosity.dims == ("trajectory",)
    with h5py.File(path) as file:
        assert np.array_equal(samples.stored(file, "u")[...], want[:, :, 0])
        assert samples.stored(file, "u").dtype == np.float32


def test_ncdump_reads_our_files(tmp_path):
    if shutil.which("ncdump") is None:
        pytest.skip("ncdump (package netcdf-bin) is not installed")
    import subprocess

    text = subprocess.run(
        ["ncdump", "-h", samples.file(tmp_path / "a.nc")], check=True, capture_output=True, text=True
    ).stdout
    assert "float u(trajectory, time, x)" in text


def test_chunks_hold_whole_frames_of_one_trajectory(tmp_path):
    path = samples.file(tmp_path / "a.nc", trajectories=2, frames=40, points=(64, 64), channels=1)
    with h5py.File(path) as file:
        assert samples.stored(file, "u").chunks == (1, 4, 64, 64)


def test_content_digest_sees_content_and_nothing_else(tmp_path):
    first, second = samples.file(tmp_path / "a.nc"), samples.file(tmp_path / "b.nc")
    assert content_digest(first) == content_digest(second)
    with netCDF4.Dataset(second, "a") as file:
        file.created, file.host = "yesterday", "elsewhere"
    assert content_digest(first) == content_digest(second)
    with netCDF4.Dataset(second, "a") as file:
        file.seed = 5
    assert content_digest(first) != content_digest(second)


@pytest.mark.parametrize("change", ["value", "unit", "name", "id"])
def test_content_digest_sees_every_change(tmp_path, change):
    path = samples.file(tmp_path / "a.nc")
    before = content_digest(path)
    with netCDF4.Dataset(path, "a") as file:
        if change == "value":
            file["v"][4, 11, 7] += 1e-3
        elif change == "unit":
            file["v"].units = "km/s"
        elif change == "name":
            file.renameVariable("v", "w")
        else:
            file["trajectory"][0] = 77
    assert content_digest(path) != before


def test_content_digest_does_not_depend_on_storage(tmp_path):
    path = samples.file(tmp_path / "a.nc")
    with xarray.open_dataset(path, decode_times=False) as dataset:
        encoding = {name: {"zlib": True, "chunksizes": (5, 3, 4), "_FillValue": None} for name in ("u", "v")}
        encoding |= {name: {"_FillValue": None} for name in ("time", "x", "viscosity")}
        dataset.load().to_netcdf(tmp_path / "b.nc", encoding=encoding)
    assert content_digest(tmp_path / "b.nc") == content_digest(path)


def test_verify_accepts_a_whole_file(tmp_path):
    verify(samples.file(tmp_path / "a.nc"))


def test_verify_names_the_first_value_that_is_not_finite(tmp_path):
    path = samples.file(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["v"][3, 7, 2] = np.nan
    with pytest.raises(FileContentError, match=r"'v' is nan in trajectory 13 \(number 3\) at time 4.75.*subset"):
        verify(path)


def test_verify_sees_a_changed_value(tmp_path):
    path = samples.file(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["v"][3, 7, 2] = 1.0
    with pytest.raises(FileContentError, match="must match its recorded checksum"):
        verify(path)


def test_verify_goes_through_large_variables_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("sciml.data.files._SLAB_BYTES", 100)
    path = samples.file(tmp_path / "a.nc")
    verify(path)
    with netCDF4.Dataset(path, "a") as file:
        file["u"][4, 11, 0] = np.inf
    with pytest.raises(FileContentError, match=r"'u' is inf in trajectory 14 \(number 4\) at time 5.75"):
        verify(path)


READERS = [Trajectories.open, verify, content_digest]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_unreadable_files_are_named(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"found nothing at .*missing.nc.*sciml simulate"):
        reader(tmp_path / "missing.nc")
    with pytest.raises(FileNotFoundError, match="found a folder at"):
        reader(tmp_path)
    whole = samples.file(tmp_path / "a.nc")
    cut = tmp_path / "cut.nc"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(FileContentError, match=r"cut.nc: .*truncated or damaged.*Delete it and copy or simulate"):
        reader(cut)
    (tmp_path / "text.nc").write_text("time,u\n0,1\n")
    with pytest.raises(FileContentError, match=r"text.nc: .*is no HDF5 file"):
        reader(tmp_path / "text.nc")
    (tmp_path / "classic.nc").write_bytes(b"CDF\x01" + bytes(100))
    with pytest.raises(FileContentError, match="classic netCDF file. Convert it with `nccopy -k nc4`"):
        reader(tmp_path / "classic.nc")


def test_damage_inside_is_named(tmp_path):
    path = tmp_path / "a.nc"
    with NetCDFSink(path, samples.metadata()) as sink:
        sink.write(samples.values())
        sink.close()
    data = Trajectories.open(path)
    with h5py.File(path, "a") as file:  # a compressed copy of a field, whose bytes are then destroyed
        values = samples.stored(file, "u")[...]
        del file["u"]
        variable = file.create_dataset("u", data=values, chunks=(1, 4, 8), compression="gzip")
        place = variable.id.get_chunk_info(0)
        offset, size = place.byte_offset, place.size
    with path.open("r+b") as raw:
        raw.seek(offset)
        raw.write(bytes(size))
    with pytest.raises(FileContentError, match=r"a.nc: must be readable.*damaged"):
        data.read(0, 0, 12)
    with pytest.raises(FileContentError, match=r"a.nc: must be readable to its end.*damaged"):
        content_digest(path)


def edited(tmp_path, edit):
    path = samples.file(tmp_path / "edited.nc")
    with h5py.File(path, "a") as file:
        edit(file)
    return path


def replace(file, name, values):
    del file[name]
    file[name] = values


EDITS = {
    r"must be a trajectory file of layout 1, got sciml_layout=None.*from_xarray": lambda f: f.attrs.pop("sciml_layout"),
    r"'v' is missing": lambda f: f.pop("v"),
    r"'dt' is missing": lambda f: f.attrs.pop("dt"),
    r"'u' must have dimensions .*\(5, 12\)": lambda f: replace(f, "u", np.ones((5, 12), "f4")),
    r"one shape and dtype, got 'u'": lambda f: replace(f, "v", np.ones((5, 12, 9), "f4")),
    r"`time` must increase in uniform steps": lambda f: f["time"].write_direct(np.arange(12.0) ** 2),
    r"`dt` must agree with the time coordinate, got 1 and 0.25": lambda f: f.attrs.__setitem__("dt", 1.0),
    r"`dt` must be positive": lambda f: (
        f.attrs.__setitem__("dt", 0.0),
        [replace(f, n, np.ones((5, 1, 8), "f4")) for n in "uv"],
    ),
    r"as long as the fields, got 5 ids for 5 trajectories and 7 times": lambda f: replace(f, "time", np.arange(7.0)),
    r"`boundary_x` must be 'periodic', got 'wall'": lambda f: f.attrs.__setitem__("boundary_x", "wall"),
    r"fields must be float32 or float64, got int32": lambda f: [replace(f, n, np.ones((5, 12, 8), "i4")) for n in "uv"],
    r"'u' is missing": lambda f: (f.pop("u"), f.create_group("u")),
}


@pytest.mark.parametrize("message", EDITS)
def test_inconsistent_files_are_refused(tmp_path, message):
    path = edited(tmp_path, EDITS[message])
    with pytest.raises(FileContentError, match=rf"edited.nc: .*{message}|edited.nc: {message}"):
        Trajectories.open(path)


def test_transposed_field_is_refused(tmp_path):
    path = samples.file(tmp_path / "a.nc")
    with xarray.open_dataset(path) as dataset:
        dataset.load().transpose("time", "trajectory", "x").to_netcdf(tmp_path / "b.nc")
    with pytest.raises(FileContentError, match=r"must have dimensions \('trajectory', 'time', 'x'\)"):
        Trajectories.open(tmp_path / "b.nc")


def test_missing_netcdf4_names_its_extra(tmp_path, monkeypatch):
    def without(name, *args, **kwargs):
        if name == "netCDF4":
            raise ModuleNotFoundError("No module named 'netCDF4'", name="netCDF4")
        return real(name, *args, **kwargs)

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=r"extra `data`: pip install 'sciml-torch\[data\]'"):
        NetCDFSink(tmp_path / "a.nc", samples.metadata())


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", "/proc/no"):
        with pytest.raises(OSError, match=r"output folder must be writable, .* is not .*Choose another folder"):
            NetCDFSink(os.path.join(folder, "a.nc"), samples.metadata())


def test_netcdf_sink_streams_and_appears_when_closed(tmp_path):
    path = tmp_path / "deep" / "a.nc"
    with NetCDFSink(path, samples.metadata(), dtype=torch.float64) as sink:
        for frame in samples.values().double().split(5, dim=1):
            sink.write(frame)
            assert not path.exists()
        assert sink.close() == path
    assert torch.equal(Trajectories.open(path).read(range(5), 0, 12), samples.values().double())
    assert content_digest(path) != content_digest(samples.file(tmp_path / "b.nc"))  # another dtype
    assert sorted(os.listdir(path.parent)) == ["a.nc"]


def test_netcdf_sink_leaves_nothing_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="blew up"), NetCDFSink(tmp_path / "a.nc", samples.metadata()) as sink:
        sink.write(samples.values())
        raise RuntimeError("blew up")
    assert os.listdir(tmp_path) == []


def test_forecasts_may_hold_nan(tmp_path):
    values = samples.values()
    values[0, 3:] = torch.nan
    with NetCDFSink(tmp_path / "a.nc", samples.metadata()) as sink:
        sink.write(values)
        sink.close()
    assert torch.isnan(Trajectories.open(tmp_path / "a.nc").read(0, 2, 2)).sum() == 16


def test_sinks_refuse_wrong_frames_and_nothing(tmp_path):
    with NetCDFSink(tmp_path / "a.nc", samples.metadata()) as sink:
        with pytest.raises(ValueError, match=r"`frames` must have shape \(5, any, 2, 8\)"):
            sink.write(samples.values(4))
        with pytest.raises(ValueError, match="must receive frames before it is closed"):
            sink.close()
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match=r"`frames` must have shape \(10, any, 2, 8\)"):
        XarraySink(samples.metadata(), members=2).write(samples.values())
    with pytest.raises(ValueError, match="must receive frames before it is closed"):
        XarraySink(samples.metadata()).close()
    with pytest.raises(ValueError, match="`members` must be at least 1"):
        XarraySink(samples.metadata(), members=0)
    with pytest.raises(ValueError, match="`dtype` must be torch.float32 or torch.float64"):
        NetCDFSink(tmp_path / "b.nc", samples.metadata(), dtype=torch.float16)


def test_ensemble_gets_a_member_axis():
    sink = XarraySink(samples.metadata(), members=3)
    values = samples.values()
    sink.write(torch.cat([values[row : row + 1] + 0.5 * m for row in range(5) for m in range(3)]))
    dataset = sink.close()
    assert dataset.u.dims == ("trajectory", "member", "time", "x")
    assert np.array_equal(dataset.v.isel(trajectory=2, member=2).values, values[2, :, 1].numpy() + 1)
