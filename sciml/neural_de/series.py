"""A batch of irregularly sampled series, and how it meets the grid of a solve."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sciml.core.checks import check_shape


@final
@dataclass(frozen=True, eq=False)
class SeriesBatch:
    """Observations of several series. What `mask` leaves out is never read: it may be NaN.

    Args:
        times: when, (time,) shared by all, or (batch, time), not falling, [time]; padding repeats the last time.
        values: what, (batch, time, channel), [x].
        mask: which entries were observed, (batch, time, channel).
        ids: data-set identity of each series, for keyed noise.

    Raises:
        ValueError: if shapes disagree, times fall or are not finite, or an observed value is not finite.
    """

    times: Float[Tensor, "*axes"]
    values: Float[Tensor, "batch time channel"]
    mask: Bool[Tensor, "batch time channel"]
    ids: Int[Tensor, " batch"]

    def __post_init__(self) -> None:
        batch, time, channel = self.values.shape
        check_shape("mask", self.mask, (batch, time, channel), "one flag per value")
        check_shape("ids", self.ids, (batch,), "one number per series")
        if self.times.shape not in ((time,), (batch, time)):
            raise ValueError(
                f"`times` must have shape ({time},) or ({batch}, {time}) for values {tuple(self.values.shape)}, got "
                f"{tuple(self.times.shape)}. Pad every series to one length, and give padding mask False."
            )
        if not bool((self.times.diff(dim=-1) >= 0).all() & torch.isfinite(self.times).all()):
            raise ValueError(
                f"`times` must be finite and must not fall, got {_shown(self.times)}. Sort them, and let padding "
                "repeat the last time."
            )
        if not bool(torch.isfinite(self.values[self.mask]).all()):
            raise ValueError(
                "`values` must be finite where `mask` is set, but an observed value is not. Set mask to False there."
            )

    def to(self, device: torch.device | str) -> "SeriesBatch":
        """The same batch on another device."""
        return SeriesBatch(*(x.to(device) for x in (self.times, self.values, self.mask, self.ids)))

    def rows(self, index: Tensor | slice) -> "SeriesBatch":
        """Some of the series."""
        times = self.times if self.times.ndim == 1 else self.times[index]
        return SeriesBatch(times, self.values[index], self.mask[index], self.ids[index])

    @property
    def observed(self) -> Bool[Tensor, "batch time"]:
        """Whether anything was observed."""
        return self.mask.any(dim=-1)

    @property
    def each_times(self) -> Float[Tensor, "batch time"]:
        """Times of every series."""
        return self.times.expand(len(self.values), -1) if self.times.ndim == 1 else self.times


def at_times(
    ys: Float[Tensor, "batch grid state"], grid: Float[Tensor, " grid"], times: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch time state"]:
    """States on a grid at other times, linear in between. Exact at points of the grid.

    Args:
        ys: states at the times of the grid.
        grid: increasing, [time].
        times: within the grid, [time].
    """
    j = (torch.searchsorted(grid, times.contiguous(), right=True) - 1).clamp(0, len(grid) - 2)
    left, right = grid[j], grid[j + 1]
    weight = ((times - left) / (right - left)).to(ys.dtype).unsqueeze(-1)
    index = j.unsqueeze(-1).expand(*j.shape, ys.shape[-1])
    return torch.lerp(ys.gather(1, index), ys.gather(1, index + 1), weight)


def _shown(times: Tensor) -> list[float]:
    """The first row that is wrong."""
    rows = times.reshape(-1, times.shape[-1])
    wrong = ~((rows.diff(dim=-1) >= 0).all(-1) & torch.isfinite(rows).all(-1))
    return rows[wrong.nonzero()[0, 0]].tolist()
