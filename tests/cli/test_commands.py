"""The `sciml` command: help, exit codes, a whole small job, and an answer for bad input."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sciml.cli import main

KS = str(Path(__file__).parents[2] / "benchmarks" / "ks" / "scenario.toml")
COMMANDS = ["simulate", "gallery", "train", "rollout", "bench", "report", "inspect"]


@pytest.fixture(autouse=True)
def _as_a_user():
    """Users have torch's default dtype."""
    torch.set_default_dtype(torch.float32)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        main([str(argument) for argument in arguments])
    code = leaving.value.code
    return code if isinstance(code, int) else 0 if code is None else 1


@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS]], ids=lambda c: c[0] if c else "sciml")
def test_help(command, capsys):
    assert call(*command, "--help") == 0
    assert "Usage: sciml" in capsys.readouterr().out


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """simulate -> train -> rollout in the smoke size."""
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("job")
    assert call("simulate", KS, "--size", "smoke", "--split", "test", "--out", folder / "test.nc") == 0
    assert call("simulate", KS, "--size", "smoke", "--trajectories", "4", "--out", folder / "mine.nc") == 0
    train = ("train", KS, "--size", "smoke", "--model", "fno", "--data", folder / "mine.nc")
    assert call(*train, "--out", folder / "fno") == 0
    rollout = ("rollout", folder / "fno" / "model.ckpt", folder / "test.nc", "--frames", "5")
    assert call(*rollout, "--trajectories", "3", "--out", folder / "forecast.nc") == 0
    return folder


def test_the_forecast_is_the_stepper_of_the_checkpoint_rolled_out(job):
    import sciml

    forecast = sciml.data.Trajectories.open(job / "forecast.nc").load()
    assert forecast.shape == (3, 5, 1, 256) and forecast.dt == pytest.approx(0.8)
    stepper = sciml.load(job / "fno" / "model.ckpt")
    truth = sciml.data.Trajectories.open(job / "test.nc").every(4)
    assert float(forecast.times[0]) == pytest.approx(float(truth.times[1]))
    again = sciml.surrogates.rollout(stepper, truth.read(range(3), 0, 1), 5, dt=truth.dt)
    assert torch.allclose(again, forecast.read(range(3), 0, 5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["test.nc", "forecast.nc", "fno/model.ckpt", KS])
def test_inspect(job, name, capsys):
    assert call("inspect", name if name == KS else job / name) == 0
    assert "kind" in capsys.readouterr().out


def test_files_of_others_are_trained_on_and_continued(job, tmp_path, capsys):
    """A netCDF4 file written by plain xarray: no attributes, another axis order, float64."""
    import numpy as np
    import xarray

    import sciml

    ours = sciml.data.Trajectories.open(job / "mine.nc").to_xarray()
    dims = ("trajectory", "x", "time")
    coords = {"time": ours["time"].values, "x": ours["x"].values}
    plain = xarray.Dataset({"u": (dims, ours["u"].transpose(*dims).values.astype(float))}, coords)
    plain.to_netcdf(tmp_path / "plain.nc", engine="netcdf4")
    train = ("train", KS, "--size", "smoke", "--model", "resnet", "--data", tmp_path / "plain.nc")
    assert call(*train, "--out", tmp_path / "m") == 0
    forecast = ("rollout", tmp_path / "m" / "model.ckpt", tmp_path / "plain.nc", "--frames", "2")
    assert call(*forecast, "--out", tmp_path / "f.nc") == 0
    assert call("inspect", tmp_path / "plain.nc", "--verify") == 0
    plain["u"].values[1, 3, 5] = np.nan
    plain.to_netcdf(tmp_path / "nan.nc", engine="netcdf4")
    plain.rename({"x": "position"}).to_netcdf(tmp_path / "dims.nc", engine="netcdf4")
    capsys.readouterr()
    for name, message in (("nan.nc", "every value must be finite"), ("dims.nc", "position")):
        assert call(*train[:-1], tmp_path / name, "--out", tmp_path / name.removesuffix(".nc")) == 2
        assert message in capsys.readouterr().err


def test_a_forecast_replaces_nothing_unasked(job, capsys):
    rollout = ("rollout", job / "fno" / "model.ckpt", job / "test.nc", "--frames", "2", "--trajectories", "1")
    before = (job / "test.nc").read_bytes()
    assert call(*rollout, "--out", job / "test.nc") == 2
    assert call(*rollout, "--out", job / "test.nc", "--overwrite") == 2
    assert "`--out` must be a new file" in capsys.readouterr().err
    assert (job / "test.nc").read_bytes() == before
    assert call(*rollout, "--out", job / "again.nc") == 0
    assert call(*rollout, "--out", job / "again.nc") == 2
    assert call(*rollout, "--out", job / "again.nc", "--overwrite") == 0


def test_training_elsewhere_into_a_used_folder_is_refused(job, capsys):
    train = ("train", KS, "--size", "smoke", "--model", "fno", "--data", job / "mine.nc", "--out", job / "fno")
    assert call(*train, "--stride", "2") == 2
    assert "Choose another folder" in capsys.readouterr().err
    assert call(*train, "--stride", "0") == 2
    assert call(*train) == 0


def test_inspect_verifies_every_value(job, capsys):
    assert call("inspect", job / "test.nc", "--verify") == 0
    assert "every value is finite" in capsys.readouterr().out


def test_a_second_call_of_simulate_and_train_resumes_at_the_end(job):
    stamp = (job / "mine.nc").stat().st_mtime_ns
    assert call("simulate", KS, "--size", "smoke", "--trajectories", "4", "--out", job / "mine.nc") == 0
    assert (job / "mine.nc").stat().st_mtime_ns == stamp


def test_simulate_by_the_name_of_an_equation(job, capsys):
    from sciml.data import content_digest, open_trajectories

    call_it = ("simulate", "dispersion", "--points", "64", "--trajectories", "2", "--out")
    assert call(*call_it, job / "d.nc", "--estimate") == 0
    said = capsys.readouterr().out
    assert (
        "1 of 1 blocks to solve on 1 worker, 100 steps each" in said and "free" in said and not (job / "d.nc").exists()
    )
    assert call(*call_it, job / "d.nc") == 0
    assert call(*call_it, job / "d", "--format", "zarr") == 0
    assert content_digest(job / "d.nc") == content_digest(job / "d") and (job / "d" / "zarr.json").exists()
    assert open_trajectories(job / "d").shape == (2, 101, 1, 64)
    assert call("inspect", job / "d", "--verify") == 0
    assert "every value is finite" in capsys.readouterr().out
    capsys.readouterr()
    assert call(*call_it, job / "d.nc", "--seed", "1") == 2
    assert "or give --overwrite to replace it" in capsys.readouterr().err
    assert call(*call_it, job / "d.nc", "--seed", "1", "--overwrite") == 0
    capsys.readouterr()
    assert call(*call_it, job / "d.nc", "--estimate", "--seed", "1") == 0
    assert "blocks to solve" not in capsys.readouterr().out


def test_who_works_depends_on_what_it_takes():
    from sciml.cli.simulation import compute_for
    from sciml.data import Estimate, Scheduler, Serial, Workers

    def work(seconds: float) -> Estimate:
        return Estimate(
            blocks=4, finished=1, workers=1, steps=None, block_seconds=seconds, start_seconds=0.0, finish_seconds=0.0,
            file_bytes=1, needed_bytes=1, free_bytes=1, memory_bytes=1,
        )  # fmt: skip

    assert compute_for(work(1.0), None, None) == Serial()
    assert compute_for(work(100.0), 3, None) == Workers(3) == compute_for(work(0.1), 3, None)
    assert compute_for(work(1.0), None, "tcp://here:1") == Scheduler("tcp://here:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "nonsense", "--out", "{job}/n.nc"], "`name` must be a known equation, got 'nonsense'"),
        (["simulate", KS, "--points", "64", "--out", "{job}/n.nc"], "go with an equation by name"),
        (["simulate", "wave", "--size", "smoke", "--out", "{job}/n.nc"], "`--size` goes with a scenario, got 'smoke'"),
        (
            ["simulate", "wave", "--workers", "2", "--scheduler", "tcp://h:1", "--out", "{job}/n.nc"],
            "not both",
        ),
        (["gallery", "--out", "{job}/g", "--only", "nonsense"], "`name` must be a known equation"),
        (["inspect", "nowhere.nc"], "a file must exist to be inspected"),
        (["inspect", "{job}/cut.nc"], "cut.nc"),
        (["inspect", "{job}/cut.ckpt"], "cannot be read"),
        (["bench", "nowhere.toml", "--out", "{job}/x"], "a scenario must exist"),
        (["bench", KS, "--size", "huge", "--out", "{job}/x"], "`size` must be one of"),
        (["bench", KS, "--size", "smoke", "--out", "{job}/mine.nc/x"], "must be writable"),
        (["bench", KS, "--size", "smoke", "--out", "{job}/x", "--device", "tpu9"], "`--device` must name a device"),
        (["train", KS, "--model", "unet", "--out", "{job}/x"], "got 'unet'. Known: fno, resnet"),
        (["train", KS, "--size", "smoke", "--model", "fno", "--data", "no.nc", "--out", "{job}/x"], "no.nc"),
        (["simulate", KS, "--size", "smoke", "--out", "{job}/mine.nc"], "Choose another name"),
        (["rollout", "no.ckpt", "{job}/test.nc", "--frames", "3", "--out", "{job}/y.nc"], "a checkpoint must exist"),
        (["rollout", "{job}/fno/weights.pt", "{job}/test.nc", "--frames", "3", "--out", "{job}/y.nc"], "what model"),
        (
            [
                "rollout",
                "{job}/fno/model.ckpt",
                "{job}/test.nc",
                "--frames",
                "3",
                "--trajectories",
                "99",
                "--out",
                "z.nc",
            ],
            "at most 4",
        ),
        (["report", "{job}/empty", KS, "--size", "smoke"], "row groups"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(job, arguments, message, capsys):
    whole = (job / "test.nc").read_bytes()
    (job / "cut.nc").write_bytes(whole[: len(whole) // 2])
    (job / "cut.ckpt").write_bytes((job / "fno" / "model.ckpt").read_bytes()[:1000])
    assert call(*[argument.replace("{job}", str(job)) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sciml: ") and message in error and "Traceback" not in error


def test_wrong_arguments_exit_with_two(capsys):
    assert call("rollout", "a", "b", "--frames", "0", "--out", "c") == 2
    assert call("nonsense") == 2


def test_a_checkpoint_of_another_model_is_refused(job):
    import sciml
    from sciml.core import FileContentError
    from sciml.nn import Normalizer
    from sciml.surrogates import OneStep
    from sciml.surrogates.networks import DilatedResNet

    other = OneStep(DilatedResNet(1, 1, 1, hidden_channels=4, blocks=1), Normalizer.identity(1), dt=0.8)
    with pytest.raises(FileContentError, match="must be of the same model"):
        sciml.load(job / "fno" / "model.ckpt", stepper=other)


def test_missing_extra_is_named():
    code = "import sys; sys.modules['typer'] = None\nfrom sciml.cli import main\nmain(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'sciml-torch[cli]'" in done.stderr
