"""Steppers and data shared by the tests: a small network and a wave with an exact future."""

import math

import torch
from torch import Tensor, nn

from sciml.core import Condition, FieldBatch
from sciml.nn import Normalizer
from sciml.surrogates import AbstractStepper, Conditioning, Increment, OneStep, Persistence, State, Unrolled

DT = 0.2


class SmallNetwork(nn.Module):
    """Two circular convolutions."""

    def __init__(self, inputs: int = 1, outputs: int = 1, width: int = 12) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, width, 5, padding=2, padding_mode="circular")
        self.last = nn.Conv1d(width, outputs, 5, padding=2, padding_mode="circular")

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


def waves(batch: int, frames: int, seed: int = 0, points: int = 32) -> Tensor:
    """Exact solutions of u_t + u_x = 0 on [0, 2 pi) with two random modes, (batch, frames, 1, points)."""
    generator = torch.Generator().manual_seed(seed)
    phase, size = torch.rand(2, 2, batch, 1, 1, generator=generator, dtype=torch.float64)
    x = torch.arange(points, dtype=torch.float64) * (2 * math.pi / points)
    moved = x - DT * torch.arange(frames, dtype=torch.float64)[:, None]
    parts = [(0.5 + size[m]) * torch.sin((m + 1) * (moved + 2 * math.pi * phase[m])) for m in range(2)]
    return (parts[0] + parts[1])[:, :, None]


def wave_batch(batch: int, frames: int, seed: int = 0, condition: Condition = Condition()) -> FieldBatch:  # noqa: B008
    return FieldBatch(waves(batch, frames, seed), torch.arange(batch), DT, condition)


def scale(mean: float, std: float) -> Normalizer:
    return Normalizer(torch.tensor([mean]), torch.tensor([std]))


def steppers() -> list[tuple[AbstractStepper, Condition]]:
    """Every final stepper in its variants, with a condition of four rows that fits it."""
    torch.manual_seed(0)
    conditioning = Conditioning(parameters=2, static=1, mask=True)
    full = Condition(
        parameters=torch.rand(4, 2), static=torch.rand(4, 1, 32), mask=torch.ones(4, 1, 32, dtype=torch.bool)
    )
    return [
        (Persistence(scale(0.1, 0.7)), Condition()),
        (OneStep(SmallNetwork(), scale(0.1, 0.7), dt=DT, target=State()), Condition()),
        (OneStep(SmallNetwork(), scale(0.1, 0.7), dt=DT, target=Increment(scale(0.0, 0.2))), Condition()),
        (OneStep(SmallNetwork(3), scale(0.1, 0.7), dt=DT, context_frames=3, mode=Unrolled(2)), Condition()),
        (OneStep(SmallNetwork(5), scale(0.1, 0.7), dt=DT, conditioning=conditioning), full),
    ]
