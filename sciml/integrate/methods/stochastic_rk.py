"""The engine of explicit Runge-Kutta methods for dy = f dt + g o dW in the sense of Stratonovich, with the increment W
and the space-time Levy area H of a step:

    Y_i = y0 + sum_(j<i) (a_ij h f_j + aw_ij g_j W + ah_ij g_j H),    f_j, g_j = f, g at (t0 + c_j h, Y_j)
    y1  = y0 + sum_i (b_i h f_i + bw_i g_i W + bh_i g_i H)

Where drift and diffusion have equal weights, h f_j + g_j W is made once and the method is that of the tableau for an
ODE along the path. Stages whose f or g has no weight are not evaluated.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

from sciml.integrate.flat import Flat
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import Row, StageTimes, advance, row_of, weighted_sum
from sciml.integrate.methods.stochastic import (
    AbstractStochastic,
    driven,
    increment,
    increment_with_area,
    scaled,
)
from sciml.integrate.noise import Stratonovich
from sciml.integrate.terms import SDE
from sciml.paths import NoArea, SpaceTime

Weights = tuple[float, ...]
Rows = tuple[Weights, ...]
_TOLERANCE = 1e-12


@final
@dataclass(frozen=True)
class StochasticTableau:
    """Weights of a stochastic Runge-Kutta method; rows of `a`, `aw`, `ah` belong to the second stage and later ones.

    Args:
        c: nodes, c[0] = 0.
        a, b: weights of h f.
        aw, bw: weights of g W; None: as those of h f.
        ah, bh: weights of g H; None: no areas are used.
        error, error_w, error_h: weights of the error estimate, or None.
        commuting: claimed strong order for noise that commutes.
        additive: claimed strong order for additive noise.

    Raises:
        ValueError: unless the conditions for the orders claimed hold: those of the expansion in W, h and H that are
            linear in f, and of g alone.

    Source: conditions by comparison of the Stratonovich-Taylor expansions, Kloeden & Platen (1992), (10.4) and (10.5),
        with the integrals over s dW = h (W/2 - H) and W ds = h (W/2 + H).
    """

    c: Weights
    a: Rows
    b: Weights
    aw: Rows | None = None
    bw: Weights | None = None
    ah: Rows | None = None
    bh: Weights | None = None
    error: Weights | None = None
    error_w: Weights | None = None
    error_h: Weights | None = None
    commuting: float = 1.0
    additive: float = 1.0

    def __post_init__(self) -> None:
        for name, have, want in self._conditions():
            if abs(have - want) > _TOLERANCE:
                raise ValueError(f"stochastic tableau: {name} must be {want:g}, got {have:g}.")

    def _conditions(self) -> list[tuple[str, float, float]]:
        rows_w, bw = self.aw or self.a, self.bw or self.b
        rows_h, bh = self.ah or tuple((0.0,) * len(row) for row in self.a), self.bh or (0.0,) * len(self.b)
        w, h = (tuple([0.0, *(sum(row) for row in rows)]) for rows in (rows_w, rows_h))
        sums = tuple([0.0, *(sum(row) for row in self.a)])
        found = [(f"row sum {i} of a", sums[i], c) for i, c in enumerate(self.c)]
        found += [("sum b", sum(self.b), 1.0), ("sum bw", sum(bw), 1.0), ("sum bh", sum(bh), 0.0)]
        found += [("b c", _dot(self.b, self.c), 0.5)]
        if self.commuting >= 1.0:
            found += [("bw aw", _dot(bw, w), 0.5), ("bh ah", _dot(bh, h), 0.0)]
            found += [("bw ah + bh aw", _dot(bw, h) + _dot(bh, w), 0.0)]
        if max(self.commuting, self.additive) >= 1.5:
            found += [("b aw", _dot(self.b, w), 0.5), ("b ah", _dot(self.b, h), 1.0)]
            second = tuple(x * x + y * y / 12 for x, y in zip(w, h, strict=True))
            found += [("b (aw² + ah²/12)", _dot(self.b, second), 0.5)]  # the mean of f'' over the noise
            found += [("bw c", _dot(bw, self.c), 0.5), ("bh c", _dot(bh, self.c), -1.0)]
        if self.commuting >= 1.5:
            twice = (0.0, *(_dot(row, w) for row in rows_w))
            found += [("bw aw²", _dot(bw, tuple(x * x for x in w)), 1 / 3), ("bw aw aw", _dot(bw, twice), 1 / 6)]
        return found


def _dot(left: Weights, right: Weights) -> float:
    return sum(x * y for x, y in zip(left, right, strict=False))


class _Stage(NamedTuple):
    """How a stage is made, and which of h f + g W, h f, g W and g H it leaves behind."""

    c: float
    row: Row
    together: bool
    f: bool
    w: bool
    h: bool


class AbstractStochasticRK(AbstractStochastic):
    """An explicit stochastic Runge-Kutta method. A final subclass gives its tableau, orders and number of stages."""

    tableau: ClassVar[StochasticTableau]
    senses = (Stratonovich,)
    _plan: ClassVar[tuple[_Stage, ...]]
    _end: ClassVar[Row]
    _error: ClassVar[Row]
    _nodes: ClassVar[Weights]
    _areas: ClassVar[bool]

    def __init_subclass__(cls) -> None:
        tableau = getattr(cls, "tableau", None)
        if tableau is None:
            return
        cls.has_error, cls._areas = tableau.error is not None, tableau.ah is not None
        cls.levy = SpaceTime() if cls._areas else NoArea()
        cls._nodes = tuple(dict.fromkeys(node for node in tableau.c if node not in (0.0, 1.0)))
        cls._plan, cls._end, cls._error = _planned(tableau)

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        times, product = StageTimes(t0, t1, y, self._nodes), term.structure.times
        if self._areas:
            w, area = increment_with_area(self, term, t0, t1)
        else:
            w, area = increment(term, t0, t1).w, None
        parts: list[Flat] = []
        for stage in self._plan:
            t, point = times(stage.c), advance(y, 1.0, stage.row, parts)
            g: Any = term.g(t, point) if stage.together or stage.w or stage.h else None
            if stage.together:
                parts.append(driven(term.f(t, point), times.size, product(g, w)))
            if stage.f:
                parts.append(scaled(term.f(t, point), times.size))
            if stage.w:
                parts.append(product(g, w))
            if stage.h:
                parts.append(product(g, area))  # type: ignore[arg-type]
        error = weighted_sum(1.0, self._error, parts) if self._error else None
        return Step(advance(y, 1.0, self._end, parts), error, None, (), None)


def _planned(tableau: StochasticTableau) -> tuple[tuple[_Stage, ...], Row, Row]:
    """Stages, and the sums that make the end and the error, over the parts that stages leave behind."""
    together = tableau.aw is None and tableau.bw is None
    kinds = [("f", tableau.a, tableau.b, tableau.error)]
    if not together:
        kinds.append(("w", tableau.aw or tableau.a, tableau.bw or tableau.b, tableau.error_w or tableau.error))
    if tableau.ah is not None:
        kinds.append(("h", tableau.ah, tableau.bh or (0.0,) * len(tableau.b), tableau.error_h))
    places: list[tuple[str, int]] = []
    stages: list[_Stage] = []
    for i, c in enumerate(tableau.c):
        row = row_of(tuple(_weight(rows[i - 1], j) for kind, rows, j in _parts(kinds, places))) if i else None
        used = {kind: any(_weight(column, i) for column in (*rows[i:], b, e or ())) for kind, rows, b, e in kinds}
        f, w, h = (used.get(kind, False) for kind in "fwh")
        stages.append(_Stage(c, row, together and f, not together and f, w, h))
        places += [(kind, i) for kind, *_ in kinds if used[kind]]
    ends = {kind: (b, e or ()) for kind, _, b, e in kinds}
    end = row_of(tuple(_weight(ends[kind][0], i) for kind, i in places))
    error = row_of(tuple(_weight(ends[kind][1], i) for kind, i in places))
    return tuple(stages), end, error


def _parts(kinds: list[Any], places: list[tuple[str, int]]) -> list[tuple[str, Rows, int]]:
    rows = {kind: rows for kind, rows, *_ in kinds}
    return [(kind, rows[kind], i) for kind, i in places]


def _weight(row: Weights, j: int) -> float:
    return row[j] if j < len(row) else 0.0
