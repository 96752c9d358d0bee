"""Companion layer: the systems of SpaceTime, and continuous-time autoregressions."""

import math

import torch
from torch import Tensor

from sciml.ssm.discretise import AbstractDiscretisation, Discrete
from sciml.ssm.layers.starts import as_default, check_sizes, log_uniform
from sciml.ssm.matrices import Companion
from sciml.ssm.system import StateSpace

LARGEST_FLOW = 12
"""States of a flow that float32 holds: errors of series of 200 entries grow from 1e-5 at 8 states to 5e-4 at 12, and to
all of the output at 24, for the matrix is ever worse conditioned."""


def companion(
    channels: int,
    state: int | None = None,
    *,
    outputs: int = 1,
    discretisation: AbstractDiscretisation | None = None,
    shortest: float = 0.05,
    longest: float = 1.0,
) -> StateSpace:
    """A bank of companion systems.

    As a map, x_k = A x_{k-1} + B u_k, it starts as a memory of the last `state` entries, B the first unit vector, with
    a random last column of absolute sum 1, which it keeps. As a flow (`ZOH()` or `Bilinear()`) it starts as Butterworth
    filters of that order and learned rates, with C for states of one size; orders above 12 are too badly conditioned
    for float32 and refused.

    Args:
        channels: systems, each with one input.
        state: order of each; 64 for a map and 8 for a flow by default.
        outputs: of each system.
        discretisation: `Discrete()` by default.
        shortest, longest: range of the learned steps of a flow, [1].

    Raises:
        ValueError: if a size is not a whole number of at least 1, a flow has more than 12 states, or the range of steps
            is empty.

    Source: Zhang et al. (2023), arXiv 2303.09489, section 4.1; flows are not in it.
    """
    rule = discretisation or Discrete()
    flow = not isinstance(rule, Discrete)
    state = (8 if flow else 64) if state is None else state
    check_sizes(channels=channels, state=state, outputs=outputs)
    if flow and state > LARGEST_FLOW:
        raise ValueError(
            f"`state` of a companion flow must be at most {LARGEST_FLOW}, got {state}: float32 does not hold larger "
            f"ones. Take {LARGEST_FLOW} or fewer, a map (Discrete()) at equal intervals, or s4d at any."
        )
    a = butterworth(state) if flow else torch.randn(channels, state)
    size = torch.cat([a[1:].abs(), a.new_ones(1)]) if flow else a.new_ones(state)  # of states for an input of 1
    b = torch.zeros(channels, state, 1)
    b[:, 0] = 1.0
    return StateSpace(
        Companion(as_default(a).expand(channels, -1), normalise=not flow),
        b,
        torch.randn(channels, outputs, state) * state**-0.5 / as_default(size),
        rule,
        step=log_uniform(channels, 1, low=shortest, high=longest) if flow else None,
    )


def butterworth(order: int) -> Tensor:
    """The last column of a companion matrix with eigenvalues equally spaced on the left unit half circle.

    Source: Butterworth (1930), Wireless Engineer 7, 536-541.
    """
    angle = math.pi / 2 + math.pi * (2 * torch.arange(order, dtype=torch.float64) + 1) / (2 * order)
    return last_column(torch.polar(torch.ones_like(angle), angle))


def last_column(roots: Tensor) -> Tensor:
    """The last column of a companion matrix with these eigenvalues, conjugate where not real; (order,) float64.

    The polynomial prod (x - root) = x^n - a_{n-1} x^{n-1} - ... - a_0.
    """
    coefficients = torch.ones(1, dtype=torch.complex128)
    for root in roots:
        longer = torch.nn.functional.pad(coefficients, (0, 1))
        longer[1:] -= root * coefficients
        coefficients = longer
    return -coefficients.real[1:].flip(0)
