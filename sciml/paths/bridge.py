"""Brownian motion inside one interval between knots: what lies between times, given the moments of the whole.

The interval is halved `depth` times; the cell a time falls into is split at the time itself. Each split is exact, and
so is the joint law of what lies between times of which no two fall into one cell.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciml.paths.moments import joined, split_matrix, standard_deviations
from sciml.paths.normals import Streams


class Place(NamedTuple):
    """Where times lie. The first axis counts the two ends of a query, earlier one first; the second is the batch or 1.

    Args:
        interval: number of the interval between knots.
        cell: number of the cell of the finest level in it.
        share: place within the cell, in [0, 1).
    """

    interval: Int[Tensor, "end time"]
    cell: Int[Tensor, "end time"]
    share: Float[Tensor, "end time"]


class Ends(NamedTuple):
    """The parts of intervals that a query covers only in part, for intervals of length 1.

    Args:
        moments: (W, H, K) from the earlier end on, and up to the later end; if both lie in one interval the two parts
            touch.
        lengths: of the parts, (end, time).
    """

    moments: Float[Tensor, "moment end batch channel"]
    lengths: Float[Tensor, "end time"]


def fresh(
    streams: Streams, place: Place, depth: int, moments: int, channels: int, dtype: torch.dtype
) -> Float[Tensor, "level moment end batch channel"]:
    """The normal numbers of all splits on the way to each end, in one draw."""
    level = torch.arange(depth + 1, device=place.cell.device)[:, None, None]
    # Heap order: the whole interval is node 1, the halves of node n are 2 n and 2 n + 1.
    heap = (place.cell + (1 << depth)) >> (depth - level)
    z = streams.normal((place.interval << 32) + heap, moments * channels, dtype)
    return z.unflatten(-1, (moments, channels)).movedim(-2, 1)


def ends(z: Float[Tensor, "moment end batch channel"], normals: Tensor, place: Place) -> Ends:
    """What lies from the earlier end to the next knot and from the last knot to the later end, or between them.

    Args:
        z: standardised moments of the interval each end lies in.
        normals: of all splits, (level, moment, end, batch, channel).
        place: where the ends lie.
    """
    depth, moments = len(normals) - 1, len(z)
    later = torch.tensor([False, True], device=z.device)[:, None]
    side = (later.to(z.dtype) * 2 - 1)[..., None]
    half = torch.tensor(split_matrix(0.5, moments), dtype=z.dtype, device=z.device)
    sigma = standard_deviations(z)
    parts = torch.zeros_like(z)
    lengths = torch.zeros(place.cell.shape, dtype=z.dtype, device=z.device)
    apart = place.interval[:1] != place.interval[1:]
    for level in range(depth):
        right = (place.cell >> (depth - 1 - level)) & 1 == 1
        children = torch.tensordot(half, torch.cat([z, normals[level]]), dims=1).unflatten(0, (2, moments))
        chosen = right[..., None]
        z = torch.where(chosen, children[1], children[0])
        other = torch.where(chosen, children[0], children[1])
        # What the way leaves aside lies between the ends once they have gone different ways.
        length = (apart & (right == later)).to(z.dtype) * 0.5 ** (level + 1)
        parts = joined(parts, other * (sigma * length[..., None].sqrt()), lengths[..., None], length[..., None], side)
        lengths = lengths + length
        apart = apart | (right[:1] != right[1:])
    return _last(z, normals[-1], place.share.to(z.dtype), 0.5**depth, (parts, lengths, apart, side, sigma))


def _last(z: Tensor, normals: Tensor, share: Tensor, width: float, so_far: tuple[Tensor, ...]) -> Ends:
    """Split the cell of each end, `width` long, at the end itself, and join the part that lies between the ends."""
    parts, lengths, apart, side, sigma = so_far
    both = torch.cat([z, normals])
    before, after = (sigma * part for part in _split(both, share))
    before = before * (width * share).sqrt()[..., None]
    after = after * (width * (1 - share)).sqrt()[..., None]
    piece = torch.stack([after[:, 0], before[:, 1]], dim=1)
    length = width * torch.stack([1 - share[0], share[1]])
    # Two ends in one cell: the path between them is a chord, unless the first is the start of the cell.
    chord = torch.zeros_like(before[:, 1])
    chord[0] = before[0, 1] - before[0, 0]
    within = torch.where((share[0] == 0)[:, None], before[:, 1], chord)
    within = torch.stack([torch.zeros_like(within), within], dim=1)
    inside = width * torch.stack([torch.zeros_like(share[0]), share[1] - share[0]])
    piece = torch.where(apart[..., None], piece, within)
    length = torch.where(apart, length, inside)
    return Ends(joined(parts, piece, lengths[..., None], length[..., None], side), lengths + length)


def _split(z: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Standardised moments of both parts of cells split at `share`."""
    moments = len(z) // 2
    rows = []
    for entries in split_matrix(share, moments):
        terms = [entry[..., None] * part for entry, part in zip(entries, z, strict=True) if isinstance(entry, Tensor)]
        rows.append(torch.stack(terms).sum(0) if len(terms) > 2 else terms[0] + terms[1])
    return torch.stack(rows[:moments]), torch.stack(rows[moments:])
