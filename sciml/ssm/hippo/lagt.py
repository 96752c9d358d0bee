"""LagT: the whole past, fading exponentially."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.ssm.hippo.base import AbstractNormalOperator
from sciml.ssm.hippo.polynomials import laguerre


@final
@dataclass(frozen=True)
class LagT(AbstractNormalOperator):
    """Laguerre functions of age, orthonormal on [0, inf).

        A = 1/2 - (lower triangle of ones, with the diagonal),    B_n = 1,    K_n(s) = g_n(s) = exp(-s/2) L_n(s)

    Exact for every f: the kernels are exp(A s) B. The unit of time is the scale on which the past fades.

    Source: Gu, Dao, Ermon, Rudra & Re (2020), arXiv 2008.07669, appendix D.2, with alpha = 0, beta = 1 and the weight
    shared evenly by kernels and duals.
    """

    span: ClassVar[float] = math.inf

    def transition(self, states: int) -> tuple[Float[Tensor, "{states} {states}"], Float[Tensor, " {states}"]]:
        """A and B."""
        ones = torch.ones(states, states, dtype=torch.float64)
        return torch.eye(states, dtype=torch.float64) / 2 - torch.tril(ones), ones[0]

    def kernels(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """exp(-s/2) L_n(s)."""
        return laguerre(states, ages)

    def duals(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """exp(-s/2) L_n(s)."""
        return laguerre(states, ages)

    def low_rank(self, states: int) -> Float[Tensor, "{states} 1"]:
        """sqrt(1/2) of ones."""
        return torch.full((states, 1), math.sqrt(0.5), dtype=torch.float64)
