"""Scenario files: the ones we ship are valid in every size, and each mistake gets an answer."""

import tomllib
from pathlib import Path

import pytest

from sciml.bench import load_scenario

SHIPPED = sorted((Path(__file__).parents[2] / "benchmarks").glob("*/scenario.toml"))
KS = next(path for path in SHIPPED if path.parent.name == "ks")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_scenarios_load_in_every_size(path: Path) -> None:
    sizes = ["default", *tomllib.loads(path.read_text())["size"]]
    assert "smoke" in sizes
    for size in sizes:
        scenario = load_scenario(path, size)
        assert scenario.size == size and scenario.models and scenario.solvers


def test_the_default_ks_is_what_the_task_asks_for() -> None:
    ks = load_scenario(KS)
    assert ks.extent == (64.0,) and ks.test_data.points == 256 and ks.dt == pytest.approx(0.8)
    assert ks.train_data.trajectories >= 256 and ks.test_data.trajectories >= 32 and ks.frames >= 160
    assert len(ks.seeds) >= 2 and ks.train_data.seed != ks.test_data.seed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stride = 4", "stride = 4\nstrid = 4", "got `strid`. Did you mean `stride`"),
        ('name = "kuramoto_sivashinsky"', 'name = "kuramoto"', "known equation, got 'kuramoto'. Known: .*burgers, "),
        ('name = "dilated_resnet"', 'name = "resnet"', "known network, got 'resnet'. Known: dilated_resnet, fno"),
        ('name = "truncated_fourier"', 'name = "white"', "known initial field, got 'white'"),
        ('name = "truncated_fourier"', 'naem = "white"', "`name` must be a known initial field, got None"),
        ("cutoff = 8", "cutof = 8", "got `cutof`. Did you mean `cutoff`"),
        ("dt = 0.025", "dt = 0.0", "`dt` must be positive and finite, got 0.0"),
        ("dt = 0.025", "dt = 0.03", "`dt_stored` must be a whole multiple of `dt`"),
        ("solve_points = 256", "solve_points = 128", "`solve_points` must be at least `points`"),
        ("threshold = 0.8", "threshold = 1.5", "`threshold` must lie between 0 and 1"),
        ("frames = 160", "frames = 161", "needs 645 stored test frames, got 641"),
        ("seed = 2", "seed = 1\nfirst_id_ = 0", "got `first_id_`"),
        ("first_id = 1000000\nseed = 2", "first_id = 5\nseed = 1", "must share no trajectory"),
        ("seeds = [0, 1]", "seeds = []", "`seeds` must be distinct and at least one"),
        ("extent = [64.0]", "extent = [64.0", "must be valid TOML"),
        ("dt = 0.4", "dt = 0.3", "whole multiple of `dt of the solver 'ETDRK4 128 dt 0.4'`, got 0.8 / 0.3"),
        ("[models.fno", "[models.persistence", "names of their own, got 'persistence' twice"),
        ('method = "etd2rk"', 'method = "rk4"', "known method, got 'rk4'"),
    ],
)
def test_mistakes_are_answered(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = KS.read_text()
    assert old in text
    (tmp_path / "scenario.toml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        load_scenario(tmp_path)


def test_named_parts_of_an_equation(tmp_path: Path) -> None:
    text = (KS.parent.parent / "kolmogorov" / "scenario.toml").read_text()
    for old, new, message in (
        (
            'name = "kolmogorov", wave',
            'name = "kolmogorof", wave',
            "known forcing, got 'kolmogorof'. Known: diagonal, kol",
        ),
        ("wavenumber = 4,", "wavenumbr = 4,", "key `forcing`: every key must be known, got `wavenumbr`"),
    ):
        assert old in text
        (tmp_path / "scenario.toml").write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=message):
            load_scenario(tmp_path)


def test_unknown_size_and_missing_file() -> None:
    with pytest.raises(ValueError, match="`size` must be one of default, smoke"):
        load_scenario(KS, "huge")
    with pytest.raises(FileNotFoundError, match="a scenario must exist"):
        load_scenario("nowhere.toml")
