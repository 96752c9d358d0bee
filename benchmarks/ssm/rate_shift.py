"""Trained at one rate, tested at twice that rate and at irregular times, with the intervals given.

    python benchmarks/ssm/rate_shift.py [--smoke]

Writes `results/rate_shift.json`. The task is to say at every time how far a stiffening spring is from rest, from the
force on it until then. The test series are the same at every rate, and all errors are taken at the same times: those of
the rate of training. Irregular times are those and a random half of the ones between. Beside the state-space model
stand GRUs without and with the interval as a second input.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import final

import torch
from batch import Batch, shuffled
from dynamics import driven_oscillator
from learning import Budget, Contender, Scores, Task, compete, parameters
from models import s4d_model, slow_systems
from record import Findings, Journal, main
from recurrent import GRU, width_for
from torch import Tensor
from torch.nn.functional import mse_loss

from sciml.core import Key

INTERVAL = 0.1
"""Of training, [time]."""


@final
@dataclass(frozen=True)
class Data:
    """Series at the rate of training, and the test series at twice the rate and at irregular times."""

    training: Batch
    validation: Batch
    test: Batch
    doubled: Batch
    irregular: Batch
    shared: Tensor
    """Whether an entry of the irregular series is at a time of the rate of training, (batch, time)."""


def data(length: int, training: int, held_out: int) -> Data:
    """Force and position over their standard deviations in training; intervals in units of that of training."""
    count = training + 2 * held_out
    force, position = driven_oscillator(Key.rows(0, count), 2 * length, INTERVAL / 2)
    scales = force[:training].std(), position[:training].std()
    inputs, targets = (force / scales[0]).float().unsqueeze(-1), (position / scales[1]).float().unsqueeze(-1)
    dt = torch.full(inputs.shape[:2], 0.5)
    sizes = [training, held_out, held_out]
    columns = [v.split(sizes) for v in (inputs[:, 1::2], targets[:, 1::2])]
    training_part, validation, test = (Batch(*part) for part in zip(*columns, strict=True))
    doubled = Batch(inputs, targets, dt).rows(slice(count - held_out, count))
    irregular, shared = thinned(doubled)
    return Data(training_part, validation, test, doubled, irregular, shared)


def thinned(doubled: Batch) -> tuple[Batch, Tensor]:
    """All entries at times of training and, in every series, a random half of the others."""
    assert doubled.dt is not None
    held_out, length = doubled.dt.shape
    between = Key.rows(1, held_out).uniform(length // 2).argsort(dim=1) < length // 4
    keep = torch.stack([between, torch.ones_like(between)], dim=-1).flatten(1)
    index = keep.nonzero()[:, 1].view(held_out, -1)
    times = doubled.dt.cumsum(1).gather(1, index)
    dt = times.diff(dim=1, prepend=torch.zeros(held_out, 1))
    inputs, targets = (v.gather(1, index.unsqueeze(-1)) for v in (doubled.inputs, doubled.targets))
    return Batch(inputs, targets, dt), index % 2 == 1


def error(answers: Tensor, targets: Tensor) -> float:
    """Root mean square over the standard deviation in training."""
    return float(mse_loss(answers, targets).sqrt())


def task(made: Data, batch: int) -> Task:
    """Mean square over all times; figures at every rate, at the times of training."""

    def score(model) -> Scores:
        wanted = made.test.targets
        same, twice = error(model(made.test), wanted), error(model(made.doubled)[:, 1::2], wanted)
        irregular = error(model(made.irregular)[made.shared].view_as(wanted), wanted)
        found = {"same rate": same, "twice the rate": twice, "ratio": twice / same, "irregular": irregular}
        return found | {"its ratio": irregular / same}

    return Task(
        batches=shuffled(made.training, batch),
        loss=lambda answers, batch: mse_loss(answers, batch.targets),
        validate=lambda model: error(model(made.validation), made.validation.targets),
        score=score,
    )


def with_interval(batch: Batch) -> Batch:
    """The interval as a further channel."""
    dt = torch.ones(batch.inputs.shape[:2]) if batch.dt is None else batch.dt
    return Batch(torch.cat([batch.inputs, dt.unsqueeze(-1)], dim=-1), batch.targets, batch.dt)


BUDGET = Budget(updates=500, batch=32, weight_decay=0.0)
TUNING = Budget(updates=150, batch=32, weight_decay=0.0)
FIGURES = ("same rate", "twice the rate", "ratio", "irregular", "its ratio")


def run(smoke: bool, journal: Journal) -> Findings:
    """All contenders, three seeds."""
    budget, tuning = (Budget(3, 4), Budget(2, 4)) if smoke else (BUDGET, TUNING)
    made = data(16, 8, 4) if smoke else data(160, 1024, 256)
    build = partial(s4d_model, 1, 1, width=32, blocks=2, state=32, shortest=1e-2, longest=0.5)
    count = parameters(build())
    gru = partial(GRU, answers=1, width=width_for(count, 1, 1))
    contenders = (
        Contender("S4D", build, rates=(4e-3, 1e-2), groups=slow_systems),
        Contender("GRU", partial(gru, 1), rates=(3e-3, 1e-2)),
        Contender("GRU, interval as an input", partial(gru, 2), rates=(3e-3, 1e-2), prepare=with_interval),
    )
    made_task = task(made, budget.batch)
    tasks = dict.fromkeys(range(1 if smoke else 3), made_task)
    rows = compete(contenders, tasks, budget, journal, tuned_on=made_task, tuning=tuning)
    settings: dict[str, object] = {"interval": INTERVAL, "length": made.test.inputs.shape[1]}
    settings |= {"training": len(made.training), "test": len(made.test)}
    settings |= {"budget": asdict(budget), "tuning": asdict(tuning)}
    return Findings(rows, settings, dict.fromkeys(FIGURES, ".3f"))


if __name__ == "__main__":
    main("rate_shift", __doc__, run)
