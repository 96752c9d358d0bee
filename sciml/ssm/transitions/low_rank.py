"""Steps of systems diag(a) - P P*, by a rational rule. With D = 1 / (1 - alpha d a) and real r x r matrices

    K = P* D P,    G = (1 + alpha d K)^-1

the Woodbury identity makes the step diagonal plus low rank again, for any alpha:

    Abar   = (1 + (1 - alpha) d a) D - d (D P) G (P* D)
    Bbar u = d (D - alpha d (D P) G (P* D)) B u

Products P* x run over both members of the conjugate pairs, so that they are real and one member is stored.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.ssm.discretise import AbstractRational
from sciml.ssm.kernels import cauchy
from sciml.ssm.pairs import as_real_matrix, real_dtype, row_times_state, wide
from sciml.ssm.ports import Ports
from sciml.ssm.steps import Steps
from sciml.ssm.transitions.base import AbstractTransition
from sciml.ssm.transitions.dense import absorbed
from sciml.ssm.transitions.powers import moments


@final
@dataclass(frozen=True, eq=False)
class LowRankTransition(AbstractTransition):
    """x_k = factor_k x_{k-1} - left_k (right_k x_{k-1}) + Bbar_k u_k: one rank-r product per step.

    Args:
        a, p: of the matrix, (systems or 1, state) and (systems or 1, rank, state).
        factor: R(d a), (batch or 1, time or 1, systems, state).
        left: d (D P) G, (batch or 1, time or 1, systems, rank, state).
        right: P* D, likewise.
        gain: d D, as factor.
        step: d, (batch or 1, time or 1, systems or 1, 1).
        alpha: of the rule.
        fixed: whether one step serves all samples and times.
    """

    a: Tensor
    p: Tensor
    factor: Tensor
    left: Tensor
    right: Tensor
    gain: Tensor
    step: Tensor
    alpha: float
    fixed: bool

    @classmethod
    def of(cls, a: Tensor, p: Tensor, rule: AbstractRational, steps: Steps) -> "LowRankTransition":
        """Steps of diag(a) - P P*, a (systems or 1, state), P (rank, systems or 1, state)."""
        narrow, dtype = a, a.dtype
        step = steps.product
        if steps.fixed:  # one step for all is made in double precision
            a, p, step = wide(a), wide(p), wide(steps.interval)[..., None, None] * wide(steps.scale)
        z = a * step
        divided = rule.gain(z)  # D
        p = p.transpose(0, 1)  # (systems, rank, state)
        ahead, right = divided.unsqueeze(-2) * p, divided.unsqueeze(-2) * p.conj()
        coupling = row_times_state(p.conj().unsqueeze(-2), ahead.unsqueeze(-3))  # K, (..., systems, rank, rank)
        eye = torch.eye(p.shape[1], dtype=coupling.dtype, device=p.device)
        solved = torch.linalg.inv(eye + rule.alpha * step.unsqueeze(-1) * coupling)
        left = step.unsqueeze(-1) * (solved.mT.to(ahead.dtype) @ ahead)
        p, factor, left, right, gain = (v.to(dtype) for v in (p, rule.factor(z), left, right, divided * step))
        return cls(narrow, p, factor, left, right, gain, step.to(real_dtype(dtype)), rule.alpha, steps.fixed)

    def force(self, b: Tensor, u: Tensor) -> Tensor:
        """Bbar u; the solve acts on B where it is constant, and else on B u."""
        if b.ndim == 3:
            columns = self._solve(b.mT.movedim(-2, 0)[:, None, None])  # (in, batch, time, systems, state)
            driven = columns.movedim(0, -1)
            return Ports(driven[0, 0] if self.fixed else driven, b).drive(u)
        return self._solve(Ports(b, b).drive(u))

    def advance(self, k: int, x: Tensor, forcing: Tensor) -> Tensor:
        """Two products of rank r."""
        k = min(k, self.factor.shape[1] - 1)
        low_rank = row_times_state(self.right[:, k], x.unsqueeze(-2)).unsqueeze(-1) * self.left[:, k]
        return self.factor[:, k] * x - low_rank.sum(-2) + forcing

    def scan(self, forcing: Tensor, x0: Tensor) -> Tensor:
        """Refused before this: products of such steps have a rank that grows."""
        raise AssertionError("a cell of the table that is refused")

    def kernel(self, b: Tensor, c: Tensor, length: int) -> Tensor:
        """C Abar^l Bbar."""
        pairs = (len(b), c.shape[1], b.shape[2])  # (systems, out, in)
        a, b, c = (v.expand(*pairs, -1) for v in (self.a[:, None, None], b.mT.unsqueeze(1), c.unsqueeze(2)))
        p = self.p[:, None, None].expand(*pairs, -1, -1)
        return cauchy.kernel(a, p, b, c, self.step[0, 0].unsqueeze(-1).expand(pairs), length, self.alpha)

    def respond(self, c: Tensor, x0: Tensor, length: int) -> Tensor:
        """C Abar^(l + 1) x0."""
        a, columns, rows = self._real(self.advance(0, x0, torch.zeros_like(x0)).unsqueeze(-1), c)
        return moments(rows, a, columns, length).squeeze(-2)

    def absorb(self, b: Tensor, u: Tensor, x0: Tensor) -> Tensor:
        """That of the dense matrix."""
        a, columns, _ = self._real(self._bbar(b), b.mT)
        x = absorbed(a, columns, u, torch.cat([x0.real, x0.imag], dim=-1))
        return torch.complex(*x.chunk(2, dim=-1))

    def _solve(self, v: Tensor) -> Tensor:
        """d (1 - alpha d A)^-1 v, of v (..., batch, time, systems, state); a step d is part of gain and left."""
        low_rank = row_times_state(self.right, v.unsqueeze(-2)) * self.step * self.alpha
        return self.gain * v - (low_rank.unsqueeze(-1) * self.left).sum(-2)

    def _bbar(self, b: Tensor) -> Tensor:
        """Bbar of the one step, (systems, state, in)."""
        return self._solve(b.mT.movedim(-2, 0)[:, None, None])[:, 0, 0].movedim(0, -1)

    def _real(self, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Abar, columns and rows as they act on (Re x, Im x)."""
        factor, left, right = self.factor[0, 0], self.left[0, 0], self.right[0, 0]
        diagonal = as_real_matrix(torch.diag_embed(factor))
        a = diagonal - torch.cat([left.real, left.imag], dim=-1).mT @ _real_rows(right)
        return a, torch.cat([columns.real, columns.imag], dim=-2), _real_rows(rows)


def _real_rows(rows: Tensor) -> Tensor:
    """What 2 Re(r x) is on (Re x, Im x)."""
    return 2 * torch.cat([rows.real, -rows.imag], dim=-1)
