"""Simulations by several processes: the same content whoever solves which block when, and clear ends."""

import errno
import logging
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import xarray

from sciml.core import FileContentError
from sciml.data import (
    Estimate,
    LostWorkersError,
    NetCDF4,
    Recipe,
    Scheduler,
    Serial,
    Trajectories,
    Workers,
    Zarr,
    content_digest,
    estimate,
    open_trajectories,
    produce,
    verify,
)
from sciml.data.compute import AbstractCompute, BlockTask
from sciml.grids import Grid
from sciml.integrate import ETD43, Fixed, Ladder
from sciml.pde import (
    Burgers,
    Combined,
    GinzburgLandau,
    KuramotoSivashinsky,
    NoisyState,
    PowerLaw,
    TruncatedFourier,
    Uniform,
)
from sciml.pde.sampling import parameter_key
from sciml.pde.travelling_sines import ForcingAtStart, RandomSines

GRID = Grid((32,), (22.0,))


def recipe(**changes: Any) -> Recipe:
    """Seven trajectories in four blocks, the last one smaller."""
    given: dict[str, Any] = dict(trajectories=7, frames=4, dt_frame=0.5, dt=0.25, seed=3, block=2)
    given |= dict(parameters={"viscosity": Uniform(0.9, 1.1)}) | changes
    return Recipe(KuramotoSivashinsky(), GRID, TruncatedFourier(3), **given)


class Shuffled(AbstractCompute):
    """Blocks in this process in a given order, up to some of them."""

    start_seconds = 0.0

    def __init__(self, order: list[int], until: int | None = None, error: type[BaseException] = KeyboardInterrupt):
        self.order, self.until, self.error = order, until, error

    def workers(self) -> int:
        return 1

    def run(self, task: BlockTask, numbers, report) -> None:
        for count, number in enumerate(n for n in self.order if n in numbers):
            if count == self.until:
                raise self.error
            task(number, lambda kept, number=number: report(number, kept))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """What an undisturbed run in one process makes."""
    out = tmp_path_factory.mktemp("whole") / "whole.nc"
    produce(recipe(), out)
    return out


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]], ids=str)
def test_any_order_and_either_format_have_one_identity(tmp_path, whole, suffix, order):
    out = tmp_path / f"a{suffix}"
    produce(recipe(), out, compute=Shuffled(order))
    assert content_digest(out) == content_digest(whole)
    verify(out)
    assert os.listdir(tmp_path) == [out.name]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("done", [0, 2])
def test_an_interrupted_run_goes_on_in_another_order(tmp_path, whole, suffix, done):
    out = tmp_path / f"a{suffix}"
    with pytest.raises(KeyboardInterrupt):
        produce(recipe(), out, compute=Shuffled([2, 1, 0, 3], until=done))
    assert not out.exists()
    assert estimate(recipe(), out).finished == done
    made: list[int] = []
    produce(recipe(), out, compute=Shuffled([0, 1, 2, 3]), progress=lambda frames, total: made.append(frames))
    assert made[0] == 8 * done and made[-1] == 28 and made == sorted(made)
    assert content_digest(out) == content_digest(whole)
    assert os.listdir(tmp_path) == [out.name]


def test_the_format_follows_the_name_unless_it_is_given(tmp_path, whole):
    produce(recipe(), tmp_path / "folder", format=Zarr())
    produce(recipe(), tmp_path / "file.zarr", format=NetCDF4())
    assert (tmp_path / "folder" / "zarr.json").exists() and (tmp_path / "file.zarr").is_file()
    for path in tmp_path.iterdir():
        assert content_digest(path) == content_digest(whole)


def test_zarr_is_read_lazily_by_us_and_by_xarray(tmp_path, whole):
    out = tmp_path / "a.zarr"
    data, truth = produce(recipe(), out), Trajectories.open(whole)
    assert torch.equal(data.read([6, 1], [0, 2], 2), truth.read([6, 1], [0, 2], 2))
    assert data.provenance["equation"] == truth.provenance["equation"] and data.ids.tolist() == list(range(7))
    assert torch.equal(data.parameters["viscosity"], truth.parameters["viscosity"])
    with xarray.open_zarr(out) as theirs:
        assert theirs.u.dims == ("trajectory", "time", "x") and theirs.u.chunks[0] == (1,) * 7
        assert np.array_equal(theirs.u.values, truth.to_xarray().u.values)
    assert open_trajectories(out).shape == data.shape


def test_damage_of_a_zarr_group_is_named(tmp_path):
    out = tmp_path / "a.zarr"
    produce(recipe(), out)
    shard = out / "u" / "c" / "1" / "0" / "0"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileContentError, match="must be readable"):
        verify(out)
    shard.unlink()
    with pytest.raises(FileContentError, match=r"'u' is nan in trajectory 2 .number 2."):
        verify(out)
    (out / "zarr.json").write_text("{")
    with pytest.raises(FileContentError, match="must be a complete Zarr group"):
        Trajectories.open(out)


def test_zarr_groups_of_others_are_trajectories_too(tmp_path, whole):
    with xarray.open_dataset(whole) as ours:
        plain = xarray.Dataset({"u": (ours.u.dims, ours.u.values)}, {"time": ours.time.values, "x": ours.x.values})
    plain.to_zarr(tmp_path / "plain.zarr", zarr_format=2, consolidated=False)
    assert torch.equal(
        open_trajectories(tmp_path / "plain.zarr").load().read(3, 0, 4), Trajectories.open(whole).read(3, 0, 4)
    )


def test_another_configuration_replaces_a_group_only_if_asked_to(tmp_path, whole):
    out = tmp_path / "a.zarr"
    produce(recipe(seed=4), out)
    with pytest.raises(FileExistsError, match="must not hold other data"):
        produce(recipe(), out)
    produce(recipe(), out, overwrite=True)
    assert content_digest(out) == content_digest(whole) and os.listdir(tmp_path) == ["a.zarr"]
    (tmp_path / "mine").mkdir()
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="must be free or hold simulated data, but it is a folder"):
            produce(recipe(), tmp_path / "mine", overwrite=overwrite)


# --- what differs between trajectories -----------------------------------------------------------------------------


def test_drawn_parameters_depend_on_seed_and_id_alone(tmp_path):
    data = produce(recipe(), tmp_path / "a.nc")
    later = produce(recipe(trajectories=2, first_id=5, block=1), tmp_path / "b.nc")
    drawn = data.parameters["viscosity"]
    assert len(set(drawn.tolist())) == 7 and bool(((drawn > 0.9) & (drawn < 1.1)).all())
    assert torch.equal(later.parameters["viscosity"], drawn[5:])
    assert torch.allclose(later.read(1, 0, 4), data.read(6, 0, 4), rtol=0, atol=1e-5)


def test_a_random_forcing_is_drawn_for_each_trajectory(tmp_path):
    forcing, grid = RandomSines(), Grid((32,), (16.0,))
    made = Recipe(
        Combined(1.0, 0.2, 0.0), grid, ForcingAtStart(forcing), trajectories=4, frames=3, dt_frame=0.1, dt=0.05, seed=1,
        parameters={"forcing": forcing}, block=3, dtype=torch.float64,
    )  # fmt: skip
    data = produce(made, tmp_path / "a.nc")
    want = forcing.sample(parameter_key(made.key(range(4)), "forcing")).field(0.0, grid)
    assert torch.allclose(data.read(range(4), 0, 1)[:, 0], want, rtol=0, atol=1e-12) and not data.parameters


def test_equations_with_complex_fields_and_chosen_steps(tmp_path):
    made = Recipe(
        GinzburgLandau(1.0, 0.0, 1.0), Grid((16, 16), (50.0, 50.0)), NoisyState((0.0, 0.0), PowerLaw(0.0, 3, rms=0.1)),
        trajectories=3, frames=3, dt_frame=1.0, seed=1, block=2,
    )  # fmt: skip
    assert isinstance(made.control, Ladder) and isinstance(made.method, ETD43)
    data = produce(made, tmp_path / "a.zarr")
    assert data.shape == (3, 3, 2, 16, 16) and "Ladder" in str(data.provenance["control"])
    produce(made, tmp_path / "b.nc")
    assert content_digest(tmp_path / "a.zarr") == content_digest(tmp_path / "b.nc")
    said = estimate(made, tmp_path / "c.nc")
    assert said.steps is None and said.block_seconds > 0 and "steps" not in str(said)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(control=Ladder()), "give `dt` or `control`, not both"),
        (dict(dt=None, control=Fixed(n=4)), "`control` must choose steps"),
        (dict(dt_frame=0.0), "`dt_frame` must be positive"),
        (dict(threads=0), "`threads` must be a whole number of at least 1"),
        (dict(parameters={"viscosity": Uniform(-1.0, 1.0)}), "`viscosity` must be"),
        (dict(parameters={"mass": Uniform(0.5, 1.0)}), "to tensors or to what they are drawn from"),
    ],
)
def test_recipes_that_cannot_work_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        recipe(**change)


def test_a_grid_too_coarse_for_the_initial_field_is_refused_before_the_work(tmp_path):
    with pytest.raises(ValueError, match="Refine the grid"):
        Recipe(
            Burgers(), Grid((8,), (1.0,)), TruncatedFourier(8), trajectories=1, frames=2, dt_frame=1.0, dt=0.1, seed=0
        )


# --- the estimate, and disks that are full -------------------------------------------------------------------------


def test_the_estimate_counts_what_is_left(tmp_path):
    out = tmp_path / "a.nc"
    said = estimate(recipe(), out)
    assert (said.blocks, said.finished, said.workers, said.steps) == (4, 0, 1, 6)
    assert said.file_bytes == 7 * 4 * 32 * 4 and said.fits and os.listdir(tmp_path) == []
    assert said.needed_bytes > 2 * said.file_bytes > estimate(recipe(), tmp_path / "a.zarr").file_bytes
    assert said.seconds >= 4 * said.block_seconds > 0 and "4 of 4 blocks to solve on 1 worker" in str(said)
    assert said.with_compute(Workers(9)).workers == 4
    produce(recipe(), out)
    size = out.stat().st_size
    assert said.file_bytes < size < said.needed_bytes
    done = estimate(recipe(), out)
    assert done.finished == 4 and done.seconds == 0 and done.needed_bytes == 0


def test_a_disk_that_is_too_small_is_refused_with_the_figures(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 9000})())
    with pytest.raises(OSError, match=r"must hold \d+ kB more, but 9 kB are free") as caught:
        produce(recipe(), tmp_path / "a.nc")
    assert caught.value.errno == errno.ENOSPC
    said: Estimate = estimate(recipe(), tmp_path / "a.nc")
    assert not said.fits
    with pytest.raises(OSError, match="9 kB are free"):
        said.check_space(tmp_path / "a.nc")


# The configuration, its folder, a block, the assembled file; and for Zarr the empty group, a block, another one.
@pytest.mark.parametrize(("suffix", "limits"), [(".nc", (1, 2, 9, 9, 1)), (".zarr", (1, 2, 9, 40, 3))])
def test_a_disk_that_becomes_full_at_any_flush_loses_nothing(tmp_path, whole, monkeypatch, suffix, limits):
    real, out, count = os.fsync, tmp_path / f"a{suffix}", 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == limit:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    for limit in (*limits, 10**9):
        count = 0
        if limit == 10**9:
            produce(recipe(), out)
            break
        with pytest.raises(OSError, match=r"it is full .*Nothing is lost: \d of 4 blocks are finished. Make space"):
            produce(recipe(), out)
        assert not out.exists() and not list(tmp_path.rglob("*.tmp"))
    assert content_digest(out) == content_digest(whole)


def test_an_error_of_the_netcdf_library_is_one_of_the_disk(tmp_path, monkeypatch):
    from sciml.data import formats

    def broken(*_: object) -> None:
        raise RuntimeError("NetCDF: HDF error")

    monkeypatch.setattr(formats, "create", broken)
    with pytest.raises(OSError, match="HDF error") as caught:
        produce(recipe(), tmp_path / "a.nc")
    assert caught.value.errno == errno.EIO
    usage = iter([10**9])
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": next(usage, 0)})())
    with pytest.raises(OSError, match="it is full"):
        produce(recipe(), tmp_path / "a.nc")


# --- dask ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """A dask scheduler with two worker processes."""
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


def dask_workers() -> list[psutil.Process]:
    """Worker processes of this one, whoever started them."""
    found = []
    for child in psutil.Process().children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            found.append(child)
    return found


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_scheduler_makes_the_same_content(tmp_path, whole, cluster, suffix):
    out, calls = tmp_path / f"a{suffix}", []
    compute = Scheduler(cluster.scheduler_address)
    assert compute.workers() == 2
    produce(recipe(), out, compute=compute, progress=lambda done, total: calls.append((done, total)))
    assert content_digest(out) == content_digest(whole) and os.listdir(tmp_path) == [out.name]
    assert calls[0] == (0, 28) and calls[-1] == (28, 28) and calls == sorted(calls)


def test_a_worker_that_is_killed_is_survived(tmp_path, cluster):
    longer = recipe(frames=60, dt_frame=0.5, dt=0.02)
    killed = []

    def kill_one(done: int, total: int) -> None:
        if done and not killed:
            killed.append(dask_workers()[0])
            killed[0].send_signal(signal.SIGKILL)

    produce(longer, tmp_path / "a.nc", compute=Scheduler(cluster.scheduler_address), progress=kill_one)
    produce(longer, tmp_path / "b.zarr")
    assert killed and content_digest(tmp_path / "a.nc") == content_digest(tmp_path / "b.zarr")


def test_errors_and_interrupts_reach_the_caller_and_the_scheduler_stays(tmp_path, whole, cluster):
    from sciml.integrate import SolveError

    compute = Scheduler(cluster.scheduler_address)
    wild = Recipe(
        KuramotoSivashinsky(), GRID, TruncatedFourier(3, rms=1e4), trajectories=4, frames=40, dt_frame=0.5, dt=0.5,
        seed=3, first_id=40, block=2,
    )  # fmt: skip
    with pytest.raises(SolveError, match=r"first trajectory 4\d at .* exceeds the CFL limit"):
        produce(wild, tmp_path / "wild.nc", compute=compute)

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        produce(recipe(), tmp_path / "a.nc", compute=compute, progress=stop)
    produce(recipe(), tmp_path / "a.nc", compute=compute)
    assert content_digest(tmp_path / "a.nc") == content_digest(whole)


def test_workers_that_do_not_see_the_folder_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="every worker must see the folder of the blocks"):
        BlockTask(recipe(), NetCDF4(), tmp_path / "elsewhere")(0, lambda kept: None)


def test_a_scheduler_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConnectionError, match="nothing answers at tcp://127.0.0.1:9 .*dask scheduler"):
        produce(recipe(), tmp_path / "a.nc", compute=Scheduler("tcp://127.0.0.1:9", timeout=0.5))


def test_a_scheduler_without_workers_is_named(tmp_path):
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as empty,
        pytest.raises(ConnectionError, match="must have a worker, but none came within 0.2 s"),
    ):
        Scheduler(empty.scheduler_address, timeout=0.2).workers()  # type: ignore[union-attr]


def test_lost_workers_and_schedulers_are_told_apart():
    import distributed
    from distributed.client import FutureCancelledError

    from sciml.data.compute import _result

    class Future:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def result(self) -> int:
            raise self.error

    task = BlockTask(recipe(), NetCDF4(), Path("nowhere"))
    killed = distributed.KilledWorker("block", SimpleNamespace(address="tcp://here:1"), 3)  # type: ignore[arg-type]
    with pytest.raises(LostWorkersError, match="must not kill its worker.*memory.*block=2"):
        _result(Future(killed), task)
    with pytest.raises(LostWorkersError, match="scheduler must stay until the last block"):
        _result(Future(FutureCancelledError("block", "scheduler-connection-lost")), task)


def test_the_number_of_workers_is_checked():
    with pytest.raises(ValueError, match="`count` must be"):
        Workers(0)
    assert Workers().workers() >= 1 and Serial().workers() == 1


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_local_workers_make_the_same_content(tmp_path, whole, count):
    produce(recipe(), tmp_path / "a.nc", compute=Workers(count))
    assert content_digest(tmp_path / "a.nc") == content_digest(whole)
    deadline = time.monotonic() + 20
    while dask_workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not dask_workers()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="a small disk is mounted, which takes root")
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_small_disk_that_fills_up_is_answered_and_resumed(tmp_path, suffix):
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        large, out = recipe(frames=200, trajectories=40, block=8), disk / f"a{suffix}"
        produce(large, tmp_path / "whole.nc")
        ballast = disk / "ballast"

        def fill(done: int, total: int) -> None:
            if done >= total // 2 and not ballast.exists():
                with pytest.raises(OSError, match="No space"), ballast.open("wb") as file:
                    while True:
                        file.write(bytes(1 << 12))
                        file.flush()

        small = recipe(frames=40, trajectories=40, block=8)
        produce(small, tmp_path / "small.nc")
        with pytest.raises(OSError, match=r"it is full .*Nothing is lost: \d of 5 blocks are finished"):
            produce(small, out, progress=fill)
        ballast.unlink()
        produce(small, out)
        assert content_digest(out) == content_digest(tmp_path / "small.nc")
        with pytest.raises(OSError, match="more, but"):
            produce(large, disk / f"b{suffix}", format=NetCDF4())
    finally:
        subprocess.run(["umount", str(disk)], check=True)
