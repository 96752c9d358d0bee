"""The engine of fully implicit Runge-Kutta methods: collocation, whose stages are solved for together.

    z_i = h sum_j a_ij f(t0 + c_j h, y0 + z_j),    y1 = y0 + sum_i d_i z_i

by simplified Newton iterations with one Jacobian for all stages, split into systems of the size of the state. The
Jacobian is kept from step to step while iterations converge fast; the polynomial through the stages of the step before
gives the first guess, and the one of this step is the dense output. The error estimate is

    error = (I - h gamma_0 J)^-1 (h gamma_0 f(t0, y0) + sum_i e_i z_i)

and where it exceeds the tolerance it is filtered once more: the same with f(t0, y0 + error).

Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.8: Newton (8.8)-(8.10), starting values
(8.5), error (8.18)-(8.20). There the second filtering is for the first step and after a rejection.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sciml.core.transforms import is_differentiated, is_recording, unrecorded
from sciml.integrate.flat import Flat, beside, map_leaves
from sciml.integrate.implicit import AbstractSystem, Newton, Outcome, PackedField, Packing, implicitly, merged
from sciml.integrate.implicit.structure import beside_rows, chosen
from sciml.integrate.methods.arguments import check_newton, ode_of
from sciml.integrate.methods.base import PI, AbstractMethod, Step, Time
from sciml.integrate.methods.collocation import CollocationTableau
from sciml.integrate.methods.coupled import SplitSystem, exact_system, mixed, table_of
from sciml.integrate.methods.explicit_rk import StageTimes
from sciml.integrate.terms import ODE, AbstractTerm

_FAST = 1e-2
"""A Jacobian is made anew for the next step if Newton converged slower than this."""


class _Carry(NamedTuple):
    """What a step leaves to the next, one row per sample.

    Args:
        jacobian: as the structure keeps it.
        current: whether it is the one at (t0, y0).
        slow: whether a new one is wanted.
        slope: f(t0, y0) for the error estimate, (batch, size); without one, no columns.
        z: stages of the step before, (batch, stage, size).
        past: size of that step, (batch,), float64; 0 where there was none.
        eta: how fast Newton converged.
    """

    jacobian: tuple[Tensor, ...]
    current: Tensor
    slow: Tensor
    slope: Tensor
    z: Tensor
    past: Tensor
    eta: Tensor


class _Stages(NamedTuple):
    """The equations of one step.

    Args:
        tableau: of the method.
        field: on rows.
        times: of the stages.
        v: y0 as rows, (batch, size).
        h: step size as it multiplies (batch, stage, size).
    """

    tableau: CollocationTableau
    field: PackedField
    times: Sequence[Tensor]
    v: Tensor
    h: Any

    def states(self, z: Tensor) -> list[Tensor]:
        """y0 + z_j of each stage."""
        return [self.v + part for part in z.unflatten(1, (self.tableau.stages, -1)).unbind(1)]

    def combined(self, slopes: list[Tensor]) -> Tensor:
        """h A f, (batch, stage * size)."""
        return (self.h * mixed(self.tableau.a, torch.stack(slopes, dim=1))).flatten(1)

    def residual(self, z: Tensor) -> Tensor:
        """h A f(y0 + z) - z."""
        return self.combined(list(map(self.field, self.times, self.states(z)))) - z


class AbstractFullyImplicit(AbstractMethod):
    """A collocation method. A final subclass gives its tableau and order, and has the field `newton`."""

    tableau: ClassVar[CollocationTableau]
    newton: Newton
    iterates: ClassVar[bool] = True
    gains = PI
    compiles: ClassVar[bool] = False
    counts: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        tableau = cls.tableau
        cls.has_error = tableau.filter_shift is not None
        cls.error_order = tableau.stages + 1 if cls.has_error else 0
        cls.has_dense, cls.dense_order = True, tableau.stages

    def __post_init__(self) -> None:
        check_newton(self, self.newton)

    def tuned(self, tolerances: tuple[tuple[Any, Any], ...] | None) -> AbstractMethod:
        """See `AbstractMethod.tuned`."""
        return replace(self, newton=self.newton.tuned(tolerances))  # type: ignore[type-var]

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> _Carry:
        """A Jacobian and no past; see `AbstractMethod.init`."""
        field, v = _field_of(type(self).__name__, term, y0)
        t, v = StageTimes(t0, t0, y0)(0.0).detach(), v.detach()
        jacobian = self.newton.structure.jacobian(field, t, v)
        with unrecorded():
            slope = field(t, v) if self.has_error else v[:, :0]
        yes = torch.ones(len(v), dtype=torch.bool, device=v.device)
        z = v.new_zeros(len(v), self.tableau.stages, v.shape[1])
        past = torch.zeros(len(v), dtype=torch.float64, device=v.device)
        eta = torch.ones(len(v), dtype=v.dtype, device=v.device)
        return _Carry(jacobian, yes, ~yes, slope, z, past, eta)

    def step(self, term: ODE, t0: Time, t1: Time, y: Flat, carry: _Carry) -> Step:
        """One step; see `AbstractMethod.step`."""
        tableau, newton = self.tableau, self.newton
        field, v = _field_of(type(self).__name__, term, y)
        at = StageTimes(t0, t1, y, tuple(c for c in tableau.c if c < 1))
        size = _size(t1 - t0, v)
        recorded = _Stages(tableau, field, [at(c) for c in tableau.c], v, beside_rows(size, 3))
        h, start = _detached(size), at(0.0).detach()
        fixed = recorded._replace(times=[t.detach() for t in recorded.times], v=v.detach(), h=beside_rows(h, 3))
        weights = newton.weights(field.packing, y)
        with unrecorded():
            carry, split, outcome = self._solved(fixed, carry, h, start, weights)
            z, filtered, extra = outcome.z, None, 0
            if self.has_error:
                filtered, extra = self._error(fixed, carry, split, z, h, start, weights)
        slope, z, more = self._recorded(recorded, fixed, z, h)
        parts = z.unflatten(1, (tableau.stages, -1))
        v1 = v + (parts[:, -1] if tableau.ends_at_node else mixed(tableau.end[None], parts)[:, 0])
        if not self.has_error:
            slope = carry.slope
        elif slope is None:
            slope, more = field(at(1.0), v1), 1
        after = _Carry(
            carry.jacobian,
            torch.zeros_like(carry.current),
            outcome.rate > _FAST,
            slope.detach(),
            parts.detach(),
            torch.zeros_like(carry.past) + _past(t1 - t0),
            outcome.eta,
        )
        error = None if filtered is None else field.packing.unpack(filtered)
        evaluations = outcome.evaluations * tableau.stages + extra + more
        return Step(field.packing.unpack(v1), error, parts, after, outcome.status, evaluations)

    def _recorded(self, recorded: _Stages, fixed: _Stages, z: Tensor, h: Any) -> tuple[Tensor | None, Tensor, int]:
        """The last slope (None if nothing is recorded), z with its gradient, and the evaluations that took."""
        if not is_recording():
            return None, z, 0
        states = recorded.states(z)
        last = recorded.field(recorded.times[-1], states[-1])
        timed = isinstance(recorded.h, Tensor) and is_differentiated(recorded.h)
        if not (timed or is_differentiated(last)):
            return last, z, 1
        slopes = [*map(recorded.field, recorded.times[:-1], states[:-1]), last]

        def system() -> AbstractSystem:
            return exact_system(self.tableau, self.newton.structure, fixed.field, fixed.times, fixed.states(z), h)

        return last, implicitly(z, recorded.combined(slopes), system), self.tableau.stages

    def prepare_dense(self, term: ODE, t0: Time, t1: Time, y0: Flat, step: Step) -> tuple[Flat, Tensor]:
        """y0 and the stages; see `AbstractMethod.prepare_dense`."""
        return y0, step.dense

    def interpolate(self, dense: tuple[Flat, Tensor], t0: Time, t1: Time, theta: Tensor) -> Flat:
        """The state at t0 + theta (t1 - t0); see `AbstractMethod.interpolate`."""
        y0, z = dense
        packing = Packing.of(y0)
        weights = _powers(theta, z.shape[1]).to(z.dtype) @ table_of(self.tableau.dense.T, z.dtype, z.device)
        values = packing.pack(y0).unsqueeze(1) + weights @ z  # (batch, m, size)
        leaves = packing.unpack(values.flatten(0, 1))
        return map_leaves(lambda leaf: leaf.unflatten(0, values.shape[:2]), leaves)

    def _solved(
        self, stages: _Stages, carry: _Carry, h: Any, start: Tensor, weights: Tensor | None
    ) -> tuple[_Carry, SplitSystem, Outcome]:
        """Newton, with a new Jacobian where one is wanted; once more, from 0, where an old one did not do.

        On a fixed grid, where no smaller step can be tried, also where only the guess was a bad one.
        """
        guess = self._guess(carry, h).flatten(1)
        carry = self._renewed(stages, carry, carry.slow & ~carry.current, start)
        split, outcome = self._iterated(stages, carry, h, guess, weights)
        again = ~carry.current if weights is not None else ~carry.current | (carry.past != 0)
        again = again & (outcome.status != 0)
        if bool(again.any()):
            carry = self._renewed(stages, carry, again & ~carry.current, start)
            split, second = self._iterated(stages, carry, h, torch.zeros_like(guess), weights)
            outcome = merged(again, second, outcome)
        return carry, split, outcome

    def _iterated(
        self, stages: _Stages, carry: _Carry, h: Any, guess: Tensor, weights: Tensor | None
    ) -> tuple[SplitSystem, Outcome]:
        count = self.tableau.stages
        split = SplitSystem(self.tableau, self.newton.structure, stages.field, carry.jacobian, h)
        outcome = self.newton.run(
            stages.residual,
            split.solve,
            guess,
            around=stages.v.repeat(1, count),
            weights=None if weights is None else weights.repeat(1, count),
            eta=carry.eta,
        )
        return split, outcome

    def _renewed(self, stages: _Stages, carry: _Carry, rows: Tensor, start: Tensor) -> _Carry:
        """The carry with the Jacobian at (t0, y0) in some rows."""
        if not bool(rows.any()):
            return carry
        fresh = self.newton.structure.jacobian(stages.field, start, stages.v)
        jacobian = chosen(rows, fresh, carry.jacobian)
        return carry._replace(jacobian=jacobian, current=carry.current | rows)

    def _guess(self, carry: _Carry, h: Any) -> Tensor:
        """z from the polynomial of the step before: u(1 + c_j h / past) - u(1); 0 where there was none."""
        tableau, z = self.tableau, carry.z
        first = carry.past == 0
        c = table_of(np.array(tableau.c), torch.float64, z.device)
        theta = 1 + (h / torch.where(first, 1.0, carry.past))[:, None] * c  # (batch, stage)
        weights = (_powers(theta, tableau.stages) - 1) @ table_of(tableau.dense.T, torch.float64, z.device)
        return torch.where(beside(first, z), 0.0, weights.to(z.dtype) @ z)

    def _error(
        self,
        stages: _Stages,
        carry: _Carry,
        split: SplitSystem,
        z: Tensor,
        h: Any,
        start: Tensor,
        weights: Tensor | None,
    ) -> tuple[Tensor, int | Tensor]:
        """The error estimate, (batch, size), and the evaluations it took."""
        tableau, field = self.tableau, stages.field
        shift = tableau.filter_shift
        assert shift is not None and tableau.error is not None
        system = split.real_system(shift)
        if system is None:
            system = self.newton.structure.system(field, carry.jacobian, h * shift)
        inside = mixed(tableau.error[None], z.unflatten(1, (tableau.stages, -1)))[:, 0]
        scale = beside_rows(h, 2) * shift
        error = system.solve(inside + scale * carry.slope)
        if weights is None:
            return error, 0
        large = torch.linalg.vector_norm(error * weights, dim=1) > error.shape[1] ** 0.5
        if not bool(large.any()):
            return error, 0
        second = system.solve(inside + scale * field(start, stages.v + error))
        return torch.where(large[:, None], second, error), large.long()


def _field_of(name: str, term: AbstractTerm, y: Flat) -> tuple[PackedField, Tensor]:
    """The field on rows, and the state as rows."""
    packing = Packing.of(y)
    return PackedField(ode_of(name, term).f, packing), packing.pack(y)


def _size(dt: Time, v: Tensor) -> float | Tensor:
    """The step size: a number, 0-D or (batch,), in the dtype of the rows."""
    if not isinstance(dt, Tensor):
        return dt
    return (dt.reshape(-1) if dt.ndim else dt).to(v.dtype)


def _past(dt: Time) -> float | Tensor:
    return dt.detach().reshape(-1) if isinstance(dt, Tensor) else dt


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _powers(theta: Tensor, count: int) -> Tensor:
    """theta, theta², ... along a new last axis."""
    return torch.cumprod(theta.unsqueeze(-1).expand(*theta.shape, count), dim=-1)
