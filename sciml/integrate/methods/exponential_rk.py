"""The engine of exponential Runge-Kutta methods for dy/dt = L y + N(t, y):

    Y_i = exp(c_i h L) y + h sum_j a_ij(h L) N(t + c_j h, Y_j)
    y1  = exp(h L) y     + h sum_i b_i(h L)  N(t + c_i h, Y_i)

The weights are combinations of phi functions. They are computed once per step size in double precision, with the
imaginary part of L kept, multiplied by h and cast to the state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sciml.core import State
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.phi import phi
from sciml.integrate.terms import AbstractTerm, SemiLinear

Weight = Callable[[Tensor], Tensor]
"""A function of z = h L."""
_KEPT_TABLES = 16


@final
@dataclass(frozen=True)
class ExponentialTableau:
    """Nodes and weights of an explicit exponential Runge-Kutta method; zero weights are left out.

    Args:
        c: nodes, c[0] = 0.
        a: row i holds the weights of stage i + 1 as {j: a_ij}.
        b: weights of the result as {i: b_i}.
        order: classical order, whose conditions up to 3 are checked here at z = 0.

    Raises:
        ValueError: unless sum_j a_ij(z) = c_i phi_1(c_i z), sum_i b_i(z) = phi_1(z), and the order conditions hold.

    Source: Hochbruck & Ostermann (2010), Acta Numerica 19, eq. (2.35)-(2.36) and table 2.1.
    """

    c: tuple[float, ...]
    a: tuple[dict[int, Weight], ...]
    b: dict[int, Weight]
    order: int

    def __post_init__(self) -> None:
        z = torch.tensor([0.0, -0.7, -30.0, 2.0j, -3.0 + 40.0j], dtype=torch.complex128)
        for row, c in zip(self.a, self.c[1:], strict=True):
            self._check(_total(row, z), c * phi(1, c * z), f"row sum of the stage at c={c}")
        self._check(_total(self.b, z), phi(1, z), "sum of b")
        zero = torch.zeros((), dtype=torch.float64)
        b = {i: float(weight(zero)) for i, weight in self.b.items()}
        a = {(i + 1, j): float(w(zero)) for i, row in enumerate(self.a) for j, w in row.items()}
        conditions = [
            (2, "sum b c = 1/2", sum(b[i] * self.c[i] for i in b), 1 / 2),
            (3, "sum b c^2 = 1/3", sum(b[i] * self.c[i] ** 2 for i in b), 1 / 3),
            (3, "sum b a c = 1/6", sum(b.get(i, 0.0) * w * self.c[j] for (i, j), w in a.items()), 1 / 6),
        ]
        for order, text, have, want in conditions:
            if order <= self.order:
                self._check(torch.tensor(have), torch.tensor(want), text)

    @staticmethod
    def _check(have: Tensor, want: Tensor, what: str) -> None:
        wide = torch.complex128
        if not torch.allclose(have.to(wide), want.to(wide), rtol=1e-7, atol=1e-7):
            raise ValueError(f"exponential tableau: {what} must be {want.tolist()}, got {have.tolist()}.")


def _total(row: dict[int, Weight], z: Tensor) -> Tensor:
    total = torch.zeros_like(z)
    for weight in row.values():
        total = total + weight(z)
    return total


@final
@dataclass(frozen=True)
class _Table:
    """exp(c_i h L) and h-scaled weights, ready to multiply the state."""

    exponentials: tuple[Tensor, ...]
    a: tuple[dict[int, Tensor], ...]
    b: dict[int, Tensor]


class AbstractExponentialRK(AbstractMethod):
    """An explicit exponential Runge-Kutta method. A final subclass gives its tableau, order and number of stages."""

    tableau: ClassVar[ExponentialTableau]

    def init(self, term: AbstractTerm, t0: Time, y0: State) -> Any:
        """Check the term and find the tables; see `AbstractMethod.init`."""
        check_semilinear(type(self).__name__, term, y0)
        return start_tables(term)  # type: ignore[arg-type]

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
    if isinstance(linear, Tensor) and not _fits(linear.shape, y.shape):
        raise ValueError(
            f"`linear` must broadcast to the state {tuple(y.shape)}, got {tuple(linear.shape)}. "
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


def _table(tableau: ExponentialTableau, term: SemiLinear, dt: Time, y: Tensor, tables: dict[Any, Any]) -> _Table:
    """The table for this step size, computed or remembered."""
    if isinstance(dt, Tensor):
        return _build(tableau, term.linear, dt, y)
    # Rounding of the grid must not make a new table for every step: 12 digits name a step size, and the table is
    # made of those digits, so that it does not depend on which step asked first.
    dt = float(f"{dt:.12e}")
    counted = isinstance(term.linear, Tensor) and not term.linear.is_inference()
    version = term.linear._version if counted else 0  # type: ignore[union-attr]
    key = (id(tableau), dt, y.dtype, y.device, version)
    if key not in tables:
        while len(tables) >= _KEPT_TABLES:
            del tables[next(iter(tables))]
        # Kept tables may serve a training step after an evaluation in inference mode.
        with torch.inference_mode(False):
            linear = term.linear
            kept = linear.clone() if isinstance(linear, Tensor) and linear.is_inference() else linear
            tables[key] = _build(tableau, kept, dt, y)
    return tables[key]


def _build(tableau: ExponentialTableau, linear: float | complex | Tensor, dt: Time, y: Tensor) -> _Table:
    def wide(value: Tensor) -> Tensor:
        return value.to(torch.complex128 if value.is_complex() else torch.float64)

    if not isinstance(linear, Tensor):
        linear = torch.tensor(linear, dtype=torch.complex128 if isinstance(linear, complex) else torch.float64)
    step = wide(dt) if isinstance(dt, Tensor) else dt
    z = (step * wide(linear)).to(y.device)

    def ready(weight: Tensor) -> Tensor:
        return weight.to(y.dtype)

    return _Table(
        exponentials=tuple(ready(phi(0, c * z)) for c in (*tableau.c[1:], 1.0)),
        a=tuple({j: ready(step * w(z)) for j, w in row.items()} for row in tableau.a),
        b={i: ready(step * w(z)) for i, w in tableau.b.items()},
    )


def exponential_step(
    tableau: ExponentialTableau, term: SemiLinear, t0: Time, t1: Time, y: Tensor, tables: dict[Any, Any]
) -> Step:
    """One step of an explicit exponential Runge-Kutta method."""
    dt = t1 - t0
    table = _table(tableau, term, dt, y, tables)
    slopes = [_evaluate(term, t0, y)]
    moved: dict[float, Tensor] = {}  # exp(c h L) y, shared by stages of equal c
    for i, c in enumerate(tableau.c[1:]):
        if c not in moved:
            moved[c] = table.exponentials[i] * y
        stage = _combine(moved[c], table.a[i], slopes)
        slopes.append(_evaluate(term, t0 + c * dt, stage))
    end = moved[1.0] if 1.0 in moved else table.exponentials[-1] * y
    y1 = _combine(end, table.b, slopes)
    return Step(y=y1, error=None, dense=None, carry=tables, status=None)


def _combine(base: Tensor, weights: dict[int, Tensor], slopes: list[Tensor]) -> Tensor:
    for j, weight in weights.items():
        base = torch.addcmul(base, weight, slopes[j])
    return base


def _evaluate(term: SemiLinear, t: Time, y: Tensor) -> Tensor:
    real = y.real.dtype if y.is_complex() else y.dtype
    time = t.to(real) if isinstance(t, Tensor) else torch.full((), t, dtype=real, device=y.device)
    slope = term.nonlinear(time, y)
    if slope.shape != y.shape or slope.dtype != y.dtype:
        raise ValueError(
            f"`nonlinear` must return shape {tuple(y.shape)} and {y.dtype} like the state, got "
            f"{tuple(slope.shape)} and {slope.dtype}. Return the time derivative of every entry."
        )
    return slope
