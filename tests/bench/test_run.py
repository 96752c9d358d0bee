"""The runner: what it leaves behind, what it does not compute twice, and what a kill does to it."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import sciml
from sciml.bench import Scenario, leaderboard, load_scenario, run, same_table
from sciml.bench.competitors import continue_with_solver
from sciml.bench.results import ResultStore, Row
from sciml.bench.runner import report_again
from sciml.core import Key
from sciml.grids import Grid
from sciml.integrate import ETDRK4
from sciml.pde import GaussianRandomField, KuramotoSivashinsky, NavierStokes2D, TruncatedFourier, evolve

SCENARIO = Path(__file__).parents[2] / "benchmarks" / "ks" / "scenario.toml"


def small() -> Scenario:
    """The smoke size with one model and one solver."""
    smoke = load_scenario(SCENARIO, "smoke")
    solver = next(iter(smoke.solvers))
    return replace(smoke, models={"resnet": smoke.models["resnet"]}, solvers={solver: smoke.solvers[solver]}, frames=12)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("run")
    result = run(small(), folder)
    torch.set_default_dtype(torch.float64)
    return folder, result


def test_table_holds_every_competitor_and_its_provenance(finished):
    table = finished[1].table
    assert set(table["kind"]) == {"truth", "check", "trivial", "solver", "learned"}
    assert table[table["kind"] == "learned"]["seed"].nunique() == 2
    for column in ("version", "commit", "device", "config_digest", "data_digest", "code_digest", "date", "memory_mb"):
        assert table[column].notna().all()
    assert set(table["version"]) == {sciml.__version__}
    assert finished[1].report_path.stat().st_size > 100_000


def test_the_solver_beats_persistence_and_the_truth_is_converged(finished):
    board = leaderboard(small(), finished[1].table).set_index("model")
    solver = next(iter(small().solvers))
    assert board.loc[solver, "one_step"] < 0.2 * board.loc["persistence", "one_step"]
    check = finished[1].table.query("kind == 'check' and metric == 'nrmse: half the step' and statistic == 'median'")
    assert float(check["value"].max()) < 1e-4


def test_finished_rows_are_not_computed_again(finished):
    folder, first = finished
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "groups").rglob("*")}
    again = run(small(), folder)
    assert {path: path.stat().st_mtime_ns for path in (folder / "groups").rglob("*")} == stamps
    pd.testing.assert_frame_equal(again.table, first.table)


def test_another_configuration_computes_only_what_it_changes(finished):
    folder, _ = finished
    before = {path.name for path in (folder / "groups").iterdir()}
    scenario = small()
    name, solver = next(iter(scenario.solvers.items()))
    run(replace(scenario, solvers={name: replace(solver, dt=solver.dt / 2)}), folder)
    added = {path.name for path in (folder / "groups").iterdir()} - before
    assert len(added) == 1 and next(iter(added)).startswith("etdrk4")


def test_a_changed_stride_trains_again(finished):
    folder, first = finished
    models = {path.name for path in (folder / "models").iterdir()}
    run(replace(small(), stride=2), folder)
    assert len({path.name for path in (folder / "models").iterdir()} - models) == 2


def test_changed_test_data_score_again_but_do_not_train_again(finished):
    folder, _ = finished
    scenario = small()
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "models").glob("resnet*/last.pt")}
    run(replace(scenario, test_data=replace(scenario.test_data, trajectories=3)), folder)
    assert {path: path.stat().st_mtime_ns for path in (folder / "models").glob("resnet*/last.pt")} == stamps


def test_a_training_folder_of_something_else_is_refused(finished, tmp_path):
    from sciml.bench.competitors import train
    from sciml.data import Trajectories

    config = small().models["resnet"]
    config = replace(config, train=replace(config.train, steps=10, warmup_steps=1))
    data = Trajectories.open(next((finished[0] / "data").glob("train-*.nc"))).load()
    common = {"seed": 0, "folder": tmp_path, "device": torch.device("cpu")}
    train(config, data, 4, **common)
    with pytest.raises(ValueError, match=r"another card \(see training.json\). Choose another folder"):
        train(config, data, 2, **common)
    with pytest.raises(ValueError, match="another seed"):
        train(config, data, 4, **{**common, "seed": 1})


def test_a_second_run_elsewhere_gives_the_same_table(finished, tmp_path):
    torch.set_default_dtype(torch.float32)
    assert same_table(run(small(), tmp_path).table, finished[1].table)


def test_same_table_sees_a_changed_number_but_not_a_changed_clock(finished):
    table = finished[1].table
    assert same_table(table.assign(train_seconds=1.0, date="now", memory_mb=0.0), table)
    changed = table.copy()
    changed.loc[5, "value"] += 1e-9
    assert not same_table(changed, table)


def test_the_report_is_written_again_without_computing(finished):
    folder, _ = finished
    page = run(small(), folder).report_path
    before = page.read_bytes()
    page.unlink()
    assert report_again(small(), folder).read_bytes() == before


def test_a_report_of_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds none"):
        report_again(replace(small(), seeds=(0,)), tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_unwritable_folder_is_answered(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="output folder must be writable"):
        ResultStore(tmp_path / "file" / "run")


def test_a_half_written_group_does_not_count(tmp_path):
    store = ResultStore(tmp_path)
    (tmp_path / "groups" / ".a.partial").mkdir()
    assert not store.has("a")
    common = {"scenario": "s", "size": "smoke", "model": "m", "kind": "solver", "seed": 0, "version": "1"}
    store.write("a", [Row("x", "mean", 1.5)], common, {"samples": np.zeros(3)})
    assert store.has("a") and store.table(["a"])["value"].tolist() == [1.5]
    assert store.arrays("a")["samples"].shape == (3,)


def test_continuing_with_the_solver_equals_evolve_and_marks_blow_up():
    grid = Grid((64,), (22.0,))
    u0 = TruncatedFourier(4).sample(Key.rows(0, 2), grid)
    frames = continue_with_solver(KuramotoSivashinsky(), grid, u0, 5, 0.4, dt=0.1, method=ETDRK4())
    expected = evolve(KuramotoSivashinsky(), grid, u0, 0.4 * torch.arange(1, 6), dt=0.1)
    assert torch.allclose(frames, expected, rtol=0, atol=1e-11)
    plane = Grid((16, 16), (6.28, 6.28))
    w0 = GaussianRandomField(1, 1.0).sample(Key.rows(0, 2), plane) * torch.tensor([1e-3, 1e3])[:, None, None, None]
    frames = continue_with_solver(NavierStokes2D(1e-4), plane, w0, 40, 1.0, dt=1.0, method=ETDRK4())
    finite = torch.isfinite(frames).flatten(2).all(2)
    assert finite[0].all() and not finite[1, -1]
    lost = int((~finite[1]).nonzero()[0])
    assert not finite[1, lost:].any(), "once lost, always lost"


def _bench_in_a_process(folder: Path) -> subprocess.Popen:
    code = (
        "import sys; from pathlib import Path; from tests.bench.test_run import small; from sciml.bench import run;"
        f"run(small(), Path({str(folder)!r}))"
    )
    root = SCENARIO.parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _kill_often(folder: Path, kills: int, span: float) -> list[float]:
    """Start, kill after a random time (SIGKILL and SIGINT in turn), start again; then let it finish."""
    chance = random.Random(kills)
    moments = []
    for number in range(kills):
        process = _bench_in_a_process(folder)
        moments.append(chance.uniform(0.1, span))
        try:
            process.wait(moments[-1])
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL if number % 2 else signal.SIGINT)
            process.wait(60)
    last = _bench_in_a_process(folder)
    assert last.wait(600) == 0
    return moments


def _survives(tmp_path: Path, kills: int) -> None:
    begin = time.perf_counter()
    assert _bench_in_a_process(tmp_path / "whole").wait(600) == 0
    span = time.perf_counter() - begin
    _kill_often(tmp_path / "killed", kills, span)
    whole, killed = (pd.read_csv(tmp_path / name / "table.csv") for name in ("whole", "killed"))
    assert same_table(killed, whole)


def test_a_killed_run_ends_with_the_same_table(tmp_path):
    _survives(tmp_path, kills=2)


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_with_the_same_table(tmp_path):
    _survives(tmp_path, kills=20)
