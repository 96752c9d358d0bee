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
class BackwardGRU(nn.Module):
    """A gated recurrent unit over the observations, last one first.

    The state after observation i has seen i and all later ones; the context at a time t is that state for the first
    observation later than t, beside how long it is until then. Where nothing is observed the state passes by, so that
    masked entries and padding change nothing. Behind the last observation the context is 0.

    Args:
        channels: of the series.
        latent: size of z.
        hidden: size of the state; the context has one number more.
        head: what makes the context of that, on the last axis, for all times at once; None leaves it as it is.

    Source: Li, Wong, Chen & Duvenaud (2020), arXiv 2001.01328, section 9.9, without the time to go.
    """

    def __init__(self, channels: int, latent: int, hidden: int = 32, head: nn.Module | None = None) -> None:
        super().__init__()
        self.cell = nn.GRUCell(2 * channels + 1, hidden)
        self.start = nn.Linear(hidden + 1, 2 * latent)
        self.head = nn.Identity() if head is None else head

    def forward(self, batch: SeriesBatch, grid: Float[Tensor, " grid"]) -> Encoded:
        """The law of z at the first time of the grid, and the context on it.

        Args:
            batch: what was observed.
            grid: times of the solve, [time].
        """
        states, following = self._scan(batch)
        places = torch.searchsorted(
            batch.each_times.contiguous(), grid.expand(len(batch.values), -1).to(batch.times).contiguous(), right=True
        )
        index = places.unsqueeze(-1).expand(*places.shape, states.shape[-1])
        coming = following.gather(1, places)
        until = (coming - grid).clamp(min=0).nan_to_num(0.0).to(states.dtype)
        context = self.head(torch.cat([states.gather(1, index), until.unsqueeze(-1)], dim=-1))
        context = torch.where(coming.isnan().unsqueeze(-1), 0.0, context)
        first = torch.cat([states[:, 0], (following[:, :1] - grid[0]).nan_to_num(0.0).to(states.dtype)], dim=-1)
        mean, raw = self.start(first).chunk(2, dim=-1)
        return Encoded(mean, nn.functional.softplus(raw) + 1e-4, context)

    def _scan(self, batch: SeriesBatch) -> tuple[Tensor, Tensor]:
        """States (batch, time + 1, hidden), and the time of the next observation, NaN where there is none."""
        times, seen = batch.each_times, batch.observed
        values = torch.where(batch.mask, batch.values, 0.0)
        entries = torch.cat([values, batch.mask.to(values.dtype)], dim=-1)
        state = entries.new_zeros(len(entries), self.cell.hidden_size)
        coming = torch.full_like(times[:, 0], torch.nan)
        states, following = [state], [coming]
        for i in reversed(range(entries.shape[1])):
            gap = (coming - times[:, i]).nan_to_num(0.0).to(entries.dtype).unsqueeze(-1)
            here = seen[:, i : i + 1]
            state = torch.where(here, self.cell(torch.cat([entries[:, i], gap], dim=-1), state), state)
            coming = torch.where(seen[:, i], times[:, i], coming)
            states.append(state)
            following.append(coming)
        return torch.stack(states[::-1], dim=1), torch.stack(following[::-1], dim=1)
