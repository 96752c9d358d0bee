"""The contract of a method: it advances a state over one interval and keeps nothing but its `carry`."""

import abc
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from sciml.integrate.flat import Flat
from sciml.integrate.terms import AbstractTerm

Time = float | Tensor
"""A Python float when the batch shares the time, else float64, 0-D or (batch, 1, ..., 1)."""


class Step(NamedTuple):
    """One step.

    Args:
        y: the state at t1.
        error: estimate of the local error, or None where the method has none.
        dense: what `prepare_dense` makes the dense output of, or None.
        carry: what the method hands to its next step: tensors with one row per sample, in nested tuples. It belongs to
            the state (t1, y): after a jump of either, `init` makes a new one.
        status: a `Result` code per sample, or None when nothing can fail. A row that is not 0 is not accepted.
        evaluations: of the field that each row needed, (batch,), where that varies; else None.
    """

    y: Flat
    error: Flat | None
    dense: Any
    carry: Any
    status: Tensor | None
    evaluations: Tensor | None = None


PI = (0.3, 0.4, 0.0)
"""Gains for methods that solve equations: on stiff oscillators half the rejections of the classical ones, and a quarter
to a half fewer evaluations."""


class AbstractMethod(abc.ABC):
    """Advances a term over one interval. Subclasses are frozen dataclasses, and final."""

    # Facts of the class, or properties where they depend on the constructor's arguments.
    order: ClassVar[int]
    """Order of the global error; measured in the tests."""
    stages: ClassVar[int]
    """Evaluations of the field per step."""
    has_error: ClassVar[bool] = False
    """Whether `Step.error` is given, so that the step size can be controlled."""
    error_order: ClassVar[float] = 0
    """Power of the step size that `Step.error` is proportional to."""
    gains: ClassVar[tuple[float, float, float]] = (0.0, 1.0, 0.0)
    """(p, i, d) of the controller that suits it, unless the user names others."""
    has_dense: ClassVar[bool] = False
    """Whether `Step.dense` is given, so that any time can be kept."""
    dense_order: ClassVar[int] = 0
    """Order of the dense output: its error within one step is proportional to h^(dense_order + 1). That error does not
    add up, so that the order of states between steps is the smaller of `order` and `dense_order + 1`."""
    reuses_last: ClassVar[bool] = False
    """Whether the last evaluation of a step is the first of the next, so that a step costs `stages - 1`."""

    reversible: ClassVar[bool] = False
    """Whether `step_back` is given."""
    iterates: ClassVar[bool] = False
    """Whether a step solves equations, with as many evaluations as that takes: it gives `Step.status` and
    `Step.evaluations`, reads the device, and cannot be compiled."""
    compiles: ClassVar[bool] = True
    """Whether every step is the same operations on tensors, which can be compiled."""
    counts: ClassVar[bool] = False
    """Whether steps differ in their evaluations and give `Step.evaluations`, as those do that iterate."""

    def tuned(self, tolerances: tuple[tuple[Any, Any], ...] | None) -> "AbstractMethod":
        """The method for adaptive steps with these tolerances, (rtol, atol) per tensor of the state; None on a grid."""
        return self

    @abc.abstractmethod
    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """The first carry. Checks that the method can do this term.

        Raises:
            TypeError: if it cannot.
        """

    def slope(self, carry: Any) -> Flat:
        """f(t0, y0) at the state a carry belongs to, for methods with `reuses_last`: the carry itself, if not more."""
        return carry

    @abc.abstractmethod
    def step(self, term: Any, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """Advance `y` from `t0` to `t1`, [time]; `t1 < t0` goes backwards."""

    def step_back(self, term: Any, t0: Time, t1: Time, y1: Flat, carry1: Any) -> tuple[Flat, Any]:
        """State and carry at `t0`, from those that `step` returned at `t1`."""
        raise TypeError(f"{type(self).__name__} cannot be stepped back: `reversible` is False.")

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """Everything `interpolate` needs of one step, in nested tuples of tensors with one row per sample."""
        raise TypeError(f"{type(self).__name__} has no dense output: `has_dense` is False.")

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """The state at t0 + theta (t1 - t0), (batch, m, *state), for theta of shape (m,) or (batch, m)."""
        raise TypeError(f"{type(self).__name__} has no dense output: `has_dense` is False.")
