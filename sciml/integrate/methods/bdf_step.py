"""One step by backward differentiation formulas: prediction, Newton's iteration, error, and the order of the next step.

Source: as in `bdf`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sciml.core.transforms import is_differentiated, is_recording, unrecorded
from sciml.integrate.flat import Flat, field_time, first_leaf, map_leaves, per_row
from sciml.integrate.implicit import Newton, Packing, for_gradients, implicitly, merged
from sciml.integrate.implicit.structure import AbstractSystem, Jacobian, chosen
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.bdf_formulas import (
    at,
    coefficients,
    sums_of_known,
    up_to,
)
from sciml.integrate.methods.rodas5p import Rodas5P
from sciml.integrate.terms import ODE

_SAME = 1e-3
"""A step that is longer by less than this has not grown."""
_SAFETY = 0.9
"""What the controller multiplies steps by if not told otherwise: with it in mind an unchanged step is asked for."""
_TINY = 1e-30
"""Errors below this, in units of the tolerance, are 0."""
_SLOW = 0.2
"""A Jacobian is made anew for rows whose corrections shrank by less than this."""


class Carry(NamedTuple):
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


class Start(NamedTuple):
    """Where a step begins: what `AbstractBDF.step` is given, and the part of the step that t0 has moved, (batch, 1)."""

    t0: Time
    y: Flat
    carry: Carry
    lag: Tensor


class DenseParts(NamedTuple):
    """What a step leaves for its dense output: differences at its end, alpha, their degree, stages of Rodas5P."""

    start: Start
    deltas: Tensor
    alpha: Tensor
    degree: Tensor
    stages: tuple[Tensor, ...]
    starting: Tensor


class Attempt:
    """One step on its way."""

    def __init__(self, method: Any, term: ODE, start: Start, t1: Time) -> None:
        self.method, self.term, self.newton, self.start, self.t1 = method, term, method.newton, start, t1
        self.t0, self.y, self.carry, _ = start
        t0, y, carry = self.t0, self.y, self.carry
        self.packing = Packing.of(y)
        self.field, self.v = method._packed(term, y)
        self.end = field_time(t1, first_leaf(y))
        self.joint = not (isinstance(t1, Tensor) and t1.ndim)
        self.h = per_row(t1 - t0, self.v)
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
        rodas = Rodas5P(structure=for_gradients(self.newton.structure))  # which needs the field's own Jacobian
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
        carry = Carry(kept, past, count, order, age, self.jacobian, old, self.eta)
        stages = first.dense if first is not None else ()
        degree = torch.minimum(self.order, count)
        dense = DenseParts(self.start, kept, self.numbers.alpha, degree, stages, starting)
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
        again = found.status > 0
        if weights is not None:
            again = again & ~self.made
        if bool(again.any()):
            if weights is None:  # no smaller step will be tried: begin where the step does, for p may be far off
                guess = self.v.detach() - around
            self._renew(again, around + guess)
            found = merged(again, run(guess), found)
        self.status, self.evaluations = found.status, found.evaluations
        self.rate, self.eta = found.rate, found.eta
        return found.z

    def _renew(self, rows: Tensor, here: Tensor) -> None:
        """Make the Jacobian of some rows where the step is expected to end."""
        new = self.newton.structure.jacobian(self.field, self.end, here)
        self.jacobian = chosen(rows, new, self.jacobian)
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
