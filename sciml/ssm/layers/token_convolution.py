"""A short causal convolution over entries, in front of selective systems."""

from typing import final

import torch
from torch import Tensor, nn

from sciml.ssm.layers.entries import earlier_entries


@final
class TokenConvolution(nn.Module):
    """y_k = bias + sum_j w_j u_(j-th entry before k), per channel, where entries with interval 0 are not counted.

    Padding, in the middle too, is neutral; sums run in the same order with it and without.

    Args:
        channels: of the series.
        width: entries that meet, at least 1.

    Source: Gu & Dao (2023), arXiv 2312.00752, section 3.4 and the width 4 of its code, which knows no intervals.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        bound = width**-0.5
        self.width = width
        self.weight = nn.Parameter(torch.empty(width, channels).uniform_(-bound, bound))  # the entry itself first
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def initial_window(self, batch: int) -> Tensor:
        """Zeros, (batch, width - 1, channels)."""
        return self.weight.new_zeros(batch, self.width - 1, self.weight.shape[1])

    def forward(self, u: Tensor, window: Tensor, interval: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, and the last entries that count.

        Args:
            u: (batch, time, channels).
            window: entries before, the latest last, (batch, width - 1, channels).
            interval: (batch, time), or (1, 1) where no entry is padding.
        """
        earlier, last = earlier_entries(u, window, interval)
        y = torch.addcmul(self.bias, self.weight[0], u)
        for weight, entry in zip(self.weight[1:], earlier, strict=True):
            y = torch.addcmul(y, weight, entry)
        return y, last
