"""Implicit methods of orders 1 and 2."""

import math
from dataclasses import dataclass
from typing import final

from sciml.integrate.implicit import Newton
from sciml.integrate.methods.dirk import AbstractDIRK
from sciml.integrate.methods.dirk_tableau import DIRKTableau

_SDIRK = 1 - math.sqrt(0.5)
_TR = 2 - math.sqrt(2.0)


@final
@dataclass(frozen=True)
class BackwardEuler(AbstractDIRK):
    """y1 = y0 + h f(t1, y1): order 1, L-stable, monotone on decaying problems.

    The error estimate is the difference from the trapezoidal rule. Between steps serves the line through both states.

    Args:
        newton: how the equations are solved.

    Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.3.
    """

    newton: Newton = Newton()

    order = 1
    stages = 2
    tableau = DIRKTableau(
        c=(0.0, 1.0),
        a=((0.0,), (0.0, 1.0)),
        b=(0.0, 1.0),
        order=1,
        error=(-0.5, 0.5),
        error_order=2,
        filtered=True,
    )


@final
@dataclass(frozen=True)
class Trapezoid(AbstractDIRK):
    """y1 = y0 + h (f(t0, y0) + f(t1, y1)) / 2: order 2, A-stable, |R| = 1 on the imaginary axis and at infinity.

    Components that decay fast are not damped but change their sign each step. The error estimate is the difference from
    backward Euler, of order h²: careful for tolerances below 1e-4; TRBDF2 takes larger steps.

    Args:
        newton: how the equations are solved.

    Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.3.
    """

    newton: Newton = Newton()

    order = 2
    stages = 2
    tableau = DIRKTableau(
        c=(0.0, 1.0),
        a=((0.0,), (0.5, 0.5)),
        b=(0.5, 0.5),
        order=2,
        error=(0.5, -0.5),
        error_order=2,
        filtered=True,
    )


@final
@dataclass(frozen=True)
class ImplicitMidpoint(AbstractDIRK):
    """y1 = y0 + h f(t0 + h/2, (y0 + y1) / 2): order 2, A-stable, symplectic, keeps quadratic invariants.

    No error estimate. Between steps serves the line through both states.

    Args:
        newton: how the equations are solved.

    Source: Hairer, Lubich & Wanner (2006), Geometric Numerical Integration, II.1.
    """

    newton: Newton = Newton()

    order = 2
    stages = 1
    tableau = DIRKTableau(c=(0.5,), a=((0.5,),), b=(1.0,), order=2)


@final
@dataclass(frozen=True)
class SDIRK2(AbstractDIRK):
    """Alexander's two implicit stages: order 2, L-stable, stiffly accurate.

    The slope at t0, known from the step before, serves dense output and error estimate, which is the second difference
    of the slopes at t0, t0 + gamma h and t1 with the weight that makes b - error integrate parabolas.

    Args:
        newton: how the equations are solved.

    Source: Alexander (1977), SIAM J. Numer. Anal. 14, 1006-1021, theorem 5 (method); the estimate is ours.
    """

    newton: Newton = Newton()

    order = 2
    stages = 3
    tableau = DIRKTableau(
        c=(0.0, _SDIRK, 1.0),
        a=((0.0,), (0.0, _SDIRK), (0.0, 1 - _SDIRK, _SDIRK)),
        b=(0.0, 1 - _SDIRK, _SDIRK),
        order=2,
        error=tuple(
            ((1 - _SDIRK) * _SDIRK**2 + _SDIRK - 1 / 3) * w
            for w in (1 / _SDIRK, -1 / (_SDIRK * (1 - _SDIRK)), 1 / (1 - _SDIRK))
        ),
        error_order=3,
        filtered=True,
    )


@final
@dataclass(frozen=True)
class TRBDF2(AbstractDIRK):
    """A trapezoidal step to t0 + (2 - sqrt(2)) h, then BDF2 to t1: order 2, L-stable, stiffly accurate.

    The error is estimated by a third-order formula, filtered by the matrix of the stages.

    Args:
        newton: how the equations are solved.

    Source: Hosea & Shampine (1996), Appl. Numer. Math. 20, 21-37, sections 2 and 5.
    """

    newton: Newton = Newton()

    order = 2
    stages = 3
    tableau = DIRKTableau(
        c=(0.0, _TR, 1.0),
        a=((0.0,), (_TR / 2, _TR / 2), (math.sqrt(2) / 4, math.sqrt(2) / 4, _TR / 2)),
        b=(math.sqrt(2) / 4, math.sqrt(2) / 4, _TR / 2),
        order=2,
        error=(
            math.sqrt(2) / 4 - (1 - math.sqrt(2) / 4) / 3,
            math.sqrt(2) / 4 - (3 * math.sqrt(2) / 4 + 1) / 3,
            _TR / 2 - _TR / 6,
        ),
        error_order=3,
        filtered=True,
    )
