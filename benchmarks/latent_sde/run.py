"""Latent SDE on noisy Ornstein-Uhlenbeck data of known parameters: what it recovers, and its bound beside the exact
likelihood.

    python benchmarks/latent_sde/run.py [--seeds N] [--first N] [--substeps N] [--evidence] [--guided] [--out FILE]

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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ornstein_uhlenbeck import OrnsteinUhlenbeck, independent, most_likely, standard_errors
from torch import Tensor, nn

import sciml
from sciml.core import Key
from sciml.neural_de import (
    AffineControl,
    BackwardGRU,
    Conditioned,
    ConstantDiffusion,
    DriftNet,
    GaussianLikelihood,
    Guided,
    LatentSDE,
    Readout,
    SeriesBatch,
)

T_QUANTILE = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
"""97.5 % of Student's t with n - 1 degrees of freedom."""


@dataclass(frozen=True)
class Phase:
    """Some updates on one bound, in batches of `series` with `samples` paths each; 1 path is the evidence bound."""

    updates: int
    samples: int
    series: int


@dataclass(frozen=True)
class Settings:
    """Of one run. Times of observations are a random part of the points of a grid, so that the times are irregular."""

    series: int = 1024
    held_out: int = 256
    points: int = 12
    span: float = 3.0
    keep: float = 0.75
    substeps: int = 4
    phases: tuple[Phase, ...] = (Phase(600, 1, 256), Phase(600, 8, 64), Phase(600, 32, 32))
    warm_up: int = 100
    learning_rate: float = 1e-2
    samples: int = 256
    conditioned: bool = True

    @property
    def grid(self) -> Tensor:
        """Times of the steps."""
        return torch.linspace(0, self.span, self.substeps * self.points + 1, dtype=torch.float64)


def model_for(settings: Settings) -> LatentSDE:
    """A latent SDE that sees z itself."""
    prior, diffusion = DriftNet(1, width=16), ConstantDiffusion(1)
    return LatentSDE(
        encoder=BackwardGRU(1, 1, hidden=16, head=Readout(18, 2)),
        posterior=Conditioned(prior, diffusion) if settings.conditioned else Guided(prior, diffusion, AffineControl()),
        prior=prior,
        diffusion=diffusion,
        decoder=nn.Identity(),
        likelihood=GaussianLikelihood(1, 0.5),
        latent=1,
        grid=settings.grid,
    )


def train(model: LatentSDE, data: SeriesBatch, settings: Settings, seed: int) -> None:
    """Adam, with a rate that rises, then falls; the weight of the divergences rises at first."""
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    plan = [phase for phase in settings.phases for _ in range(phase.updates)]
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=len(plan), pct_start=0.1, final_div_factor=10
    )
    order = torch.Generator().manual_seed(seed)
    for step, phase in enumerate(plan):
        batch = data.rows(torch.randint(0, len(data.values), (phase.series,), generator=order))
        key = Key(seed, torch.arange(phase.series)).fold(step)
        if phase.samples == 1:
            loss = model.loss(batch, key, min(1.0, step / settings.warm_up)).total
        else:
            loss = -model.bound(batch, key, phase.samples).mean()
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
    data = true.sample(Key.rows(seed, settings.series), ts.float(), keep=settings.keep)
    test = true.sample(Key.rows(seed + 1000, settings.held_out), ts.float(), keep=settings.keep)
    model = model_for(settings)
    begin = time.process_time()
    train(model, data, settings, seed)
    seconds = time.process_time() - begin
    key = Key(seed + 2000, test.ids)
    parts = [(test.rows(rows), Key(key.seed, test.ids[rows])) for rows in torch.arange(len(test.values)).split(64)]
    with torch.no_grad():
        elbo = statistics.fmean(float(model.loss(test, key.fold(i)).parts["elbo"]) for i in range(16))
        bound = float(torch.cat([model.bound(some, k, settings.samples) for some, k in parts]).mean())
    classical = most_likely(data)
    errors = standard_errors(classical, data)
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
        "classical_noise": float(classical.noise),
        "rate_error": float(errors[0]),
        "spread_error": float(errors[2]),
        "noise_error": float(errors[3]),
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
    parser.add_argument("--substeps", type=int, default=Settings.substeps)
    parser.add_argument("--evidence", action="store_true", help="train on the evidence bound only")
    parser.add_argument("--guided", action="store_true", help="steps of Euler-Maruyama along a drift")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    settings = Settings(substeps=options.substeps, conditioned=not options.guided)
    if options.evidence:
        settings = replace(settings, phases=(Phase(1800, 1, 256),))
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
