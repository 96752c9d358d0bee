"""S5: one diagonal system of all channels, run by a scan."""

import math

import torch

from sciml.ssm.constraints import AbstractConstraint
from sciml.ssm.discretise import ZOH, AbstractDiscretisation
from sciml.ssm.hippo.legs import LegS
from sciml.ssm.layers.starts import as_default, check_sizes, log_uniform
from sciml.ssm.matrices import Diagonal
from sciml.ssm.nplr import dplr
from sciml.ssm.system import StateSpace


def s5(
    channels: int,
    state: int = 64,
    *,
    blocks: int = 1,
    discretisation: AbstractDiscretisation | None = None,
    constraint: AbstractConstraint | None = None,
    shortest: float = 1e-3,
    longest: float = 0.1,
) -> StateSpace:
    """One system of all channels, started from the normal part of HiPPO-LegS in `blocks` equal blocks.

        x' = a x + V^-1 B u,    y = 2 Re (C V x) + D u

    with V the eigenvectors of a block, B and C random with unit gain, and a learned step for each eigenvalue.

    Args:
        channels: inputs and outputs.
        state: real size of the system: conjugate pairs are half of it.
        blocks: copies of a smaller HiPPO matrix on the diagonal.
        discretisation: `ZOH()` by default.
        constraint: what keeps a decaying; `Exponential()` by default. The published code leaves it free.
        shortest, longest: range of the learned steps, [1].

    Raises:
        ValueError: if a size is not a whole number of at least 1, or the state is not that many blocks of even size.

    Source: Smith, Warrington & Linderman (2022), arXiv 2208.04933, sections 3 and 4, appendix B.1. Intervals are
    those of its variable-interval experiment, section 6.3, on every call.
    """
    check_sizes(channels=channels, state=state, blocks=blocks)
    if state % (2 * blocks):
        raise ValueError(
            f"`state` must be a multiple of twice `blocks`, for each block has pairs, got {state} and {blocks}. Take a "
            f"state of {2 * blocks * -(-state // (2 * blocks))}, or other blocks."
        )
    size = state // blocks
    start = dplr(LegS(), size)
    a, vectors = as_default(start.eigenvalues), as_default(start.vectors)  # (pairs,), (size, pairs)
    pairs = len(a)
    b = torch.randn(blocks, size, channels) / math.sqrt(channels)
    c = torch.randn(channels, blocks, size) / math.sqrt(state)
    b = (vectors.mH @ b.to(a.dtype)).reshape(1, blocks * pairs, channels)
    c = (c.to(a.dtype) @ vectors).reshape(1, channels, blocks * pairs)
    return StateSpace(
        Diagonal(a.repeat(blocks)[None], constraint),
        b,
        c,
        discretisation or ZOH(),
        step=log_uniform(1, blocks * pairs, low=shortest, high=longest),
        skip=torch.randn(channels),
    )
