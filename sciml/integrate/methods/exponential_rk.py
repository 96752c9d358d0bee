"""The engine of exponential Runge-Kutta methods for dy/dt = L y + N(t, y):

    Y_i = exp(c_i h L) y + h sum_j a_ij(h L) N(t + c_j h, Y_j)
    y1  = exp(h L) y     + h sum_i b_i(h L)  N(t + c_i h, Y_i)

The weights are combinations of phi functions. They are computed once per step size in double precision, with the
imaginary part of L kept, multiplied by h and cast to the state. Where N ends with a product, N(t, y) = S M(y), methods
without an error estimate multiply the weights by S too and evaluate M alone (`Weighted`).

A pair has a second result with other weights b, whose difference from the first estimates the error; it may use
N(t1, y1), with which the next step begins.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sciml.core import State
from sciml.core.memory import in_order, memory_order
from sciml.core.transforms import is_transforming
from sciml.integrate.flat import real_dtype
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.phi import phi
from sciml.integrate.terms import AbstractTerm, SemiLinear, Weighted

Weight = Callable[[Tensor], Tensor]
"""A function of z = h L."""
_FEWEST_TABLES, _MOST_TABLES, _TABLE_MEMORY = 4, 64, 2**28
"""How many tables a term keeps: as many as 256 MiB hold, within bounds."""


@final
@dataclass(frozen=True)
class ExponentialTableau:
    """Nodes and weights of an explicit exponential Runge-Kutta method; zero weights are left out.

    Args:
        c: nodes, c[0] = 0.
        a: row i holds the weights of stage i + 1 as {j: a_ij}.
        b: weights of the result as {i: b_i}.
        order: classical order, whose conditions up to 4 are checked here at z = 0.
        error: weights of the result less those of the embedded one, as {i: b_i}; i = len(c) stands for N(t1, y1).
        embedded_order: order of the embedded result, checked likewise.

    Raises:
        ValueError: unless sum_j a_ij(z) = c_i phi_1(c_i z), both results integrate polynomials N(t) up to the degree
            of their order (at most 2) for every z, and the order conditions hold.

    Source: Hochbruck & Ostermann (2010), Acta Numerica 19, eq. (2.35)-(2.36) and table 2.1.
    """

    c: tuple[float, ...]
    a: tuple[dict[int, Weight], ...]
    b: dict[int, Weight]
    order: int
    error: dict[int, Weight] | None = None
    embedded_order: int = 0

    def __post_init__(self) -> None:
        z = torch.tensor([0.0, -0.7, -30.0, 2.0j, -3.0 + 40.0j], dtype=torch.complex128)
        for row, c in zip(self.a, self.c[1:], strict=True):
            self._check(_total(row, z), c * phi(1, c * z), f"row sum of the stage at c={c}")
        self._check_result("b", self.b, self.c, self.a, self.order)
        if self.error is not None:
            # The stage at the end, Y = y1, is one more row of the tableau.
            c, a = (*self.c, 1.0), (*self.a, self.b)
            self._check_result("embedded b", _difference(self.b, self.error), c, a, self.embedded_order)

    @property
    def reuses_last(self) -> bool:
        """Whether the error estimate needs N(t1, y1)."""
        return self.error is not None and len(self.c) in self.error

    @property
    def imaginary_limit(self) -> float:
        """The largest y up to which |R(i y)| <= 1.01 for dy/dt = i y with L = 0: what transport allows, [1].

        R is the stability polynomial 1 + i y b (1 - i y a)^-1 1. The percent is for methods of order 1 and 2, which
        multiply all oscillations.
        """
        weights, rows = self._at_zero(self.b, self.c, self.a)
        one = torch.ones(len(self.c), dtype=torch.complex128)
        identity = torch.eye(len(self.c), dtype=torch.complex128)
        for hundredths in range(1, 1000):
            y = 0.01j * hundredths
            growth = 1 + y * (weights.to(one) @ torch.linalg.solve(identity - y * rows.to(one), one))
            if float(growth.abs()) > 1.01:
                return 0.01 * (hundredths - 1)
        return math.inf

    @staticmethod
    def _at_zero(b: dict[int, Weight], c: tuple[float, ...], a: tuple[dict[int, Weight], ...]) -> tuple[Tensor, Tensor]:
        """The weights at z = 0 as a vector b and a matrix a."""
        weights, rows = torch.zeros(len(c), dtype=torch.float64), torch.zeros(len(c), len(c), dtype=torch.float64)
        zero = torch.zeros((), dtype=torch.float64)
        for i, weight in b.items():
            weights[i] = weight(zero)
        for i, row in enumerate(a):
            for j, weight in row.items():
                rows[i + 1, j] = weight(zero)
        return weights, rows

    def _check_result(
        self, name: str, b: dict[int, Weight], c: tuple[float, ...], a: tuple[dict[int, Weight], ...], order: int
    ) -> None:
        """Raise unless the weights of a result have their order."""
        z = torch.tensor([0.0, -0.7, -30.0, 2.0j, -3.0 + 40.0j], dtype=torch.complex128)
        for power in range(min(order, 3)):
            moment = sum((c[i] ** power * weight(z) for i, weight in b.items()), torch.zeros_like(z))
            what = f"sum of {name}" + (f" c^{power}" if power else "")
            self._check(moment, math.factorial(power) * phi(power + 1, z), what)
        nodes = torch.tensor(c, dtype=torch.float64)
        weights, rows = self._at_zero(b, c, a)
        conditions = [
            (2, "c = 1/2", nodes, 1 / 2),
            (3, "c^2 = 1/3", nodes**2, 1 / 3),
            (3, "a c = 1/6", rows @ nodes, 1 / 6),
            (4, "c^3 = 1/4", nodes**3, 1 / 4),
            (4, "c a c = 1/8", nodes * (rows @ nodes), 1 / 8),
            (4, "a c^2 = 1/12", rows @ nodes**2, 1 / 12),
            (4, "a a c = 1/24", rows @ rows @ nodes, 1 / 24),
        ]
        for needed, text, vector, want in conditions:
            if needed <= order:
                self._check(weights @ vector, torch.tensor(want, dtype=torch.float64), f"sum {name} {text}")

    @staticmethod
    def _check(have: Tensor, want: Tensor, what: str) -> None:
        wide = torch.complex128
        if not torch.allclose(have.to(wide), want.to(wide), rtol=1e-7, atol=1e-7):
            raise ValueError(f"exponential tableau: {what} must be {want.tolist()}, got {have.tolist()}.")


def _difference(b: dict[int, Weight], error: dict[int, Weight]) -> dict[int, Weight]:
    """The weights b - error."""

    def less(i: int) -> Weight:
        return lambda z: sum((sign * row[i](z) for sign, row in ((1, b), (-1, error)) if i in row), torch.zeros_like(z))

    return {i: less(i) for i in {*b, *error}}


def _total(row: dict[int, Weight], z: Tensor) -> Tensor:
    total = torch.zeros_like(z)
    for weight in row.values():
        total = total + weight(z)
    return total


_Row = tuple[tuple[int, Tensor], ...]


@final
@dataclass(frozen=True)
class _Table:
    """exp(c_i h L) of each stage but the first and of the end, one tensor for equal nodes, and weights times h.

    They are ready to multiply the state; a row of weights is ((j, a_ij), ...).
    """

    exponentials: tuple[Tensor, ...]
    a: tuple[_Row, ...]
    b: _Row
    error: _Row

    @property
    def nbytes(self) -> int:
        """Memory it takes, [byte]."""
        weights = [w for row in (*self.a, self.b, self.error) for _, w in row]
        return sum(w.nbytes for w in (*self.exponentials, *weights))


class AbstractExponentialRK(AbstractMethod):
    """An explicit exponential Runge-Kutta method. A final subclass gives its tableau, order and number of stages.

    Its carry is where tables are kept; for pairs that need N(t1, y1) a tuple of that and N(t0, y0).
    """

    tableau: ClassVar[ExponentialTableau]

    def init(self, term: AbstractTerm, t0: Time, y0: State) -> Any:
        """Check the term and find the tables; see `AbstractMethod.init`."""
        check_semilinear(type(self).__name__, term, y0)
        assert isinstance(term, SemiLinear) and isinstance(y0, Tensor)
        tables = start_tables(term)
        return (tables, _evaluate(term, None, t0, y0)) if self.tableau.reuses_last else tables

    def step(self, term: SemiLinear, t0: Time, t1: Time, y: State, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        return exponential_step(self.tableau, term, t0, t1, y, carry)


def check_semilinear(name: str, term: AbstractTerm, y: Any) -> None:
    """Raise unless the term and the state suit an exponential method."""
    if not isinstance(term, SemiLinear):
        raise TypeError(
            f"{name} is an exponential method and steps SemiLinear(linear, nonlinear) terms, got "
            f"{type(term).__name__}. Split the right-hand side into a linear and a nonlinear part."
        )
    if not isinstance(y, Tensor):
        raise TypeError(f"{name} steps a single tensor, got a {type(y).__name__}. Concatenate the leaves.")
    if not (y.is_floating_point() or y.is_complex()):
        raise TypeError(f"the state must be floating point or complex, got {y.dtype}. Convert it with y0.double().")
    linear = term.linear
    is_complex = linear.is_complex() if isinstance(linear, Tensor) else isinstance(linear, complex)
    if is_complex and not y.is_complex():
        raise TypeError(
            f"`linear` is complex but the state is {y.dtype}: the result would lose its imaginary part. "
            "Give a complex state, e.g. Fourier coefficients."
        )
    symbol = term.nonlinear.symbol if isinstance(term.nonlinear, Weighted) else None
    if symbol is not None and symbol.is_complex() and not y.is_complex():
        raise TypeError(
            f"`symbol` is complex but the state is {y.dtype}: the result would lose its imaginary part. "
            "Give a complex state, e.g. Fourier coefficients."
        )
    for name, value in (("linear", linear), ("symbol", symbol)):
        if isinstance(value, Tensor) and not _fits(value.shape, y.shape):
            raise ValueError(
                f"`{name}` must broadcast to the state {tuple(y.shape)}, got {tuple(value.shape)}. "
                "Give one value per mode, with leading axes of 1 or the batch."
            )


def _fits(shape: torch.Size, target: torch.Size) -> bool:
    """Whether `shape` broadcasts to `target` without enlarging it."""
    pairs = zip(reversed(shape), reversed(target), strict=False)
    return len(shape) <= len(target) and all(size in (1, wanted) for size, wanted in pairs)


def start_tables(term: SemiLinear) -> dict[Any, Any]:
    """Where this solve keeps its tables: with the term, or for itself when they carry a gradient."""
    if isinstance(term.linear, Tensor) and term.linear.requires_grad and torch.is_grad_enabled():
        return {}
    return term.tables


def _folded(tableau: ExponentialTableau, term: SemiLinear) -> Weighted | None:
    """The nonlinear part, where its symbol goes into the weights."""
    nonlinear = term.nonlinear
    if tableau.error is None and isinstance(nonlinear, Weighted) and nonlinear.is_constant:
        return nonlinear
    return None


def _table(
    tableau: ExponentialTableau,
    term: SemiLinear,
    folded: Weighted | None,
    dt: Time,
    y: Tensor,
    tables: dict[Any, Any],
) -> _Table:
    """The table for this step size, computed or remembered."""
    symbol = None if folded is None else folded.symbol
    if isinstance(dt, Tensor):
        return _build(tableau, term.linear, symbol, dt, y)
    dt = _named(dt)
    key = (id(tableau), dt, y.dtype, y.device, memory_order(y), _version(term.linear), _version(symbol))
    if key in tables:
        tables[key] = tables.pop(key)  # the one used last goes last
        return tables[key]
    # Kept tables may serve a training step after an evaluation in inference mode.
    with torch.inference_mode(False):
        linear = term.linear.clone() if isinstance(term.linear, Tensor) and term.linear.is_inference() else term.linear
        table = _build(tableau, linear, symbol, dt, y)
    _make_room(tables, table.nbytes)
    tables[key] = table
    return table


def _version(value: Any) -> int:
    """How often a tensor was changed in place; -1 where there is none that counts."""
    return value._version if isinstance(value, Tensor) and not value.is_inference() else -1


@functools.lru_cache(maxsize=1024)
def _named(dt: float) -> float:
    """The step size that a table is made of.

    Rounding of the grid must not make a new table for every step: 12 digits name a step size, and the table is made of
    those digits, so that it does not depend on which step asked first.
    """
    return float(f"{dt:.12e}")


def _make_room(tables: dict[Any, Any], nbytes: int) -> None:
    """Forget what was not used for longest."""
    most = max(_FEWEST_TABLES, min(_MOST_TABLES, _TABLE_MEMORY // max(nbytes, 1)))
    while len(tables) >= most:
        del tables[next(iter(tables))]


def _build(
    tableau: ExponentialTableau, linear: float | complex | Tensor, symbol: Tensor | None, dt: Time, y: Tensor
) -> _Table:
    def wide(value: Tensor) -> Tensor:
        return value.to(torch.complex128 if value.is_complex() else torch.float64)

    if not isinstance(linear, Tensor):
        linear = torch.tensor(linear, dtype=torch.complex128 if isinstance(linear, complex) else torch.float64)
    step = wide(dt) if isinstance(dt, Tensor) else dt
    z = (step * wide(linear)).to(y.device)
    factor = step if symbol is None else step * wide(symbol).to(y.device)
    order = memory_order(y)
    made: dict[Weight, Tensor] = {}

    def ready(weight: Weight) -> Tensor:
        if weight not in made:  # stages share weights
            made[weight] = in_order((factor * weight(z)).to(y.dtype), order)
        return made[weight]

    def rows(row: dict[int, Weight]) -> _Row:
        return tuple((j, ready(weight)) for j, weight in row.items())

    exponentials = {c: in_order(phi(0, c * z).to(y.dtype), order) for c in (*tableau.c[1:], 1.0)}
    return _Table(
        exponentials=tuple(exponentials[c] for c in (*tableau.c[1:], 1.0)),
        a=tuple(rows(row) for row in tableau.a),
        b=rows(tableau.b),
        error=rows(tableau.error or {}),
    )


def exponential_step(tableau: ExponentialTableau, term: SemiLinear, t0: Time, t1: Time, y: Tensor, carry: Any) -> Step:
    """One step of an explicit exponential Runge-Kutta method, or of a pair."""
    dt = t1 - t0
    tables, first = carry if tableau.reuses_last else (carry, None)
    folded = _folded(tableau, term)
    table = _table(tableau, term, folded, dt, y, tables)
    slopes = [_evaluate(term, folded, t0, y) if first is None else first]
    exponential, moved = None, y
    for c, own, row in zip(tableau.c[1:], table.exponentials, table.a, strict=False):
        if own is not exponential:
            exponential, moved = own, own * y
        time = t1 if c == 1.0 else t0 + c * dt
        slopes.append(_evaluate(term, folded, time, _combined(moved, row, slopes)))
    if table.exponentials[-1] is not exponential:
        moved = table.exponentials[-1] * y
    y1 = _combined(moved, table.b, slopes)
    if tableau.error is None:
        return Step(y=y1, error=None, dense=None, carry=tables, status=None)
    if tableau.reuses_last:
        slopes.append(_evaluate(term, folded, t1, y1))
        carry = (tables, slopes[-1])
    i, weight = table.error[0]
    error = _added(weight * slopes[i], table.error[1:], slopes)
    return Step(y=y1, error=error, dense=None, carry=carry, status=None)


def _combined(base: Tensor, row: _Row, slopes: list[Tensor]) -> Tensor:
    """base + sum of weights times slopes, in new memory."""
    j, weight = row[0]
    total = torch.addcmul(base, weight, slopes[j])
    return total if len(row) == 1 else _added(total, row[1:], slopes)


def _added(total: Tensor, row: _Row, slopes: list[Tensor]) -> Tensor:
    """More terms added to a total that nobody else holds: autograd keeps no sum, so that it may be overwritten.

    `torch.vmap` knows addcmul_ of one sample after the other only, and no target that lacks an axis.
    """
    add = torch.addcmul if is_transforming() else torch.Tensor.addcmul_
    for j, weight in row:
        total = add(total, weight, slopes[j])
    return total


def _evaluate(term: SemiLinear, folded: Weighted | None, t: Time, y: Tensor) -> Tensor:
    """N(t, y), or M(y) where the weights hold the rest."""
    if folded is None:
        real = real_dtype(y)
        time = t.to(real) if isinstance(t, Tensor) else torch.scalar_tensor(t, dtype=real, device=y.device)
        slope = term.nonlinear(time, y)
    else:
        slope = folded.map(y)
    if slope.shape != y.shape or slope.dtype != y.dtype:
        raise ValueError(
            f"`nonlinear` must return shape {tuple(y.shape)} and {y.dtype} like the state, got "
            f"{tuple(slope.shape)} and {slope.dtype}. Return the time derivative of every entry."
        )
    return slope
