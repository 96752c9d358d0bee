"""The engine of explicit Runge-Kutta methods for dy/dt = f(t, y):

    k_i = f(t0 + c_i h, y0 + h sum_(j<i) a_ij k_j)
    y1  = y0 + h sum_i b_i k_i,    error = h sum_i e_i k_i,    y(t0 + theta h) = y0 + h sum_i b_i(theta) k_i

Sums are taken before the product with h, so that y0 is rounded once. Where the last stage is f(t1, y1) (first same as
last), the next step starts with it.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, first_leaf, leaves_of, map_leaves
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.tableau import ButcherTableau
from sciml.integrate.terms import ODE, AbstractTerm

Row = tuple[tuple[int, float], ...]
"""The weights of a sum that are not 0, with the stages they belong to."""


class AbstractExplicitRK(AbstractMethod):
    """An explicit Runge-Kutta method. A final subclass gives its tableau, order and number of stages."""

    tableau: ClassVar[ButcherTableau]
    _rows: ClassVar[tuple[Row, ...]]
    _end: ClassVar[Row]
    _error: ClassVar[Row]
    _polynomials: ClassVar[tuple[tuple[float, ...], ...]]
    _further: ClassVar[tuple[float, ...]]

    def __init_subclass__(cls) -> None:
        tableau = getattr(cls, "tableau", None)
        if tableau is None:
            return
        cls.has_error, cls.error_order = tableau.error is not None, tableau.error_order
        polynomials, further_c, further_a = tableau.dense, tableau.dense_c, tableau.dense_a
        if polynomials is None:
            polynomials, further_c, further_a = _hermite(tableau)
        cls.has_dense, cls.dense_order = True, tableau.dense_order or min(3, tableau.order)
        cls.reuses_last = tableau.fsal
        cls._polynomials, cls._further = polynomials, further_c
        cls._rows = tuple(_row(weights) for weights in (*tableau.a, *further_a))
        cls._end = _row(tableau.b)
        cls._error = _row(tableau.error or ())

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """f(t0, y0) where the last stage of a step is the first of the next; see `AbstractMethod.init`."""
        field = check_ode(type(self).__name__, term)
        return field(_StageTimes(t0, t0, y0)(0.0), y0) if self.tableau.fsal else ()

    def step(self, term: ODE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        tableau, field = self.tableau, term.f
        times = _StageTimes(t0, t1, y)
        scale = times.scale
        slopes = [carry if tableau.fsal else field(times(0.0), y)]
        y1 = y
        for c, row in zip(tableau.c[1:], self._rows, strict=False):
            y1 = advance(y, scale, row, slopes)
            slopes.append(field(times(c), y1))
        if not tableau.fsal:
            y1 = advance(y, scale, self._end, slopes)
        error = weighted_sum(scale, self._error, slopes) if self._error else None
        return Step(y1, error, tuple(slopes), slopes[-1] if tableau.fsal else (), None)

    def prepare_dense(self, term: ODE, t0: Time, t1: Time, y0: Flat, step: Step) -> tuple[Flat, ...]:
        """y0 and all slopes the dense output needs; see `AbstractMethod.prepare_dense`."""
        tableau = self.tableau
        slopes = list(step.dense)
        if self._further:
            times = _StageTimes(t0, t1, y0)
            for c, row in zip(self._further, self._rows[tableau.stages - 1 :], strict=True):
                slopes.append(term.f(times(c), advance(y0, times.scale, row, slopes)))
        return (y0, *slopes)

    def interpolate(self, dense: tuple[Flat, ...], t0: Time, t1: Time, theta: Tensor) -> Flat:
        """The state at t0 + theta (t1 - t0); see `AbstractMethod.interpolate`."""
        y0, slopes = dense[0], dense[1:]
        weights = dense_weights(self._polynomials, theta)

        def combine(y: Tensor, *ks: Tensor) -> Tensor:
            return torch.add(y.unsqueeze(1), _scaled(_mixed(weights, ks), t1 - t0))

        return map_leaves(combine, y0, *slopes)


def _hermite(
    tableau: ButcherTableau,
) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """The cubic through states and slopes at both ends, as weights of stages, with the stage f(t1, y1) if need be."""
    columns = [[0.0, 3 * b, -2 * b] for b in tableau.b]
    if not tableau.fsal:
        columns.append([0.0, 0.0, 0.0])
    columns[0] = [a + b for a, b in zip(columns[0], (1.0, -2.0, 1.0), strict=True)]
    columns[-1] = [a + b for a, b in zip(columns[-1], (0.0, -1.0, 1.0), strict=True)]
    further = () if tableau.fsal else (1.0,)
    return tuple(map(tuple, columns)), further, tuple(tableau.b for _ in further)  # type: ignore[return-value]


def check_ode(name: str, term: AbstractTerm) -> Any:
    """The field of the term, or an error if it is none that an explicit method can step."""
    if not isinstance(term, ODE):
        raise TypeError(
            f"{name} is an explicit method and steps ODE(f) terms, got {type(term).__name__}. "
            "Write the whole right-hand side as one function, or choose a method made for this term."
        )
    return term.f


def dense_weights(polynomials: tuple[tuple[float, ...], ...], theta: Tensor) -> Tensor:
    """b_i(theta): one row of polynomial coefficients of theta, theta², ... per stage; (..., stage)."""
    table = torch.tensor(polynomials, dtype=theta.dtype, device=theta.device)
    powers = torch.cumprod(theta.unsqueeze(-1).expand(*theta.shape, table.shape[1]), dim=-1)
    return powers @ table.T


def _mixed(weights: Tensor, slopes: tuple[Tensor, ...]) -> Tensor:
    """sum_i weights[..., m, i] k_i as (batch, m, *state), for shared weights (m, stage) or one table per sample."""
    stacked = torch.stack(slopes, dim=1)  # (batch, stage, *state)
    mixed = weights.to(stacked.dtype) @ stacked.flatten(2)
    return mixed.reshape(len(stacked), weights.shape[-2], *stacked.shape[2:])


def _scaled(value: Tensor, dt: Time) -> Tensor:
    """`value`, (batch, m, *state), times the step size."""
    if not isinstance(dt, Tensor):
        return value * dt
    return value * (dt.reshape(-1, *[1] * (value.ndim - 1)) if dt.ndim else dt).to(value.dtype)


def _row(weights: tuple[float, ...]) -> Row:
    return tuple((j, w) for j, w in enumerate(weights) if w != 0.0)


class Scale:
    """The step size h as it multiplies states: a number, or per leaf a tensor of its rank and dtype."""

    def __init__(self, dt: Time, y: Flat) -> None:
        self.number = None if isinstance(dt, Tensor) else dt
        self.tensors: tuple[Tensor, ...] = ()
        if isinstance(dt, Tensor):
            rows = dt.reshape(-1) if dt.ndim else dt
            shaped = (rows.reshape(-1, *[1] * (leaf.ndim - 1)) if rows.ndim else rows for leaf in leaves_of(y))
            self.tensors = tuple(h.to(leaf.dtype) for h, leaf in zip(shaped, leaves_of(y), strict=True))


def advance(y: Flat, scale: Scale, row: Row, slopes: list[Flat]) -> Flat:
    """y + h sum_j w_j k_j."""
    if not row:
        return y
    if isinstance(y, Tensor):
        return _advance_leaf(y, scale, 0, row, slopes)  # type: ignore[arg-type]
    return tuple(_advance_leaf(leaf, scale, i, row, [k[i] for k in slopes]) for i, leaf in enumerate(y))


def _advance_leaf(y: Tensor, scale: Scale, i: int, row: Row, slopes: list[Tensor]) -> Tensor:
    total, first = _sum(row, slopes)
    if scale.number is not None:
        return torch.add(y, total, alpha=first * scale.number)
    return torch.addcmul(y, scale.tensors[i], total, value=first)


def weighted_sum(scale: Scale, row: Row, slopes: list[Flat]) -> Flat:
    """h sum_j w_j k_j."""

    def of_leaf(i: int, ks: list[Tensor]) -> Tensor:
        total, first = _sum(row, ks)
        return total * (first * scale.number) if scale.number is not None else total * scale.tensors[i] * first

    if isinstance(slopes[0], Tensor):
        return of_leaf(0, slopes)  # type: ignore[arg-type]
    return tuple(of_leaf(i, [k[i] for k in slopes]) for i in range(len(slopes[0])))


def _sum(row: Row, slopes: list[Tensor]) -> tuple[Tensor, float]:
    """sum_j w_j k_j / w_first and w_first: one operation less than the sum itself."""
    (j, first), *rest = row
    total = slopes[j]
    for j, weight in rest:
        total = torch.add(total, slopes[j], alpha=weight / first)
    return total, first


class _StageTimes:
    """Times of the stages of one step, in the state's real dtype, and the step size.

    A shared time becomes 0-D; equal nodes share their tensor.
    """

    def __init__(self, t0: Time, t1: Time, y: Flat) -> None:
        leaf = first_leaf(y)
        self.dtype, self.device = leaf.dtype.to_real(), leaf.device
        self.t0, self.dt = t0, t1 - t0
        self.scale = Scale(self.dt, y)
        self._made: dict[float, Tensor] = {}
        self._t1 = t1

    def __call__(self, c: float) -> Tensor:
        if c not in self._made:
            self._made[c] = self._make(c)
        return self._made[c]

    def _make(self, c: float) -> Tensor:
        t = self.t0 if c == 0.0 else self._t1 if c == 1.0 else self.t0 + c * self.dt
        if isinstance(t, Tensor):
            return t.to(self.dtype)
        return torch.full((), t, dtype=self.dtype, device=self.device)
