"""Where a query of a Brownian motion ends if all rows share the time and it is a number: W from the knot before it.

The same sum as in `bridge`, with weights that are numbers: levels of weight 0 are not drawn. Times in turn lie in the
same cells of the coarser levels, whose numbers are kept.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple, final

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


@final
@dataclass(eq=False)
class Ladder:
    """Normal numbers of the splits on the way to the last time, one row per level.

    Args:
        streams: of the splits.
        depth: how often an interval is halved.
    """

    streams: Streams
    depth: int
    nodes: list[int] = field(default_factory=list, init=False)
    normals: Tensor | None = field(default=None, init=False)

    def w_within(
        self, whole: Float[Tensor, "batch channel"], interval: int, at: float, width: float
    ) -> Float[Tensor, "batch channel"]:
        """W from the beginning of an interval to a time in it.

        Args:
            whole: W over the interval.
            interval: its number.
            at: the time, in units of the interval.
            width: of the interval, [time].
        """
        depth, cells = self.depth, 2.0**self.depth
        cell = min(math.floor(at * cells), int(cells) - 1)
        share = min(max(at * cells - cell, 0.0), 1.0)
        weights: list[float] = []
        for level in range(depth):
            local = math.fmod(at * 2.0**level, 1.0)
            weights.append(min(local, 1 - local) * 0.5 ** (level / 2) * math.sqrt(width))
        weights.append(math.sqrt(share * (1 - share) / cells * width))
        while weights and weights[-1] == 0:
            weights.pop()
        if not weights:
            return whole * at
        used = len(weights)
        heap = cell + int(cells)
        self._climb([(interval << 32) + (heap >> (depth - level)) for level in range(used)], whole)
        assert self.normals is not None
        bridge = torch.tensor(weights, dtype=whole.dtype, device=whole.device) @ self.normals[:used].flatten(1)
        return torch.add(bridge.view_as(whole), whole, alpha=at)

    def _climb(self, nodes: list[int], like: Tensor) -> None:
        """Draw the numbers of these nodes, one per level, but for those that are there."""
        if self.normals is None:
            self.normals = like.new_empty(self.depth + 1, *like.shape)
        same = 0
        for new, old in zip(nodes, self.nodes, strict=False):
            if new != old:
                break
            same += 1
        if same == len(nodes):
            return
        fresh = torch.tensor(nodes[same:], device=like.device)[:, None]
        self.normals[same : len(nodes)] = self.streams.normal(fresh, like.shape[-1], like.dtype)
        self.nodes = nodes
