"""Simulate, train a dilated ResNet, continue unseen trajectories, and say how long they stay right."""

import argparse
import tempfile
from pathlib import Path

import torch

from sciml import metrics
from sciml.data import Trajectories, Windows, fit_increment_normalizer, fit_normalizer, loader, simulate
from sciml.grids import Grid
from sciml.pde import KuramotoSivashinsky, TruncatedFourier
from sciml.surrogates import Increment, OneStep, rollout
from sciml.surrogates.networks import DilatedResNet
from sciml.training import TrainConfig, fit


def main(smoke: bool, folder: Path) -> None:
    grid = Grid((64,), (22.0,))

    def make(name: str, trajectories: int, seed: int) -> Trajectories:
        return simulate(
            KuramotoSivashinsky(),
            grid,
            TruncatedFourier(cutoff=4),
            folder / f"{name}.nc",
            trajectories=trajectories,
            frames=101,
            dt_frame=0.5,
            dt=0.05,
            spin_up=50.0,
            seed=seed,
        )

    train, test = make("train", 8 if smoke else 64, seed=1).load(), make("test", 8, seed=2)

    torch.manual_seed(0)
    network = DilatedResNet(1, 1, 1, hidden_channels=24, blocks=2, dilations=(1, 2, 4, 2, 1))
    stepper = OneStep(network, fit_normalizer(train), dt=train.dt, target=Increment(fit_increment_normalizer(train)))
    config = TrainConfig(steps=30 if smoke else 1500, batch_size=32, learning_rate=2e-3, warmup_steps=20)
    windows = Windows(train, stepper.window)
    fit(
        stepper,
        lambda start: loader(windows, config.batch_size, config.seed, steps=config.steps, start=start),
        config,
        folder=folder / "run",
    )

    truth = test.read(range(8), 1, 100)
    forecast = rollout(stepper, test.read(range(8), 0, 1), 100, dt=test.dt)
    times = test.dt * torch.arange(1, 101)
    crossing = metrics.high_correlation_time(metrics.correlation(forecast, truth), times)
    still = metrics.high_correlation_time(metrics.correlation(test.read(range(8), 0, 1).expand_as(truth), truth), times)
    print(f"one-step nRMSE {float(metrics.nrmse(forecast, truth)[:, 0].mean()):.1e}")
    print(f"correlation above 0.8 for {float(crossing.time):.1f} time units; persistence for {float(still.time):.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep data and checkpoints")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
