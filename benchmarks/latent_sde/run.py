"""Latent SDE on noisy Ornstein-Uhlenbeck data of known parameters: what it recovers, and its bound beside the exact
likelihood.

    python benchmarks/latent_sde/run.py [--seeds N] [--steps N] [--train-samples N] [--out FILE]

z is what is observed but for noise (the decoder is the identity), so that drift and diffusion can be compared with the
true ones. Else nothing is told: the drift is a network; the diffusion (a constant), the law at first and the noise are
learned.
"""

import argparse
import json
import math
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from ornstein_uhlenbeck import OrnsteinUhlenbeck, independent, most_likely
from torch import Tensor, nn

import sciml
from sciml.core import Key
from sciml.neural_de import (
    BackwardGRU,
    Conditioned,
    ConstantDiffusion,
    DriftNet,
    GaussianLikelihood,
    LatentSDE,
    SeriesBatch,
)

T_QUANTILE = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
"""97.5 % of Student's t with n - 1 degrees of freedom."""


@dataclass(frozen=True)
class Settings:
    """Of one run. Times of observations are a random part of the points of a grid, so that the times are irregular.

    The first quarter of the steps is on the evidence bound, in batches of `batch`; the others are on the bound weighted
    by importance, in batches of `weighted` with `train_samples` paths each, unless that is 0.
    """

    series: int = 1024
    held_out: int = 256
    points: int = 12
    span: float = 3.0
    keep: float = 0.75
    substeps: int = 4
    steps: int = 800
    batch: int = 256
    warm_up: int = 100
    learning_rate: float = 1e-2
    weighted: int = 32
    train_samples: int = 16
    samples: int = 64


def model_for(grid: Tensor) -> LatentSDE:
    """A latent SDE that sees z itself."""
    prior, diffusion = DriftNet(1, width=16), ConstantDiffusion(1)
    head = nn.Sequential(nn.Linear(17, 32), nn.Tanh(), nn.Linear(32, 2))
    return LatentSDE(
        encoder=BackwardGRU(1, 1, hidden=16, head=head),
        posterior=Conditioned(prior, diffusion),
        prior=prior,
        diffusion=diffusion,
        decoder=nn.Identity(),
        likelihood=GaussianLikelihood(1, 0.5),
        latent=1,
        grid=grid,
    )


def train(model: LatentSDE, data: SeriesBatch, settings: Settings, seed: int) -> None:
    """Adam, with a rate that rises, then falls; the weight of the divergences rises at first."""
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.1, final_div_factor=10
    )
    order = torch.Generator().manual_seed(seed)
    for step in range(settings.steps):
        weighted = settings.train_samples > 0 and 4 * step >= settings.steps
        size = settings.weighted if weighted else settings.batch
        batch = data.rows(torch.randint(0, len(data.values), (size,), generator=order))
        key = Key(seed, torch.arange(size)).fold(step)
        if weighted:
            loss = -model.bound(batch, key, settings.train_samples).mean()
        else:
            loss = model.loss(batch, key, min(1.0, step / settings.warm_up)).total
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        scheduler.step()


@torch.no_grad()
def recovered(model: LatentSDE, true: OrnsteinUhlenbeck) -> dict[str, float]:
    """The line and the constant that are nearest to the learned drift and diffusion in the true stationary law."""
    spread = true.variance**0.5
    z = true.mean + spread * torch.linspace(-2.0, 2.0, 81).unsqueeze(1)
    weight = torch.exp(-0.5 * ((z - true.mean) / spread) ** 2)
    t = torch.zeros(())
    f, g = model.prior(t, z), model.diffusion(t, z)
    columns = torch.cat([torch.ones_like(z), z], dim=1)
    line = torch.linalg.lstsq(weight.sqrt() * columns, weight.sqrt() * f).solution[:, 0]
    off = f - true.rate * (true.mean - z)
    mean_of = lambda value: float((weight * value).sum() / weight.sum())  # noqa: E731
    assert isinstance(model.likelihood, GaussianLikelihood)
    return {
        "rate": -float(line[1]),
        "mean": -float(line[0] / line[1]),
        "spread": float(g.mean()),
        "noise": float(model.likelihood.log_sd.exp()),
        "drift_error": mean_of(off.square()) ** 0.5,
    }


def run(seed: int, settings: Settings) -> dict[str, Any]:
    """One seed: data, training, what was recovered, bounds on held-out series in nats per series."""
    torch.manual_seed(seed)
    true = OrnsteinUhlenbeck()
    ts = torch.linspace(0, settings.span, settings.points + 1, dtype=torch.float64)[1:]
    grid = torch.linspace(0, settings.span, settings.substeps * settings.points + 1, dtype=torch.float64)
    data = true.sample(Key.rows(seed, settings.series), ts.float(), keep=settings.keep)
    test = true.sample(Key.rows(seed + 1000, settings.held_out), ts.float(), keep=settings.keep)
    model = model_for(grid)
    begin = time.process_time()
    train(model, data, settings, seed)
    seconds = time.process_time() - begin
    key = Key(seed + 2000, test.ids)
    with torch.no_grad():
        elbo = statistics.fmean(float(model.loss(test, key.fold(i)).parts["elbo"]) for i in range(16))
        bound = float(model.bound(test, key, settings.samples).mean())
    classical = most_likely(data)
    exact = true.log_likelihood(test)
    return {
        "seed": seed,
        **recovered(model, true),
        "exact": float(exact.mean()),
        "bound": bound,
        "elbo": elbo,
        "classical": float(classical.log_likelihood(test).mean()),
        "classical_rate": float(classical.rate),
        "classical_spread": float(classical.spread),
        "independent": float(independent(data, test).mean()),
        "observations": float(test.mask.sum() / len(test.values)),
        "seconds": seconds,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Mean over seeds, and half of the 95 % interval of it."""
    made = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        half = T_QUANTILE[len(rows)] * statistics.stdev(values) / len(rows) ** 0.5 if len(rows) > 1 else math.nan
        made[name] = (statistics.fmean(values), half)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="number of the first seed")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--substeps", type=int, default=Settings.substeps)
    parser.add_argument("--train-samples", type=int, default=Settings.train_samples, help="0: evidence bound only")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    settings = Settings(steps=options.steps, substeps=options.substeps, train_samples=options.train_samples)
    rows = []
    for seed in range(options.first, options.first + options.seeds):
        rows.append(run(seed, settings))
        print(json.dumps({k: round(v, 4) for k, v in rows[-1].items()}), flush=True)
    made = summary(rows)
    for name, (mean, half) in made.items():
        print(f"{name:18s} {mean:9.4f} +- {half:.4f}")
    if options.out is not None:
        versions = {"sciml": sciml.__version__, "torch": torch.__version__, "python": platform.python_version()}
        record = {"settings": asdict(settings), "true": asdict(OrnsteinUhlenbeck()), "versions": versions, "rows": rows}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
