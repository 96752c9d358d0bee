"""LegT and LMU: a window of fixed length, all of it alike, in two scalings of the same coefficients."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_positive
from sciml.ssm.hippo.base import AbstractNormalOperator, AbstractOperator
from sciml.ssm.hippo.polynomials import legendre


def scaled_legendre(count: int, x: Float[Tensor, "*points"]) -> Float[Tensor, "{count} *points"]:
    """R_n P_n(x), R_n = sqrt(2n + 1): orthonormal for the uniform distribution on [-1, 1]."""
    r = torch.sqrt(2 * torch.arange(count, dtype=x.dtype, device=x.device) + 1)
    return r.reshape(-1, *(1 for _ in x.shape)) * legendre(count, x)


@final
@dataclass(frozen=True)
class LegT(AbstractNormalOperator):
    """Legendre polynomials on a sliding window, orthonormal.

        A_nk = -R_n R_k / window for n >= k, else -(-1)^(n - k) R_n R_k / window,    B_n = R_n / window
        K_n(s) = R_n P_n(1 - 2 s/window) / window,    R_n = sqrt(2n + 1)

    What leaves the window is read off the coefficients, which is exact for polynomials of degree below `states`. The
    public S4 code has window 2 (its A and B are half those of window 1).

    Args:
        window: length of the window, [time].

    Raises:
        ValueError: if it is not positive.

    Source: Gu, Dao, Ermon, Rudra & Re (2020), arXiv 2008.07669, theorem 1 and appendix D.1.
    """

    window: float = 1.0

    def __post_init__(self) -> None:
        check_positive("window", self.window)

    @property
    def span(self) -> float:
        """The window."""
        return self.window

    def transition(self, states: int) -> tuple[Float[Tensor, "{states} {states}"], Float[Tensor, " {states}"]]:
        """A and B."""
        n = torch.arange(states)
        r = torch.sqrt(2 * n.double() + 1)
        sign = torch.where(n[:, None] >= n, 1.0, 1.0 - 2.0 * ((n[:, None] - n) % 2)).double()
        return -sign * torch.outer(r, r) / self.window, r / self.window

    def kernels(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """R_n P_n(1 - 2 s/window) / window."""
        return self.duals(states, ages) / self.window

    def duals(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """R_n P_n(1 - 2 s/window)."""
        return scaled_legendre(states, 1 - 2 * ages / self.window)

    def low_rank(self, states: int) -> Float[Tensor, "{states} 2"]:
        """The even and the odd entries of R_n / sqrt(window)."""
        n = torch.arange(states)
        r = torch.sqrt((2 * n.double() + 1) / self.window)
        return torch.stack([torch.where(n % 2 == 0, r, 0.0), torch.where(n % 2 == 1, r, 0.0)], dim=-1)


@final
@dataclass(frozen=True)
class LMU(AbstractOperator):
    """LegT in the scaling of the Legendre Memory Unit, whose polynomials run from the newest value to the oldest.

        A_ij = (2i + 1)/window * (-1 if i < j, (-1)^(i - j + 1) if i >= j),    B_i = (2i + 1) (-1)^i / window
        K_n(s) = (2n + 1) P_n(2 s/window - 1) / window

    Args:
        window: length of the window, [time].

    Raises:
        ValueError: if it is not positive.

    Source: Voelker, Kajic & Eliasmith (2019), Legendre memory units, eqs. (2)-(3).
    """

    window: float = 1.0

    def __post_init__(self) -> None:
        check_positive("window", self.window)

    @property
    def span(self) -> float:
        """The window."""
        return self.window

    def transition(self, states: int) -> tuple[Float[Tensor, "{states} {states}"], Float[Tensor, " {states}"]]:
        """A and B."""
        i = torch.arange(states)
        alternating = 1.0 - 2.0 * (i % 2).double()
        row = (2 * i.double() + 1) / self.window
        sign = torch.where(i[:, None] < i, -1.0, -torch.outer(alternating, alternating))
        return row[:, None] * sign, row * alternating

    def kernels(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """(2n + 1) P_n(2 s/window - 1) / window."""
        row = 2 * torch.arange(states, dtype=ages.dtype, device=ages.device) + 1
        return row[:, None] * self.duals(states, ages) / self.window

    def duals(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """P_n(2 s/window - 1)."""
        return legendre(states, 2 * ages / self.window - 1)
