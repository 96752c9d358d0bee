"""A step that events cut off, as outputs see it."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sciml.integrate.flat import Flat


@final
@dataclass(frozen=True, eq=False)
class Cut:
    """An accepted step of which some rows keep the first part only, per-sample times in tau.

    Args:
        end: where the whole step ended.
        covered: up to where its dense output is the solution.
        tau, y: where each row goes on from.
    """

    end: Tensor
    covered: Tensor
    tau: Tensor
    y: Flat
