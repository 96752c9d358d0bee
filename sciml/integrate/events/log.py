"""What happened: times and states of all occurrences of all events."""

from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._pytree import TreeSpec

from sciml.integrate.flat import Flat, map_leaves, restore


@final
@dataclass(frozen=True)
class Occurrences:
    """All occurrences of one event, padded with NaN to the sample that has most.

    Args:
        count: how many each sample has.
        times: when, [time].
        before: states there, (batch, count, *state).
        after: states that the samples went on from, (batch, count, *state); equal to `before` without a jump.
    """

    count: Int[Tensor, " batch"]
    times: Float[Tensor, "batch count"]
    before: Any
    after: Any


@final
@dataclass(frozen=True)
class Events:
    """Occurrences of the events of a solve, in the order in which the events were given.

    Args:
        occurrences: one entry per event; `events[k]` for short.
        ended_by: number of the event that ended a sample, (batch,); -1 where it reached t1 or failed.
        end: where each sample ended, [time], (batch,).
        failed_at: number of the event that made a sample fail, see `Solution.result`, (batch,); -1 where none did.
    """

    occurrences: tuple[Occurrences, ...]
    ended_by: Int[Tensor, " batch"]
    end: Float[Tensor, " batch"]
    failed_at: Int[Tensor, " batch"]

    def __getitem__(self, k: int) -> Occurrences:
        return self.occurrences[k]

    def __len__(self) -> int:
        return len(self.occurrences)


class _Entry(NamedTuple):
    rows: Tensor
    place: Tensor
    t: Tensor
    before: Flat
    after: Flat


class Log:
    """Collects occurrences.

    Args:
        events: how many events there are.
        y0: initial state.
    """

    def __init__(self, events: int, y0: Flat) -> None:
        self.y0 = y0
        self.leaf = y0 if isinstance(y0, Tensor) else y0[0]
        self.count = torch.zeros(events, len(self.leaf), dtype=torch.int64, device=self.leaf.device)
        self.entries: list[list[_Entry]] = [[] for _ in range(events)]

    def add(self, k: int, happened: Tensor, t: Tensor, before: Flat, after: Flat) -> None:
        """Event k happened in some rows (batch,), at times (batch,)."""
        rows = happened.nonzero()[:, 0]
        if len(rows) == 0:
            return
        kept = [map_leaves(lambda leaf: leaf[rows], y) for y in (before, after)]
        self.entries[k].append(_Entry(rows, self.count[k, rows], t[rows], *kept))
        self.count[k] += happened

    def finish(self, structure: TreeSpec | None) -> tuple[Occurrences, ...]:
        """All occurrences, padded."""
        return tuple(self._occurrences(k, structure) for k in range(len(self.entries)))

    def _occurrences(self, k: int, structure: TreeSpec | None) -> Occurrences:
        entries, count = self.entries[k], self.count[k]
        width = int(count.max())
        place = tuple(torch.cat([getattr(e, name) for e in entries]) for name in ("rows", "place")) if entries else None

        def padded(like: Tensor, values: list[Tensor]) -> Tensor:
            empty = torch.full((len(like), width, *like.shape[1:]), torch.nan, dtype=like.dtype, device=like.device)
            return empty if place is None else torch.index_put(empty, place, torch.cat(values))

        times = padded(self.leaf.new_empty(len(self.leaf), dtype=torch.float64), [e.t for e in entries])
        states = [
            restore(map_leaves(lambda like, *values: padded(like, list(values)), self.y0, *each), structure)
            for each in ([e.before for e in entries], [e.after for e in entries])
        ]
        return Occurrences(count, times, *states)
