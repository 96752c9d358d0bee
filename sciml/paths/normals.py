"""Standard normal numbers as a function of (row of a key, node of a tree, channel)."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.core.random import Key, philox

_MASK = 0xFFFFFFFF
_TAG = 0x62726F77


@final
@dataclass(frozen=True, eq=False)
class Streams:
    """One generator per row of a key.

    Args:
        words: four random 32-bit words per row, each (batch,).
    """

    words: tuple[Tensor, ...]

    @staticmethod
    def of(key: Key) -> "Streams":
        """The generators of a key's rows."""
        ids = key.ids.long()
        members = torch.as_tensor(key.members, device=ids.device).long().expand(ids.shape)
        counter = (torch.full_like(ids, _TAG), members, ids & _MASK, (ids >> 32) & _MASK)
        return Streams(philox(counter, (key.seed & _MASK, (key.seed >> 32) & _MASK)))

    def normal(self, nodes: Tensor, count: int, dtype: torch.dtype) -> Tensor:
        """Standard normal numbers, (..., batch, count), for nodes (..., batch)."""
        blocks = -(-count // 4)
        block = torch.arange(blocks, device=nodes.device)
        k0, k1, k2, k3 = (word[:, None] for word in self.words)
        nodes = nodes[..., None]
        shape = (*nodes.shape[:-1], blocks)
        counter = (
            (block ^ k2).expand(shape),
            ((nodes & _MASK) ^ k3).expand(shape),
            (nodes >> 32).expand(shape),
            torch.zeros(shape, dtype=torch.int64, device=nodes.device),
        )
        u = [((word >> 8).to(dtype) + 0.5) * 2.0**-24 for word in philox(counter, (k0, k1))]  # type: ignore[arg-type]
        pairs = []
        for a, b in ((u[0], u[1]), (u[2], u[3])):
            radius = torch.sqrt(-2 * torch.log(a))
            pairs += [radius * torch.cos(2 * math.pi * b), radius * torch.sin(2 * math.pi * b)]
        return torch.stack(pairs, dim=-1).flatten(-2)[..., :count]
