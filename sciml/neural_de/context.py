"""A context as a function of time inside a solve on a grid."""

from bisect import bisect_right
from typing import final

import torch
from torch import Tensor


@final
class ContextOnGrid:
    """The context of the last point of the grid that is not later than t.

    Where the host knows the time, the context is one of many tensors, for the gradient of a row taken out of one tensor
    would be as large as all of it; else it is taken out of one tensor and nothing is read from the device.

    Args:
        grid: increasing times, float64.
        context: (batch, grid, context).
    """

    def __init__(self, grid: Tensor, context: Tensor) -> None:
        self.grid, self.on_host = grid, context.device.type == "cpu"
        span = float(grid[-1] - grid[0]) if self.on_host else 0.0
        # Times come in the dtype of the state: float32 may lie before the point of the grid it means.
        self.slack = (1e-12 if context.dtype == torch.float64 else 1e-5) * span
        self.times = grid.tolist() if self.on_host else []
        self.tensors = tuple(context.unbind(1)) if self.on_host else (context,)

    def __call__(self, t: Tensor) -> Tensor:
        """The context at a time that all samples share, (batch, context)."""
        if self.on_host:
            i = bisect_right(self.times, t.item() + self.slack) - 1
            return self.tensors[min(max(i, 0), len(self.tensors) - 1)]
        width = self.grid[-1] - self.grid[0]
        i = torch.searchsorted(self.grid, t.double() + 1e-5 * width, right=True) - 1
        return self.tensors[0].index_select(1, i.clamp(0, len(self.grid) - 1).reshape(1)).squeeze(1)
