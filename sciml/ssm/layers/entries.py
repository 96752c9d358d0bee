"""The entries before each entry, where those with interval 0 are not counted."""

import torch
from torch import Tensor


def earlier_entries(u: Tensor, window: Tensor, interval: Tensor) -> tuple[list[Tensor], Tensor]:
    """The entry before each one, the one before that, and so on; and the last ones that count.

    With intervals they are looked up rather than shifted to; values are the same either way.

    Args:
        u: (batch, time, channels).
        window: entries before, the latest last, (batch, reach, channels).
        interval: (batch, time), or (1, 1) where every entry counts.

    Returns:
        `reach` tensors (batch, time, channels), and the new window.
    """
    before = torch.cat([window, u], dim=1)
    time, reach = u.shape[1], window.shape[1]
    if interval.shape == (1, 1) != tuple(u.shape[:2]):
        return [before[:, reach - lag : reach - lag + time] for lag in range(1, reach + 1)], before[:, time:]
    counts = interval.expand(u.shape[:2]) > 0
    present = torch.nn.functional.pad(counts, (reach, 0), value=True)
    places = torch.argsort(~present, dim=1, stable=True)  # of those that count, in order
    rank = present.cumsum(dim=1)[:, reach:] - counts.long()  # how many of them lie before each entry
    earlier = [_pick(before, places.gather(1, rank - lag)) for lag in range(1, reach + 1)]
    last = present.sum(dim=1, keepdim=True) - reach + torch.arange(reach, device=u.device)
    return earlier, _pick(before, places.gather(1, last))


def _pick(values: Tensor, places: Tensor) -> Tensor:
    return values.gather(1, places.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
