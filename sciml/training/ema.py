"""Exponential moving average of the weights, with a decay that grows from 0 so that the start is soon forgotten.

w_avg <- d_n w_avg + (1 - d_n) w,    d_n = min(decay, (1 + n) / (10 + n)),    n updates so far;  d_0 counts as 0
"""

from copy import deepcopy
from typing import Any, final

import torch
from torch import Tensor, nn


def ema_decay(updates: int, decay: float) -> float:
    """Decay of the average after `updates` updates, [1].

    Source: the warm-up of `tf.train.ExponentialMovingAverage(num_updates=...)`.
    """
    return min(decay, (1 + updates) / (10 + updates))


@final
class Average:
    """The average of a module's parameters over training; buffers are those of the last step.

    One fused call per update and no wait for the device; `torch.optim.swa_utils.AveragedModel`, which loops over the
    parameters and reads its counter from the device, takes several times as long for small models on a CPU.

    Args:
        module: copied; the copy is `self.module`, in evaluation mode.
        decay: largest decay per update, in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = deepcopy(module).requires_grad_(False).eval()
        self.updates = 0
        self._decay = decay
        self._averaged: list[Tensor] = [*self.module.parameters()]
        self._current: list[Tensor] = [*module.parameters()]
        self._kept, self._buffers = [*self.module.buffers()], [*module.buffers()]

    @torch.no_grad()
    def update(self) -> None:
        """Take the present parameters of the module into the average."""
        weight = 1 - ema_decay(self.updates, self._decay) if self.updates > 0 else 1.0
        torch._foreach_lerp_(self._averaged, self._current, weight)
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The averaged module and the number of updates."""
        return {"module": self.module.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.module.load_state_dict(state["module"])
        self.updates = state["updates"]
