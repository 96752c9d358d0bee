"""The methods by the names torchdiffeq gives them; those that differ from ours are defined here.

Adams-Bashforth and Adams-Moulton integrate the polynomial through the last k slopes f_n, f_(n-1), ... (and f_(n+1)):

    y_(n+1) = y_n + h sum_j b_j f_(n-j),    b_j = int_0^1 prod_(m != j) (s + m)/(m - j) ds

with coefficients of equal steps.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sciml.integrate import AbstractMethod, Bosh3, Dopri5, Dopri8, Euler, Heun, Midpoint, Step, ThreeEighths, Tsit5
from sciml.integrate.flat import Flat
from sciml.integrate.methods.base import Time
from sciml.integrate.methods.explicit_rk import AbstractExplicitRK
from sciml.integrate.methods.tableau import ButcherTableau


@final
@dataclass(frozen=True)
class Dopri5Shampine(AbstractExplicitRK):
    """Dormand & Prince's method with another embedded method of order 4, whose last weight is 1/60.

    Source: Shampine (1986), Math. Comp. 46, 135-150.
    """

    tableau: ClassVar[ButcherTableau] = replace(
        Dopri5.tableau,
        error=(
            35 / 384 - 1951 / 21600,
            0.0,
            500 / 1113 - 22642 / 50085,
            125 / 192 - 451 / 720,
            -2187 / 6784 + 12231 / 42400,
            11 / 84 - 649 / 6300,
            -1 / 60,
        ),
    )
    order: ClassVar[int] = 5
    stages: ClassVar[int] = 7


@final
@dataclass(frozen=True)
class Heun3(AbstractExplicitRK):
    """Heun's method of order 3.

    Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, table 1.1 of chapter II.
    """

    tableau: ClassVar[ButcherTableau] = ButcherTableau(
        c=(0.0, 1 / 3, 2 / 3), a=((1 / 3,), (0.0, 2 / 3)), b=(1 / 4, 0.0, 3 / 4), order=3
    )
    order: ClassVar[int] = 3
    stages: ClassVar[int] = 3


@final
@dataclass(frozen=True)
class Fehlberg2(AbstractExplicitRK):
    """Fehlberg's pair of orders 2 and 1.

    Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, section II.4; Fehlberg (1969),
    NASA TR R-315.
    """

    tableau: ClassVar[ButcherTableau] = ButcherTableau(
        c=(0.0, 1 / 2, 1.0),
        a=((1 / 2,), (1 / 256, 255 / 256)),
        b=(1 / 512, 255 / 256, 1 / 512),
        order=2,
        error=(-1 / 512, 0.0, 1 / 512),
        error_order=2,
    )
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 3


@final
@dataclass(frozen=True, eq=False)
class Adams(AbstractMethod):
    """Adams methods whose order grows with the history; the 3/8 rule starts them.

    torchdiffeq uses the coefficients of equal steps on every grid. Here unequal steps start anew with the 3/8 rule
    instead, so that the order is kept.

    Args:
        implicit: correct the explicit step by functional iteration of Adams-Moulton.
        max_order: one more than the number of slopes that are used, at most 12.
        max_iters: iterations of the corrector.
        rtol, atol: change of the step, relative and absolute, below which the corrector has converged.
    """

    order: ClassVar[int] = 4
    stages: ClassVar[int] = 1
    implicit: bool
    max_order: int
    max_iters: int
    rtol: float | Tensor
    atol: float | Tensor

    def init(self, term: Any, t0: Time, y0: Flat) -> Any:
        """No history; see `AbstractMethod.init`."""
        return (), None

    def step(self, term: Any, t0: Time, t1: Time, y: Any, carry: Any) -> Step:
        """One step; the carry is the history of slopes and the last step size."""
        history, before = carry
        h = t1 - t0
        size = float(h.detach()) if isinstance(h, Tensor) else h
        slope = term.f(as_time(t0, y), y)
        if before is not None and abs(size - before) > 1e-3 * abs(before):
            history = ()
        history = (slope, *history)[: self.max_order - 1]
        if len(history) < 3:
            change = ThreeEighths().step(term, t0, t1, y, ()).y - y
        else:
            change = _combined(_bashforth(len(history)), history) * h
            if self.implicit:
                change, converged = self._corrected(term, t1, y, change, history, h)
                history = history if converged else history[:-1]
        return Step(y + change, None, (slope,), (history, size), None)

    def _corrected(self, term: Any, t1: Time, y: Tensor, change: Tensor, history: Any, h: Time) -> tuple[Tensor, bool]:
        first, *rest = _moulton(len(history) + 1)
        known = _combined(tuple(rest), history) * h
        for _ in range(self.max_iters):
            old, change = change, known + term.f(as_time(t1, y), y + change) * (h * first)
            allowed = self.atol + self.rtol * torch.maximum(old.abs(), change.abs())
            if bool(((old - change).abs() < allowed).all()):
                return change, True
        warnings.warn(
            f"the Adams corrector did not converge in {self.max_iters} iterations. Take smaller steps.", stacklevel=2
        )
        return change, False


def as_time(t: Time, y: Tensor) -> Tensor:
    """A time as fields get it."""
    return torch.as_tensor(t, device=y.device).to(y.dtype.to_real())


def _combined(weights: tuple[float, ...], slopes: tuple[Tensor, ...]) -> Tensor:
    return sum(slope * weight for weight, slope in zip(weights, slopes, strict=True))  # type: ignore[return-value]


@cache
def _bashforth(count: int) -> tuple[float, ...]:
    return _weights(tuple(range(0, -count, -1)))


@cache
def _moulton(count: int) -> tuple[float, ...]:
    return _weights(tuple(range(1, 1 - count, -1)))


def _weights(nodes: tuple[int, ...]) -> tuple[float, ...]:
    """Integrals over [0, 1] of the Lagrange polynomials of the nodes."""
    weights = []
    for j in nodes:
        polynomial = [Fraction(1)]  # coefficients of 1, s, s², ...
        for m in nodes:
            if m != j:
                shifted = [Fraction(0), *polynomial]
                polynomial = [(a - m * b) / (j - m) for a, b in zip(shifted, [*polynomial, Fraction(0)], strict=True)]
        weights.append(float(sum(a / (k + 1) for k, a in enumerate(polynomial))))
    return tuple(weights)


ADAPTIVE: dict[str, Callable[[], AbstractMethod]] = {
    "dopri8": Dopri8,
    "dopri5": Dopri5Shampine,
    "tsit5": Tsit5,
    "bosh3": Bosh3,
    "fehlberg2": Fehlberg2,
    "adaptive_heun": Heun,
}
FIXED: dict[str, Callable[[], AbstractMethod]] = {
    "euler": Euler,
    "midpoint": Midpoint,
    "heun2": Heun,
    "heun3": Heun3,
    "rk4": ThreeEighths,
}
ADAMS = {"explicit_adams": False, "implicit_adams": True, "fixed_adams": True}
NAMES = (*ADAPTIVE, *FIXED, *ADAMS)
REFUSED = ("scipy_solver",)
