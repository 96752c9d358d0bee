"""Where the eigenvalues of diagonal state-space models start: the initialisations of S4D.

Each gives one of every conjugate pair, states / 2 of them, in complex128; B is 1 (that of LegS too: the scale of B is
C's).
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.ssm.hippo.legs import LegS
from sciml.ssm.nplr import dplr


def s4d_lin(states: int) -> Complex[Tensor, " pair"]:
    """-1/2 + i pi n: the frequencies of a Fourier series.

    Args:
        states: real states, even.

    Raises:
        ValueError: if it is odd.

    Source: Gu, Gupta, Goel & Re (2022), arXiv 2206.11893, eq. (9).
    """
    n = _pairs(states)
    return torch.complex(torch.full_like(n, -0.5), math.pi * n)


def s4d_inv(states: int) -> Complex[Tensor, " pair"]:
    """-1/2 + i N/pi (N/(2n + 1) - 1), N = `states`: the law that LegS follows closely.

    Args:
        states: real states, even.

    Raises:
        ValueError: if it is odd.

    Source: Gu, Gupta, Goel & Re (2022), arXiv 2206.11893, eq. (8).
    """
    n = _pairs(states)
    return torch.complex(torch.full_like(n, -0.5), states / math.pi * (states / (2 * n + 1) - 1))


def s4d_quad(states: int) -> Complex[Tensor, " pair"]:
    """-1/2 + i (1 + 2n)^2 / pi.

    Args:
        states: real states, even.

    Raises:
        ValueError: if it is odd.

    Source: Gu, Gupta, Goel & Re (2022), arXiv 2206.11893, section 5.2.
    """
    n = _pairs(states)
    return torch.complex(torch.full_like(n, -0.5), (1 + 2 * n) ** 2 / math.pi)


def s4d_legs(states: int) -> Complex[Tensor, " pair"]:
    """Eigenvalues of the normal part of LegS, by falling frequency.

    Args:
        states: real states, even.

    Raises:
        ValueError: if it is odd.

    Source: Gu, Gupta, Goel & Re (2022), arXiv 2206.11893, section 4.2.
    """
    return dplr(LegS(), states).eigenvalues


def s4d_real(states: int) -> Float[Tensor, " {states}"]:
    """-(n + 1), n = 0 .. states - 1: real, no pairs.

    Args:
        states: how many.

    Raises:
        ValueError: if it is not a whole number of at least 1.

    Source: Gu, Gupta, Goel & Re (2022), arXiv 2206.11893, section 5.2.
    """
    check_whole("states", states, 1)
    return -torch.arange(1, states + 1, dtype=torch.float64)


def _pairs(states: int) -> Tensor:
    """n = 0 .. states/2 - 1."""
    check_whole("states", states, 2)
    if states % 2:
        raise ValueError(
            f"`states` must be even, for complex eigenvalues come in conjugate pairs; got {states}. Take {states + 1}."
        )
    return torch.arange(states // 2, dtype=torch.float64)
