"""Standard normal numbers as a function of (row of a key, node of a tree, channel), cheap enough to be drawn in a loop.

Philox gives each row of a key 128 bits (a, b) of its own, once. Number n of the row is then SplitMix64's output
function of its Weyl sequence, mix(a + n g), with b added half-way, so that no two rows share a sequence.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciml.core.random import Key, philox

_MASK = 0xFFFFFFFF
_POSITION = 0xFFFFFF00  # in the counter: above what a draw of a key itself reaches
_WORDS_AT_ONCE = 1 << 16  # what fits into a cache


def _signed(word: int) -> int:
    """A 64-bit pattern as the integer torch takes."""
    return word - (1 << 64) if word >> 63 else word


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MULTIPLIERS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))


def mixed(x: Int[Tensor, "..."], second: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """64 random bits from each 64-bit integer, in place; `second` is a further 64 bits of key.

    With `second` 0 this is the output function of SplitMix64.

    Source: Steele, Lea & Flood (2014), OOPSLA, section 4 (constants of variant 13 by D. Stafford).
    """
    # Shifts of signed integers copy the sign; the masks make them those of unsigned ones.
    t = (x >> 30).bitwise_and_((1 << 34) - 1)
    x.bitwise_xor_(t).mul_(_MULTIPLIERS[0]).bitwise_xor_(second)
    torch.bitwise_right_shift(x, 27, out=t).bitwise_and_((1 << 37) - 1)
    x.bitwise_xor_(t).mul_(_MULTIPLIERS[1])
    torch.bitwise_right_shift(x, 31, out=t).bitwise_and_((1 << 33) - 1)
    return x.bitwise_xor_(t)


@final
@dataclass(frozen=True, eq=False)
class Streams:
    """One generator per row of a key, for one purpose: at a node always ask for equally many numbers.

    Args:
        first, second: 128 random bits per row, each (batch,).
    """

    first: Int[Tensor, " batch"]
    second: Int[Tensor, " batch"]

    @staticmethod
    def of(key: Key, purpose: int) -> "Streams":
        """The generators of a key's rows for purpose 0 to 255."""
        return Streams.several(key, purpose)[0]

    @staticmethod
    def several(key: Key, *purposes: int) -> "tuple[Streams, ...]":
        """The generators of a key's rows for each purpose."""
        ids = key.ids.long()
        purpose = torch.tensor(purposes, device=ids.device)[:, None]
        members = torch.as_tensor(key.members, device=ids.device).long()
        counter = torch.broadcast_tensors(purpose + _POSITION, members, ids & _MASK, (ids >> 32) & _MASK)
        words = philox(counter, (key.seed & _MASK, (key.seed >> 32) & _MASK))
        pairs = zip((words[0] << 32) | words[1], (words[2] << 32) | words[3], strict=True)
        return tuple(Streams(first, second) for first, second in pairs)

    def pair(
        self, nodes: Int[Tensor, "*axes row"], count: int, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "*axes batch {count}"], Float[Tensor, "*axes batch {count}"]]:
        """Two arrays of standard normal numbers at nodes (..., batch), or (..., 1) for nodes that the rows share.

        Both dtypes are made of the same 64 bits and agree to rounding; a radius has 31 of them, an angle 32.

        Source: Box & Muller (1958), Ann. Math. Stat. 29, 610-611.
        """
        # Numbers are multiplied after they were added: torch 2.13 compiles arange(count) * _GOLDEN to wrong numbers.
        numbers = (nodes * count)[..., None] + torch.arange(count, device=nodes.device)
        x = mixed(numbers.mul_(_GOLDEN) + self.first[:, None], self.second[:, None])
        angle = x.to(torch.int32).to(dtype).mul_(math.pi / 2.0**31)  # the low half
        x = x.bitwise_right_shift_(33).bitwise_and_(0x7FFFFFFF)
        radius = x.to(dtype).add_(0.5).mul_(2.0**-31).log_().mul_(-2.0).sqrt_()  # at most log 1, also rounded
        second = torch.sin(angle).mul_(radius)
        return angle.cos_().mul_(radius), second

    def normal(
        self, nodes: Int[Tensor, "*axes row"], count: int, dtype: torch.dtype
    ) -> Float[Tensor, "*axes batch {count}"]:
        """Standard normal numbers, as `pair`, in one array."""
        half = -(-count // 2)
        return torch.cat(self.pair(nodes, half, dtype), dim=-1)[..., :count]

    def summed(
        self, nodes: Int[Tensor, "level row"], weights: Float[Tensor, "level row"], count: int
    ) -> Float[Tensor, "batch {count}"]:
        """Sum over levels of weights times the numbers `normal` gives."""
        halves = self.pair(nodes, -(-count // 2), weights.dtype)
        return torch.cat([(weights[..., None] * half).sum(0) for half in halves], dim=-1)[..., :count]

    def sequence(self, out: Float[Tensor, "length batch count"]) -> None:
        """Fill `out` with standard normal numbers, row n belonging to node n, in the cheapest way."""
        pairs = torch.arange(-(-len(out) // 2), device=out.device)[:, None]
        chunk = max(1, _WORDS_AT_ONCE // max(1, out[0].numel()))
        for start in range(0, len(pairs), chunk):
            even, odd = self.pair(pairs[start : start + chunk], out.shape[2], out.dtype)
            place = out[2 * start : 2 * (start + chunk)]
            place[0::2] = even
            place[1::2] = odd[: len(place) // 2]
