"""The tasks of benchmarks/ssm: data are what they are said to be, contenders are trained alike, tables are records."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sciml.core import Key

FOLDER = Path(__file__).parents[2] / "benchmarks" / "ssm"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """A module of the folder, which is no package, by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    torch.set_default_dtype(torch.float32)
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_adding_marks_one_number_of_each_half(load):
    batch = load("memory_tasks").adding(Key.rows(3, 500), 31)
    numbers, marks = batch.inputs.unbind(-1)
    assert torch.equal(marks[:, :15].sum(1), torch.ones(500)) and torch.equal(marks[:, 15:].sum(1), torch.ones(500))
    assert torch.equal(batch.targets[:, 0], (numbers * marks).sum(1))
    assert set(marks.nonzero()[:, 1].tolist()) == set(range(31))
    assert float(batch.targets.var()) == pytest.approx(1 / 6, rel=0.2)


def test_selective_copying_asks_for_the_symbols_in_their_order(load):
    batch = load("memory_tasks").selective_copying(Key.rows(3, 200), 20, 5, 4)
    shown = batch.inputs.argmax(-1)
    assert batch.inputs.shape == (200, 25, 6) and torch.equal(batch.inputs.sum(-1), torch.ones(200, 25))
    assert bool((shown[:, 20:] == 5).all()) and bool((shown[:, :20] < 5).all())
    content = shown[:, :20]
    assert torch.equal(content[content < 4].view(200, 5), batch.targets)
    places = (content < 4).double().mean(0)
    assert float(places.min()) > 0.1 and float(places.max()) < 0.4
    assert torch.bincount(batch.targets.flatten(), minlength=4).min() > 200


@pytest.mark.parametrize("name", ["adding", "selective_copying"])
def test_series_do_not_depend_on_their_batch(load, name):
    make = getattr(load("memory_tasks"), name)
    sizes = (12,) if name == "adding" else (12, 3, 4)
    whole, alone = make(Key.rows(1, 4), *sizes), make(Key.rows(1, 1, start=2), *sizes)
    assert torch.equal(whole.inputs[2:3], alone.inputs) and torch.equal(whole.targets[2:3], alone.targets)


def test_lorenz_stays_on_its_attractor_and_is_the_same_at_every_rate(load, monkeypatch):
    """On the attractor <x²> is 62.8 or so (measured over long runs)."""
    dynamics = load("dynamics")
    monkeypatch.setattr(dynamics, "LORENZ_WARM_UP", 3.0)
    key = Key.rows(0, 64)
    x = dynamics.lorenz(key, 21, 0.05)
    assert float(x.square().mean()) == pytest.approx(62.8, rel=0.2) and 15 < float(x.abs().max()) < 21
    torch.testing.assert_close(dynamics.lorenz(key, 41, 0.025)[:, ::2], x, rtol=0, atol=1e-3)


def test_mackey_glass_is_of_fourth_order_and_obeys_its_equation(load, monkeypatch):
    dynamics = load("dynamics")
    key = Key.rows(0, 2)
    monkeypatch.setattr(dynamics, "MACKEY_GLASS_WARM_UP", 20.0)
    coarse, middle, fine = (dynamics.mackey_glass(key, 30, substeps=n) for n in (2, 4, 8))
    order = torch.log2((coarse - middle).abs().max() / (middle - fine).abs().max())
    assert 3.5 < float(order) < 4.8
    x = dynamics.mackey_glass(key, 40 * 16, dt=1 / 16, substeps=2)
    slope = 8 * (x[:, 2:] - x[:, :-2])
    lag = 17 * 16
    wanted = 0.2 * x[:, 1 : -1 - lag] / (1 + x[:, 1 : -1 - lag] ** 10) - 0.1 * x[:, 1 + lag : -1]
    torch.testing.assert_close(slope[:, lag:], wanted, rtol=0, atol=1e-3)


def test_the_driven_oscillator_is_the_same_at_every_rate(load):
    dynamics = load("dynamics")
    key = Key.rows(0, 3)
    coarse, fine = dynamics.driven_oscillator(key, 150, 0.04), dynamics.driven_oscillator(key, 300, 0.02)
    for u, v in zip(coarse, fine, strict=True):
        torch.testing.assert_close(u, v[:, 1::2])
    force, x = fine
    slope, bend = (x[:, 2:] - x[:, :-2]) / 0.04, (x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]) / 0.02**2
    inner = slice(1, -1)
    torch.testing.assert_close(bend, force[:, inner] - slope / 2 - x[:, inner] - x[:, inner] ** 3, rtol=0, atol=5e-3)


def test_irregular_series_hold_all_times_of_training(load):
    made = load("rate_shift").data(16, 5, 4)
    at = made.irregular.dt.cumsum(1)[made.shared].view(4, 16)
    assert torch.equal(at, torch.arange(1.0, 17.0).expand(4, 16))
    assert made.irregular.dt.shape == (4, 24) and set(made.irregular.dt.unique().tolist()) == {0.5, 1.0}
    assert torch.equal(made.irregular.targets[made.shared].view(4, 16, 1), made.test.targets)
    assert torch.equal(made.doubled.targets[:, 1::2], made.test.targets)


def test_windows_and_baselines_of_the_forecast(load):
    """Of a sine, the linear map of the past knows everything, and persistence what its phase says."""
    forecast = load("forecast")

    def sine(key: Key, points: int) -> torch.Tensor:
        phase = 2 * torch.pi * key.uniform(1)
        return torch.sin(phase + 0.3 * torch.arange(points))

    system = forecast.System(sine, (2, 5), 80, "0.3 rad", 1, (0.01, 0.1), 8, 1, 4)
    made = forecast.data(system, 20, 10)
    assert torch.equal(made.test.targets[:, :-5, 0], made.test.inputs[:, 2:-3, 0])
    assert torch.equal(made.test.targets[:, :-5, 1], made.test.inputs[:, 5:, 0])
    assert float(forecast.errors(forecast.linear(made), made.test).max()) < 1e-4
    expected = 2 * torch.sin(torch.tensor([0.3, 0.75]))
    torch.testing.assert_close(forecast.errors(forecast.persistence(made), made.test), expected, rtol=0.1, atol=0)


def test_splits_are_stratified_and_cover_all_digits(load):
    digits = load("digits")
    data = digits.digits()
    assert data.inputs.shape == (1797, 64, 1) and float(data.inputs.min()) == -1 and float(data.inputs.max()) == 1
    seen = []
    for number in range(5):
        training, test = digits.split(data, number)
        assert len(training) + len(test) == 1797
        share = torch.bincount(test.targets) / torch.bincount(data.targets)
        assert float((share - 0.2).abs().max()) < 0.01
        seen.append(test.inputs)
    assert torch.equal(torch.cat(seen).sum(), data.inputs.sum())


def test_every_round_of_batches_shows_every_row_once(load):
    batch = load("batch")
    data = batch.Batch(torch.arange(12.0).view(12, 1, 1), torch.arange(12))
    batches = batch.shuffled(data, 4)
    first, second = ([batches(5, 3 * r + i).targets for i in range(3)] for r in (0, 1))
    assert sorted(torch.cat(first).tolist()) == list(range(12)) == sorted(torch.cat(second).tolist())
    assert not torch.equal(torch.cat(first), torch.cat(second))
    assert torch.equal(batches(5, 4).targets, second[1]) and not torch.equal(batches(6, 4).targets, second[1])


def test_lengths_grow_to_the_full_one(load):
    growing = load("learning").growing
    lengths = [growing(update, 100, 10, 1000) for update in range(100)]
    assert lengths[0] == 10 and lengths == sorted(lengths)
    assert lengths[69] < 1000 and lengths[70:] == [1000] * 30


def test_the_rate_that_is_best_on_validation_data_is_taken(load):
    """A model of one number whose best rate is known: the smallest moves too little, the largest diverges."""
    learning, batch = load("learning"), load("batch")

    class Number(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.zeros(()))

        def forward(self, inputs: torch.Tensor, dt: torch.Tensor | None) -> torch.Tensor:
            return self.value.expand(len(inputs), 1, 1)

    data = batch.Batch(torch.zeros(4, 1, 1), torch.ones(4, 1, 1))
    task = learning.Task(
        batches=lambda seed, update: data,
        loss=lambda answers, batch: (answers - batch.targets).square().mean(),
        validate=lambda model: float((model(data) - 1).abs().mean()),
        score=lambda model: {"error": float((model(data) - 1).abs().mean())},
    )
    contender = learning.Contender("number", Number, (1e-4, 5e-2, float("inf")))
    budget, journal = learning.Budget(60, 4, weight_decay=0.0), load("record").Journal(None)
    rows = learning.compete([contender], {0: task, 1: task}, budget, journal, tuned_on=task, tuning=budget)
    assert [row["rate"] for row in rows] == [5e-2, 5e-2] and [row["seed"] for row in rows] == [0, 1]
    assert rows[0]["error"] < 0.2 < rows[0]["tuning"]["0.0001"][0] and rows[0]["tuning"]["inf"][0] == float("inf")
    assert rows[0]["parameters"] == 1


@pytest.mark.parametrize("layers", [1, 2])
def test_width_of_a_gru_for_a_number_of_parameters(load, layers):
    recurrent, learning = load("recurrent"), load("learning")
    width = recurrent.width_for(10_000, 3, 2, layers)
    made = learning.parameters(recurrent.GRU(3, 2, width, layers))
    assert made == pytest.approx(10_000, rel=0.03)


def test_tables_of_the_readme_are_those_of_the_records(load):
    record = load("record")
    text = record.README.read_text()
    assert record.with_tables(text) == text, "run python benchmarks/ssm/record.py"


def test_a_table_has_means_and_deviations(load):
    rows = [
        {"contender": "a", "seed": seed, "error": error, "rate": 0.01, "parameters": 1000, "seconds": 60.0}
        for seed, error in enumerate((1.0, 2.0, 3.0))
    ]
    rows.append({"contender": "b", "seed": 0, "error": 4.0})
    origin = {"device": "cpu", "date": "2020-01-02T03", "version": "1", "commit": "x", "processor_seconds": 60}
    made = json.loads(json.dumps({"rows": rows, "figures": {"error": ".2f"}, "seeds": [0, 1, 2], **origin}))
    lines = load("record").table(made).splitlines()
    assert lines[2] == "| a | 2.00 ± 1.00 | 1,000 | 0.01 | 60 |" and lines[3] == "| b | 4.00 |  |  |  |"


@pytest.mark.slow
@pytest.mark.parametrize("script", ["digits", "adding", "selective_copying", "forecast", "rate_shift"])
def test_a_script_runs_in_its_smoke_size(load, script):
    module = load(script)
    names = module.SYSTEMS if script == "forecast" else [None]
    for name in names:
        journal = load("record").Journal(None)
        found = module.run(True, journal) if name is None else module.run(name, True, journal)
        assert all(figure in row for row in found.rows for figure in found.figures)
        assert len({row["contender"] for row in found.rows}) >= 3


def test_a_journal_keeps_results_of_the_same_sources(load, tmp_path, monkeypatch):
    record = load("record")
    path, made = tmp_path / "kept.jsonl", []

    def compute() -> dict[str, int]:
        made.append(1)
        return {"a": len(made)}

    assert record.Journal(path)("x", compute) == {"a": 1}
    assert record.Journal(path)("x", compute) == {"a": 1} and record.Journal(path)("y", compute) == {"a": 2}
    monkeypatch.setattr(record, "sources", lambda: "other sources")
    assert record.Journal(path)("x", compute) == {"a": 3}
