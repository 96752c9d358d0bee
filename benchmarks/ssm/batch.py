"""What a training step sees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class Batch:
    """Series, what is to be said about them, and the intervals between their samples.

    Args:
        inputs: (batch, time, channel).
        targets: what the loss of the task compares with the model's answers.
        dt: interval that leads up to each sample, (batch, time), in units of the interval of training; None where all
            are 1.
    """

    inputs: Tensor
    targets: Tensor
    dt: Tensor | None = None

    def rows(self, index: Tensor | slice) -> "Batch":
        """A part of the rows."""
        return Batch(self.inputs[index], self.targets[index], None if self.dt is None else self.dt[index])

    def __len__(self) -> int:
        return len(self.inputs)


def shuffled(data: Batch, size: int) -> Callable[[int, int], Batch]:
    """Batches of the rows of `data` by seed and number of the update: in each round every row once, in a new order.

    The rows that do not fill a last batch of a round are left out in it.
    """
    rounds = len(data) // size

    def batches(seed: int, update: int) -> Batch:
        order = torch.Generator().manual_seed(100_003 * seed + update // rounds)
        index = torch.randperm(len(data), generator=order)
        return data.rows(index[(update % rounds) * size :][:size])

    return batches
