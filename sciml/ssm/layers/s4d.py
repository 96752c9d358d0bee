"""S4D: one diagonal system per channel."""

from collections.abc import Callable

import torch
from torch import Tensor

from sciml.ssm.constraints import AbstractConstraint
from sciml.ssm.discretise import ZOH, AbstractDiscretisation
from sciml.ssm.frequencies import s4d_legs
from sciml.ssm.layers.starts import as_default, check_sizes, complex_normal, log_uniform
from sciml.ssm.matrices import Diagonal
from sciml.ssm.system import StateSpace


def s4d(
    channels: int,
    state: int = 64,
    *,
    spectrum: Callable[[int], Tensor] = s4d_legs,
    discretisation: AbstractDiscretisation | None = None,
    constraint: AbstractConstraint | None = None,
    shortest: float = 1e-3,
    longest: float = 0.1,
    outputs: int = 1,
) -> StateSpace:
    """A bank of diagonal systems, B = 1, C random, D random.

        y = 2 Re sum_n C_n x_n + D u,    x_n' = a_n x_n + u

    Args:
        channels: systems, each with one input.
        state: real size of each system: conjugate pairs are half of it.
        spectrum: where a starts, a function of state: `s4d_legs`, `s4d_inv`, `s4d_lin`, `s4d_quad` or `s4d_real`.
        discretisation: `ZOH()` by default.
        constraint: what keeps a decaying; `Exponential()` by default.
        shortest, longest: range of the learned steps, [1]: one interval is that much of the system's time.
        outputs: of each system.

    Raises:
        ValueError: if a size is not a whole number of at least 1, state is odd for a complex spectrum, or the range of
            steps is empty.

    Source: Gu, Gupta, Goel & Re (2022), arXiv 2206.11893, sections 3 and 4. Only the product of B and C acts, so that B
    stays 1; the published code learns both.
    """
    check_sizes(channels=channels, outputs=outputs)
    a = as_default(spectrum(state)).expand(channels, -1)
    b = torch.ones(channels, a.shape[1], 1, dtype=a.dtype)
    c = complex_normal(channels, outputs, a.shape[1]) if a.is_complex() else torch.randn(channels, outputs, a.shape[1])
    return StateSpace(
        Diagonal(a, constraint),
        b,
        c,
        discretisation or ZOH(),
        step=log_uniform(channels, 1, low=shortest, high=longest),
        skip=torch.randn(channels * outputs),
        learn_b=False,
    )
