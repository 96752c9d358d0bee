"""Counter-based random numbers: a draw is a function of (seed, row identity, member, shape and dtype of the draw).

Philox-4x32-10 maps a 128-bit counter and a 64-bit key to four 32-bit words. The key is the seed; the counter is
(position, member, id low, id high). So a sample's noise depends neither on its batch nor on what was drawn before.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Map four counter words to four random words, each a 32-bit number held in int64.

    Int64 products wrap, but their bit patterns are those of the 64-bit unsigned product, so both halves are right.

    Source: Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", SC'11, Philox-4x32-10.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _mix(x: int) -> int:
    """SplitMix64 finaliser: a bijection of 64-bit integers without visible structure.

    Source: Steele, Lea & Flood (2014), OOPSLA, section 4 (constants of variant 13 by D. Stafford).
    """
    x = (x + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return x ^ (x >> 31)


@final
@dataclass(frozen=True, eq=False)
class Key:
    """Names a stream of random numbers for each row of a batch.

    Args:
        seed: any integer; only its lowest 64 bits count.
        ids: one integer per row, shape (batch,). Loaders supply data-set ids; `Key.rows(seed, n)` numbers rows.
        members: ensemble member of each row, shape (batch,) or one integer.

    Raises:
        TypeError: if `ids` is not an integer tensor.
        ValueError: if `ids` is not one-dimensional.
    """

    seed: int
    ids: Tensor
    members: Tensor | int = 0

    def __post_init__(self) -> None:
        if self.ids.is_floating_point() or self.ids.is_complex() or self.ids.dtype == torch.bool:
            raise TypeError(f"`ids` must be integers, got {self.ids.dtype}. Convert with ids.long().")
        if self.ids.ndim != 1:
            raise ValueError(
                f"`ids` must have shape (batch,), got {tuple(self.ids.shape)}. Flatten it to one id per row."
            )

    @staticmethod
    def rows(seed: int, batch: int, *, start: int = 0, device: torch.device | str = "cpu") -> "Key":
        """A key whose rows are numbered `start, start + 1, ...`."""
        return Key(seed, torch.arange(start, start + batch, device=device))

    @property
    def batch(self) -> int:
        """How many rows the key has."""
        return self.ids.shape[0]

    def fold(self, n: int) -> "Key":
        """A key for sub-stream `n`, independent of this one; use one number per purpose or per step."""
        return Key(_mix(_mix(self.seed & 0xFFFFFFFFFFFFFFFF) ^ (n & 0xFFFFFFFFFFFFFFFF)), self.ids, self.members)

    def member(self, m: int | Tensor) -> "Key":
        """The same rows for ensemble member `m` (an integer, or one per row)."""
        return Key(self.seed, self.ids, m)

    def bits(self, count: int) -> Tensor:
        """Random 32-bit words as int64, shape (batch, count)."""
        blocks = -(-count // 4)
        ids = self.ids.long()[:, None]
        position = torch.arange(blocks, device=ids.device)[None, :] + torch.zeros_like(ids)
        members = torch.as_tensor(self.members, device=ids.device).long().reshape(-1, 1)
        words = philox(
            (
                position,
                members + torch.zeros_like(position),
                (ids & _MASK) + 0 * position,
                (ids >> 32) & _MASK,
            ),
            (self.seed & _MASK, (self.seed >> 32) & _MASK),
        )
        return torch.stack(torch.broadcast_tensors(*words), dim=-1).flatten(1)[:, :count]

    def uniform(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Uniform numbers in (0, 1), both ends excluded, shape (batch, *shape)."""
        dtype = dtype or torch.get_default_dtype()
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"`dtype` must be float32 or float64, got {dtype}. Draw in float32 and convert.")
        count = math.prod(shape)
        if dtype == torch.float64:
            words = self.bits(2 * count)
            value = ((words[:, :count] >> 5) * 67108864 + (words[:, count:] >> 6)).to(dtype)
            value = (value + 0.5) / 2.0**53
        else:
            value = (((self.bits(count) >> 9).float() + 0.5) / 2.0**23).to(dtype)
        return value.reshape(self.batch, *shape)

    def normal(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Standard normal numbers, shape (batch, *shape).

        Source: Box & Muller (1958), Ann. Math. Stat. 29, 610-611.
        """
        dtype = dtype or torch.get_default_dtype()
        count = math.prod(shape)
        half = -(-count // 2)
        u = self.uniform(2 * half, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
        radius = torch.sqrt(-2 * torch.log(u[:, :half]))
        angle = (2 * math.pi) * u[:, half:]
        pair = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
        return pair[:, :count].reshape(self.batch, *shape).to(dtype)
