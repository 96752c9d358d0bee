"""Jacobians with few diagonals, such as those of differences in one dimension.

Rows i, i + w, i + 2 w, ... of a band of width w touch no common column, so that w products with J^T tell all of it. The
system is cut into blocks at least as large as the band is wide, and eliminated block by block:

    D_1 = B_1,    L_k = A_k D_(k-1)^-1,    D_k = B_k - L_k C_(k-1)

with A, B, C the blocks left of, on, and right of the diagonal. No full matrix is made.
"""

import functools
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.core.transforms import unrecorded
from sciml.integrate.implicit.dense import times
from sciml.integrate.implicit.packing import PackedField
from sciml.integrate.implicit.structure import (
    AbstractStructure,
    AbstractSystem,
    Jacobian,
    Shift,
    beside_rows,
    check_real,
    unhidden,
)

_BLOCK = 16
"""Blocks of at least this size: smaller ones cost more operations one after the other than they save work."""


@final
@dataclass(frozen=True)
class Banded(AbstractStructure):
    """df_i/dy_j = 0 unless -lower <= j - i <= upper, for the entries of the state in order.

    A field of several channels has to keep those of one point together, (batch, x, channel). What couples the two ends,
    as periodic boundaries do, is no band. Real states only.

    Args:
        lower: diagonals below the main one.
        upper: diagonals above it.

    Raises:
        ValueError: for negative numbers.
    """

    lower: int
    upper: int
    whole = False

    def __post_init__(self) -> None:
        check_whole("lower", self.lower, 0)
        check_whole("upper", self.upper, 0)

    @unrecorded()
    def jacobian(self, field: PackedField, t: Tensor, v: Tensor) -> Jacobian:
        """(batch, width, size): entry (k, i) is J_(i, i + k - lower); see `AbstractStructure.jacobian`."""
        check_real(self, field)
        t, v, (width, size) = t.detach(), v.detach(), (self.lower + self.upper + 1, v.shape[1])
        value, pullback, *_ = torch.func.vjp(lambda x: field(t, x), v)
        row = torch.arange(size, device=v.device)
        seeds = (row % width == torch.arange(width, device=v.device)[:, None]).to(value.dtype)
        (sums,) = torch.func.vmap(pullback)(seeds[:, None, :].expand(width, *v.shape))
        column = row + torch.arange(width, device=v.device)[:, None] - self.lower
        inside = (column >= 0) & (column < size)
        entries = sums.movedim(0, 1)[:, row % width, column.clamp(0, size - 1)].detach()
        return (torch.where(inside, unhidden(entries), 0.0),)

    def system(self, field: PackedField, jacobian: Jacobian, shift: Shift) -> AbstractSystem:
        """See `AbstractStructure.system`."""
        bands = -beside_rows(shift, 3) * jacobian[0]
        bands[:, self.lower] += 1
        return _Blocks(bands, self.lower, self.upper)

    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """See `AbstractStructure.product`."""
        padded = torch.nn.functional.pad(x, (self.lower, self.upper))
        return (jacobian[0] * padded.unfold(1, x.shape[1], 1)).sum(dim=1)


@final
class _Blocks(AbstractSystem):
    """A banded matrix, block tridiagonal, by elimination from the first block to the last."""

    def __init__(self, bands: Tensor, lower: int, upper: int) -> None:
        self.size, block = bands.shape[-1], max(lower, upper, _BLOCK)
        places, ones = _places(self.size, block, lower, upper, bands.device)
        flat = torch.nn.functional.pad(bands.flatten(1), (0, 1))
        strips = flat[:, places] + ones.to(flat.dtype)  # (batch, blocks, block, 3 block)
        left, middle, self.right = strips.split(block, dim=-1)
        self.inverses: list[Tensor] = []
        self.left: list[Tensor] = []
        for k in range(strips.shape[1]):
            pivot = middle[:, k]
            if k:
                self.left.append(left[:, k] @ self.inverses[-1])
                pivot = pivot - self.left[-1] @ self.right[:, k - 1]
            inverse, info = torch.linalg.inv_ex(pivot)
            self.inverses.append(torch.where((info != 0)[:, None, None], torch.nan, inverse))
        self.block = block

    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""
        parts = self._cut(r)
        for k in range(1, len(parts)):
            parts[k] = parts[k] - times(self.left[k - 1], parts[k - 1])
        parts[-1] = times(self.inverses[-1], parts[-1])
        for k in reversed(range(len(parts) - 1)):
            parts[k] = times(self.inverses[k], parts[k] - times(self.right[:, k], parts[k + 1]))
        return torch.cat(parts, dim=1)[:, : self.size]

    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""
        parts = self._cut(r)
        parts[0] = times(self.inverses[0].mT, parts[0])
        for k in range(1, len(parts)):
            parts[k] = times(self.inverses[k].mT, parts[k] - times(self.right[:, k - 1].mT, parts[k - 1]))
        for k in reversed(range(len(parts) - 1)):
            parts[k] = parts[k] - times(self.left[k].mT, parts[k + 1])
        return torch.cat(parts, dim=1)[:, : self.size]

    def _cut(self, r: Tensor) -> list[Tensor]:
        """The right-hand side of every block."""
        whole = torch.nn.functional.pad(r, (0, len(self.inverses) * self.block - self.size))
        return list(whole.to(self.inverses[0].dtype).split(self.block, dim=1))


@functools.lru_cache(maxsize=16)
def _places(size: int, block: int, lower: int, upper: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where in the flat bands (0 behind their end) each entry of the block rows lies, and ones on what was padded."""
    with torch.inference_mode(False):
        blocks = -(-size // block)
        row = torch.arange(blocks * block, device=device).reshape(blocks, block, 1)
        first = torch.arange(blocks, device=device).reshape(blocks, 1, 1) * block - block
        column = first + torch.arange(3 * block, device=device)
        k = column - row + lower
        inside = (k >= 0) & (k <= lower + upper) & (row < size) & (column >= 0) & (column < size)
        places = torch.where(inside, k * size + row, (lower + upper + 1) * size)
        return places, (row == column) & (row >= size)
