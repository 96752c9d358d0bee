"""The optimiser and its learning rate.

lr(n) = lr_max (n + 1) / warmup                                                      n < warmup
lr(n) = lr_min + (lr_max - lr_min) (1 + cos(pi (n - warmup) / (steps - warmup))) / 2   after it
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from sciml.training.config import TrainConfig


def warmup_cosine(step: int, *, steps: int, warmup_steps: int, final_fraction: float) -> float:
    """Learning rate of training step `step` (from 0) as a fraction of the largest one, [1].

    Source: Loshchilov & Hutter (2017), ICLR, equation 5 without restarts, after a linear warm-up.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2


def make_optimizer(groups: Mapping[str, Sequence[nn.Parameter]], config: TrainConfig) -> tuple[AdamW, LambdaLR]:
    """AdamW over the named groups, and its schedule. Fused into one call where all parameters are real."""
    parameters = [parameter for group in groups.values() for parameter in group]
    real = all(torch.is_floating_point(parameter) for parameter in parameters)
    optimizer = AdamW(
        [{"params": list(group), "name": name} for name, group in groups.items()],
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=real,
        foreach=not real,
    )
    rule = partial(
        warmup_cosine,
        steps=config.steps,
        warmup_steps=config.warmup_steps,
        final_fraction=config.final_learning_rate / config.learning_rate,
    )
    return optimizer, LambdaLR(optimizer, rule)
