"""Kvaerno's methods: an explicit first stage, then stages with one gamma, the last two at t1.

Both the result and the solution it is compared with are stiffly accurate, so that the estimate needs no filter.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from sciml.integrate.implicit import Newton
from sciml.integrate.methods.dirk import AbstractDIRK
from sciml.integrate.methods.dirk_tableau import DIRKTableau


def _tableau(c: tuple[float, ...], a: tuple[tuple[float, ...], ...], order: int) -> DIRKTableau:
    """The last stage is the result, the one before it what it is compared with."""
    error = tuple(x - y for x, y in zip(a[-1], (*a[-2], 0.0), strict=True))
    return DIRKTableau(c=c, a=a, b=a[-1], order=order, error=error, error_order=order)


def _third(g: float) -> DIRKTableau:
    """Of any gamma; L-stable for a root of 6 g³ - 18 g² + 9 g - 1."""
    third = ((-4 * g**2 + 6 * g - 1) / (4 * g), (1 - 2 * g) / (4 * g), g)
    last = ((6 * g - 1) / (12 * g), -1 / ((24 * g - 12) * g), (-6 * g**2 + 6 * g - 1) / (6 * g - 3), g)
    return _tableau((0.0, 2 * g, 1.0, 1.0), ((0.0,), (g, g), third, last), 3)


def _fourth(g: float) -> DIRKTableau:
    """Of any gamma; L-stable for a root of 24 g⁴ - 96 g³ + 72 g² - 16 g + 1."""

    def p(*coefficients: float) -> float:
        return float(np.polyval(coefficients, g))

    m, n, k = p(12, -6, 1), p(12, -9, 2), p(3, -1)
    third = (p(144, -180, 81, -15, 1) * g / m**2, p(-36, 39, -15, 2) * g / m**2, g)
    fourth = (
        p(-144, 396, -330, 117, -18, 1) / (12 * g**2 * n),
        p(72, -126, 69, -15, 1) / (12 * g**2 * k),
        p(-6, 6, -1) * m**2 / (12 * g**2 * n * k),
        g,
    )
    last = (
        p(288, -312, 120, -18, 1) / (48 * g**2 * n),
        p(24, -12, 1) / (48 * g**2 * k),
        -(m**3) / (48 * g**2 * k * n * p(6, -6, 1)),
        p(-24, 36, -12, 1) / p(24, -24, 4),
        g,
    )
    return _tableau((0.0, 2 * g, sum(third), 1.0, 1.0), ((0.0,), (g, g), third, fourth, last), 4)


@final
@dataclass(frozen=True)
class Kvaerno3(AbstractDIRK):
    """Order 3 with an estimate of order h³: four stages, L-stable, stiffly accurate, stage order 2.

    Args:
        newton: how the equations are solved.

    Source: Kvaerno (2004), BIT Numer. Math. 44, 489-502, method 3/2.
    """

    newton: Newton = Newton()

    order = 3
    stages = 4
    tableau = _third(0.43586652150845899942)


@final
@dataclass(frozen=True)
class Kvaerno4(AbstractDIRK):
    """Order 4 with an estimate of order h⁴: five stages, L-stable, stiffly accurate, stage order 2.

    Args:
        newton: how the equations are solved.

    Source: Kvaerno (2004), BIT Numer. Math. 44, 489-502, method 4/3.
    """

    newton: Newton = Newton()

    order = 4
    stages = 5
    tableau = _fourth(0.57281606248213)


@final
@dataclass(frozen=True)
class Kvaerno5(AbstractDIRK):
    """Order 5 with an estimate of order h⁵: seven stages, L-stable, stiffly accurate, stage order 2.

    A stage lies behind t1, at t0 + 1.23 h.

    Args:
        newton: how the equations are solved.

    Source: Kvaerno (2004), BIT Numer. Math. 44, 489-502, method 5/4.
    """

    newton: Newton = Newton()

    order = 5
    stages = 7
    tableau = _tableau(
        (0.0, 0.52, 1.230333209967908, 0.8957659843500759, 0.43639360985864756, 1.0, 1.0),
        (
            (0.0,),
            (0.26, 0.26),
            (0.13, 0.84033320996790809, 0.26),
            (0.22371961478320505, 0.47675532319799699, -0.06470895363112615, 0.26),
            (0.16648564323248321, 0.10450018841591720, 0.03631482272098715, -0.13090704451073998, 0.26),
            (0.13855640231268224, 0.0, -0.04245337201752043, 0.02446657898003141, 0.61943039072480676, 0.26),
            (
                0.13659751177640291,
                0.0,
                -0.05496908796538376,
                -0.04118626728321046,
                0.62993304899016403,
                0.06962479448202728,
                0.26,
            ),
        ),
        5,
    )
