"""Selective copying: 16 of 256 entries are symbols, at random places; they are to be said again in their order.

    python benchmarks/ssm/selective_copying.py [--smoke]

Writes `results/selective_copying.json`. 16 symbols, so that chance is 6.25 % per token. Series of training grow from 16
entries, all of them symbols, to the full length. The selective layer chooses its step from the input, so that blanks
can pass without time passing; S4D, which is the same at all times, cannot tell how many symbols came since; a GRU can.
The layer has complex eigenvalues here; the one with real eigenvalues, as published, is shown too.
"""

from dataclasses import asdict
from functools import partial

from batch import Batch
from learning import Budget, Contender, Task, compete, growing, parameters
from memory_tasks import selective_copying
from models import s4d_model, selective_model, slow_systems
from record import Findings, Journal, main
from recurrent import GRU, width_for
from torch.nn.functional import cross_entropy

from sciml.core import Key
from sciml.ssm import s4d_lin

TOKENS = SYMBOLS = 16
TEST, VALIDATION = 20_000_000, 10_000_000
"""First of the ids of series; those of training count from 0."""


def task(length: int, budget: Budget) -> Task:
    """Cross-entropy of the symbols at the times that ask for them."""

    def wrong(model, start: int) -> float:
        held_out = selective_copying(Key.rows(0, 256, start=start), length, TOKENS, SYMBOLS)
        said = model(held_out)[:, -TOKENS:].argmax(-1)
        return 100 * float((said != held_out.targets).double().mean())

    def batches(seed: int, update: int) -> Batch:
        grown = growing(update, budget.updates, TOKENS, length)
        return selective_copying(Key.rows(seed, budget.batch, start=update * budget.batch), grown, TOKENS, SYMBOLS)

    return Task(
        batches=batches,
        loss=lambda answers, batch: cross_entropy(answers[:, -TOKENS:].flatten(0, 1), batch.targets.flatten()),
        validate=lambda model: wrong(model, VALIDATION),
        score=lambda model: {"right per token, %": 100 - wrong(model, TEST)},
    )


BUDGET = Budget(updates=3000, batch=16, weight_decay=0.0)
TUNING = Budget(updates=300, batch=16, weight_decay=0.0)


def run(smoke: bool, journal: Journal) -> Findings:
    """All contenders, two seeds."""
    length = 24 if smoke else 256
    budget, tuning = (Budget(3, 2), Budget(2, 2)) if smoke else (BUDGET, TUNING)
    channels = SYMBOLS + 2
    build = partial(
        selective_model, channels, SYMBOLS, width=32, blocks=1, state=32, expand=1, shortest=0.02, longest=0.2
    )
    width = width_for(parameters(build(spectrum=s4d_lin)), channels, SYMBOLS)
    contenders = (
        Contender("selective", partial(build, spectrum=s4d_lin), rates=(5e-3,), groups=slow_systems),
        Contender(
            "S4D (time-invariant)",
            lambda: s4d_model(channels, SYMBOLS, width=32, blocks=2, state=32, shortest=0.01, longest=0.2),
            rates=(3e-3, 1e-2),
            groups=slow_systems,
        ),
        Contender("GRU", lambda: GRU(channels, SYMBOLS, width), rates=(3e-3, 1e-2)),
        Contender("selective, real eigenvalues", build, rates=(5e-3,), groups=slow_systems),
    )
    made, tuned_on = task(length, budget), task(length, tuning)
    tasks = dict.fromkeys(range(1 if smoke else 2), made)
    rows = compete(contenders, tasks, budget, journal, tuned_on=tuned_on, tuning=tuning)
    settings: dict[str, object] = {"length": length, "tokens": TOKENS, "symbols": SYMBOLS}
    settings |= {"budget": asdict(budget), "tuning": asdict(tuning)}
    return Findings(rows, settings, {"right per token, %": ".2f"})


if __name__ == "__main__":
    main("selective_copying", __doc__, run)
