"""Where a query of a Brownian motion ends if all rows share the time and it is a number: W from the knot before it.

The same sum as in `bridge`, with weights that are numbers: levels of weight 0 are not drawn, and an end that two
queries have in common, as steps in turn do, is drawn once.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.paths.normals import Streams


class End(NamedTuple):
    """A time between knots.

    Args:
        interval: number of the interval between knots, or of the knot itself.
        w: W from the knot before to the time, (batch, channel); None at a knot.
    """

    interval: int
    w: Tensor | None


def w_within(
    streams: Streams, whole: Float[Tensor, "batch channel"], interval: int, at: float, width: float, depth: int
) -> Float[Tensor, "batch channel"]:
    """W from the beginning of an interval to a time in it.

    Args:
        streams: of the splits.
        whole: W over the interval.
        interval: its number.
        at: the time, in units of the interval.
        width: of the interval, [time].
        depth: how often it is halved.
    """
    cells = 2.0**depth
    cell = min(math.floor(at * cells), int(cells) - 1)
    share = min(max(at * cells - cell, 0.0), 1.0)
    weights, nodes = [], []
    for level in range(depth + 1):
        local = math.fmod(at * 2.0**level, 1.0)
        hat = min(local, 1 - local) * 0.5 ** (level / 2)
        weight = hat if level < depth else math.sqrt(share * (1 - share) / cells)
        if weight > 0:
            weights.append(weight * math.sqrt(width))
            nodes.append((interval << 32) + ((cell + int(cells)) >> (depth - level)))
    if not nodes:
        return whole * at
    z = streams.normal(torch.tensor(nodes, device=whole.device)[:, None], whole.shape[-1], whole.dtype)
    bridge = torch.tensor(weights, dtype=whole.dtype, device=whole.device) @ z.flatten(1)
    return torch.add(bridge.view_as(whole), whole, alpha=at)
