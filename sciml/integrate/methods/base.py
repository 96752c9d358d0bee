"""The contract of a method: it advances a state over one interval and keeps nothing but its `carry`."""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

from sciml.core import State
from sciml.integrate.terms import AbstractTerm

Time = float | Tensor
"""A Python float when the batch shares the time, else float64, 0-D or (batch, 1, ..., 1)."""


@final
@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        y: the state at t1.
        error: estimate of the local error, or None where the method has none.
        dense: coefficients of the dense output, or None.
        carry: what the method hands to its next step.
        status: a `Result` code per sample, or None when nothing can fail.
    """

    y: State
    error: State | None
    dense: Any
    carry: Any
    status: Tensor | None


class AbstractMethod(abc.ABC):
    """Advances a term over one interval. Subclasses are frozen dataclasses, and final."""

    order: ClassVar[int]
    """Order of the global error; measured in the tests."""
    stages: ClassVar[int]
    """Evaluations of the field per step."""
    has_error: ClassVar[bool] = False
    """Whether `Step.error` is given, so that the step size can be controlled."""
    has_dense: ClassVar[bool] = False
    """Whether `Step.dense` is given, so that any time can be kept."""

    @abc.abstractmethod
    def init(self, term: AbstractTerm, t0: Time, y0: State) -> Any:
        """The first carry. Checks that the method can do this term.

        Raises:
            TypeError: if it cannot.
        """

    @abc.abstractmethod
    def step(self, term: Any, t0: Time, t1: Time, y: State, carry: Any) -> Step:
        """Advance `y` from `t0` to `t1`, [time]; `t1 < t0` goes backwards."""
