"""State matrices A by structure: what they store, and how they become a step.

A module holds `systems` matrices of one structure, one for each independent system, or a single one that all share.
"""

import abc
from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from sciml.core.checks import check_shape
from sciml.ssm.constraints import AbstractConstraint, Exponential
from sciml.ssm.discretise import AbstractDiscretisation, AbstractRational, Discrete
from sciml.ssm.pairs import as_real_matrix, restored, stored
from sciml.ssm.steps import Steps
from sciml.ssm.transitions.base import AbstractTransition
from sciml.ssm.transitions.dense import DenseTransition
from sciml.ssm.transitions.diagonal import DiagonalTransition
from sciml.ssm.transitions.low_rank import LowRankTransition


class AbstractMatrix(nn.Module, abc.ABC):
    """Matrices A of one structure, (systems or 1) of `state` stored entries. Subclasses are final."""

    systems: int
    state: int
    is_complex: bool
    """Whether the stored entries are one of each conjugate pair."""

    @abc.abstractmethod
    def transition(self, rule: AbstractDiscretisation, steps: Steps) -> AbstractTransition:
        """One step for each interval.

        Args:
            rule: what makes a step of an interval.
            steps: the intervals.
        """

    @abc.abstractmethod
    def full(self) -> Tensor:
        """The whole real matrices, (systems, n, n) with n = 2 state for pairs: real parts first."""


@final
class Diagonal(AbstractMatrix):
    """diag(a), with a complex (one of each conjugate pair) or real.

    Args:
        a: eigenvalues to start from, (systems, state), [1/time].
        constraint: what keeps -Re a positive; imaginary parts are free.

    Raises:
        ValueError: if a has another rank, or does not decay where `constraint` needs it.

    Source: Gu, Gupta, Goel & Re (2022), arXiv 2206.11893, section 3.
    """

    def __init__(self, a: Tensor, constraint: AbstractConstraint | None = None) -> None:
        super().__init__()
        check_shape("a", a, (None, None), "systems and states")
        self.systems, self.state = a.shape
        self.is_complex = a.is_complex()
        self.constraint = constraint or Exponential()
        self.decay = nn.Parameter(self.constraint.raw(-a.real).clone())
        self.frequency = nn.Parameter(a.imag.clone()) if self.is_complex else None

    def values(self) -> Tensor:
        """a, (systems, state)."""
        real = -self.constraint.decay(self.decay)
        return real if self.frequency is None else torch.complex(real, self.frequency)

    def transition(self, rule: AbstractDiscretisation, steps: Steps) -> AbstractTransition:
        """Exact for every rule, entry by entry."""
        return DiagonalTransition.of(self.values(), rule, steps)

    def full(self) -> Tensor:
        """Rotations and decays."""
        return as_real_matrix(torch.diag_embed(self.values()))


@final
class DiagonalPlusLowRank(AbstractMatrix):
    """diag(a) - P P*, complex, one of each conjugate pair: HiPPO matrices in their eigenbasis.

    The Hermitian low-rank part keeps A stable whenever a is.

    Args:
        a: diagonal to start from, (systems, state), complex, [1/time].
        p: P to start from, (rank, systems, state), complex, [1/time^(1/2)].
        constraint: what keeps -Re a positive.

    Raises:
        TypeError: if one of them is real.
        ValueError: if shapes disagree.

    Source: Gu, Goel & Re (2022), arXiv 2111.00396, theorem 1, and the Hurwitz form P = Q of Goel et al. (2022), arXiv
    2202.09729, section 4.2.
    """

    is_complex = True

    def __init__(self, a: Tensor, p: Tensor, constraint: AbstractConstraint | None = None) -> None:
        super().__init__()
        if not (a.is_complex() and p.is_complex()):
            raise TypeError(
                f"`a` and `p` must be complex, got {a.dtype} and {p.dtype}. A real diagonal plus low rank is a Dense "
                "matrix, or no pair of anything."
            )
        check_shape("a", a, (None, None), "systems and states")
        check_shape("p", p, (None, *a.shape), "rank, systems and states")
        self.systems, self.state = a.shape
        self.constraint = constraint or Exponential()
        self.decay = nn.Parameter(self.constraint.raw(-a.real).clone())
        self.frequency = nn.Parameter(a.imag.clone())
        self.p = stored(p)

    def values(self) -> tuple[Tensor, Tensor]:
        """a, (systems, state), and P, (rank, systems, state)."""
        return torch.complex(-self.constraint.decay(self.decay), self.frequency), restored(self.p, True)

    def transition(self, rule: AbstractDiscretisation, steps: Steps) -> AbstractTransition:
        """By a rational rule, in which diagonal plus low rank stays that."""
        assert isinstance(rule, AbstractRational)
        return LowRankTransition.of(*self.values(), rule, steps)

    def full(self) -> Tensor:
        """The real matrix of twice the size; a column of P stands for itself and its conjugate."""
        a, p = self.values()
        diagonal = as_real_matrix(torch.diag_embed(a))
        column = torch.cat([p.real, p.imag], dim=-1).unsqueeze(-1)
        row = torch.cat([p.real, p.imag], dim=-1).unsqueeze(-2)
        return diagonal - 2 * (column * row).sum(0)


@final
class Dense(AbstractMatrix):
    """Any real matrix.

    Args:
        a: matrices to start from, (systems, state, state), [1/time]; of a map, where the rule is `Discrete()`.

    Raises:
        ValueError: if they are not square.
    """

    is_complex = False

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        check_shape("a", a, (None, a.shape[-1], a.shape[-1]), "systems, states and states")
        self.systems, self.state = a.shape[:2]
        self.a = nn.Parameter(a.clone())

    def transition(self, rule: AbstractDiscretisation, steps: Steps) -> AbstractTransition:
        """One exponential, inverse or power for each distinct interval."""
        return DenseTransition.of(self.a, rule, steps)

    def full(self) -> Tensor:
        """The matrix itself."""
        return self.a


@final
class Companion(AbstractMatrix):
    """Ones below the diagonal and a in the last column.

    As a map (`Discrete()`), x_k = A x_{k-1} + B u_k with the order of an autoregression as state; as a flow, the
    controllable form of a continuous-time autoregression.

    Args:
        a: last columns to start from, (systems, state).
        normalise: divide a by sum |a|, which bounds the eigenvalues of the map by 1; 0 stays 0.

    Source: Zhang et al. (2023), arXiv 2303.09489, section 4.1 and eq. (4); its published code divides likewise.
    """

    is_complex = False

    def __init__(self, a: Tensor, normalise: bool = False) -> None:
        super().__init__()
        check_shape("a", a, (None, None), "systems and states")
        self.systems, self.state = a.shape
        self.normalise = normalise
        self.a = nn.Parameter(a.clone())

    def values(self) -> Tensor:
        """a, (systems, state)."""
        if not self.normalise:
            return self.a
        total = self.a.abs().sum(-1, keepdim=True)
        return self.a / torch.where(total > 0, total, 1)

    def transition(self, rule: AbstractDiscretisation, steps: Steps) -> AbstractTransition:
        """That of the dense matrix; one step of the map keeps its structure for the kernel."""
        dense = DenseTransition.of(self.full(), rule, steps)
        itself = isinstance(rule, Discrete) and steps.fixed and steps.number == 1
        return replace(dense, last_column=self.values()) if itself else dense

    def full(self) -> Tensor:
        """Ones below the diagonal, a in the last column."""
        a = self.values()
        shift = torch.diag(torch.ones(self.state - 1, dtype=a.dtype, device=a.device), -1)
        return shift + torch.nn.functional.pad(a.unsqueeze(-1), (self.state - 1, 0))
