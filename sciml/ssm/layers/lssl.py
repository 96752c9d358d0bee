"""LSSL: dense HiPPO systems, one matrix for all channels, each with its own step."""

import torch

from sciml.ssm.discretise import AbstractDiscretisation, Bilinear
from sciml.ssm.hippo.base import AbstractOperator
from sciml.ssm.hippo.legs import LegS
from sciml.ssm.layers.starts import as_default, check_sizes, log_uniform
from sciml.ssm.matrices import Dense
from sciml.ssm.system import StateSpace


def lssl(
    channels: int,
    state: int = 64,
    *,
    operator: AbstractOperator | None = None,
    outputs: int = 1,
    discretisation: AbstractDiscretisation | None = None,
    shortest: float = 1e-3,
    longest: float = 0.1,
) -> StateSpace:
    """A bank of systems that share one dense HiPPO matrix.

        x' = A x + B u,    y = C x + D u

    Args:
        channels: systems, each with one input.
        state: real size of each.
        operator: whose A and B it starts from; `LegS()` by default.
        outputs: of each system; `Plain(channels * outputs, channels)` mixes them.
        discretisation: `Bilinear()` by default; `ZOH()` is exact and dearer.
        shortest, longest: range of the learned steps, [1].

    Raises:
        ValueError: if a size is not a whole number of at least 1, or the range of steps is empty.

    Source: Gu et al. (2021), arXiv 2110.13985, section 3 and 4. There A is fixed or kept in a structured class of
    quasiseparable matrices; here it is fixed or learned whole: `layer.matrix.a.requires_grad_(False)` fixes it.
    """
    check_sizes(channels=channels, state=state, outputs=outputs)
    a, b = (as_default(value) for value in (operator or LegS()).transition(state))
    return StateSpace(
        Dense(a[None]),
        b.expand(channels, -1).unsqueeze(-1),
        torch.randn(channels, outputs, state) * state**-0.5,
        discretisation or Bilinear(),
        step=log_uniform(channels, 1, low=shortest, high=longest),
        skip=torch.randn(channels * outputs),
    )
