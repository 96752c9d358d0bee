"""The adding problem of length 1,000: two marked numbers among a thousand, their sum at the end.

    python benchmarks/ssm/adding.py [--smoke]

Writes `results/adding.json`. The best constant has an error of 1/6; every batch is new, so that nothing can be
learned by heart. Beside the state-space model stand a GRU of as many parameters, and least
squares on all 2,000 numbers.
"""

import torch
from batch import Batch
from learning import Task
from memory_tasks import adding
from torch.nn.functional import mse_loss

from sciml.core import Key

TEST, VALIDATION = 20_000_000, 10_000_000
"""First of the ids of series; those of training count from 0."""


def series(length: int, start: int, count: int, seed: int = 0) -> Batch:
    """`count` series; equal ids are equal series."""
    return adding(Key.rows(seed, count, start=start), length)


def task(length: int, batch: int) -> Task:
    """Squared error of what is said at the last time."""

    def error(model, start: int) -> float:
        held_out = series(length, start, 1000)
        return float(mse_loss(model(held_out)[:, -1], held_out.targets))

    return Task(
        batches=lambda seed, update: series(length, update * batch, batch, seed),
        loss=lambda answers, batch: mse_loss(answers[:, -1], batch.targets),
        validate=lambda model: error(model, VALIDATION),
        score=lambda model: {"mse": error(model, TEST)},
    )


def least_squares(length: int, count: int) -> float:
    """Squared error of the linear map of all numbers and marks that is best on `count` series."""
    training, test = series(length, 0, count), series(length, TEST, 1000)
    columns = [torch.cat([part.inputs.flatten(1), torch.ones(len(part), 1)], dim=1) for part in (training, test)]
    penalty = torch.eye(columns[0].shape[1])
    weights = torch.linalg.solve(columns[0].T @ columns[0] + penalty, columns[0].T @ training.targets)
    return float(mse_loss(columns[1] @ weights, test.targets))
