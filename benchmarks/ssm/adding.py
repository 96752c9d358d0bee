"""The adding problem of length 1,000: two marked numbers among a thousand, their sum at the end.

    python benchmarks/ssm/adding.py [--smoke]

Writes `results/adding.json`. Series of training grow from 20 entries to 1,000, for all contenders alike. The best
constant has an error of 1/6; every batch is new, so that nothing can be learned by heart. A selective layer can let
entries without a mark pass without time passing; S4D has to cancel their sum. Beside them stand a GRU of as many
parameters as S4D, and least squares on all 2,000 numbers.
"""

from dataclasses import asdict
from functools import partial

import torch
from batch import Batch
from learning import Budget, Contender, Task, compete, growing, parameters
from memory_tasks import adding
from models import s4d_model, selective_model, slow_systems
from record import Findings, Journal, main
from recurrent import GRU, width_for
from torch.nn.functional import mse_loss

from sciml.core import Key
from sciml.ssm import s4d_lin

TEST, VALIDATION = 20_000_000, 10_000_000
"""First of the ids of series; those of training count from 0."""


def series(length: int, start: int, count: int, seed: int = 0) -> Batch:
    """`count` series; equal ids are equal series."""
    return adding(Key.rows(seed, count, start=start), length)


def task(length: int, budget: Budget) -> Task:
    """Squared error of what is said at the last time; series of training grow from 20 entries to the full length."""

    def error(model, start: int) -> float:
        held_out = series(length, start, 1000)
        return float(mse_loss(model(held_out)[:, -1], held_out.targets))

    def batches(seed: int, update: int) -> Batch:
        return series(growing(update, budget.updates, 20, length), update * budget.batch, budget.batch, seed)

    return Task(
        batches=batches,
        loss=lambda answers, batch: mse_loss(answers[:, -1], batch.targets),
        validate=lambda model: error(model, VALIDATION),
        score=lambda model: {"mse": error(model, TEST)},
    )


def least_squares(length: int, count: int) -> float:
    """Squared error of the linear map of all numbers and marks, its penalty chosen by leaving one out."""
    from sklearn.linear_model import RidgeCV

    training, test = series(length, 0, count), series(length, TEST, 1000)
    model = RidgeCV(alphas=[1.0, 10.0, 100.0, 1e3, 1e4]).fit(training.inputs.flatten(1), training.targets[:, 0])
    return float(mse_loss(torch.as_tensor(model.predict(test.inputs.flatten(1))), test.targets[:, 0]))


BUDGET = Budget(updates=1500, batch=32, weight_decay=0.0)
TUNING = Budget(updates=300, batch=32, weight_decay=0.0)


def run(smoke: bool, journal: Journal) -> Findings:
    """All contenders, two seeds."""
    length = 40 if smoke else 1000
    budget, tuning = (Budget(3, 4), Budget(2, 4)) if smoke else (BUDGET, TUNING)
    # The first number must not fade over 1,000 entries: systems are slow, and learn like all else.
    build = partial(s4d_model, 2, 1, width=24, blocks=2, state=32, spectrum=s4d_lin, shortest=3e-4, longest=3e-2)
    width = width_for(parameters(build()), 2, 1)
    contenders = (
        Contender(
            "selective",
            partial(selective_model, 2, 1, width=24, blocks=2, state=8, expand=1, shortest=1e-3, longest=0.1),
            rates=(5e-3,),
            groups=slow_systems,
        ),
        Contender("S4D (time-invariant)", build, rates=(4e-3,)),
        Contender("GRU", lambda: GRU(2, 1, width), rates=(1e-3, 3e-3)),
    )
    tasks = {seed: task(length, budget) for seed in range(1 if smoke else 2)}
    rows = compete(contenders, tasks, budget, journal, tuned_on=task(length, tuning), tuning=tuning)
    rows.append({"contender": "least squares", "seed": 0, "mse": least_squares(length, 200 if smoke else 5000)})
    rows.append({"contender": "a constant", "seed": 0, "mse": 1 / 6})
    settings = {"length": length, "budget": asdict(budget), "tuning": asdict(tuning)}
    return Findings(rows, settings, {"mse": ".4f"})


if __name__ == "__main__":
    main("adding", __doc__, run)
