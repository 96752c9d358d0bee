"""Forecasts at a fixed horizon of two chaotic series, seen through one number: x of Lorenz, and Mackey-Glass.

    python benchmarks/ssm/forecast.py lorenz|mackey_glass [--smoke]

Writes `results/lorenz.json` or `results/mackey_glass.json`. At every time the model says x at two later times at once,
from the past alone. The first 64 times of a series are not scored. Beside the state-space model stand a GRU of as many
parameters, the linear map of the last 64 values that is best on the training series, and persistence. Errors are root
mean squares over the standard deviation of the series, so that 1 is the error of the mean.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import final

import torch
from batch import Batch, shuffled
from dynamics import lorenz, mackey_glass
from learning import Budget, Contender, Scores, Task, compete, parameters
from models import s4d_model, slow_systems
from record import Findings, Journal, main
from recurrent import GRU, width_for
from torch import Tensor
from torch.nn.functional import mse_loss

from sciml.core import Key

PAST = 64
"""Values that a forecast rests on at least, and all that the linear map sees."""


@final
@dataclass(frozen=True)
class System:
    """A series and how far ahead it is forecast.

    Args:
        series: (batch, points) from a key and the number of points.
        horizons: steps ahead. length: of the series that the models see, in steps. unit: of a step, for the record.
        updates: of every training.
        steps: range in which the steps of S4D start. width, blocks, state: of S4D.
    """

    series: Callable[[Key, int], Tensor]
    horizons: tuple[int, int]
    length: int
    unit: str
    updates: int
    steps: tuple[float, float]
    width: int
    blocks: int
    state: int


SYSTEMS = {
    "lorenz": System(
        series=partial(lorenz, dt=0.05),
        horizons=(10, 20),
        length=160,
        unit="0.05 time units; a Lyapunov time is 22 steps",
        updates=2000,
        steps=(0.1, 2.0),
        width=24,
        blocks=5,
        state=8,
    ),
    "mackey_glass": System(
        series=mackey_glass,
        horizons=(42, 84),
        length=160,
        unit="1 time unit; delay 17",
        updates=500,
        steps=(0.01, 0.5),
        width=32,
        blocks=2,
        state=32,
    ),
}


@final
@dataclass(frozen=True)
class Data:
    """Series with mean 0 and variance 1 over the training series."""

    training: Batch
    validation: Batch
    test: Batch


def windows(values: Tensor, system: System) -> Batch:
    """Inputs (batch, time, 1) and, at every time, the values at the two horizons, (batch, time, 2)."""
    targets = [values[:, h : h + system.length] for h in system.horizons]
    return Batch(values[:, : system.length].unsqueeze(-1), torch.stack(targets, dim=-1))


def data(system: System, training: int, held_out: int) -> Data:
    """Series that start anywhere on the attractor; equal ids are equal series."""
    values = system.series(Key.rows(0, training + 2 * held_out), system.length + max(system.horizons))
    mean, scale = values[:training].mean(), values[:training].std()
    parts = ((values - mean) / scale).float().split([training, held_out, held_out])
    return Data(*(windows(part, system) for part in parts))


def figures(system: System) -> list[str]:
    """Names of the errors."""
    return [f"{h} steps ahead" for h in system.horizons]


def errors(answers: Tensor, test: Batch) -> Tensor:
    """Root mean squares over the times that count, one for each horizon."""
    return (answers - test.targets)[:, PAST:].square().mean((0, 1)).sqrt()


def task(made: Data, system: System, batch: int) -> Task:
    """Mean square over both horizons and the times that count."""

    def score(answers: Tensor) -> Scores:
        return dict(zip(figures(system), errors(answers, made.test).tolist(), strict=True))

    return Task(
        batches=shuffled(made.training, batch),
        loss=lambda answers, batch: mse_loss(answers[:, PAST:], batch.targets[:, PAST:]),
        validate=lambda model: float(errors(model(made.validation), made.validation).mean()),
        score=lambda model: score(model(made.test)),
    )


def lags(inputs: Tensor) -> Tensor:
    """The last 64 values and a 1 at every time from the 64th on, (rows, 65), float64."""
    past = inputs[..., 0].double().unfold(1, PAST, 1)[:, 1:].flatten(0, 1)
    return torch.cat([past, torch.ones(len(past), 1, dtype=torch.float64)], dim=1)


def linear(made: Data) -> Tensor:
    """Answers of the best linear map of the last 64 values, zero where it is not scored."""
    columns, wanted = lags(made.training.inputs), made.training.targets[:, PAST:].flatten(0, 1).double()
    weights = torch.linalg.lstsq(columns, wanted, driver="gelsd").solution
    answers = torch.zeros_like(made.test.targets)
    answers[:, PAST:] = (lags(made.test.inputs) @ weights).float().unflatten(0, (len(answers), -1))
    return answers


def persistence(made: Data) -> Tensor:
    """The last value."""
    return made.test.inputs.expand(-1, -1, 2)


TUNING = Budget(updates=150, batch=32, weight_decay=0.0)


def run(name: str, smoke: bool, journal: Journal) -> Findings:
    """All contenders on one system, three seeds."""
    system = SYSTEMS[name]
    whole = Budget(updates=system.updates, batch=32, weight_decay=0.0)
    budget, tuning = (Budget(3, 4), Budget(2, 4)) if smoke else (whole, TUNING)
    made = data(system, *((8, 4) if smoke else (1024, 256)))
    shape = {"width": system.width, "blocks": system.blocks, "state": system.state}
    shortest, longest = system.steps
    build = partial(s4d_model, 1, 2, **shape, shortest=shortest, longest=longest)
    count = parameters(build())
    contenders = (
        Contender("S4D", build, rates=(1e-2, 2e-2, 4e-2), groups=slow_systems),
        Contender("GRU", lambda: GRU(1, 2, width_for(count, 1, 2)), rates=(3e-3, 1e-2, 3e-2)),
        Contender("GRU, 2 layers", lambda: GRU(1, 2, width_for(count, 1, 2, 2), 2), rates=(3e-3, 1e-2, 3e-2)),
    )
    made_task = task(made, system, budget.batch)
    tasks = dict.fromkeys(range(1 if smoke else 3), made_task)
    rows = compete(contenders, tasks, budget, journal, tuned_on=made_task, tuning=tuning)
    for baseline in (linear, persistence):
        found = errors(baseline(made), made.test).tolist()
        rows.append({"contender": baseline.__name__, "seed": 0, **dict(zip(figures(system), found, strict=True))})
    settings: dict[str, object] = {"length": system.length, "horizons": system.horizons, "unit": system.unit}
    settings |= {"s4d": shape | {"steps": system.steps}}
    settings |= {"training": len(made.training), "test": len(made.test)}
    settings |= {"budget": asdict(budget), "tuning": asdict(tuning)}
    return Findings(rows, settings, dict.fromkeys(figures(system), ".4f"))


if __name__ == "__main__":
    chosen = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in SYSTEMS else "lorenz"
    main(chosen, __doc__, partial(run, chosen))
