"""The benchmark on Ornstein-Uhlenbeck data: small here, in its recorded size among the slow tests."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sciml.core import Key


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "latent_sde"))
    torch.set_default_dtype(torch.float32)
    yield importlib.import_module("run")
    for name in ("run", "ornstein_uhlenbeck"):
        sys.modules.pop(name, None)


def test_a_short_training_gains_most_of_what_can_be_gained(bench):
    phases = (bench.Phase(60, 1, 64), bench.Phase(20, 4, 32))
    settings = bench.Settings(series=256, points=6, span=1.5, substeps=2, phases=phases, warm_up=20)
    true = bench.OrnsteinUhlenbeck()
    ts = torch.linspace(0, 1.5, 7, dtype=torch.float64)[1:]
    data = true.sample(Key.rows(0, 256), ts.float(), keep=0.75)
    model = bench.model_for(settings)
    key = Key(5, data.ids)
    before = float(model.loss(data, key).parts["elbo"])
    bench.train(model, data, settings, seed=0)
    with torch.no_grad():
        after, bound = float(model.loss(data, key).parts["elbo"]), float(model.bound(data, key, 64).mean())
    exact, trivial = float(true.log_likelihood(data).mean()), float(bench.independent(data, data).mean())
    print(f"\nELBO {before:.2f} -> {after:.2f}, bound {bound:.2f}, exact {exact:.2f}, independent {trivial:.2f}")
    assert after > before + 0.5 * (exact - before)
    assert after < bound + 0.2 and bound < exact + 0.1  # the first is of one path each


@pytest.mark.parametrize("step", [None, 0.05])
def test_the_most_likely_process_is_near_the_true_one(bench, step):
    """And Euler-Maruyama steps make another process, whose likelihood is that of the process only as they shrink."""
    true = bench.OrnsteinUhlenbeck()
    ts = torch.linspace(0, 3.0, 13)[1:]
    data = true.sample(Key.rows(0, 2000), ts, keep=0.75)
    if step is None:
        found = bench.most_likely(data)
        for name, tolerance in (("rate", 0.12), ("mean", 0.05), ("spread", 0.06), ("noise", 0.02)):
            assert getattr(found, name) == pytest.approx(getattr(true, name), abs=tolerance), name
        return
    exact = true.log_likelihood(data).mean()
    gaps = [float(exact - replace(true, step=h).log_likelihood(data).mean()) for h in (step, step / 5)]
    assert gaps[1] < 0.5 * gaps[0] and abs(gaps[1]) < 0.02


@pytest.mark.slow
def test_drift_diffusion_and_bound_in_the_recorded_size(bench):
    """One seed, against maximum likelihood on the same series with its standard errors."""
    made = bench.run(0, bench.Settings())
    print(made)
    assert abs(made["rate"] - made["classical_rate"]) < 4 * made["rate_error"]
    assert abs(made["spread"] - made["classical_spread"]) < 6 * made["spread_error"]
    assert made["independent"] < made["elbo"] < made["bound"] < made["exact"] + 0.05
    assert made["bound"] > made["exact"] - 0.05


def test_standard_errors_are_those_of_many_data_sets(bench):
    """Of the mean with the rest known, in closed form: the sum of the inverse covariance."""
    true, ts = bench.OrnsteinUhlenbeck(), torch.linspace(0, 3.0, 13)[1:]
    data = true.sample(Key.rows(0, 500), ts, keep=1.1)
    errors = bench.standard_errors(true, data)
    gap = (ts[:, None] - ts[None, :]).abs().double()
    covariance = true.variance * torch.exp(-true.rate * gap) + true.noise**2 * torch.eye(12, dtype=torch.float64)
    assert float(errors[1]) == pytest.approx((500 * float(torch.linalg.inv(covariance).sum())) ** -0.5, rel=0.05)
