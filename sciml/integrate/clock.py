"""Who shares a clock. Joint steps: one clock, 0-D. Per-sample steps: one per row, (batch,). Groups: one per group.

Times inside a driver run forwards: tau = t or tau = -t, whichever increases, in float64.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, beside, first_leaf, leaves_of


@final
@dataclass(frozen=True, eq=False)
class Clock:
    """The axis of times, step sizes and decisions.

    Args:
        shape: (), (batch,) or (groups,).
        rows: number of samples.
        groups: group of each row, or None.
        sign: +1 or -1, a number or one per clock: the direction of time.
    """

    shape: tuple[int, ...]
    rows: int
    groups: Tensor | None
    sign: float | Tensor

    @property
    def joint(self) -> bool:
        """Whether there is one clock only."""
        return not self.shape

    def turned(self, t: Tensor) -> Tensor:
        """tau of t, or t of tau."""
        if isinstance(self.sign, float):
            return t if self.sign == 1.0 else t * self.sign
        return t * self.sign

    def to_rows(self, value: Tensor) -> Tensor:
        """One value per row, from one per clock; a single clock's stays 0-D."""
        return value if self.groups is None else value[self.groups]

    def turned_rows(self, t: Tensor) -> Tensor:
        """As `turned`, for values (row, ...)."""
        if isinstance(self.sign, float):
            return t if self.sign == 1.0 else t * self.sign
        signs = self.to_rows(torch.as_tensor(self.sign))
        return t * signs.reshape(-1, *[1] * (t.ndim - 1))

    def time(self, tau: Tensor, y: Flat) -> Tensor:
        """Time as methods take it: 0-D or (batch, 1, ..., 1) of the rank of the first tensor."""
        return beside(self.to_rows(self.turned(tau)), first_leaf(y))

    def choose(self, condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """`yes` in the rows whose clock says so, else `no`."""
        return torch.where(beside(self.to_rows(condition), yes), yes, no)

    def worst(self, status: Tensor) -> Tensor:
        """The largest code of the rows of each clock, from one per row."""
        if self.joint:
            return status.max()
        if self.groups is None:
            return status
        return status.new_zeros(self.shape).scatter_reduce(0, self.groups, status, "amax")

    def root_mean_square(self, values: Flat) -> Tensor:
        """sqrt of the mean of |x|² over all elements that belong to a clock."""
        if self.groups is None and isinstance(values, Tensor):
            flat = values.reshape(1 if self.joint else len(values), -1)
            norm = torch.linalg.vector_norm(flat, dim=1) / max(flat.shape[1], 1) ** 0.5
            return norm[0] if self.joint else norm
        total: Tensor | None = None
        count = 0
        for leaf in leaves_of(values):
            flat = leaf.reshape(len(leaf), -1)
            square = torch.linalg.vector_norm(flat, dim=1).square()
            total = square if total is None else total + square
            count += flat.shape[1]
        assert total is not None
        if self.groups is not None:
            nothing = total.new_zeros(self.shape)
            size = nothing.index_add(0, self.groups, torch.ones_like(total))
            total = nothing.index_add(0, self.groups, total)
            return (total / (size * max(count, 1))).sqrt()
        if self.joint:
            return (total.mean() / max(count, 1)).sqrt()
        return (total / max(count, 1)).sqrt()

    def subset(self, rows: Tensor) -> "Clock":
        """The clock of some of the rows, for per-sample steps."""
        sign = self.sign[rows] if isinstance(self.sign, Tensor) else self.sign
        return Clock((len(rows),), len(rows), None, sign)
