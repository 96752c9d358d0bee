"""Backward differentiation formulas: the slope of the polynomial through the last states is the field's at the new one.

    h f(t1, y1) = A_k (1 - kappa_k) (y1 - p) + sum_(j<=k) A_j delta*_j        (notation: `bdf_formulas.py`)

for formulas of order k = 1, ..., 5; kappa = 0 for BDF. Coefficients are those of the steps as they are (no step size is
interpolated), so that the order holds on any grid. The carry is the past, one row per sample: every sample has steps
and an order of its own.

With error control the order varies. Steps begin at order 1, with f(t0, y0) as past: a state infinitely close to y0.
After k + 1 steps that did not grow, the order of k - 1, k, k + 1 that allows the largest next step is taken; the error
is given to the controller multiplied such that its rule leads to just that step, and to no larger one in between. On a
fixed grid, and at a fixed order, there is no such beginning: the first steps are those of Rodas5P.

Source: Shampine & Reichelt (1997), SIAM J. Sci. Comput. 18, 1-22, section 2; Hairer, Norsett & Wanner (1993), Solving
Ordinary Differential Equations I, III.7, on the choice of order.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.integrate.flat import Flat, beside, field_time, first_leaf, map_leaves
from sciml.integrate.implicit import AbstractStructure, Newton, PackedField, Packing, for_gradients, implicitly
from sciml.integrate.implicit.packing import size_of
from sciml.integrate.implicit.structure import AbstractSystem, Jacobian
from sciml.integrate.methods.arguments import check_newton
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.bdf_formulas import (
    KAPPAS,
    at,
    coefficients,
    polynomials,
    safe,
    sums_of_known,
    up_to,
)
from sciml.integrate.methods.rodas5p import Rodas5P
from sciml.integrate.methods.rosenbrock import states_at
from sciml.integrate.terms import ODE, AbstractTerm
from sciml.integrate.transforms import is_differentiated, is_recording, unrecorded

_CLOSE = 2.0**-60
"""How far before t0 the state is that stands for f(t0, y0), [time]: below the resolution of any time but 0."""
_SAME = 1e-3
"""A step that is longer by less than this has not grown."""
_SAFETY = 0.9
"""What the controller multiplies steps by if not told otherwise: with it in mind an unchanged step is asked for."""
_TINY = 1e-30
"""Errors below this, in units of the tolerance, are 0."""
_SLOW = 0.2
"""A Jacobian is made anew for rows whose corrections shrank by less than this."""


class _Carry(NamedTuple):
    """The past of each sample.

    Args:
        deltas: delta_1, ..., delta_K of the present state, (batch, K, size); 0 where they are not known.
        past: sizes of the last K steps, the newest first, (batch, K), float64; 0 where there was none.
        count: how many of `deltas` are known, (batch,).
        order: of the next step, (batch,).
        age: steps of one order that did not grow, so far, (batch,).
        jacobian: J as the structure keeps it, of some state of the past.
        old: whether J is to be made anew, (batch,).
        eta: see `Newton.run`.
    """

    deltas: Tensor
    past: Tensor
    count: Tensor
    order: Tensor
    age: Tensor
    jacobian: Jacobian
    old: Tensor
    eta: Tensor


class _Start(NamedTuple):
    """Where a step begins: what `AbstractBDF.step` is given, and the part of the step that t0 has moved, (batch, 1)."""

    t0: Time
    y: Flat
    carry: _Carry
    lag: Tensor


class _Dense(NamedTuple):
    """What a step leaves for its dense output: differences at its end, alpha, their degree, stages of Rodas5P."""

    start: _Start
    deltas: Tensor
    alpha: Tensor
    degree: Tensor
    stages: tuple[Tensor, ...]
    starting: Tensor


class AbstractBDF(AbstractMethod):
    """A family of backward differentiation formulas. A final subclass has the fields below and gives `kappas`."""

    order: int  # type: ignore[assignment]
    variable_order: bool
    newton: Newton
    tolerances: tuple[tuple[Any, Any], ...] | None
    kappas: ClassVar[tuple[float, ...]]
    stages: ClassVar[int] = 1
    has_error: ClassVar[bool] = True
    has_dense: ClassVar[bool] = True
    iterates: ClassVar[bool] = True
    compiles: ClassVar[bool] = False
    counts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        name, order = type(self).__name__, self.order
        if isinstance(order, Newton | AbstractStructure):
            newton = "Newton(...)" if isinstance(order, Newton) else f"Newton(structure={order})"
            raise TypeError(
                f"the first argument of {name} is `order`, got a {type(order).__name__}. Write {name}(newton={newton})."
            )
        check_newton(self, self.newton, "newton=")
        check_whole("order", order, 1)
        if order > 5:
            raise ValueError(
                f"`order` of {name} must be at most 5, got {order}. Order 6 is hardly stable; take RadauIIA5."
            )

    @property
    def error_order(self) -> int:  # type: ignore[override]
        """That of the highest order; errors of lower ones are given raised to the power that makes it true."""
        return self.order + 1

    @property
    def dense_order(self) -> int:  # type: ignore[override]
        """The dense output is the polynomial through the last states."""
        return self.order

    @property
    def _varies(self) -> bool:
        return self.variable_order and self.tolerances is not None

    def tuned(self, tolerances: tuple[tuple[Any, Any], ...] | None) -> "AbstractBDF":
        """See `AbstractMethod.tuned`."""
        return replace(self, newton=self.newton.tuned(tolerances), tolerances=tolerances)  # type: ignore[type-var]

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> _Carry:
        """A present state without a past, and the first Jacobian; see `AbstractMethod.init`."""
        if not isinstance(term, ODE):
            raise TypeError(
                f"{type(self).__name__} steps ODE(f) terms, got {type(term).__name__}. Write the whole right-hand side "
                "as one function, or choose a method made for this term."
            )
        packing, most = Packing.of(y0), self.order
        packed, v = PackedField(term.f, packing), packing.pack(y0)
        t = field_time(t0, first_leaf(y0))
        rows, whole = len(v), torch.zeros(len(v), dtype=torch.int64, device=v.device)
        past = torch.zeros(rows, most, dtype=torch.float64, device=v.device)
        deltas = v.new_zeros(rows, most, v.shape[1])
        known = int(self.tolerances is not None)  # on a grid f(t0, y0), which may belong to a transient, is not used
        if known:
            past[:, 0] = _CLOSE
            first = (_CLOSE * packed(t, v)).unsqueeze(1)
            deltas = torch.cat([first, deltas[:, 1:]], dim=1)
        jacobian = self.newton.structure.jacobian(packed, t, v)
        order = whole + (1 if self._varies else most)
        old = torch.zeros(rows, dtype=torch.bool, device=v.device)
        return _Carry(deltas, past, whole + known, order, whole, jacobian, old, v.new_ones(rows))

    def step(self, term: ODE, t0: Time, t1: Time, y: Flat, carry: _Carry) -> Step:
        """One step; see `AbstractMethod.step`."""
        return _Attempt(self, term, self._start(term, t0, t1, y, carry), t1).run()

    def _start(self, term: ODE, t0: Time, t1: Time, y: Flat, carry: _Carry) -> _Start:
        """The start. Where adaptive steps begin, at a time with a gradient, the state takes that over:

            y(t; t0, y0) = y(t; s, y0 - (t0 - s) f(t0, y0)) to first order, s being t0 without its gradient

        Steps have errors that depend on where they begin. Of order 1, they are in proportion to the tolerance, but
        their derivatives to its square root. Steps from a state that moves at a fixed time have the usual errors.
        """
        v = self._packed(term, y)[1]
        lag = torch.zeros(len(v), 1, dtype=torch.float64, device=v.device)
        if self.tolerances is None or not isinstance(t0, Tensor) or not is_differentiated(t0):
            return _Start(t0, y, carry, lag)
        begun = carry.past[:, 0].detach() == _CLOSE
        if not bool(begun.any()):
            return _Start(t0, y, carry, lag)
        packed, mask, at = *self._packed(term, y)[:1], begun[:, None], t0.detach()
        t = field_time(at, first_leaf(y))
        with unrecorded():
            slope = torch.where(mask, packed(t, v), 0.0).nan_to_num(0.0, 0.0, 0.0)
        v = v - size_of(t0 - at, v) * slope
        first = torch.where(mask, _CLOSE * packed(t, v), carry.deltas[:, 0])
        carry = carry._replace(deltas=torch.cat([first.unsqueeze(1), carry.deltas[:, 1:]], dim=1))
        lag = torch.where(mask, _per_row((t0 - at) / safe(torch.as_tensor(t1 - at).detach()), v)[:, None], lag)
        t0 = torch.where(beside(begun, t0), at, t0) if t0.ndim else at
        return _Start(t0, Packing.of(y).unpack(v), carry, lag)

    @staticmethod
    def _packed(term: ODE, y: Flat) -> tuple[PackedField, Tensor]:
        packing = Packing.of(y)
        return PackedField(term.f, packing), packing.pack(y)

    def prepare_dense(self, term: ODE, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """y0, the coefficients of theta, theta², ..., (batch, power, size), and `lag`; see `AbstractMethod`."""
        last: _Dense = step.dense
        powers = self.order if self._varies else max(self.order, 4)  # the same in all steps, by Rodas5P or not
        table = polynomials(last.alpha, last.degree, powers).to(last.deltas.dtype)
        rows = table.mT @ last.deltas
        if last.stages:
            weights = torch.tensor(Rodas5P.tableau.dense, dtype=rows.dtype, device=rows.device).T
            first = torch.nn.functional.pad(weights @ torch.stack(last.stages, dim=1), (0, 0, 0, powers - 4))
            rows = torch.where(last.starting[:, None, None], first, rows)
        return last.start.y, rows, last.start.lag

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """The state at t0 + theta (t1 - t0); see `AbstractMethod.interpolate`."""
        y0, rows, lag = dense
        if is_differentiated(lag):
            theta = theta + (1 - theta) * lag
        powers = torch.cumprod(theta.unsqueeze(-1).expand(*theta.shape, rows.shape[1]), dim=-1)
        return states_at(y0, powers, rows)


@final
@dataclass(frozen=True)
class BDF(AbstractBDF):
    """Backward differentiation formulas of order 1 to 5. One Newton iteration of one unknown state per step.

    The least work per step of all stiff methods, for large smooth problems and fields that are dear to evaluate.
    A-stable to order 2, A(alpha)-stable beyond: alpha = 86, 73, 52 degrees at order 3, 4, 5. Where the solution
    oscillates fast and undamped take `order=2`, or RadauIIA5, Rodas5P.

    Args:
        order: the highest order, 1 to 5.
        variable_order: with error control, choose the order, from 1 on. Otherwise it is `order` all along.
        newton: how equations are solved.
        tolerances: (rtol, atol) per tensor of the state, as the step control has them; set by `tuned`.

    Raises:
        TypeError: if `newton` is none.
        ValueError: if the order is not a whole number from 1 to 5.
    """

    order: int = 5  # type: ignore[assignment]
    variable_order: bool = True
    newton: Newton = field(default_factory=Newton)
    tolerances: tuple[tuple[Any, Any], ...] | None = None
    kappas: ClassVar[tuple[float, ...]] = (0.0,) * len(KAPPAS)


@final
@dataclass(frozen=True)
class NDF(AbstractBDF):
    """Numerical differentiation formulas: BDF with a further difference, as in ode15s and SciPy's BDF.

    Steps up to a quarter larger at orders 1 to 3 for the same error, somewhat narrower stability: A-stable to order 2,
    alpha = 80, 66, 51 degrees at order 3, 4, 5. At order 5 it is BDF.

    Args:
        order, variable_order, newton, tolerances: see `BDF`.

    Raises:
        TypeError: if `newton` is none.
        ValueError: if the order is not a whole number from 1 to 5.
    """

    order: int = 5  # type: ignore[assignment]
    variable_order: bool = True
    newton: Newton = field(default_factory=Newton)
    tolerances: tuple[tuple[Any, Any], ...] | None = None
    kappas: ClassVar[tuple[float, ...]] = KAPPAS


class _Attempt:
    """One step on its way."""

    def __init__(self, method: AbstractBDF, term: ODE, start: _Start, t1: Time) -> None:
        self.method, self.term, self.newton, self.start, self.t1 = method, term, method.newton, start, t1
        self.t0, self.y, self.carry, _ = start
        t0, y, carry = self.t0, self.y, self.carry
        self.packing = Packing.of(y)
        self.field, self.v = method._packed(term, y)
        self.end = field_time(t1, first_leaf(y))
        self.joint = not (isinstance(t1, Tensor) and t1.ndim)
        self.h = _per_row(t1 - t0, self.v)
        self.most, self.order = method.order, carry.order
        self.degree = torch.minimum(carry.order, carry.count)  # of the prediction
        self.numbers = coefficients(self.h, carry.past)
        self.kappas = torch.tensor(method.kappas, dtype=torch.float64, device=self.v.device)
        # What is known of the past, continued to t1.
        self.known = self.numbers.beta.to(self.v.dtype)[..., None] * carry.deltas
        self.used = self.known * up_to(self.degree, self.most)[..., None]
        self.predicted = self.v + self.used.sum(1)
        self.status = torch.zeros_like(carry.order)
        self.evaluations, self.rate = torch.zeros_like(carry.order), torch.zeros_like(carry.eta)
        self.jacobian, self.eta, self.made = carry.jacobian, carry.eta, torch.zeros_like(carry.old)

    def run(self) -> Step:
        """The step, by the formula or, at the start, by Rodas5P."""
        method, carry = self.method, self.carry
        least = self.order - int(method.tolerances is None)
        starting = (carry.count < least) if not method._varies else torch.zeros_like(carry.old)
        if method._varies or not bool(starting.any()):
            return self._finished(self._corrected(), None, starting)
        rodas = Rodas5P(structure=self.newton.structure)
        first = rodas.step(self.term, self.t0, self.t1, self.y, ())
        assert first.status is not None
        d = self.packing.pack(first.y) - self.predicted
        if bool(starting.all()):
            self.evaluations, self.status = self.evaluations + Rodas5P.stages, first.status
        else:
            d = torch.where(starting[:, None], d, self._corrected())
            self.status = torch.where(starting, first.status, self.status)
            self.evaluations = torch.where(starting, Rodas5P.stages, self.evaluations)
        return self._finished(d, first, starting)

    def _finished(self, d: Tensor, first: Step | None, starting: Tensor) -> Step:
        """The new past, and what it says about the next step."""
        table = sums_of_known(self.most, d.dtype, d.device)[self.degree]
        deltas = d.unsqueeze(1) + table @ self.known  # delta_1, ..., delta_(K+1)
        y1 = self.packing.unpack(self.predicted + d)
        count = (self.carry.count + 1).clamp(max=self.most)
        kept = deltas[:, : self.most] * up_to(count, self.most)[..., None]
        past = torch.cat([self.h[:, None], self.carry.past[:, :-1]], dim=1)
        with unrecorded():
            error, order, age = self._judged(d.detach(), deltas.detach(), y1, starting)
            if first is not None:
                error = torch.where(starting[:, None], self.packing.pack(first.error), error)  # type: ignore
            # A row that stands still, while others of its norm go on, has no error.
            error = torch.where(self.h[:, None] == 0, 0.0, error)
        # Without a tolerance iterations go on until rounding: then a new Jacobian is less work than many of them.
        old = torch.full_like(starting, self.newton.tolerances is None) | starting | (self.rate > _SLOW)
        old = old | (self.status > 0)
        carry = _Carry(kept, past, count, order, age, self.jacobian, old, self.eta)
        stages = first.dense if first is not None else ()
        degree = torch.minimum(self.order, count)
        dense = _Dense(self.start, kept, self.numbers.alpha, degree, stages, starting)
        return Step(y1, self.packing.unpack(error), dense, carry, self.status, self.evaluations)

    def _corrected(self) -> Tensor:
        """y1 - p of the formula, with its gradient."""
        sums, dtype = self.numbers.sums, self.v.dtype
        # The modified term needs a prediction of full degree.
        kappa = torch.where(self.degree < self.order, 0.0, self.kappas[self.order])
        leading = at(sums, self.order) * (1 - kappa)
        share = (sums[:, : self.most] / leading[:, None]).to(dtype)
        psi = (share[..., None] * self.used).sum(1)
        shift = (self.h / leading).to(dtype)
        around = self.predicted - psi
        with unrecorded():
            z = self._iterated(shift.detach(), around.detach(), psi.detach())
        if is_recording():
            r = shift[:, None] * self.field(self.end, around + z)
            if is_differentiated(r):
                z = implicitly(z, r, self._exact(shift.detach(), around.detach() + z))
        return z - psi

    def _exact(self, shift: Tensor, here: Tensor) -> Any:
        """I - s J at the solution, when it is asked for."""
        structure, packed, t = for_gradients(self.newton.structure), self.field, self.end.detach()
        return lambda: structure.system(packed, structure.jacobian(packed, t, here), shift)

    def _iterated(self, shift: Tensor, around: Tensor, guess: Tensor) -> Tensor:
        """z = s f(t1, around + z), by Newton's iteration; once more where an old Jacobian was no good."""
        weights = self.newton.weights(self.packing, self.packing.unpack(around + guess))

        def residual(z: Tensor) -> Tensor:
            return shift[:, None] * self.field(self.end, around + z) - z

        def run(guess: Tensor) -> Any:
            system: AbstractSystem = self.newton.structure.system(self.field, self.jacobian, shift)
            return self.newton.run(residual, system.solve, guess, around=around, weights=weights, eta=self.eta)

        if bool(self.carry.old.any()):
            self._renew(self.carry.old, around + guess)
        found = run(guess)
        evaluations = found.evaluations
        again = found.status > 0
        if weights is not None:
            again = again & ~self.made
        if bool(again.any()):
            if weights is None:  # no smaller step will be tried: begin where the step does, for p may be far off
                guess = self.v.detach() - around
            self._renew(again, around + guess)
            fresh = run(guess)
            evaluations = evaluations + fresh.evaluations * again
            parts = {
                name: torch.where(again, getattr(fresh, name), getattr(found, name))
                for name in ("status", "rate", "eta")
            }
            found = found._replace(z=torch.where(again[:, None], fresh.z, found.z), **parts)
        self.status, self.evaluations = found.status, evaluations
        self.rate, self.eta = found.rate, found.eta
        return found.z

    def _renew(self, rows: Tensor, here: Tensor) -> None:
        """Make the Jacobian of some rows where the step is expected to end."""
        new = self.newton.structure.jacobian(self.field, self.end, here)
        self.jacobian = tuple(
            torch.where(rows.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(new, self.jacobian, strict=True)
        )
        self.made = self.made | rows

    def _judged(self, d: Tensor, deltas: Tensor, y1: Flat, starting: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The error as the controller is to see it, the next order, and the steps without a change so far.

        The error of order k is c_k delta_(k+1)(n+1).
        """
        k, numbers = self.order, self.numbers
        constants = (numbers.alpha[:, 1:] + self.kappas[1 : self.most + 1] * numbers.sums[:, : self.most]).detach()
        error = at(constants, k)[:, None].to(d.dtype) * d
        same = self.h.abs() <= (1 + _SAME) * self.carry.past[:, 0].abs()
        age = torch.where(same, self.carry.age, 0) + 1
        if self.method.tolerances is None:
            return error, k, age
        norms = []
        for q in (k - 1, k, k + 1):
            row = deltas.gather(1, q.clamp(0, self.most)[:, None, None].expand(-1, 1, deltas.shape[2]))[:, 0]
            norms.append(self._norm(at(constants, q)[:, None] * row, y1))
        lower, here, higher = norms
        return self._proposed(error, age, lower, here, higher)

    def _proposed(
        self, error: Tensor, age: Tensor, lower: Tensor, here: Tensor, higher: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The multiple of the error by which the controller comes to the step that is wanted, next order, and age."""
        k, power = self.order, float(self.method.error_order)
        order = k
        factor = _room(here, k)
        settled = age > k
        if self.method._varies:
            down = torch.where(k > 1, _room(lower, k - 1), 0.0)
            up = torch.where((k < self.most) & (self.carry.count > k), _room(higher, k + 1), 0.0)
            change = torch.where((up > factor) & (up > down), 1, torch.where(down > factor, -1, 0))
            change = torch.where(settled, change, 0)
            order = k + change
            factor = torch.where(settled, torch.stack([factor, down, up]).amax(0), factor)
            age = torch.where(change != 0, 0, age)
        usual = torch.where(settled, factor, factor.clamp(max=1 / _SAFETY))
        ratio = torch.where(here <= 1, usual, _room(here, k)).pow(-power)
        scale = ratio / here.clamp(min=_TINY)
        return error * scale[:, None].to(error.dtype), order, age

    def _norm(self, error: Tensor, y1: Flat) -> Tensor:
        """Root mean square of errors in units of the tolerance, (batch,): of all rows where they share their steps."""
        sizes = map_leaves(lambda a, b: torch.maximum(a.detach().abs(), b.detach().abs()), self.y, y1)
        weights = Newton(tolerances=self.method.tolerances).weights(self.packing, sizes)
        assert weights is not None
        norm = torch.linalg.vector_norm(error * weights, dim=1).double() / max(error.shape[1], 1) ** 0.5
        return norm.square().mean().sqrt().expand(len(norm)) if self.joint else norm


def _room(norm: Tensor, order: Tensor) -> Tensor:
    """How many times larger the step could be at an order, by the norm of its error."""
    return norm.clamp(min=_TINY).pow(-1.0 / (order + 1).double())


def _per_row(dt: Time, v: Tensor) -> Tensor:
    """The step size of each sample, (batch,), float64."""
    if isinstance(dt, Tensor):
        return dt.to(torch.float64).reshape(-1).expand(len(v))
    return torch.full((len(v),), dt, dtype=torch.float64, device=v.device)
