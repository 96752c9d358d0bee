"""A small run with dropout and noise, so that resuming exactly is not trivial; also a script for the kill tests."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from sciml.core import FieldBatch
from sciml.nn import Normalizer
from sciml.surrogates import OneStep, OneStepMode
from sciml.training import FitResult, TrainConfig, fit

CONFIG = TrainConfig(
    steps=40,
    batch_size=4,
    learning_rate=1e-2,
    warmup_steps=5,
    weight_decay=1e-2,
    ema_decay=0.9,
    seed=3,
    checkpoint_every=7,
    log_every=3,
)


def stepper(width: int = 4, seed: int = 0) -> OneStep:
    """A stepper with dropout and input noise, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv1d(1, width, 3, padding=1, padding_mode="circular"), nn.Tanh(), nn.Dropout(0.2)]
        network = nn.Sequential(*layers, nn.Conv1d(width, 1, 1)).double()
    normalizer = Normalizer(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    return OneStep(network, normalizer, dt=0.1, mode=OneStepMode(noise=0.05))


def batch(step: int) -> FieldBatch:
    """The batch of training step `step`."""
    generator = torch.Generator().manual_seed(step)
    frames = torch.randn(4, 1, 1, 16, generator=generator, dtype=torch.float64)
    return FieldBatch(torch.cat([frames, frames.roll(1, -1)], dim=1), 4 * step + torch.arange(4), 0.1)


def batches(start: int) -> Iterator[FieldBatch]:
    """The batches from step `start` on, without end."""
    while True:
        yield batch(start)
        start += 1


def run(folder: Path, **changes) -> tuple[OneStep, FitResult]:
    """The whole run."""
    model = stepper()
    arguments = {"batches": batches, "config": CONFIG, "progress": False, **changes}
    return model, fit(model, folder=folder, **arguments)


if __name__ == "__main__":  # prints each step, so that the test knows when to kill it

    def told(start: int) -> Iterator[FieldBatch]:
        for step, item in enumerate(batches(start), start):
            print(step, flush=True)
            time.sleep(0.02)
            yield item

    torch.set_default_dtype(torch.float64)  # as in the tests: first weights are drawn in it
    run(Path(sys.argv[1]), batches=told)
