"""Radau IIA methods: collocation at the zeros of d^(s-1)/dx^(s-1) x^(s-1) (x - 1)^s, the last of which is the end.

Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.5, tables 5.5 and 5.6.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

from sciml.integrate.implicit import Newton
from sciml.integrate.methods.collocation import CollocationTableau
from sciml.integrate.methods.fully_implicit import AbstractFullyImplicit

_SIX = math.sqrt(6.0)


@final
@dataclass(frozen=True)
class RadauIIA3(AbstractFullyImplicit):
    """Radau IIA with two stages: order 3, L-stable, stiffly accurate; for loose tolerances.

    The error is that of a formula of order 2 over f(t0, y0) and both stages. A has no real eigenvalue, so that its
    filter is a system of its own, with gamma_0 = 1/sqrt(6), the modulus of both eigenvalues.

    Args:
        newton: how its equations are solved.
    """

    newton: Newton = Newton()
    tableau: ClassVar[CollocationTableau] = CollocationTableau((1 / 3, 1.0), order=3, filter_shift=1 / _SIX)
    order: ClassVar[int] = 3
    stages: ClassVar[int] = 2


@final
@dataclass(frozen=True)
class RadauIIA5(AbstractFullyImplicit):
    """Radau IIA with three stages: order 5, L-stable, stiffly accurate; for stiff problems at tight tolerances.

    The error is that of a formula of order 3 over f(t0, y0) and the stages, and exceeds that of the result by far.
    Dense output of order 3.

    Args:
        newton: how its equations are solved.
    """

    newton: Newton = Newton()
    tableau: ClassVar[CollocationTableau] = CollocationTableau(
        ((4 - _SIX) / 10, (4 + _SIX) / 10, 1.0),
        order=5,
        filter_shift=(6 + 81 ** (1 / 3) - 9 ** (1 / 3)) / 30,  # the real eigenvalue of A
    )
    order: ClassVar[int] = 5
    stages: ClassVar[int] = 3
