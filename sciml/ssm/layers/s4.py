"""S4: one diagonal-plus-low-rank system per channel, started as HiPPO."""

import torch

from sciml.ssm.constraints import AbstractConstraint
from sciml.ssm.discretise import AbstractRational, Bilinear
from sciml.ssm.hippo.base import AbstractOperator
from sciml.ssm.hippo.legs import LegS
from sciml.ssm.layers.starts import as_default, check_sizes, complex_normal, log_uniform
from sciml.ssm.matrices import DiagonalPlusLowRank
from sciml.ssm.nplr import dplr
from sciml.ssm.system import StateSpace

LEAST_DECAY = 1e-4
"""Of a; the diagonals of LegT and FouT have none, and their whole matrices decay by the low rank."""


def s4(
    channels: int,
    state: int = 64,
    *,
    operator: AbstractOperator | None = None,
    discretisation: AbstractRational | None = None,
    constraint: AbstractConstraint | None = None,
    shortest: float = 1e-3,
    longest: float = 0.1,
    outputs: int = 1,
) -> StateSpace:
    """A bank of HiPPO systems in the basis in which they are diagonal plus low rank.

        x' = (diag(a) - P P*) x + B u,    y = 2 Re (C x) + D u

    Convolutions go by the Cauchy kernel; intervals that change go one after the other, with a rank-r solve each.

    Args:
        channels: systems, each with one input.
        state: real size of each system, even.
        operator: `LegS()` by default; any whose matrix is normal plus low rank.
        discretisation: `Bilinear()` by default; no rule but rational ones keeps the structure.
        constraint: what keeps a decaying; `Exponential()` by default.
        shortest, longest: range of the learned steps, [1].
        outputs: of each system.

    Raises:
        ValueError: if a size is not a whole number of at least 1, state is odd, or the range of steps is empty.
        TypeError: if the matrix of the operator is not normal plus low rank.

    Source: Gu, Goel & Re (2022), arXiv 2111.00396, algorithm 1; P P* in place of P Q* after Goel et al. (2022), arXiv
    2202.09729, section 4.2, so that no gradient step makes it unstable. The published code learns as C what is here
    C (1 - Abar^L) and doubles it with the length; here C is itself and no length is stored.
    """
    check_sizes(channels=channels, outputs=outputs)
    start = dplr(operator or LegS(), state)
    eigenvalues = torch.complex(start.eigenvalues.real.clamp(max=-LEAST_DECAY), start.eigenvalues.imag)
    a, p, b = (as_default(value) for value in (eigenvalues, start.p.mT, start.b))
    return StateSpace(
        DiagonalPlusLowRank(a.expand(channels, -1), p.unsqueeze(1).expand(-1, channels, -1), constraint),
        b.expand(channels, -1).unsqueeze(-1),
        complex_normal(channels, outputs, len(a)),
        discretisation or Bilinear(),
        step=log_uniform(channels, 1, low=shortest, high=longest),
        skip=torch.randn(channels * outputs),
    )
