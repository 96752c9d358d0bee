"""From x' = A x + B u to x_k = Abar x_{k-1} + Bbar u_k over an interval d, with u held at u_k over it:

    Abar = R(d A),    Bbar = d G(d A) B

Every rule is a pair of functions R and G, of numbers for diagonal matrices and of matrices for dense ones; those of the
bilinear family are rational, which keeps a diagonal matrix plus low rank of that form. R(0) = 1, so that an interval
of 0 is exactly neutral.

Source: Gu et al. (2021), arXiv 2110.13985, section 2 and appendix B; Gu, Goel & Re (2022), arXiv 2111.00396, eq. (3).
"""

import abc
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from sciml.ssm.phi1 import phi1


class AbstractDiscretisation(abc.ABC):
    """A rule for one interval. Subclasses are final."""

    @property
    @abc.abstractmethod
    def order(self) -> int | None:
        """Of the error in d for an input held over the interval; None where there is none."""

    @abc.abstractmethod
    def factor(self, z: Tensor) -> Tensor:
        """R(z) entry by entry."""

    @abc.abstractmethod
    def gain(self, z: Tensor) -> Tensor:
        """G(z) entry by entry, or one number for all."""

    @abc.abstractmethod
    def exponent(self, z: Tensor) -> Tensor:
        """log R(z) entry by entry."""

    @abc.abstractmethod
    def matrices(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """R and G of square matrices, (..., n, n)."""


class AbstractRational(AbstractDiscretisation):
    """R(z) = (1 + (1 - alpha) z) / (1 - alpha z) and G(z) = 1 / (1 - alpha z)."""

    alpha: float

    def factor(self, z: Tensor) -> Tensor:
        """R(z) entry by entry."""
        return (1 + (1 - self.alpha) * z) / (1 - self.alpha * z)

    def gain(self, z: Tensor) -> Tensor:
        """G(z) entry by entry."""
        return 1 / (1 - self.alpha * z)

    def exponent(self, z: Tensor) -> Tensor:
        """log R(z), complex, for R may be negative; where R is 0 its real part is so low that the power is 0."""
        wide = torch.complex128 if z.dtype in (torch.float64, torch.complex128) else torch.complex64
        factor = self.factor(z).to(wide)
        return torch.log(torch.where(factor == 0, 1e-300 if wide == torch.complex128 else 1e-38, factor))

    def matrices(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """R and G of square matrices, from one factorisation."""
        eye = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        gain = torch.linalg.inv(eye - self.alpha * z)
        return gain @ (eye + (1 - self.alpha) * z), gain


@final
@dataclass(frozen=True)
class ZOH(AbstractDiscretisation):
    """Zero-order hold, R(z) = exp(z) and G(z) = (exp(z) - 1) / z: exact where the input is held."""

    order: ClassVar[None] = None

    def factor(self, z: Tensor) -> Tensor:
        """exp(z)."""
        return torch.exp(z)

    def gain(self, z: Tensor) -> Tensor:
        """(exp(z) - 1) / z."""
        return phi1(z)

    def exponent(self, z: Tensor) -> Tensor:
        """z."""
        return z

    def matrices(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Both from one exponential, exp([[z, 1], [0, 0]]), in which nothing cancels however small z is."""
        n = z.shape[-1]
        eye = torch.eye(n, dtype=z.dtype, device=z.device).expand_as(z)
        upper = torch.cat([z, eye], dim=-1)
        whole = torch.linalg.matrix_exp(torch.cat([upper, torch.zeros_like(upper)], dim=-2))
        return whole[..., :n, :n], whole[..., :n, n:]


@final
@dataclass(frozen=True)
class SimplifiedZOH(AbstractDiscretisation):
    """R(z) = exp(z) and G = 1, the rule of Mamba: the state decays exactly, the input enters to first order.

    Source: Gu & Dao (2023), arXiv 2312.00752; the text gives ZOH, eq. (4), the published code this.
    """

    order: ClassVar[int] = 1

    def factor(self, z: Tensor) -> Tensor:
        """exp(z)."""
        return torch.exp(z)

    def gain(self, z: Tensor) -> Tensor:
        """1, of no axes."""
        return z.new_ones(())

    def exponent(self, z: Tensor) -> Tensor:
        """z."""
        return z

    def matrices(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """exp(z) and 1."""
        return torch.linalg.matrix_exp(z), torch.eye(z.shape[-1], dtype=z.dtype, device=z.device).expand_as(z)


@final
@dataclass(frozen=True)
class Bilinear(AbstractRational):
    """The trapezoidal rule, alpha = 1/2: order 2, and never unstable where A is not."""

    order: ClassVar[int] = 2
    alpha: ClassVar[float] = 0.5


@final
@dataclass(frozen=True)
class GeneralizedBilinear(AbstractRational):
    """Forward Euler at alpha = 0, the trapezoidal rule at 1/2, backward Euler at 1.

    Args:
        alpha: weight of the end of the interval, 0 to 1. Below 1/2 long intervals are unstable.

    Raises:
        ValueError: if it is outside of [0, 1].
    """

    alpha: float

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(
                f"`alpha` must lie between 0 and 1, got {self.alpha!r}. 0 is forward Euler, 1/2 the trapezoidal rule, "
                "1 backward Euler."
            )

    @property
    def order(self) -> int:
        """2 at 1/2, else 1."""
        return 2 if self.alpha == 0.5 else 1


@final
@dataclass(frozen=True)
class Discrete(AbstractDiscretisation):
    """The matrix is the step: x_k = A x_{k-1} + B u_k. An interval of m steps, m whole, is m steps with u_k held.

    For matrices made as maps, such as SpaceTime's companion matrix; `Diagonal` and `DiagonalPlusLowRank` are kept
    stable as flows and do not take it.
    """

    order: ClassVar[None] = None

    def factor(self, z: Tensor) -> Tensor:
        """z."""
        return z

    def gain(self, z: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(z)

    def exponent(self, z: Tensor) -> Tensor:
        """log z."""
        return torch.log(z)

    def matrices(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z and 1."""
        return z, torch.eye(z.shape[-1], dtype=z.dtype, device=z.device).expand_as(z)
