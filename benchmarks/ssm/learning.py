"""Contenders are trained alike: the same batches, updates, schedule and loss; each at its own best learning rate.

The rate is chosen on validation data that no reported figure uses, with a seed of its own; then every seed is trained
at that rate.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, final

import torch
from batch import Batch
from record import Journal
from torch import Tensor, nn

from sciml.training.schedule import warmup_cosine

Scores = dict[str, float]
Groups = Callable[[nn.Module, float], list[dict[str, Any]]]
"""Parameter groups of an optimiser from a model and the learning rate."""


def one_group(model: nn.Module, rate: float) -> list[dict[str, Any]]:
    """All parameters alike."""
    return [{"params": list(model.parameters()), "lr": rate}]


@final
@dataclass(frozen=True)
class Contender:
    """A model that learns.

    Args:
        name: in the table.
        build: makes the model; `model(inputs, dt)` is (batch, time, answer).
        rates: learning rates to choose from.
        groups: parameter groups at a rate.
        prepare: what the contender is shown of a batch.
    """

    name: str
    build: Callable[[], nn.Module]
    rates: tuple[float, ...]
    groups: Groups = one_group
    prepare: Callable[[Batch], Batch] = lambda batch: batch


@final
@dataclass(frozen=True)
class Budget:
    """How every contender of a task is trained: AdamW, a linear rise of the rate, then half a cosine to 0."""

    updates: int
    batch: int
    warm_up: float = 0.05
    """Of the updates."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of the gradient."""


@final
@dataclass(frozen=True)
class Task:
    """What is learned.

    Args:
        batches: the batch of an update, from seed and number of the update.
        loss: from answers and batch.
        validate: a figure on validation data, smaller is better.
        score: the figures that are reported, on test data.
    """

    batches: Callable[[int, int], Batch]
    loss: Callable[[Tensor, Batch], Tensor]
    validate: Callable[[Callable[[Batch], Tensor]], float]
    score: Callable[[Callable[[Batch], Tensor]], Scores]


@final
@dataclass(frozen=True)
class Trained:
    """A model after training, as a function of a batch, and the time of the processor that it took, [s]."""

    model: nn.Module
    prepare: Callable[[Batch], Batch]
    seconds: float
    losses: list[float] = field(repr=False)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Answers of the model in evaluation, (batch, time, answer), some rows at a time."""
        self.model.eval()
        shown = self.prepare(batch)
        parts = [shown.rows(slice(i, i + 128)) for i in range(0, len(shown), 128)]
        return torch.cat([self.model(part.inputs, part.dt) for part in parts])


def train(contender: Contender, task: Task, budget: Budget, rate: float, seed: int) -> Trained:
    """Train from the first weights of the seed. What a batch holds depends on seed and update alone."""
    torch.manual_seed(seed)
    model = contender.build().train()
    optimiser = torch.optim.AdamW(contender.groups(model, rate), lr=rate, weight_decay=budget.weight_decay)
    warm_up = max(1, round(budget.warm_up * budget.updates))
    rule = partial(warmup_cosine, steps=budget.updates, warmup_steps=warm_up, final_fraction=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rule)
    begin, losses = time.process_time(), []
    for update in range(budget.updates):
        batch = contender.prepare(task.batches(seed, update))
        loss = task.loss(model(batch.inputs, batch.dt), batch)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), budget.clip)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        if (update + 1) % max(1, budget.updates // 10) == 0:
            recent = losses[-max(1, budget.updates // 20) :]
            print(f"    {contender.name}, {update + 1} updates: loss {sum(recent) / len(recent):.4g}", flush=True)
    return Trained(model, contender.prepare, time.process_time() - begin, losses)


TUNING_SEED = 1000
"""Of the trainings that choose a learning rate; no reported figure uses it."""


def compete(
    contenders: Sequence[Contender],
    tasks: Mapping[int, Task],
    budget: Budget,
    journal: Journal,
    *,
    tuned_on: Task,
    tuning: Budget,
) -> list[dict[str, Any]]:
    """Rows of figures: every contender at its best rate, every task.

    Args:
        tasks: by the seed of the training (the number of a split where data are split).
        budget: of the reported trainings.
        journal: where finished trainings are kept.
        tuned_on: the task that chooses the rate.
        tuning: budget of the trainings that choose the rate.
    """

    def tried(contender: Contender, rate: float) -> tuple[float, float]:
        trained = train(contender, tuned_on, tuning, rate, TUNING_SEED)
        reached = tuned_on.validate(trained)
        print(f"  {contender.name}, rate {rate:g}: {reached:.4g} on validation data", flush=True)
        return (reached if math.isfinite(reached) else math.inf), round(trained.seconds, 1)

    def row(contender: Contender, seed: int, rate: float) -> dict[str, Any]:
        trained = train(contender, tasks[seed], budget, rate, seed)
        made = {"contender": contender.name, "seed": seed, **tasks[seed].score(trained), "rate": rate}
        made |= {"parameters": parameters(trained.model), "seconds": round(trained.seconds, 1)}
        print(made, flush=True)
        return made

    rows = []
    for contender in contenders:
        reached = {contender.rates[0]: (0.0, 0.0)}
        if len(contender.rates) > 1:
            keys = {rate: f"{contender.name}, rate {rate:g}, {tuning}" for rate in contender.rates}
            reached = {rate: journal(key, partial(tried, contender, rate)) for rate, key in keys.items()}
        rate = min(reached, key=reached.__getitem__)
        for seed in tasks:
            key = f"{contender.name}, rate {rate:g}, seed {seed}, {budget}"
            made = journal(key, partial(row, contender, seed, rate))
            rows.append({**made, "tuning": {f"{r:g}": both for r, both in reached.items()}})
    return rows


def growing(update: int, updates: int, shortest: int, longest: int, share: float = 0.7) -> int:
    """Length of the series of an update: it grows by equal factors over a share of the updates, then is the longest."""
    return min(longest, int(shortest * (longest / shortest) ** (update / (share * updates))))


def parameters(model: nn.Module) -> int:
    """Numbers that are learned; a complex one counts twice."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters() if p.requires_grad)
