"""Gauss-Legendre methods: collocation at the zeros of the Legendre polynomials on [0, 1].

They are symplectic and symmetric, conserve quadratic invariants to rounding where Newton's tolerance does, and are
A-stable but not L-stable: very stiff parts oscillate instead of vanishing. The formulas over their stages and f(t0, y0)
are of order s + 1 at most, far below 2 s, so that no error estimate is claimed: take fixed steps, which symplectic
methods need anyway. `StepDoubling` estimates errors of smooth solutions, but not of stiff parts, which one step and two
half steps multiply by nearly the same number of modulus 1.

Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.5, tables 5.1 and 5.2; Hairer, Lubich &
Wanner (2006), Geometric Numerical Integration, IV.2.1 (quadratic invariants).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

from sciml.integrate.implicit import Newton
from sciml.integrate.methods.collocation import CollocationTableau
from sciml.integrate.methods.fully_implicit import AbstractFullyImplicit


@final
@dataclass(frozen=True)
class GaussLegendre4(AbstractFullyImplicit):
    """Two stages: order 4, symplectic, A-stable. Dense output of order 2.

    Args:
        newton: how its equations are solved.
    """

    newton: Newton = Newton()
    tableau: ClassVar[CollocationTableau] = CollocationTableau(
        (0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6), order=4
    )
    order: ClassVar[int] = 4
    stages: ClassVar[int] = 2


@final
@dataclass(frozen=True)
class GaussLegendre6(AbstractFullyImplicit):
    """Three stages: order 6, symplectic, A-stable. Dense output of order 3.

    Args:
        newton: how its equations are solved.
    """

    newton: Newton = Newton()
    tableau: ClassVar[CollocationTableau] = CollocationTableau(
        (0.5 - math.sqrt(15) / 10, 0.5, 0.5 + math.sqrt(15) / 10), order=6
    )
    order: ClassVar[int] = 6
    stages: ClassVar[int] = 3
