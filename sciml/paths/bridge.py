"""Brownian motion inside intervals between knots: what lies between times, given the moments of the intervals.

An interval is halved `depth` times; the cell of the finest level that a time falls into is split at the time itself.
Each split is exact (`split_matrix`), and so is the joint law between times of which no two fall into one cell.

White noise on the interval is thus a sum of normal numbers times functions that are polynomials on the two halves of
a cell. Moments between times are sums of the same numbers times integrals of these functions, and only cells that
hold an end count, for the functions of all others are orthogonal to polynomials. So there is nothing to descend:
the integrals of all levels are computed at once from the times alone, exactly, by Gauss's rule on each half.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sciml.paths.moments import split_matrix
from sciml.paths.normals import Streams

_GAUSS = {
    2: ((0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6), (0.5, 0.5)),
    3: ((0.5 - math.sqrt(0.15), 0.5, 0.5 + math.sqrt(0.15)), (5 / 18, 4 / 9, 5 / 18)),
}
"""Nodes and weights on [0, 1], exact for the products of two polynomials of degree below their number."""


class Place(NamedTuple):
    """Where times lie, (..., time); the last axis is the batch or 1.

    Args:
        interval: number of the interval between knots.
        cell: number of the cell of the finest level in it.
        share: place within the cell, in [0, 1], float64.
    """

    interval: Int[Tensor, "*axes time"]
    cell: Int[Tensor, "*axes time"]
    share: Float[Tensor, "*axes time"]


class Parts(NamedTuple):
    """What a query covers of the intervals its ends lie in, for intervals of length 1.

    Args:
        moments: (W, H, K) from the earlier end to the next knot, and from the last knot to the later end. If both lie
            in one interval the first part is empty and the second one reaches from end to end.
        lengths: of the parts, float64.
    """

    moments: Float[Tensor, "moment end batch channel"]
    lengths: Float[Tensor, "end time"]


def nodes_of(place: Place, depth: int) -> Int[Tensor, "level time"]:
    """Numbers of the cells of all levels that each time lies in.

    In heap order: the whole interval is node 1, the halves of node n are 2 n and 2 n + 1.
    """
    level = torch.arange(depth + 1, device=place.cell.device)[:, None]
    return (place.interval << 32) + ((place.cell + (1 << depth)) >> (depth - level))


def w_up_to(
    whole: Float[Tensor, "batch channel"], width: Float[Tensor, " time"], streams: Streams, place: Place, depth: int
) -> Float[Tensor, "batch channel"]:
    """W from the beginning of each time's interval to the time, for paths of W alone.

    The integrals up to a time of the functions that belong to W are hats.

    Args:
        whole: W over the interval.
        width: of the interval, [time].
        streams: of the splits.
        place: where the times lie, (time,).
        depth: how often an interval is halved.
    """
    at = (place.cell + place.share) * 0.5**depth
    level = torch.arange(depth, dtype=at.dtype, device=at.device)[:, None]
    local = torch.frac(at * 2.0**level)
    hats = torch.minimum(local, 1 - local) * 0.5 ** (level / 2)
    last = (place.share * (1 - place.share) * 0.5**depth).sqrt()[None]
    weights = torch.cat([hats, last]).to(whole.dtype) * width.sqrt()
    bridge = streams.summed(nodes_of(place, depth), weights, whole.shape[-1])
    return torch.addcmul(bridge, at.to(whole.dtype)[:, None], whole)


def covered(
    z: Float[Tensor, "moment end batch channel"],
    normals: Float[Tensor, "end batch level moment channel"],
    place: Place,
    backward: Bool[Tensor, " time"],
) -> Parts:
    """What a query covers of the intervals of its ends.

    Args:
        z: standardised moments of these intervals.
        normals: of all splits.
        place: where the ends lie, the earlier one first, (end, time).
        backward: where `normals` holds the later end first.
    """
    depth, moments = normals.shape[2] - 1, len(z)
    width = 0.5**depth
    one = place.interval[0] == place.interval[1]
    cell = one & (place.cell[0] == place.cell[1])
    at = (place.cell + place.share) * width
    start = torch.stack([at[0], torch.where(one, at[0], 0.0)])
    end = torch.stack([torch.where(one, at[1], 1.0), at[1]])
    span = (start, end - start)

    whole = _of_pieces(torch.zeros_like(at), torch.ones_like(at), span, moments)
    levels = _of_levels(place, depth, span, moments)
    last = _of_last(place, width, span, moments, cell)
    # Numbers that both ends share count once.
    level = torch.arange(depth, device=at.device)[:, None]
    above = place.cell >> (depth - level)[:, None]
    first = torch.tensor([True, False], device=at.device)[:, None]
    shared = torch.cat([one & (above[:, 0] == above[:, 1]), cell[None]])
    integrals = torch.cat([levels, last[None]]) * ~(shared[:, None, None, None] & first)
    m = _combined(_turned(integrals, backward, -2), normals)
    m = _turned(m, backward[:, None], 1) + _combined((whole * ~(one & first))[None], z.permute(1, 2, 0, 3)[:, :, None])
    # Both parts are measured along the one span that they then share.
    m = torch.stack([torch.where(one[:, None], 0.0, m[:, 0]), torch.where(one[:, None], m[:, 0] + m[:, 1], m[:, 1])], 1)
    chord = cell & (place.share[0] > 0)
    lengths = torch.stack([torch.where(one, 0.0, span[1][0]), span[1][1]])
    return Parts(_levy(m, chord), lengths)


def _turned(pair: Tensor, backward: Tensor, dim: int) -> Tensor:
    """The two entries along an axis, in the other order where it says so."""
    return torch.where(backward, pair.flip(dim), pair)


def _integrals(begin: Tensor, length: Tensor, local: Tensor, norm: Tensor, span: tuple[Tensor, Tensor]) -> Tensor:
    """Integrals of v^k, v the share of the span, times the i-th polynomial of a piece, (..., k, i, end, time).

    The polynomials are those of the standardised moments: Legendre's, orthonormal on the piece.

    Args:
        begin, length: of the part of the piece that lies in the span, (..., end, time).
        local: place of Gauss's nodes within the piece, (..., node, end, time) or broadcastable.
        norm: length of the whole piece, (..., end, time).
        span: start and length of the range that moments are taken over, (end, time).
    """
    moments = local.shape[-3]
    tiny = torch.finfo(begin.dtype).tiny
    nodes, weights = _gauss(moments, begin)
    factor = length / norm.clamp(min=tiny).sqrt()
    powers = [weights * factor[..., None, :, :]]
    along = (begin[..., None, :, :] - span[0] + length[..., None, :, :] * nodes) / span[1].clamp(min=tiny)
    for _ in range(moments - 1):
        powers.append(powers[-1] * along)
    legendre = [torch.ones_like(local), math.sqrt(3) * (1 - 2 * local)]
    if moments == 3:
        legendre.append(math.sqrt(5) * (6 * local * (local - 1) + 1))
    products = torch.stack(powers, -3)[..., :, None, :, :] * torch.stack(legendre, -3)[..., None, :, :, :]
    return products.sum(-5)


def _gauss(moments: int, like: Tensor) -> list[Tensor]:
    """Nodes and weights, each (node, 1, 1)."""
    return [torch.tensor(part, dtype=like.dtype, device=like.device)[:, None, None] for part in _GAUSS[moments]]


def _of_pieces(left: Tensor, length: Tensor, span: tuple[Tensor, Tensor], moments: int) -> Tensor:
    """`_integrals` of pieces that may lie in the span only in part or not at all."""
    begin = torch.maximum(left, span[0])
    overlap = (torch.minimum(left + length, span[0] + span[1]) - begin).clamp_(min=0)
    nodes, _ = _gauss(moments, left)
    local = ((begin - left)[..., None, :, :] + overlap[..., None, :, :] * nodes) / length[..., None, :, :]
    return _integrals(begin, overlap, local, length, span)


def _of_levels(place: Place, depth: int, span: tuple[Tensor, Tensor], moments: int) -> Tensor:
    """Integrals of the functions of all halvings, (level, k, function, end, time)."""
    level = torch.arange(depth, device=place.cell.device)[:, None, None]
    half = 0.5 ** (level + 1).to(place.share.dtype)
    left = (place.cell >> (depth - level)) * (2 * half)
    lefts = torch.stack([left, left + half], dim=1)
    pieces = _of_pieces(lefts, half[:, None].expand_as(lefts), span, moments)  # (level, half, k, i, end, time)
    matrix = torch.tensor(split_matrix(0.5, moments), dtype=half.dtype, device=half.device)
    functions = matrix[:, moments:].unflatten(0, (2, moments))
    return torch.einsum("lhkiet,hij->lkjet", pieces, functions)


def _of_last(place: Place, width: float, span: tuple[Tensor, Tensor], moments: int, cell: Tensor) -> Tensor:
    """Integrals of the functions that split the cell of each end at the end, (k, function, end, time).

    After the earlier end the span covers the right part of its cell, before the later end the left part of its.
    """
    share = place.share
    begin = torch.stack([span[0][0], place.cell[1] * width])
    length = width * torch.stack([1 - share[0], share[1]])
    nodes, _ = _gauss(moments, share)
    pieces = _integrals(begin, length, nodes.expand(-1, *share.shape), length, span)
    rows = [[torch.as_tensor(entry) for entry in row[moments:]] for row in split_matrix(share, moments)]
    functions = torch.stack([torch.stack(row) for row in rows])  # (half and i, function, end, time)
    covered_half = torch.stack([functions[moments:, :, 0], functions[:moments, :, 1]], dim=2)
    last = (pieces[:, :, None] * covered_half).sum(1)
    # Between two ends in one cell: the difference of what reaches from the start of the cell to each of them.
    reach = (share * width).sqrt() * functions[0]
    last[0, :, 1] = torch.where(cell, reach[:, 1] - reach[:, 0], last[0, :, 1])
    return last


def _combined(integrals: Tensor, numbers: Tensor) -> Float[Tensor, "moment end batch channel"]:
    """Sum over levels and functions of integrals (level, k, function, end, time) times numbers."""
    integrals = integrals.to(numbers.dtype)
    if integrals.shape[-1] == 1:
        return torch.einsum("lkje,ebljc->kebc", integrals[..., 0], numbers)
    return torch.einsum("lkjeb,ebljc->kebc", integrals, numbers)


def _levy(m: Tensor, chord: Tensor) -> Tensor:
    """(W, H, K) from integrals of 1, v and v^2 against dW; H = K = 0 for chords."""
    parts = [m[0]]
    if len(m) > 1:
        parts.append(torch.where(chord[:, None], 0.0, m[0] / 2 - m[1]))
    if len(m) > 2:
        parts.append(torch.where(chord[:, None], 0.0, (m[2] - m[1] + m[0] / 6) / 2))
    return torch.stack(parts)
