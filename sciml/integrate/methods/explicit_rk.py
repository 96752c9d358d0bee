"""The engine of explicit Runge-Kutta methods for dy/dt = f(t, y):

    k_i = f(t0 + c_i h, y0 + h sum_(j<i) a_ij k_j)
    y1  = y0 + h sum_i b_i k_i,    error = h sum_i e_i k_i,    y(t0 + theta h) = y0 + h sum_i b_i(theta) k_i

Sums are taken before the product with h, so that y0 is rounded once. Where the last stage is f(t1, y1) (first same as
last), the next step starts with it.
"""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, add_scaled, beside, first_leaf, map_leaves, real_dtype
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.remedies import remedy_for
from sciml.integrate.methods.tableau import ButcherTableau
from sciml.integrate.terms import ODE, AbstractTerm

Row = tuple[int, float, tuple[tuple[int, float], ...]] | None
"""A sum w_j k_j over stages: the first stage and its weight, then the others with their weights in units of it."""
Sizes = float | Tensor | tuple[Tensor, ...]


class AbstractExplicitRK(AbstractMethod):
    """An explicit Runge-Kutta method. A final subclass gives its tableau, order and number of stages."""

    tableau: ClassVar[ButcherTableau]
    _rows: ClassVar[tuple[Row, ...]]
    _nodes: ClassVar[tuple[float, ...]]
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
        cls._rows = tuple(row_of(weights) for weights in (*tableau.a, *further_a))
        cls._nodes = inner_nodes(tableau.c)
        cls._end = row_of(tableau.b)
        cls._error = row_of(tableau.error or ())

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """f(t0, y0) where the last stage of a step is the first of the next; see `AbstractMethod.init`."""
        field = check_ode(type(self).__name__, term)
        return field(StageTimes(t0, t0, y0)(0.0), y0) if self.reuses_last else ()

    def step(self, term: ODE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        tableau, field = self.tableau, term.f
        times = StageTimes(t0, t1, y, self._nodes)
        h = times.size
        slopes = [carry if self.reuses_last else field(times(0.0), y)]
        y1 = y
        for c, row in zip(tableau.c[1:], self._rows, strict=False):
            y1 = advance(y, h, row, slopes)
            slopes.append(field(times(c), y1))
        if not self.reuses_last:
            y1 = advance(y, h, self._end, slopes)
        error = weighted_sum(h, self._error, slopes) if self._error else None
        return Step(y1, error, tuple(slopes), slopes[-1] if self.reuses_last else (), None)

    def prepare_dense(self, term: ODE, t0: Time, t1: Time, y0: Flat, step: Step) -> tuple[Flat, ...]:
        """y0 and all slopes the dense output needs; see `AbstractMethod.prepare_dense`."""
        tableau = self.tableau
        slopes = list(step.dense)
        if self._further:
            times = StageTimes(t0, t1, y0, inner_nodes(self._further))
            for c, row in zip(self._further, self._rows[tableau.stages - 1 :], strict=True):
                slopes.append(term.f(times(c), advance(y0, times.size, row, slopes)))
        return (y0, *slopes)

    def interpolate(self, dense: tuple[Flat, ...], t0: Time, t1: Time, theta: Tensor) -> Flat:
        """The state at t0 + theta (t1 - t0); see `AbstractMethod.interpolate`."""
        y0, slopes = dense[0], dense[1:]
        dt = t1 - t0
        if torch.compiler.is_compiling():
            return map_leaves(lambda y, *ks: _fused(y, self._polynomials, theta, dt, ks), y0, *slopes)
        weights = dense_weights(self._polynomials, theta)
        if theta.ndim == 1 and not (isinstance(dt, Tensor) and dt.ndim):
            return map_leaves(lambda y, *ks: _at_shared_times(y, weights * dt, ks), y0, *slopes)
        return map_leaves(lambda y, *ks: _at_own_times(y, weights, dt, ks), y0, *slopes)


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
            f"{name} is an explicit method and steps ODE(f) terms, got {type(term).__name__}. {remedy_for(term)}"
        )
    return term.f


def dense_weights(polynomials: tuple[tuple[float, ...], ...], theta: Tensor) -> Tensor:
    """b_i(theta), (..., stage), from one row of coefficients of theta, theta², ... per stage."""
    exponents, table = _dense_table(polynomials, theta.dtype, theta.device)
    return theta.unsqueeze(-1).pow(exponents) @ table


@functools.lru_cache(maxsize=64)
def _dense_table(
    polynomials: tuple[tuple[float, ...], ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The exponents 1, 2, ... and the coefficients, (power, stage)."""
    with torch.inference_mode(False):
        exponents = torch.arange(1, len(polynomials[0]) + 1, dtype=dtype, device=device)
        return exponents, torch.tensor(polynomials, dtype=dtype, device=device).T.contiguous()


def _at_shared_times(y: Tensor, weights: Tensor, slopes: tuple[Tensor, ...]) -> Tensor:
    """y + sum_i weights[m, i] k_i, (batch, m, *state): one small matrix product."""
    stacked = torch.stack(slopes).reshape(len(slopes), -1)
    values = torch.addmm(y.reshape(1, -1), weights.to(y.dtype), stacked)
    return values.reshape(len(weights), *y.shape).movedim(0, 1)


def _at_own_times(y: Tensor, weights: Tensor, dt: Time, slopes: tuple[Tensor, ...]) -> Tensor:
    """y + h sum_i weights[batch, m, i] k_i, (batch, m, *state), every row with times or a step size of its own."""
    stacked = torch.stack(slopes, dim=1)  # (batch, stage, *state)
    mixed = weights.to(y.dtype) @ stacked.flatten(2)
    h = (dt.reshape(-1, 1, 1) if dt.ndim else dt).to(y.dtype) if isinstance(dt, Tensor) else dt
    mixed = mixed * h
    return y.unsqueeze(1) + mixed.reshape(len(y), weights.shape[-2], *y.shape[1:])


def _fused(
    y: Tensor, polynomials: tuple[tuple[float, ...], ...], theta: Tensor, dt: Time, slopes: tuple[Tensor, ...]
) -> Tensor:
    """y + h sum_i b_i(theta) k_i, (batch, m, *state), written out for a compiler to fuse."""
    shape = (-1, theta.shape[-1], *[1] * (y.ndim - 1))
    total: Tensor | None = None
    for coefficients, slope in zip(polynomials, slopes, strict=True):
        if not any(coefficients):
            continue
        weight = torch.zeros_like(theta)
        for coefficient in reversed(coefficients):
            weight = (weight + coefficient) * theta
        part = weight.to(y.dtype).reshape(shape) * slope.unsqueeze(1)
        total = part if total is None else total + part
    assert total is not None
    h = (dt.reshape(-1, *[1] * y.ndim) if dt.ndim else dt).to(y.dtype) if isinstance(dt, Tensor) else dt
    return y.unsqueeze(1) + h * total


def row_of(weights: tuple[float, ...]) -> Row:
    """A sum over slopes in the form `advance` takes; None if all weights are 0."""
    (first, *rest) = [(j, w) for j, w in enumerate(weights) if w != 0.0] or [None]
    if first is None:
        return None
    return first[0], first[1], tuple((j, w / first[1]) for j, w in rest)  # type: ignore[union-attr]


def sizes_of(dt: Time, y: Flat) -> Sizes:
    """The step size as it multiplies states: a number, or per tensor of the state one of its rank and dtype."""
    if not isinstance(dt, Tensor):
        return dt
    if isinstance(y, Tensor):
        return dt.to(y.dtype)
    rows = dt.reshape(-1) if dt.ndim else dt
    return tuple(beside(rows, leaf).to(leaf.dtype) for leaf in y)


def advance(y: Any, h: Any, row: Row, slopes: Sequence[Any]) -> Any:
    """y + h sum_j w_j k_j, of flat states; `h` as `sizes_of` gives it."""
    if row is None:
        return y
    first, weight, rest = row
    if isinstance(y, tuple):
        sizes = h if isinstance(h, tuple) else (h,) * len(y)
        return tuple(advance(leaf, sizes[i], row, [k[i] for k in slopes]) for i, leaf in enumerate(y))
    total = slopes[first]
    for j, ratio in rest:
        total = add_scaled(total, slopes[j], ratio)
    if isinstance(h, Tensor):
        return torch.addcmul(y, h, total, value=weight)
    return add_scaled(y, total, weight * h)


def weighted_sum(h: Any, row: Row, slopes: Sequence[Any]) -> Any:
    """h sum_j w_j k_j."""
    assert row is not None
    first, weight, rest = row
    if isinstance(slopes[0], tuple):
        sizes = h if isinstance(h, tuple) else (h,) * len(slopes[0])
        return tuple(weighted_sum(size, row, [k[i] for k in slopes]) for i, size in enumerate(sizes))
    total = slopes[first]
    for j, ratio in rest:
        total = add_scaled(total, slopes[j], ratio)
    return total * h * weight if isinstance(h, Tensor) else total * (weight * h)


class StageTimes:
    """Times of the stages of one step, in the state's real dtype, and the step size.

    A shared time becomes 0-D; equal nodes share their tensor. The ends are exactly t0 and t1.
    """

    def __init__(self, t0: Time, t1: Time, y: Flat, nodes: tuple[float, ...] = ()) -> None:
        leaf = first_leaf(y)
        dtype, device = real_dtype(leaf), leaf.device
        self._dtype, self._device = dtype, device
        self._ends = (t0, t1)
        dt = t1 - t0
        self.size = sizes_of(dt, y)
        if isinstance(dt, Tensor):
            make = _node_tensor.__wrapped__ if torch.compiler.is_compiling() else _node_tensor
            table = make(nodes, dt.ndim, device)
            made = (t0 + table * dt).to(dtype).unbind(0) if nodes else ()
        elif device.type == "cpu":
            nodes = (0.0, *nodes, 1.0)
            made = torch.tensor([t0, *(t0 + c * dt for c in nodes[1:-1]), t1], dtype=dtype).unbind(0)
        else:  # a list would be copied and waited for
            made = [torch.full((), float(t0 + c * dt), dtype=dtype, device=device) for c in nodes]
        self._made = dict(zip(nodes, made, strict=True))

    def __call__(self, c: float) -> Tensor:
        if c not in self._made:
            t: Any = self._ends[int(c)]
            if isinstance(t, Tensor):
                self._made[c] = t.to(self._dtype)
            else:
                self._made[c] = torch.full((), t, dtype=self._dtype, device=self._device)
        return self._made[c]


def inner_nodes(c: tuple[float, ...]) -> tuple[float, ...]:
    """The nodes that are neither 0 nor 1, each once."""
    return tuple(dict.fromkeys(node for node in c if node not in (0.0, 1.0)))


@functools.lru_cache(maxsize=64)
def _node_tensor(nodes: tuple[float, ...], ndim: int, device: torch.device) -> Tensor:
    """Nodes along a new first axis, to multiply step sizes of `ndim` axes."""
    with torch.inference_mode(False):
        return torch.tensor(nodes, dtype=torch.float64, device=device).reshape(-1, *[1] * ndim)
