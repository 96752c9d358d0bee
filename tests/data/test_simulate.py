"""Simulated data: right, reproducible, and whole or absent whatever happens."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import pytest
import torch

from sciml.core import FileContentError, Key, MissingExtraError
from sciml.data import Trajectories, content_digest, simulate, verify
from sciml.data.blocks import BlockStore
from sciml.grids import Grid, resample
from sciml.integrate import ETD2RK, SolveError
from sciml.pde import KuramotoSivashinsky, RandomSines, TruncatedFourier, evolve

SMALL: dict[str, Any] = dict(trajectories=5, frames=4, dt_frame=0.5, dt=0.25, seed=3, block=2)
GRID, INITIAL = Grid((32,), (22.0,)), TruncatedFourier(3)


def small(out: Path, **changes) -> Trajectories:
    return simulate(KuramotoSivashinsky(), GRID, INITIAL, out, **{**SMALL, **changes})


def test_frames_are_those_of_evolve(tmp_path):
    viscosity = torch.linspace(0.8, 1.2, 5, dtype=torch.float64)
    data = small(
        tmp_path / "a.nc",
        spin_up=0.75,
        first_id=7,
        store_points=(24,),
        parameters={"viscosity": viscosity},
        dtype=torch.float64,
        method=ETD2RK(),
    )
    u0 = INITIAL.sample(Key(3, torch.arange(7, 12)), GRID)
    ts = 0.75 + 0.5 * torch.arange(4)
    want = evolve(KuramotoSivashinsky(viscosity), GRID, u0, ts, dt=0.25, method=ETD2RK())
    assert torch.allclose(data.read(range(5), 0, 4), resample(want, GRID, (24,)), rtol=0, atol=1e-12)
    assert data.ids.tolist() == [7, 8, 9, 10, 11] and torch.allclose(data.times, ts)
    assert torch.equal(data.parameters["viscosity"], viscosity) and data.grid == Grid((24,), (22.0,))
    assert str(data.provenance["equation"]).startswith('{"type": "KuramotoSivashinsky", "viscosity": 1.0')
    assert data.provenance["method"] == '{"type": "ETD2RK"}' and data.provenance["solver_dt"] == 0.25
    verify(tmp_path / "a.nc")
    assert os.listdir(tmp_path) == ["a.nc"]


def test_default_is_float32_and_starts_at_the_initial_field(tmp_path):
    data = small(tmp_path / "a.nc")
    assert data.dtype == torch.float32
    assert torch.allclose(data.read(2, 0, 1)[0, 0], INITIAL.sample(Key.rows(3, 5), GRID)[2].float())


def test_disjoint_ids_are_other_trajectories_and_equal_ids_equal_ones(tmp_path):
    first, second = small(tmp_path / "a.nc"), small(tmp_path / "b.nc", first_id=4, trajectories=2)
    assert torch.allclose(first.read(4, 0, 4), second.read(0, 0, 4), rtol=0, atol=1e-5)  # another batch, so not bitwise
    assert not torch.allclose(first.read(0, 0, 1), second.read(0, 0, 1), rtol=0, atol=1e-2)


def test_progress_counts_up_to_the_total(tmp_path):
    calls = []
    small(tmp_path / "a.nc", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (20, 20) and calls == sorted(calls)
    calls.clear()
    small(tmp_path / "a.nc", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(20, 20)]


def stop_after(count, error=KeyboardInterrupt):
    def progress(done, total):
        if done > count:
            raise error

    return progress


def test_interrupt_leaves_complete_blocks_which_are_reused(tmp_path):
    whole, out = small(tmp_path / "whole.nc"), tmp_path / "a.nc"
    with pytest.raises(KeyboardInterrupt):
        small(out, progress=stop_after(13))
    blocks = sorted(path.name for path in (tmp_path / "a.nc.parts").glob("block*"))
    assert blocks == ["block-00000.nc", "block-00000.sha256"] and not out.exists()
    calls = []
    small(out, progress=lambda done, total: calls.append(done))
    assert calls[0] == 8 and calls[1] == 10  # the first block at once, the second frame by frame
    assert content_digest(out) == content_digest(tmp_path / "whole.nc")
    assert whole.provenance["configuration_digest"] == Trajectories.open(out).provenance["configuration_digest"]
    assert sorted(os.listdir(tmp_path)) == ["a.nc", "whole.nc"]


def test_damaged_block_is_made_again_with_a_warning(tmp_path):
    small(tmp_path / "whole.nc")
    out = tmp_path / "a.nc"
    with pytest.raises(KeyboardInterrupt):
        small(out, progress=stop_after(17))
    block = tmp_path / "a.nc.parts" / "block-00001.nc"
    block.write_bytes(block.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="block-00001.nc does not match its checksum and is made again"):
        small(out)
    assert content_digest(out) == content_digest(tmp_path / "whole.nc")


@pytest.mark.parametrize("content", ["", "0123456789\n"])
def test_block_with_a_damaged_record_is_made_again(tmp_path, content):
    small(tmp_path / "whole.nc")
    out = tmp_path / "a.nc"
    with pytest.raises(KeyboardInterrupt):
        small(out, progress=stop_after(17))
    (tmp_path / "a.nc.parts" / "block-00001.sha256").write_text(content)
    (tmp_path / "a.nc.parts" / "block-00001.nc").unlink()
    with pytest.warns(UserWarning, match="block-00001.sha256 must list the files of a block"):
        small(out)
    assert content_digest(out) == content_digest(tmp_path / "whole.nc")


@pytest.mark.parametrize("content", [b'{"dig', b"[1]", b"{}", b"\xff\xfe"])
def test_damaged_record_of_the_configuration_is_named(tmp_path, content):
    out = tmp_path / "a.nc"
    with pytest.raises(KeyboardInterrupt):
        small(out, progress=stop_after(9))
    (tmp_path / "a.nc.parts" / "configuration.json").write_bytes(content)
    with pytest.raises(FileContentError, match=r"configuration.json must say whose.*damaged.*overwrite=True"):
        small(out)
    small(out, overwrite=True)
    assert os.listdir(tmp_path) == ["a.nc"]


def test_blocks_of_another_configuration_are_refused(tmp_path):
    out = tmp_path / "a.nc"
    with pytest.raises(KeyboardInterrupt):
        small(out, progress=stop_after(9))
    with pytest.raises(FileExistsError, match="belong to another one.*choose another name, or set overwrite=True"):
        small(out, seed=4)
    assert small(out, seed=4, overwrite=True).provenance["seed"] == 4
    assert os.listdir(tmp_path) == ["a.nc"]


def test_finished_file_is_reused_or_refused(tmp_path):
    out = tmp_path / "a.nc"
    small(out)
    before = out.stat().st_mtime_ns
    small(out)
    small(out, overwrite=True)
    assert out.stat().st_mtime_ns == before
    for change in (dict(seed=4), dict(dt=0.125), dict(block=3), dict(dtype=torch.float64), dict(method=ETD2RK())):
        with pytest.raises(FileExistsError, match="must not hold other data.*overwrite=True to replace it"):
            small(out, **change)
    assert small(out, seed=4, overwrite=True).provenance["seed"] == 4


def test_damaged_result_is_refused_or_replaced(tmp_path):
    out = tmp_path / "a.nc"
    small(out)
    out.write_bytes(out.read_bytes()[:2000])
    with pytest.raises(FileContentError, match="truncated or damaged"):
        small(out)
    small(out, overwrite=True)
    verify(out)


def test_blocks_left_beside_a_finished_file_are_removed(tmp_path):
    out = tmp_path / "a.nc"
    small(out)
    left = tmp_path / "a.nc.parts"
    left.mkdir()
    (left / "lock").touch()
    (left / "configuration.json.tmp").touch()
    small(out)
    assert os.listdir(tmp_path) == ["a.nc"]


def test_blocks_of_another_run_beside_a_finished_file_stay(tmp_path):
    out = tmp_path / "a.nc"
    small(out)
    with pytest.raises(KeyboardInterrupt):
        small(out, seed=4, overwrite=True, progress=stop_after(9))
    small(out)
    assert (tmp_path / "a.nc.parts" / "block-00000.nc").exists()


def test_two_processes_do_not_share_a_file(tmp_path):
    store = BlockStore(tmp_path / "a.nc", {}, "digest", overwrite=False)
    with pytest.raises(BlockingIOError, match="only one process may simulate .*a.nc at a time"):
        small(tmp_path / "a.nc")
    store.release()
    small(tmp_path / "a.nc")


def test_blow_up_names_trajectory_and_remedy(tmp_path):
    with pytest.raises(SolveError, match=r"first trajectory 4\d at .* exceeds the CFL limit .* of ETDRK4 .*dt=0.5"):
        simulate(
            KuramotoSivashinsky(),
            GRID,
            TruncatedFourier(3, rms=1e4),
            tmp_path / "a.nc",
            **{**SMALL, "dt": 0.5, "first_id": 40, "frames": 40},
        )
    assert not (tmp_path / "a.nc").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(dt=0.0), "`dt` must be positive"),
        (dict(dt=-0.1), "`dt` must be positive"),
        (dict(dt=float("nan")), "`dt` must be positive"),
        (dict(dt=0.2), "`dt_frame` must be a whole multiple of `dt`"),
        (dict(spin_up=0.3), "`spin_up` must be a whole multiple of `dt`"),
        (dict(spin_up=-1.0), "`spin_up` must be at least 0"),
        (dict(frames=1), "`frames` must be a whole number of at least 2"),
        (dict(trajectories=0), "`trajectories` must be a whole number of at least 1"),
        (dict(block=0), "`block` must be a whole number of at least 1"),
        (dict(trajectories=True), "`trajectories` must be a whole number"),
        (dict(frames=True), "`frames` must be a whole number"),
        (dict(block=True), "`block` must be a whole number"),
        (dict(threads=True), "`threads` must be a whole number"),
        (dict(seed=True), "`seed` must be a whole number"),
        (dict(first_id=True), "`first_id` must be a whole number"),
        (dict(first_id=-5), "`first_id` must be a whole number of at least 0"),
        (dict(spin_up=float("inf"), dt=None), "`spin_up` must be finite"),
        (dict(dt=None, method=ETD2RK()), r"error estimate, got ETD2RK\(\) without `dt`"),
        (dict(parameters={"ndim": torch.ones(5)}), r"parameters of the equation \(viscosity\).* got 'ndim'"),
        (dict(parameters={"dealiasing": RandomSines()}), "got 'dealiasing'"),
        (dict(parameters={"viscosity": RandomSines()}), "got 'viscosity'"),
        (dict(store_points=(64,)), r"at most the grid's \(32,\), got \(64,\)"),
        (dict(store_points=(16, 16)), r"one entry per axis"),
        (dict(dtype=torch.float16), "`dtype` must be torch.float32 or torch.float64"),
        (dict(parameters={"mass": torch.ones(5)}), r"parameters of the equation \(viscosity\)"),
        (dict(parameters={"viscosity": torch.ones(4)}), r"got 'viscosity' of shape \(4,\)"),
    ],
)
def test_bad_arguments_are_refused_before_the_work(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        small(tmp_path / "a.nc", **change)
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_described_is_refused(tmp_path):
    @dataclass(frozen=True)
    class Opaque(type(INITIAL).__mro__[1]):
        inner: object = object()

        def sample(self, key, grid):
            return INITIAL.sample(key, grid)

    with pytest.raises(TypeError, match="must be dataclasses, numbers or tensors, got object"):
        simulate(KuramotoSivashinsky(), GRID, Opaque(), tmp_path / "a.nc", **SMALL)


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="output folder must be writable"):
        small(tmp_path / "file" / "a.nc")


def test_missing_netcdf4(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "netCDF4", None)
    with pytest.raises(MissingExtraError, match="extra `data`"):
        small(tmp_path / "a.nc")


# --- kill tests ----------------------------------------------------------------------------------------------------


def whole_or_absent(out: Path) -> None:
    if out.exists():
        verify(out)
        with netCDF4.Dataset(out) as file:
            assert file["u"].shape == (9, 10, 24)


SLOWLY, AT_ONCE = -1, 10**9


class Simulations:
    """A server of `kill_me` processes."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.data.kill_me"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
            text=True,
            bufsize=1,
        )

    def start(self, out: Path, crash: int) -> int:
        """Begin to simulate; the number of the process."""
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(f"{crash} {out}\n")
        return int(self.server.stdout.readline())

    def ended(self) -> int:
        """Wait for the process; how it ended."""
        assert self.server.stdout is not None
        return int(self.server.stdout.readline())

    def finish_and_compare(self, outs: list[Path]) -> None:
        """Every rerun must end with the content of a run that was never interrupted, and leave nothing else."""
        whole = outs[0].with_name("whole.nc")
        for out in [whole, *outs]:
            self.start(out, AT_ONCE)
            assert self.ended() == 0
            assert content_digest(out) == content_digest(whole)
            assert sorted(out.parent.glob(f"{out.name}*")) == [out]


@pytest.fixture(scope="module")
def simulations():
    simulations = Simulations()
    with simulations.server:
        yield simulations
        assert simulations.server.stdin is not None
        simulations.server.stdin.close()


def kill_at_random(simulations: Simulations, folder: Path, kills: int) -> None:
    """Kill runs at random moments spread over the time a whole run takes, two per file."""
    seed = time.time_ns()
    draw, exits = random.Random(seed), []
    outs = [folder / f"{number}.nc" for number in range((kills + 1) // 2)]
    simulations.start(folder / "timed.nc", SLOWLY)
    began = time.perf_counter()
    assert simulations.ended() == 0
    whole = time.perf_counter() - began
    for number in range(kills):
        child = simulations.start(outs[number // 2], SLOWLY)
        time.sleep(whole * draw.uniform(number, number + 1) / kills)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, draw.choice([signal.SIGKILL, signal.SIGINT]))
        exits.append(simulations.ended())
        whole_or_absent(outs[number // 2])
    print(f"seed {seed}, exits {exits}")  # shown if the test fails
    simulations.finish_and_compare(outs)
    assert any(exits) and set(exits) <= {0, 130, -signal.SIGKILL, -signal.SIGINT}


def crash_at(simulations: Simulations, folder: Path, points: range) -> list[int]:
    """Die at each of these file operations in turn; how the runs ended."""
    outs, exits = [folder / f"{point}.nc" for point in points], []
    for out, point in zip(outs, points, strict=True):
        simulations.start(out, point)
        exits.append(simulations.ended())
        whole_or_absent(out)
    simulations.finish_and_compare(outs)
    return exits


def test_killed_runs_end_with_the_same_content(simulations, tmp_path):
    kill_at_random(simulations, tmp_path, 3)


def test_crashes_at_file_operations_end_with_the_same_content(simulations, tmp_path):
    assert set(crash_at(simulations, tmp_path, range(0, 90, 9))) == {9}


@pytest.mark.slow
def test_killed_runs_end_with_the_same_content_20_times(simulations, tmp_path):
    kill_at_random(simulations, tmp_path, 20)


@pytest.mark.slow
def test_crashes_at_every_file_operation_end_with_the_same_content(simulations, tmp_path):
    exits = crash_at(simulations, tmp_path, range(160))
    died = exits.count(9)
    print(f"{died} moments")
    assert exits == [9] * died + [0] * (160 - died) and 90 < died < 160
