"""DSS: diagonal systems with the kernel of the exponentials, or of their softmax over a length."""

import torch

from sciml.core.checks import check_whole
from sciml.ssm.constraints import Exponential, Free
from sciml.ssm.discretise import ZOH
from sciml.ssm.frequencies import s4d_legs
from sciml.ssm.layers.starts import as_default, check_sizes, complex_normal, log_uniform
from sciml.ssm.matrices import Diagonal
from sciml.ssm.normalise import SoftmaxOver
from sciml.ssm.system import StateSpace


def dss(
    channels: int, state: int = 64, *, softmax: int | None = None, shortest: float = 1e-3, longest: float = 0.1
) -> StateSpace:
    """A bank of diagonal systems started from the normal part of HiPPO-LegS, by ZOH.

        K_l = 2 Re sum_n w_n / a_n (exp(d a_n) - 1) exp(l d a_n) [/ (exp(length d a_n) - 1)]

    Args:
        channels: systems, each with one input.
        state: real size of each system: conjugate pairs are half of it.
        softmax: the length over which rows of the kernel are a softmax, with a free to grow (DSS-softmax); None for a
            that decays and no softmax (DSS-exp).
        shortest, longest: range of the learned steps, [1].

    Raises:
        ValueError: if state is odd, a length not a whole number of at least 1, or the range of steps empty.

    Source: Gupta, Gu & Berant (2022), arXiv 2203.14343, proposition 1 and section 3.2. `softmax` there is the length of
    each series; `SoftmaxOver` says why it is fixed here.
    """
    check_sizes(channels=channels)
    if softmax is not None:
        check_whole("softmax", softmax, 1)
    a = as_default(s4d_legs(state)).expand(channels, -1)
    return StateSpace(
        Diagonal(a, Exponential() if softmax is None else Free()),
        torch.ones(channels, a.shape[1], 1, dtype=a.dtype),
        complex_normal(channels, 1, a.shape[1]),
        ZOH(),
        step=log_uniform(channels, 1, low=shortest, high=longest),
        skip=torch.randn(channels),
        normalisation=None if softmax is None else SoftmaxOver(softmax),
        learn_b=False,
    )
