"""One accepted step as a function of theta, the part of it that has passed, (batch,): time and state of each row."""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.adaptive import Attempt
from sciml.integrate.clock import Clock
from sciml.integrate.flat import Flat, beside, first_leaf, map_leaves, map_rows, real_dtype
from sciml.integrate.methods.base import AbstractMethod, Time
from sciml.integrate.terms import AbstractTerm


@final
@dataclass(frozen=True, eq=False)
class Piece:
    """A step.

    Args:
        method, dense, t0, t1: of the step, as `AbstractMethod.interpolate` takes them.
        start, end: tau at its ends, (batch,).
        sign: direction of time, a number or (batch,).
        y: a state, for its shape and dtype.
    """

    method: AbstractMethod
    dense: Any
    t0: Time
    t1: Time
    start: Tensor
    end: Tensor
    sign: float | Tensor
    y: Flat

    @staticmethod
    def of(term: AbstractTerm, method: AbstractMethod, clock: Clock, tau0: Tensor, attempt: Attempt) -> "Piece":
        """The step of an attempt that began at tau0, per clock."""
        dense = method.prepare_dense(term, attempt.t0, attempt.t1, attempt.y0, attempt.step)
        t1 = torch.as_tensor(attempt.t1)
        tau1 = t1.reshape(-1) * clock.sign if t1.ndim else t1 * clock.sign
        start, end = (tau.expand(clock.rows) for tau in (tau0, tau1))
        return Piece(method, dense, attempt.t0, attempt.t1, start, end, clock.sign, attempt.y0)

    def tau(self, theta: Tensor) -> Tensor:
        """tau of each row, (batch,); the ends are exact."""
        inner = self.start + theta * (self.end - self.start)
        return torch.where(theta == 1.0, inner + (self.end - inner).detach(), inner)

    def t(self, tau: Tensor) -> Tensor:
        """The time as fields get it: (batch, 1, ..., 1) in the state's real dtype."""
        return beside(tau * self.sign, first_leaf(self.y)).to(real_dtype(self.y))

    def state(self, theta: Tensor) -> Flat:
        """State of each row, (batch, *state)."""
        states = self.method.interpolate(self.dense, self.t0, self.t1, theta[:, None])
        return map_leaves(lambda leaf: leaf[:, 0], states)

    def states(self, theta: Tensor) -> list[Flat]:
        """States of all rows at shared parts of the step, (m,)."""
        states = self.method.interpolate(self.dense, self.t0, self.t1, theta)
        return [map_leaves(lambda leaf, i=i: leaf[:, i], states) for i in range(len(theta))]

    def rows(self, index: Tensor) -> "Piece":
        """The step of other rows in the place of these."""
        t0, t1 = (t[index] if isinstance(t, Tensor) and t.ndim else t for t in (self.t0, self.t1))
        sign = self.sign[index] if isinstance(self.sign, Tensor) else self.sign
        dense = map_rows(lambda leaf: leaf[index], self.dense)
        y = map_leaves(lambda leaf: leaf[index], self.y)
        return Piece(self.method, dense, t0, t1, self.start[index], self.end[index], sign, y)
