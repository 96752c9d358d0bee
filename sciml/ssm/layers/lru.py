"""LRU: the linear recurrent unit."""

import math

import torch

from sciml.core.checks import check_positive
from sciml.ssm.discretise import ZOH
from sciml.ssm.layers.starts import check_sizes, complex_normal
from sciml.ssm.matrices import Diagonal
from sciml.ssm.normalise import UnitVariance
from sciml.ssm.system import StateSpace


def lru(
    channels: int, state: int = 64, *, smallest: float = 0.9, largest: float = 0.999, phase: float = math.tau
) -> StateSpace:
    """One system of all channels, started from eigenvalues in a ring close to the unit circle.

        x_k = lambda x_{k-1} + gamma B u_k,    y_k = Re (C x_k) + D u_k,    lambda = exp(-exp(nu) + i theta)

    At intervals d other than 1 the flow with that lambda is stepped: lambda^d, with the input held.

    Args:
        channels: inputs and outputs.
        state: complex states, none of them paired in the paper; here each is half of a pair, with C / 2, which is the
            same map.
        smallest, largest: moduli of lambda at the start, between 0 and 1.
        phase: largest angle of lambda at the start, [rad]. Small ones suit long series.

    Raises:
        ValueError: unless sizes are whole numbers of at least 1, 0 < smallest < largest < 1, and the phase is positive.

    Source: Orvieto et al. (2023), arXiv 2303.06349, eq. (3)-(7) and appendix A. theta is learned as it is, not as its
    logarithm.
    """
    check_sizes(channels=channels, state=state)
    if not 0 < smallest < largest < 1:
        raise ValueError(
            f"moduli must rise within (0, 1), got `smallest`={smallest:g} and `largest`={largest:g}. "
            "Take 0.9 and 0.999."
        )
    check_positive("phase", phase)
    modulus = torch.empty(1, state).uniform_(smallest**2, largest**2).sqrt()  # uniform in the area of the ring
    z = torch.complex(modulus.log(), torch.empty(1, state).uniform_(0, phase))
    return StateSpace(
        Diagonal(z),
        complex_normal(1, state, channels, variance=1 / channels),
        complex_normal(1, channels, state, variance=2 / state) / 2,
        ZOH(),
        skip=torch.randn(channels),
        normalisation=UnitVariance(z),
    )
