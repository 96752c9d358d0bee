"""Fixed filters in front of a model: differences and residuals of moving averages."""

import abc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core.checks import check_whole
from sciml.ssm.checks import check_entry, check_series, check_state
from sciml.ssm.executions import AbstractExecution
from sciml.ssm.intervals import Interval, of_one_entry, per_entry
from sciml.ssm.layer import AbstractLayer
from sciml.ssm.layers.entries import earlier_entries
from sciml.ssm.own_dtype import in_own_dtype


class AbstractFilter(abc.ABC):
    """A sum over the last entries. Subclasses are final."""

    @abc.abstractmethod
    def taps(self) -> list[float]:
        """Weights of the entry itself, of the one before, and so on."""


@final
@dataclass(frozen=True)
class Difference(AbstractFilter):
    """The undivided difference of some order; order 0 is the entry itself.

    Args:
        order: how often differences are taken.

    Raises:
        ValueError: unless it is a whole number of at least 0.
    """

    order: int

    def __post_init__(self) -> None:
        check_whole("order", self.order, 0)

    def taps(self) -> list[float]:
        """(-1)^j binomial(order, j)."""
        return [float((-1) ** j * math.comb(self.order, j)) for j in range(self.order + 1)]


@final
@dataclass(frozen=True)
class MovingAverageResidual(AbstractFilter):
    """The entry minus the mean of the last ones, itself among them.

    Args:
        width: how many, at least 1.

    Raises:
        ValueError: unless it is a whole number of at least 1.
    """

    width: int

    def __post_init__(self) -> None:
        check_whole("width", self.width, 1)

    def taps(self) -> list[float]:
        """1 - 1/width, then -1/width."""
        return [float(j == 0) - 1 / self.width for j in range(self.width)]


@final
class Preprocess(AbstractLayer):
    """Every filter of every channel, ordered by channel, then by filter.

    A shift matrix with fixed B and C, in other words. Filters count entries, not time; entries with interval 0 are not
    counted. Before the first entry there are zeros.

    Args:
        channels: of the series.
        filters: one or more.

    Raises:
        ValueError: if there is none.

    Source: Zhang et al. (2023), arXiv 2303.09489, section 4.1 and appendix B.2.
    """

    def __init__(self, channels: int, filters: Sequence[AbstractFilter]) -> None:
        super().__init__()
        check_whole("channels", channels, 1)
        if not filters:
            raise ValueError("`filters` must hold at least one filter, got none. Difference(0) is the series itself.")
        self.channels, self.outputs = channels, channels * len(filters)
        rows = [filter.taps() for filter in filters]
        width = max(len(row) for row in rows)
        self.taps: Tensor
        self.register_buffer("taps", torch.tensor([row + [0.0] * (width - len(row)) for row in rows]).T)

    def forward(
        self,
        u: Float[Tensor, "batch time channel"],
        dt: Interval = None,
        state: Tensor | None = None,
        execution: AbstractExecution | None = None,
    ) -> Float[Tensor, "batch time output"]:
        """Filtered series, as `AbstractLayer.forward`; there is but one way to run it."""
        return self.prefill(u, dt, state, execution)[0]

    @property
    def dtype(self) -> torch.dtype:
        """Of series and intervals."""
        return self.taps.dtype

    @property
    def outgoing(self) -> int:
        """Channels times filters."""
        return self.outputs

    @in_own_dtype
    def prefill(
        self,
        u: Float[Tensor, "batch time channel"],
        dt: Interval = None,
        state: Tensor | None = None,
        execution: AbstractExecution | None = None,
    ) -> tuple[Float[Tensor, "batch time output"], Tensor]:
        """Filtered series and the last entries."""
        del execution
        check_series(u, self.channels, self.taps.dtype)
        window = self.initial_state(len(u)) if state is None else state
        check_state(window, (len(u), len(self.taps) - 1, self.channels), self.taps.dtype)
        earlier, window = earlier_entries(u, window, per_entry(dt, u))
        y = self.taps[0] * u.unsqueeze(-1)
        for weights, entry in zip(self.taps[1:], earlier, strict=True):
            y = y + weights * entry.unsqueeze(-1)
        return y.flatten(2), window

    @in_own_dtype
    def step(
        self, u: Float[Tensor, "batch channel"], state: Tensor, dt: Interval = None
    ) -> tuple[Float[Tensor, "batch output"], Tensor]:
        """One more entry."""
        check_entry(u, self.channels, self.taps.dtype)
        y, state = self.prefill(u.unsqueeze(1), of_one_entry(dt, u), state)
        return y.squeeze(1), state

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, (batch, longest filter - 1, channels)."""
        return self.taps.new_zeros(batch, len(self.taps) - 1, self.channels)

    def slow_parameters(self) -> Iterator[nn.Parameter]:
        """None: filters are fixed."""
        yield from ()
