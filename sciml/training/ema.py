"""Exponential moving average of the weights, with a decay that grows from 0 so that the start is soon forgotten.

w_avg <- d_n w_avg + (1 - d_n) w,    d_n = min(decay, (1 + n) / (10 + n)),    n updates so far;  d_0 counts as 0
"""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def ema_decay(updates: int, decay: float) -> float:
    """Decay of the average after `updates` updates, [1].

    Source: the warm-up of `tf.train.ExponentialMovingAverage(num_updates=...)`.
    """
    return min(decay, (1 + updates) / (10 + updates))


@final
class Average:
    """The average of a module's parameters over training; buffers are those of the last step.

    Args:
        module: copied; the copy is `self.module`.
        decay: largest decay per update, in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._weight = 1.0
        self._averaged = AveragedModel(module, multi_avg_fn=self._lerp)
        self._averaged.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        """The module with averaged parameters."""
        return self._averaged.module

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the present parameters into the average."""
        # The counter lies on the CPU whatever the device of the weights, so reading it waits for nothing.
        self._weight = 1 - ema_decay(int(self._averaged.n_averaged), self._decay)
        self._averaged.update_parameters(module)

    def _lerp(self, averaged: Any, current: Any, _: Tensor | int) -> None:
        torch._foreach_lerp_(averaged, current, self._weight)

    def state_dict(self) -> dict[str, Tensor]:
        """The average and its counter."""
        return self._averaged.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from `state_dict()`."""
        self._averaged.load_state_dict(state)
