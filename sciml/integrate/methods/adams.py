"""Explicit Adams methods for steps of any size: the slope is extrapolated from earlier steps, and integrated.

With times x_n, h = x_(n+1) - x_n and the polynomial through the last m slopes in Newton's form,

    p = y_n + h sum_(j<m) g_j Phi*_j(n),    Phi*_j(n) = beta_j Phi_j(n),    g_j = int_0^1 c_j(s) ds
    Phi_0(n) = f_n,    Phi_(j+1)(n) = Phi_j(n) - Phi*_j(n-1)
    c_j(s) = prod_(i<j) (x_n + s h - x_(n-i)) / (x_(n+1) - x_(n-i))
    beta_j = prod_(i<j) (x_(n+1) - x_(n-i)) / (x_n - x_(n-i-1))

`AdamsBashforth` stops there. `Adams` evaluates at p, adds h g_m Phi_m(n+1), the term of the new slope, and evaluates
again. The past is the carry, with one row per sample, so that every sample has steps of its own.

The first m - 1 steps have no past. They extrapolate the midpoint rule, with an order above that of the method.

Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, III.5, eq. (5.4)-(5.12); for the
start II.9, the modified midpoint rule (9.13a, b) without smoothing.
"""

import functools
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.integrate.flat import Flat, add_scaled, beside, field_time, first_leaf, map_leaves, per_row
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.explicit_rk import check_ode
from sciml.integrate.terms import ODE, AbstractTerm


class _Carry(NamedTuple):
    """The past of each sample.

    Args:
        phi: Phi_0, ..., Phi_(m-1) of the present time, (batch, m, *state).
        past: sizes of the last m - 1 steps, the newest first, (batch, m - 1), float64; 0 where there was none.
        pending: that many steps may still be of the start, for some sample.
    """

    phi: Flat
    past: Tensor
    pending: int


class _Dense(NamedTuple):
    """What a step leaves for its dense output.

    Args:
        terms: Phi*_0, ..., Phi*_(m-1) and Phi_m of the end, (batch, m + 1, *state).
        carry: before the step.
        starting: see `_starting`.
    """

    terms: Flat
    carry: _Carry
    starting: bool | Tensor


class AbstractAdams(AbstractMethod):
    """An explicit Adams method. A final subclass has the field `order` and says whether it corrects.

    Where samples have times of their own, the steps of the start (and no others) read the device once each, to see
    whether any sample needs them. `Stats.evaluations` counts what the sample needed, more in steps of the start.
    """

    corrects: ClassVar[bool]
    """Whether the slope at the predicted state improves the result."""
    has_error: ClassVar[bool] = True
    has_dense: ClassVar[bool] = True
    reuses_last: ClassVar[bool] = True
    compiles: ClassVar[bool] = False

    @property
    def stages(self) -> int:  # type: ignore[override]
        """Evaluations per step, with the one that the step before made."""
        return 3 if self.corrects else 2

    @property
    def counts(self) -> bool:  # type: ignore[override]
        """Whether there are steps of the start, which need more evaluations than the others."""
        return self._points > 1

    @property
    def error_order(self) -> int:  # type: ignore[override]
        """The estimate is of the result before the last term was added; of the result itself where none was."""
        return self.order if self.corrects else self.order + 1

    @property
    def dense_order(self) -> int:  # type: ignore[override]
        """The dense output is the polynomial that was integrated."""
        return self.order

    @property
    def _points(self) -> int:
        """m, how many slopes of the past are used."""
        return self.order - int(self.corrects)

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> _Carry:
        """A present slope without a past; see `AbstractMethod.init`."""
        field, m = check_ode(type(self).__name__, term), self._points
        leaf = first_leaf(y0)

        def alone(slope: Tensor) -> Tensor:
            return torch.cat([slope.unsqueeze(1), slope.new_zeros(len(slope), m - 1, *slope.shape[1:])], dim=1)

        past = torch.zeros(len(leaf), m - 1, dtype=torch.float64, device=leaf.device)
        return _Carry(map_leaves(alone, field(field_time(t0, leaf), y0)), past, m - 1)

    def slope(self, carry: _Carry) -> Flat:
        """See `AbstractMethod.slope`."""
        return map_leaves(lambda phi: phi[:, 0], carry.phi)

    def step(self, term: ODE, t0: Time, t1: Time, y: Flat, carry: _Carry) -> Step:
        """One step; see `AbstractMethod.step`."""
        m, field, dt = self._points, term.f, t1 - t0
        end = field_time(t1, first_leaf(y))
        h = per_row(dt, first_leaf(y))
        starting, pending = _starting(carry, t0, h)
        beta, g = _coefficients(h, carry.past)
        known = map_leaves(lambda phi: _along(beta, phi) * phi, carry.phi)
        y1, error = y, None
        if starting is not True:
            y1 = map_leaves(lambda leaf, terms: leaf + _size(dt, leaf) * _mixed(g[:, :m], terms), y, known)
            if self.corrects:
                new = map_leaves(lambda f, terms: f - terms.sum(1), field(end, y1), known)
                y1 = map_leaves(lambda p, d: p + _size(dt, p) * _row(g[:, m], p) * d, y1, new)
                error = map_leaves(lambda d: _size(dt, d) * _row(g[:, m] - g[:, m - 1], d) * d, new)
        first_y = first_error = None
        if starting is not False:
            first_y, first_error = _extrapolated(field, t0, dt, y, self.slope(carry), _columns(self.order))
            y1 = _choose(starting, first_y, y1)
        f1 = field(end, y1)
        if not self.corrects or error is None:
            new = map_leaves(lambda f, terms: f - terms.sum(1), f1, known)
            error = map_leaves(lambda d: _size(dt, d) * _row(g[:, m], d) * d, new)
        if first_error is not None:
            error = _choose(starting, first_error, error)
        terms = map_leaves(lambda terms, d: torch.cat([terms, d.unsqueeze(1)], dim=1), known, new)
        past = torch.cat([h[:, None], carry.past[:, :-1]], dim=1) if m > 1 else carry.past
        after = _Carry(map_leaves(_differences, f1, known), past, pending)
        evaluations = self._evaluations(starting, h) if self.counts else None
        return Step(y1, error, _Dense(terms, carry, starting), after, None, evaluations)

    def _evaluations(self, starting: bool | Tensor, h: Tensor) -> Tensor:
        """What each sample needed, (batch,): in the start 1 + 3 + 5 + ... of the substeps, and the slope at the end."""
        first, usual = _columns(self.order) ** 2 + 1, self.stages - 1
        if isinstance(starting, bool):
            return torch.full(h.shape, first if starting else usual, device=h.device)
        return torch.where(starting, first, usual)

    def prepare_dense(self, term: ODE, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """y0, the terms of the slope, and their polynomials of theta; see `AbstractMethod.prepare_dense`."""
        terms, carry, starting = step.dense
        m, dt, leaf = self._points, t1 - t0, first_leaf(y0)
        table = _polynomials(per_row(dt, leaf), carry.past)
        if not self.corrects:
            table = torch.cat([table[:, :m], torch.zeros_like(table[:, m:])], dim=1)
        if starting is not False:
            first_terms, first_table = self._start_dense(term.f, t0, dt, y0, step)
            terms = _choose(starting, first_terms, terms)
            table = _choose(starting, first_table.expand_as(table), table)
        return y0, terms, table

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """The state at t0 + theta (t1 - t0); see `AbstractMethod.interpolate`."""
        y0, terms, table = dense
        powers = torch.cumprod(theta.unsqueeze(-1).expand(*theta.shape, table.shape[-1]), dim=-1)
        weights = powers @ table.mT  # (batch, m, term)

        def of_leaf(leaf: Tensor, slopes: Tensor) -> Tensor:
            mixed = (weights.to(slopes.dtype) @ slopes.flatten(2)).reshape(len(leaf), -1, *leaf.shape[1:])
            return leaf.unsqueeze(1) + _size(t1 - t0, mixed) * mixed

        return map_leaves(of_leaf, y0, terms)

    def _start_dense(self, field: Any, t0: Time, dt: Time, y0: Flat, step: Step) -> tuple[Flat, Tensor]:
        """Slopes at m equal distances within a step of the start, the rest of y1, and their polynomials."""
        m, carry = self._points, step.dense.carry
        first = self.slope(carry)
        slopes = [first]
        for i in range(1, m - 1):
            part = dt * (i / (m - 1))
            y, _ = _extrapolated(field, t0, part, y0, first, _columns(self.order))
            slopes.append(field(field_time(t0 + part, first_leaf(y0)), y))
        slopes.append(self.slope(step.carry))
        table = torch.tensor(_integrals(m), dtype=torch.float64, device=first_leaf(y0).device)
        whole = table[:m].sum(1)
        h = _safe(per_row(dt, first_leaf(y0)))

        def with_rest(a: Tensor, b: Tensor, *ks: Tensor) -> Tensor:
            inside = torch.stack(ks, dim=1)
            rest = (b - a) / _row(h, a) - _mixed(whole.expand(len(a), -1), inside)
            return torch.cat([inside, rest.unsqueeze(1)], dim=1)

        return map_leaves(with_rest, y0, step.y, *slopes), table


@final
@dataclass(frozen=True)
class AdamsBashforth(AbstractAdams):
    """Adams-Bashforth: the slope extrapolated from the last `order` steps. One evaluation per step.

    The error estimate is the term that the new slope would add, proportional to h^(order + 1). The least work per step
    of all methods, but a small region of stability: `Adams` allows more than twice the step.

    Args:
        order: 1 (Euler) to 8; beyond, no step of use is stable.

    Raises:
        ValueError: if it is not.
    """

    order: int = 4  # type: ignore[assignment]
    corrects: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_order("AdamsBashforth", self.order, 1, 8)


@final
@dataclass(frozen=True)
class Adams(AbstractAdams):
    """Adams-Bashforth-Moulton: predict from the last `order - 1` steps, evaluate, correct, evaluate.

    Two evaluations per step at any order, for smooth fields that are dear to evaluate. The error estimate is the
    difference from the corrector of order - 1, proportional to h^order: the result is the better of the two. As
    Shampine & Gordon's codes, at a fixed order.

    Args:
        order: 2 (Heun's method) to 12.

    Raises:
        ValueError: if it is not.
    """

    order: int = 5  # type: ignore[assignment]
    corrects: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_order("Adams", self.order, 2, 12)


def _columns(order: int) -> int:
    """Columns of the extrapolation that starts a method, for an order above its own."""
    return order // 2 + 1


def _check_order(name: str, order: int, low: int, high: int) -> None:
    check_whole("order", order, low)
    if order > high:
        raise ValueError(f"`order` of {name} must be at most {high}, got {order}. Take fewer steps of the past.")


def _starting(carry: _Carry, t0: Time, h: Tensor) -> tuple[bool | Tensor, int]:
    """Which samples have too little past, as True (all), False (none) or a mask; and what is pending afterwards."""
    if carry.pending == 0:
        return False, 0
    if not isinstance(t0, Tensor):  # joint steps decided in Python: all samples start together
        return True, carry.pending - 1
    mask = (carry.past[:, -1] == 0) & (h != 0)
    count = int(mask.sum())
    if count == 0:
        return False, 0
    return (True if count == len(mask) else mask), carry.pending


def _coefficients(h: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """beta_0, ..., beta_(m-1) and g_0, ..., g_m, one row per sample.

    g_j = c_j1 with c_0q = 1/q and c_jq = c_(j-1)q - c_(j-1)(q+1) h / (x_(n+1) - x_(n-j+1)).
    """
    h, ahead, behind = _distances(h, past)
    beta = torch.cat([torch.ones_like(h)[:, None], torch.cumprod(ahead[:, :-1] / behind, dim=1)], dim=1)
    share = h[:, None] / ahead
    m = ahead.shape[1]
    c = (1.0 / torch.arange(1, m + 2, dtype=h.dtype, device=h.device)).expand(len(h), -1)
    g = [c[:, 0]]
    for j in range(m):
        c = c[:, :-1] - c[:, 1:] * share[:, j : j + 1]
        g.append(c[:, 0])
    return beta, torch.stack(g, dim=1)


def _polynomials(h: Tensor, past: Tensor) -> Tensor:
    """int_0^theta c_j(s) ds as coefficients of theta, theta², ..., (batch, m + 1, m + 1)."""
    h, ahead, _ = _distances(h, past)
    share = (h[:, None] / ahead)[:, None]
    m = ahead.shape[1]
    row = torch.nn.functional.pad(torch.ones_like(h)[:, None], (0, m))
    rows = [row]
    for j in range(m):
        factor = share[:, :, j]
        row = torch.nn.functional.pad(row[:, :-1], (1, 0)) * factor + row * (1 - factor)
        rows.append(row)
    return torch.stack(rows, dim=1) / torch.arange(1, m + 2, dtype=h.dtype, device=h.device)


def _distances(h: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """h, x_(n+1) - x_(n-i) for i = 0, ..., m - 1 and x_n - x_(n-i) for i = 1, ..., m - 1.

    Steps that were not made count as long as the present one, and a step of no length as 1: what is computed from them
    is finite, and thrown away.
    """
    h = _safe(h)
    behind = torch.cumsum(torch.where(past == 0, h[:, None], past), dim=1)
    return h, h[:, None] + torch.nn.functional.pad(behind, (1, 0)), behind


def _differences(f1: Tensor, known: Tensor) -> Tensor:
    """Phi_0, ..., Phi_(m-1) of the end, from its slope and Phi* of the beginning."""
    f1 = f1.unsqueeze(1)
    return torch.cat([f1, f1 - known[:, :-1].cumsum(1)], dim=1)


def _extrapolated(field: Any, t0: Time, dt: Time, y: Flat, slope: Flat, columns: int) -> tuple[Flat, Flat]:
    """A step by extrapolation: midpoint rule with 2, 4, ... 2 columns substeps, combined to order 2 columns.

    Returns:
        The state at t0 + dt, and its difference from what comes out without the coarsest.
    """
    counts = [2 * (j + 1) for j in range(columns)]
    best, fewer = _weights(counts), [0.0, *_weights(counts[1:])]
    leaf = first_leaf(y)
    change: Any = None
    error: Any = None
    for n, weight, other in zip(counts, best, fewer, strict=True):
        before, now = y, map_leaves(lambda a, k, n=n: a + _size(dt, a) * k / n, y, slope)
        for i in range(1, n):
            k = field(field_time(t0 + dt * (i / n), leaf), now)
            before, now = now, map_leaves(lambda a, b, n=n: a + _size(dt, a) * b * (2 / n), before, k)
        moved = map_leaves(torch.sub, now, y)
        change, error = _plus(change, moved, weight), _plus(error, moved, weight - other)
    return map_leaves(torch.add, y, change), error


def _weights(counts: list[int]) -> list[float]:
    """What each column counts for in the value extrapolated to substeps of no length, by powers of their square."""
    return [prod(n**2 / (n**2 - i**2) for i in counts if i != n) for n in counts]


def _plus(total: Any, value: Flat, weight: float) -> Flat:
    if total is None:
        return map_leaves(lambda v: v * weight, value)
    return map_leaves(lambda t, v: add_scaled(t, v, weight), total, value)


@functools.cache
def _integrals(m: int) -> list[list[float]]:
    """Integrals from 0 to theta of the Lagrange polynomials of m equally spaced nodes on [0, 1], and theta itself.

    Coefficients of theta, ..., theta^(m + 1).
    """
    nodes = [Fraction(i, m - 1) for i in range(m)]
    rows = []
    for node in nodes:
        poly = [Fraction(1)]
        for other in nodes:
            if other != node:
                scaled = [c / (node - other) for c in poly]
                poly = [a - other * b for a, b in zip([Fraction(0), *scaled], [*scaled, Fraction(0)], strict=True)]
        rows.append([float(c / (i + 1)) for i, c in enumerate(poly)] + [0.0])
    return [*rows, [1.0] + [0.0] * m]


def _choose(starting: bool | Tensor, first: Any, usual: Any) -> Any:
    """`first` in the rows that start, else `usual`."""
    if isinstance(starting, bool):
        return first if starting else usual
    return map_leaves(lambda a, b: torch.where(beside(starting, a), a, b), first, usual)


def _mixed(weights: Tensor, terms: Tensor) -> Tensor:
    """sum_j weights[batch, j] terms[batch, j]."""
    return (_along(weights, terms) * terms).sum(1)


def _along(weights: Tensor, terms: Tensor) -> Tensor:
    """Weights (batch, m) to go with (batch, m, *state)."""
    return weights.reshape(*weights.shape, *[1] * (terms.ndim - 2)).to(terms.dtype.to_real())


def _row(weights: Tensor, leaf: Tensor) -> Tensor:
    """Weights (batch,) to go with (batch, *state)."""
    return beside(weights, leaf).to(leaf.dtype.to_real())


def _size(dt: Time, leaf: Tensor) -> Any:
    """The step size as it multiplies a tensor."""
    if not isinstance(dt, Tensor):
        return dt
    return beside(dt.reshape(-1) if dt.ndim else dt, leaf).to(leaf.dtype.to_real())


def _safe(h: Tensor) -> Tensor:
    return torch.where(h == 0, 1.0, h)
