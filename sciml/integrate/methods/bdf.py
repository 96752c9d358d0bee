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
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.core.transforms import is_differentiated, unrecorded
from sciml.integrate.flat import Flat, beside, field_time, first_leaf, per_row
from sciml.integrate.implicit import AbstractStructure, Newton, PackedField, Packing
from sciml.integrate.implicit.packing import size_of
from sciml.integrate.methods.arguments import check_newton, ode_of
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.bdf_formulas import (
    KAPPAS,
    polynomials,
    safe,
)
from sciml.integrate.methods.bdf_step import Attempt, Carry, DenseParts, Start
from sciml.integrate.methods.rodas5p import Rodas5P
from sciml.integrate.methods.rosenbrock import states_at
from sciml.integrate.terms import ODE, AbstractTerm

_CLOSE = 2.0**-60
"""How far before t0 the state is that stands for f(t0, y0), [time]: below the resolution of any time but 0."""


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

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Carry:
        """A present state without a past, and the first Jacobian; see `AbstractMethod.init`."""
        packing, most = Packing.of(y0), self.order
        packed, v = PackedField(ode_of(type(self).__name__, term).f, packing), packing.pack(y0)
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
        return Carry(deltas, past, whole + known, order, whole, jacobian, old, v.new_ones(rows))

    def step(self, term: ODE, t0: Time, t1: Time, y: Flat, carry: Carry) -> Step:
        """One step; see `AbstractMethod.step`."""
        return Attempt(self, term, self._start(term, t0, t1, y, carry), t1).run()

    def _start(self, term: ODE, t0: Time, t1: Time, y: Flat, carry: Carry) -> Start:
        """The start. Where adaptive steps begin, at a time with a gradient, the state takes that over:

            y(t; t0, y0) = y(t; s, y0 - (t0 - s) f(t0, y0)) to first order, s being t0 without its gradient

        Steps have errors that depend on where they begin. Of order 1, they are in proportion to the tolerance, but
        their derivatives to its square root. Steps from a state that moves at a fixed time have the usual errors.
        """
        v = self._packed(term, y)[1]
        lag = torch.zeros(len(v), 1, dtype=torch.float64, device=v.device)
        if self.tolerances is None or not isinstance(t0, Tensor) or not is_differentiated(t0):
            return Start(t0, y, carry, lag)
        begun = carry.past[:, 0].detach() == _CLOSE
        if not bool(begun.any()):
            return Start(t0, y, carry, lag)
        packed, mask, at = *self._packed(term, y)[:1], begun[:, None], t0.detach()
        t = field_time(at, first_leaf(y))
        with unrecorded():
            slope = torch.where(mask, packed(t, v), 0.0).nan_to_num(0.0, 0.0, 0.0)
        v = v - size_of(t0 - at, v) * slope
        first = torch.where(mask, _CLOSE * packed(t, v), carry.deltas[:, 0])
        carry = carry._replace(deltas=torch.cat([first.unsqueeze(1), carry.deltas[:, 1:]], dim=1))
        lag = torch.where(mask, per_row((t0 - at) / safe(torch.as_tensor(t1 - at).detach()), v)[:, None], lag)
        t0 = torch.where(beside(begun, t0), at, t0) if t0.ndim else at
        return Start(t0, Packing.of(y).unpack(v), carry, lag)

    @staticmethod
    def _packed(term: ODE, y: Flat) -> tuple[PackedField, Tensor]:
        packing = Packing.of(y)
        return PackedField(term.f, packing), packing.pack(y)

    def prepare_dense(self, term: ODE, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """y0, the coefficients of theta, theta², ..., (batch, power, size), and `lag`; see `AbstractMethod`."""
        last: DenseParts = step.dense
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
