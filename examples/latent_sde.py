"""A latent SDE learns a process from noisy values at irregular times: an Ornstein-Uhlenbeck process and a double well.

The picture shows series with paths that the posterior draws through them, new paths of the learned prior, and the
learned drift beside the true one.
"""

import argparse
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.core import Key
from sciml.integrate import SDE, SRA1, AdditiveNoise, Fixed, Ito, SaveAt, solve
from sciml.neural_de import (
    BackwardGRU,
    Conditioned,
    ConstantDiffusion,
    DriftNet,
    GaussianLikelihood,
    LatentPaths,
    LatentSDE,
    Readout,
    SeriesBatch,
)
from sciml.paths import BrownianMotion, SpaceTime

NOISE, SPAN = 0.2, 4.0


@dataclass(frozen=True)
class Process:
    """dz = drift(z) dt + spread dW."""

    name: str
    drift: Callable[[Tensor], Tensor]
    spread: float

    def sample(self, seed: int, rows: int) -> tuple[Tensor, Tensor]:
        """Times and paths after some time, (rows, time, 1)."""
        ts = torch.linspace(0.0, 3 * SPAN, 361, dtype=torch.float64)
        path = BrownianMotion.on_grid(Key.rows(seed, rows), (1,), ts, levy=SpaceTime())
        term = SDE(
            lambda t, z: self.drift(z),
            lambda t, z: torch.full_like(z, self.spread),
            path,
            structure=AdditiveNoise(diagonal=True),
            sense=Ito(),
        )
        start = torch.randn(rows, 1, generator=torch.Generator().manual_seed(seed))
        save = SaveAt(ts=ts[240::2].contiguous())  # by then it has forgotten where it started
        zs = solve(term, SRA1(), start, 0.0, 3 * SPAN, control=Fixed(ts=ts), save=save).ys
        return ts[240::2] - ts[240], zs


PROCESSES = [
    Process("Ornstein-Uhlenbeck", lambda z: 0.5 - z, 0.8),
    Process("double well", lambda z: 2 * (z - z**3), 0.7),
]


def observed(process: Process, seed: int, rows: int) -> SeriesBatch:
    """Every fourth time, most of them seen, with noise."""
    ts, zs = process.sample(seed, rows)
    generator = torch.Generator().manual_seed(seed + 1)
    values = zs[:, 4::4] + NOISE * torch.randn(rows, 15, 1, generator=generator)
    return SeriesBatch(ts[4::4], values, torch.rand(values.shape, generator=generator) < 0.8, torch.arange(rows))


def model_for(steps: int) -> LatentSDE:
    """z is what is observed but for noise; the drift is a network, everything else a number to be learned."""
    prior, diffusion = DriftNet(1, width=24), ConstantDiffusion(1)
    return LatentSDE(
        encoder=BackwardGRU(1, 1, hidden=16, head=Readout(18, 2)),
        posterior=Conditioned(prior, diffusion),
        prior=prior,
        diffusion=diffusion,
        decoder=nn.Identity(),
        likelihood=GaussianLikelihood(1, 0.5),
        latent=1,
        grid=torch.linspace(0.0, SPAN, steps + 1, dtype=torch.float64),
    )


def fit(model: LatentSDE, data: SeriesBatch, updates: int) -> None:
    """Adam: a quarter of the updates on the evidence bound, its divergences phased in, the rest on the weighted one."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=updates, pct_start=0.1)
    for step in range(updates):
        early = 4 * step < updates
        size = 256 if early else 32
        batch, key = data.rows(torch.randint(0, len(data.values), (size,))), Key(0, torch.arange(size)).fold(step)
        if early:
            loss = model.loss(batch, key, kl_weight=min(1.0, 8 * step / updates)).total
        else:
            loss = -model.bound(batch, key, samples=16).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        scheduler.step()
        if step % max(updates // 5, 1) == 0 or step == updates - 1:
            print(
                f"  update {step:4d}: {'evidence' if early else 'weighted'} bound {-float(loss.detach()):.2f}",
                flush=True,
            )


def drift_and_law(model: LatentSDE, process: Process) -> tuple[list[float], float]:
    """Where the learned drift is zero and falls, and how far the stationary law of the model is from the true one.

    The law of dz = f dt + g dW is exp(2 int f / g²)/g², up to a factor; the distance is half the integral of the
    absolute difference, 0 to 1.
    """
    z = torch.linspace(-3.0, 3.0, 1201).unsqueeze(1)
    with torch.no_grad():
        f, g = model.prior(torch.zeros(()), z)[:, 0], model.diffusion(torch.zeros(()), z)[:, 0]
    laws = []
    for drift, spread in ((f, g), (process.drift(z)[:, 0], torch.full_like(g, process.spread))):
        rate = 2 * drift / spread**2
        potential = torch.cumulative_trapezoid(rate, dx=0.005) - 2 * spread[1:].log()
        law = (potential - potential.max()).exp()
        laws.append(law / law.sum())
    falls = (f[:-1] > 0) & (f[1:] <= 0)
    return z[:-1, 0][falls].tolist(), 0.5 * float((laws[0] - laws[1]).abs().sum())


def main(smoke: bool, folder: Path) -> None:
    torch.manual_seed(0)
    updates, steps, rows = (5, 15, 128) if smoke else (800, 60, 1024)
    shown = []
    for process in PROCESSES:
        print(process.name)
        data = observed(process, 10, rows)
        model = model_for(steps)
        fit(model, data, updates)
        some = data.rows(slice(0, 3))
        many = data.rows(torch.arange(3).repeat_interleave(20))
        posterior = model.sample_posterior(many, Key.rows(1, 60))
        prior = model.sample_prior(Key.rows(2, 40))
        with torch.no_grad():
            spread = float(model.diffusion(torch.zeros(()), torch.zeros(1, 1)))
            noise = float(model.likelihood(torch.zeros(1, 1), torch.zeros(1, 1)))
        noise = math.exp(-noise) / math.sqrt(2 * math.pi)
        print(f"  diffusion {spread:.3f} (true {process.spread}), noise {noise:.3f} (true {NOISE})")
        zeros, distance = drift_and_law(model, process)
        print(f"  stable zeros of the drift {[round(zero, 2) for zero in zeros]}, stationary law off by {distance:.3f}")
        shown.append((process, some, posterior, prior, model))
    draw(shown, folder / "latent_sde.png")


def draw(shown: list[tuple[Process, SeriesBatch, LatentPaths, LatentPaths, LatentSDE]], path: Path) -> None:
    """A row per process: posterior, prior, drift."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(shown), 3, figsize=(10, 5.5), layout="constrained")
    for (process, some, posterior, prior, model), (left, middle, right) in zip(shown, axes, strict=True):
        for i in range(3):
            left.plot(posterior.ts, posterior.x[20 * i : 20 * i + 20, :, 0].T, color=f"C{i}", alpha=0.2, linewidth=0.7)
            seen = some.mask[i, :, 0]
            left.plot(some.times[seen], some.values[i, seen, 0], "o", color=f"C{i}", markersize=4)
        truth_ts, truth = process.sample(99, 40)
        middle.plot(truth_ts, truth[:12, :, 0].T, color="0.75", linewidth=0.7)
        middle.plot(prior.ts, prior.x[:12, :, 0].T, color="C3", linewidth=0.7)
        low, high = float(truth.min()), float(truth.max())
        z = torch.linspace(low, high, 100).unsqueeze(1)
        with torch.no_grad():
            right.plot(z, process.drift(z), color="0.7", linewidth=3, label="true drift")
            right.plot(z, model.prior(torch.zeros(()), z), color="C3", label="learned")
        left.set(ylabel=process.name, title="data and posterior paths")
        middle.set(title="truth (grey) and learned prior", ylim=left.get_ylim())
        right.set(title="drift")
        right.legend(fontsize="small")
    for axis in axes[-1]:
        axis.set(xlabel="time")
    axes[-1, -1].set(xlabel="z")
    figure.savefig(path, dpi=130)
    print(f"picture: {path} ({math.ceil(path.stat().st_size / 1024)} kB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
