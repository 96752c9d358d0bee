"""LegS: the whole past, each part by its share of the time that has passed."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.ssm.hippo.base import AbstractNormalOperator
from sciml.ssm.hippo.legt import scaled_legendre


@final
@dataclass(frozen=True)
class LegS(AbstractNormalOperator):
    """Legendre polynomials scaled with time: memory of everything since time 0, at no scale of its own.

        A_nk = -R_n R_k (n > k),  -(n + 1) (n = k),  0 (n < k),    B_n = R_n,    R_n = sqrt(2n + 1)

    On the interval [0, t], with x = 2 tau/t - 1,

        c_n(t) = 1/t int_0^t f(tau) R_n P_n(x) dtau,    f(tau) ~ sum_n c_n R_n P_n(x),    t dc/dt = A c + B f,

    which is what `online` does with `Scaled`. Read in the time log t it is an operator as the others, as S4 uses it:
    its kernels are exp(-s) R_n P_n(2 exp(-s) - 1), Legendre polynomials warped by an exponential, exactly.

    Source: Gu, Dao, Ermon, Rudra & Re (2020), arXiv 2008.07669, theorem 2 and appendix D.3; Gu, Johnson, Timalsina,
    Rudra & Re (2022), arXiv 2206.12037, corollary 3.3, for the kernels.
    """

    span: ClassVar[float] = math.inf

    def transition(self, states: int) -> tuple[Float[Tensor, "{states} {states}"], Float[Tensor, " {states}"]]:
        """A and B."""
        n = torch.arange(states, dtype=torch.float64)
        r = torch.sqrt(2 * n + 1)
        return -torch.tril(torch.outer(r, r), -1) - torch.diag(n + 1), r

    def kernels(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """exp(-s) R_n P_n(2 exp(-s) - 1)."""
        return torch.exp(-ages) * self.duals(states, ages)

    def duals(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """R_n P_n(2 exp(-s) - 1)."""
        return scaled_legendre(states, 2 * torch.exp(-ages) - 1)

    def low_rank(self, states: int) -> Float[Tensor, "{states} 1"]:
        """sqrt(n + 1/2)."""
        return torch.sqrt(torch.arange(states, dtype=torch.float64) + 0.5).unsqueeze(-1)
