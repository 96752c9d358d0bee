"""The engine of diagonally implicit Runge-Kutta methods for dy/dt = f(t, y), and with an explicit partner for
dy/dt = f_E(t, y) + f_I(t, y). Stage i solves for its increment z_i,

    z_i = h gamma f_I(t0 + c_i h, y0 + s_i + z_i),    s_i = sum_(j < i) (a_ij / gamma) z_j + h a_ij^E f_E(Y_j)

so that h f_I(Y_i) = z_i / gamma is known to as many digits as the state, also where f_I itself loses them all to a
stiff component. One matrix I - h gamma J serves all stages; J is kept from step to step while iterations converge fast.
Where the last stage is the result (stiffly accurate), its slope is the first of the next step.
"""

import functools
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sciml.core.transforms import is_differentiated, is_recording, unrecorded
from sciml.integrate.flat import Flat, add_scaled, map_leaves, real_dtype
from sciml.integrate.implicit import Newton, Outcome, PackedField, Packing, for_gradients, implicitly, merged
from sciml.integrate.implicit.packing import shift_of, size_of
from sciml.integrate.implicit.structure import AbstractSystem, Jacobian, chosen
from sciml.integrate.methods.arguments import check_newton, ode_of
from sciml.integrate.methods.base import PI, AbstractMethod, Step, Time
from sciml.integrate.methods.dense import beside_times, size_beside
from sciml.integrate.methods.dirk_tableau import DIRKTableau
from sciml.integrate.methods.explicit_rk import StageTimes, inner_nodes
from sciml.integrate.terms import AbstractTerm, Split

_FULL = 10
"""Full iterations where simplified ones diverge and no smaller step can be taken."""
_SLOW = 0.05
"""A Jacobian is made anew for rows whose corrections shrank by less than this."""


class Carry(NamedTuple):
    """What a step hands to the next, one row per sample.

    Args:
        slope: f_I(t0, y0), or () where no stage needs it.
        partner: f_E(t0, y0), likewise.
        jacobian: J of f_I, as the structure keeps it, made at this state or an earlier one.
        old: whether J is to be made anew.
        eta: see `Newton.run`.
    """

    slope: Any
    partner: Any
    jacobian: Jacobian
    old: Tensor
    eta: Tensor


class AbstractDIRK(AbstractMethod):
    """A diagonally implicit Runge-Kutta method. A final subclass gives its tableau, order and number of stages."""

    tableau: ClassVar[DIRKTableau]
    newton: Newton
    iterates = True
    gains = PI
    compiles = False
    counts = True
    _predictors: ClassVar[tuple[tuple[float, tuple[tuple[int, float], ...]], ...]]

    def __init_subclass__(cls) -> None:
        tableau = getattr(cls, "tableau", None)
        if tableau is None:
            return
        cls.has_error, cls.error_order = tableau.error is not None, tableau.error_order
        cls.reuses_last = tableau.first_explicit
        cls.has_dense, cls.dense_order = True, min(3, tableau.order) if tableau.first_explicit else 1
        cls._predictors = tuple(_predictor(tableau, i) for i in range(tableau.stages))

    def __post_init__(self) -> None:
        check_newton(self, self.newton)

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Carry:
        """Slopes where stages need them, and the first Jacobian; see `AbstractMethod.init`."""
        implicit, explicit = self._parts(term)
        t = StageTimes(t0, t0, y0)(0.0)
        slope = implicit(t, y0) if self.reuses_last else ()
        partner = explicit(t, y0) if explicit is not None else ()
        packing = Packing.of(y0)
        v = packing.pack(y0)
        jacobian = self.newton.structure.jacobian(PackedField(implicit, packing), t, v)
        old = torch.zeros(len(v), dtype=torch.bool, device=v.device)
        return Carry(slope, partner, jacobian, old, torch.ones_like(v[:, 0], requires_grad=False))

    def slope(self, carry: Carry) -> Flat:
        """See `AbstractMethod.slope`."""
        if isinstance(carry.partner, tuple) and not carry.partner:
            return carry.slope
        return map_leaves(torch.add, carry.slope, carry.partner)

    def step(self, term: Any, t0: Time, t1: Time, y: Flat, carry: Carry) -> Step:
        """One step; see `AbstractMethod.step`."""
        return _Attempt(self, term, t0, t1, y, carry).run()

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """States and, where they are known, slopes at both ends; see `AbstractMethod.prepare_dense`."""
        if not self.reuses_last or self.dense_order < 2:
            return y0, step.y
        return y0, step.y, step.dense, self.slope(step.carry)

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """The cubic through states and slopes, or the line through states; see `AbstractMethod.interpolate`."""
        return map_leaves(lambda *nodes: _between(nodes, t1 - t0, theta), *dense)

    def tuned(self, tolerances: tuple[tuple[Any, Any], ...] | None) -> "AbstractDIRK":
        """See `AbstractMethod.tuned`."""
        return replace(self, newton=self.newton.tuned(tolerances))  # type: ignore[type-var]

    def _parts(self, term: AbstractTerm) -> tuple[Any, Any]:
        """The field that is stepped implicitly, and the one that is not, or None."""
        if isinstance(term, Split) and self.tableau.explicit is not None:
            return term.implicit, term.explicit
        if isinstance(term, Split):
            raise TypeError(
                f"{type(self).__name__} steps a whole field implicitly, got a Split term. Take a method with an "
                "explicit partner, e.g. KenCarp4(), or write the sum of both parts as ODE(f)."
            )
        return ode_of(type(self).__name__, term).f, None


class _Attempt:
    """One step on its way: increments of the stages so far, and what solves for the next."""

    def __init__(self, method: AbstractDIRK, term: Any, t0: Time, t1: Time, y: Flat, carry: Carry) -> None:
        self.method, self.tableau, self.newton = method, method.tableau, method.newton
        self.y, self.carry, self.packing = y, carry, Packing.of(y)
        implicit, self.explicit = method._parts(term)
        self.field = PackedField(implicit, self.packing)
        self.partner = None if self.explicit is None else PackedField(self.explicit, self.packing)
        self.v = self.packing.pack(y)
        self.times = StageTimes(t0, t1, y, inner_nodes(self.tableau.c))
        self.h = size_of(t1 - t0, self.v)
        self.recording = is_recording()
        self.weights = self.newton.weights(self.packing, y)
        rows = len(self.v)
        self.status = torch.zeros(rows, dtype=torch.int64, device=self.v.device)
        self.evaluations, self.rate = torch.zeros_like(self.status), self.v.new_zeros(rows)
        self.eta, self.made = carry.eta, torch.zeros_like(carry.old)
        self.jacobian = carry.jacobian
        if bool(carry.old.any()):
            self._renew(carry.old)
        self._system: AbstractSystem | None = None

    def run(self) -> Step:
        """All stages."""
        tableau = self.tableau
        slopes: list[Tensor] = []  # h f_I(Y_j)
        partners: list[Tensor] = []  # h f_E(Y_j)
        moved: list[Tensor] = []  # Y_j - y0
        for i, row in enumerate(tableau.a):
            if i == 0 and tableau.first_explicit:
                slopes.append(self.h * self.packing.pack(self.carry.slope))
                moved.append(torch.zeros_like(slopes[0], requires_grad=False))
            else:
                s = _sum(row[:-1], slopes)
                if self.partner is not None:
                    s = _plus(s, _sum(tableau.explicit[i - 1], partners))  # type: ignore[index]
                s = torch.zeros_like(self.v) if s is None else s
                z = self._solved(i, s, self._guess(i, slopes, moved) - s.detach())
                slopes.append(z / tableau.gamma)
                moved.append(s + z)
            if self.partner is not None:
                partners.append(self.h * self._partner_slope(i, moved[i]))
        return self._finished(slopes, partners, moved)

    def _finished(self, slopes: list[Tensor], partners: list[Tensor], moved: list[Tensor]) -> Step:
        """The result, its error and the next carry."""
        tableau, packing = self.tableau, self.packing
        split = self.partner is not None
        total = [a + b for a, b in zip(slopes, partners, strict=True)] if split else slopes
        # As the sum of weighted slopes it would be the same but for rounding.
        change = moved[-1] if tableau.stiffly_accurate and not split else _sum(tableau.b, total)
        assert change is not None
        v1 = self.v + change
        y1 = packing.unpack(v1)
        error = None if tableau.error is None else packing.unpack(self._error(total))
        slope = partner = ()
        if split:
            t1 = self.times(1.0)
            slope, partner = packing.unpack(self.field(t1, v1)), packing.unpack(self.partner(t1, v1))  # type: ignore[misc]
            self.evaluations = self.evaluations + 2
        elif self.method.reuses_last:
            size = self.h if not isinstance(self.h, Tensor) else torch.where(self.h == 0, 1.0, self.h)
            slope = packing.unpack(slopes[-1] / size)
        # A step that failed is tried again with a Jacobian of this state.
        old = (self.rate > _SLOW) | (self.status > 0)
        carry = Carry(slope, partner, self.jacobian, old, self.eta)
        before = self.method.slope(self.carry) if self.method.reuses_last else ()
        return Step(y1, error, before, carry, self.status, self.evaluations)

    @unrecorded()
    def _error(self, total: list[Tensor]) -> Tensor:
        """The estimate of the local error, filtered where the tableau says so."""
        error = _sum(self.tableau.error, total)  # type: ignore[arg-type]
        assert error is not None
        return self.system.solve(error) if self.tableau.filtered else error

    @property
    def system(self) -> AbstractSystem:
        """I - h gamma J with the Jacobian in use."""
        if self._system is None:
            shift = shift_of(self.h * self.tableau.gamma)
            with unrecorded():
                self._system = self.newton.structure.system(self.field, self.jacobian, shift)
        return self._system

    def _solved(self, i: int, s: Tensor, guess: Tensor) -> Tensor:
        """The increment of stage i, with its gradient."""
        t, step = self.times(self.tableau.c[i]), self.h * self.tableau.gamma
        around = (self.v + s).detach()
        with unrecorded():
            z = self._iterated(t, step, around, guess)
        if not self.recording:
            return z
        r = step * self.field(t, self.v + s + z)
        self.recording = is_differentiated(r)
        if not self.recording:
            return z
        return implicitly(z, r, lambda: self._system_at(t, around + z, step))

    @unrecorded()
    def _system_at(self, t: Tensor, v: Tensor, step: Any) -> AbstractSystem:
        """I - h gamma J with the Jacobian of a stage."""
        structure, t = for_gradients(self.newton.structure), t.detach()
        return structure.system(self.field, structure.jacobian(self.field, t, v), shift_of(step))

    def _iterated(self, t: Tensor, step: Any, around: Tensor, guess: Tensor) -> Tensor:
        """The increment, by Newton's iteration; once more with a new Jacobian where an old one was no good."""

        def residual(z: Tensor) -> Tensor:
            return step * self.field(t, around + z) - z

        def run(solve: Any, start: Tensor) -> Outcome:
            return self.newton.run(residual, solve, start, around=around, weights=self.weights, eta=self.eta)

        found = run(self.system.solve, guess)
        again = (found.status > 0) & ~self.made
        if bool(again.any()):
            self._renew(again)
            found = merged(again, run(self.system.solve, guess), found)
        if self.weights is None and bool((found.status > 0).any()):
            # On a grid no smaller step can be tried: Newton's full iteration, with a Jacobian of every iterate.
            failed, z = found.status > 0, guess
            for _ in range(_FULL):
                z = torch.where(failed[:, None], z + self._system_at(t, around + z, step).solve(residual(z)), z)
            found = merged(failed, run(self._system_at(t, around + z, step).solve, z), found)
            found = found._replace(evaluations=found.evaluations + _FULL * failed)
        self.evaluations = self.evaluations + found.evaluations
        self.status = torch.maximum(self.status, found.status)
        self.rate, self.eta = torch.maximum(self.rate, found.rate), found.eta
        return found.z

    def _renew(self, rows: Tensor) -> None:
        """Make the Jacobian of some rows at the start of the step."""
        new = self.newton.structure.jacobian(self.field, self.times(0.0), self.v)
        self.jacobian = chosen(rows, new, self.jacobian)
        self.made, self._system = self.made | rows, None

    @unrecorded()
    def _guess(self, i: int, slopes: list[Tensor], moved: list[Tensor]) -> Tensor:
        """Where stage i probably is, less y0."""
        slope, values = self.method._predictors[i]
        total = slope * slopes[0].detach() if slope else torch.zeros_like(self.v)
        for j, weight in values:
            total = total + weight * moved[j].detach()
        return total

    def _partner_slope(self, i: int, moved: Tensor) -> Tensor:
        if i == 0:
            return self.packing.pack(self.carry.partner)
        self.evaluations = self.evaluations + 1
        return self.partner(self.times(self.tableau.c[i]), self.v + moved)  # type: ignore[misc]


def _sum(weights: tuple[float, ...], values: list[Tensor]) -> Tensor | None:
    """sum_j w_j x_j; None if there is nothing to sum."""
    total = None
    for weight, value in zip(weights, values, strict=True):
        if weight:
            total = weight * value if total is None else add_scaled(total, value, weight)
    return total


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if b is None else b if a is None else a + b


@functools.cache
def _predictor(tableau: DIRKTableau, i: int) -> tuple[float, tuple[tuple[int, float], ...]]:
    """Weights of h f(Y_0) and of the increments Y_j - y0 so far in the first guess of that of stage i.

    A stage at the time of an earlier one is guessed to be there; others lie on the polynomial through (t0, y0), with
    its slope in the first place, and the nearest one or two stages.
    """
    c = tableau.c
    if i == 0:
        return 0.0, ()
    for j in reversed(range(i)):
        if c[j] == c[i]:
            return 0.0, ((j, 1.0),)
    nodes: list[int] = []
    for j in sorted(range(1 if tableau.first_explicit else 0, i), key=lambda j: abs(c[j] - c[i])):
        if all(c[j] != c[k] for k in nodes) and len(nodes) < 2:
            nodes.append(j)
    if not nodes:
        return c[i], ()
    powers = range(1, len(nodes) + 1)
    table = np.array([[c[j] ** k for k in powers] for j in nodes])
    weights = np.linalg.solve(table.T, np.array([c[i] ** k for k in powers]))
    return 0.0, tuple((j, float(w)) for j, w in zip(nodes, weights, strict=True))


def _between(nodes: tuple[Tensor, ...], dt: Time, theta: Tensor) -> Tensor:
    """The cubic (y0, y1, slope0, slope1) or the line (y0, y1) at theta, (batch, m, *state)."""
    y0, y1, *slopes = (node.unsqueeze(1) for node in nodes)
    s = beside_times(theta, y0).to(real_dtype(y0))
    if not slopes:
        return y0 + s * (y1 - y0)
    rise = s * s * (3 - 2 * s)
    bend = s * (1 - s) * ((1 - s) * slopes[0] - s * slopes[1])
    return y0 + rise * (y1 - y0) + size_beside(dt, y0) * bend
