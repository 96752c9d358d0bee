"""What a latent model knows of a series: a recurrent network run from its end to its beginning."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.neural_de.series import SeriesBatch


@final
@dataclass(frozen=True, eq=False)
class Encoded:
    """What was made of a batch of series.

    Args:
        mean, sd: of the normal law of z at the beginning, (batch, latent).
        context: what is still to come, at each time of the grid, (batch, grid, context).
    """

    mean: Float[Tensor, "batch latent"]
    sd: Float[Tensor, "batch latent"]
    context: Float[Tensor, "batch grid context"]


@final
class Readout(nn.Module):
    """A linear map plus a hidden layer of tanh: what is nearly linear in its inputs is learned at once.

    Args:
        inputs, outputs: sizes.
        width: of the hidden layer.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs)
        self.bent = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """On the last axis."""
        return self.straight(x) + self.bent(x)


@final
class BackwardGRU(nn.Module):
    """A gated recurrent unit over the observations, last one first.

    The state after observation i has seen i and all later ones; the context at a time t is that state for the first
    observation later than t, what is seen then, and how long it is until then. Where nothing is observed the state
    passes by, so that masked entries and padding change nothing. Behind the last observation the context is 0.

    Args:
        channels: of the series.
        latent: size of z.
        hidden: size of the state; the context has 1 + channels numbers more.
        head: what makes the context of that, on the last axis, for all times at once, such as `Readout`; None leaves it
            as it is.

    Source: Li, Wong, Chen & Duvenaud (2020), arXiv 2001.01328, section 9.9, without the time to go and the next value.
    """

    def __init__(self, channels: int, latent: int, hidden: int = 32, head: nn.Module | None = None) -> None:
        super().__init__()
        self.channels = channels
        self.cell = nn.GRUCell(2 * channels + 1, hidden)
        self.start = Readout(hidden + 1 + channels, 2 * latent)
        self.head = nn.Identity() if head is None else head

    def forward(self, batch: SeriesBatch, grid: Float[Tensor, " grid"]) -> Encoded:
        """The law of z at the first time of the grid, and the context on it.

        Args:
            batch: what was observed.
            grid: times of the solve, [time].

        Raises:
            ValueError: if the series have another number of channels.
        """
        if batch.values.shape[-1] != self.channels:
            raise ValueError(
                f"the encoder is made for series of {self.channels} channels, got values "
                f"{tuple(batch.values.shape)}. Make it as BackwardGRU(channels={batch.values.shape[-1]}, ...)."
            )
        states, following, seen = self._scan(batch)
        places = torch.searchsorted(
            batch.each_times.contiguous(), grid.expand(len(batch.values), -1).to(batch.times).contiguous(), right=True
        )
        coming = following.gather(1, places)
        until = (coming - grid).clamp(min=0).nan_to_num(0.0).to(states.dtype)
        known = torch.cat([states, seen], dim=-1)
        known = known.gather(1, places.unsqueeze(-1).expand(*places.shape, known.shape[-1]))
        context = self.head(torch.cat([known, until.unsqueeze(-1)], dim=-1))
        context = torch.where(coming.isnan().unsqueeze(-1), 0.0, context)
        until = (following[:, :1] - grid[0]).nan_to_num(0.0).to(states.dtype)
        first = torch.cat([states[:, 0], seen[:, 0], until], dim=-1)
        mean, raw = self.start(first).chunk(2, dim=-1)
        return Encoded(mean, nn.functional.softplus(raw) + 1e-4, context)

    def _scan(self, batch: SeriesBatch) -> tuple[Tensor, Tensor, Tensor]:
        """From each time on: states (batch, time + 1, hidden), the time of the next observation, NaN where there is
        none, and its values."""
        times, seen = batch.each_times, batch.observed
        values = torch.where(batch.mask, batch.values, 0.0)
        entries = torch.cat([values, batch.mask.to(values.dtype)], dim=-1)
        state, value = entries.new_zeros(len(entries), self.cell.hidden_size), torch.zeros_like(values[:, 0])
        coming = torch.full_like(times[:, 0], torch.nan)
        found = [(state, coming, value)]
        for i in reversed(range(entries.shape[1])):
            gap = (coming - times[:, i]).nan_to_num(0.0).to(entries.dtype).unsqueeze(-1)
            here = seen[:, i : i + 1]
            state = torch.where(here, self.cell(torch.cat([entries[:, i], gap], dim=-1), state), state)
            value = torch.where(here, values[:, i], value)
            coming = torch.where(seen[:, i], times[:, i], coming)
            found.append((state, coming, value))
        states, following, at_next = (torch.stack(part, dim=1) for part in zip(*reversed(found), strict=True))
        return states, following, at_next
