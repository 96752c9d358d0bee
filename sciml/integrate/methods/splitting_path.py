"""Stratonovich methods that use the space-time Levy area H of a step.

They are Runge-Kutta methods along a piecewise linear path that has the increment and the area of W.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

from sciml.integrate.methods.stochastic import Orders
from sciml.integrate.methods.stochastic_rk import AbstractStochasticRK, StochasticTableau

_OUTER, _INNER = (3 - math.sqrt(3)) / 6, math.sqrt(3) / 3
_SPARK = StochasticTableau(
    c=(0.0, 0.5, 1.0),
    a=((0.5,), (0.0, 1.0)),
    b=(_OUTER, _INNER, _OUTER),
    ah=((math.sqrt(3),), (0.0, 0.0)),
    bh=(1.0, 0.0, -1.0),
    error=(_OUTER - 0.5, _INNER, _OUTER - 0.5),
    error_h=(1.0, 0.0, -1.0),
    additive=1.5,
)
_GENERAL_SHARK = StochasticTableau(
    c=(0.0, 0.0, 5 / 6),
    a=((0.0,), (0.0, 5 / 6)),
    b=(0.0, 0.4, 0.6),
    ah=((1.0,), (1.0, 0.0)),
    bh=(0.0, 1.2, -1.2),
    additive=1.5,
)
_SLOWRK = StochasticTableau(
    c=(0.0, 0.5, 0.5, 0.5, 0.5, 0.75, 1.0),
    a=((0.5,), (0.5,), (0.5,), (0.5,), (0.75,), (1.0,)),
    b=(1 / 3, 0.0, 0.0, 0.0, 0.0, 2 / 3, 0.0),
    aw=((0.0,), (0.0, 0.5), (0.0, 0.0, 0.5), (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 0.75), (0.0, 0.0, 0.5)),
    bw=(0.0, 1 / 6, 1 / 3, 1 / 3, 1 / 6, 0.0, 0.0),
    ah=((0.0,), (0.0,), (0.0,), (0.0,), (0.0, 0.0, 0.0, 1.5), (0.0,)),
    bh=(0.0, 0.0, 0.0, 2.0, 0.0, 0.0, -2.0),
    commuting=1.5,
    additive=1.5,
)


@final
@dataclass(frozen=True)
class SPaRK(AbstractStochasticRK):
    """Splitting-path Runge-Kutta: three evaluations of f and g per step, with an embedded error estimate.

    In the sense of Stratonovich: strong order 1/2, 1 for noise that commutes, 3/2 for additive noise. The error is the
    difference from Heun's rule along the same path, of order h, for noise that commutes h^(3/2).

    Source: Foster (2023), "On the convergence of adaptive approximations for stochastic differential equations", arXiv
    2311.14201, definition 1.6.
    """

    tableau: ClassVar[StochasticTableau] = _SPARK
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 3
    error_order: ClassVar[float] = 1
    strong = Orders(0.5, 1.0, 1.5)
    weak = Orders(1.0, 1.0, 2.0)


@final
@dataclass(frozen=True)
class GeneralShARK(AbstractStochasticRK):
    """`ShARK` for any noise: two evaluations of f and three of g per step, no error estimate.

    In the sense of Stratonovich: strong order 1/2, 1 for noise that commutes, 3/2 for additive noise.

    Source: Foster, dos Reis & Strange (2024), "High order splitting methods for SDEs satisfying a commutativity
    condition", SIAM J. Numer. Anal. 62, arXiv 2210.17543, (6.1).
    """

    tableau: ClassVar[StochasticTableau] = _GENERAL_SHARK
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 3
    strong = Orders(0.5, 1.0, 1.5)
    weak = Orders(1.0, 1.0, 2.0)


@final
@dataclass(frozen=True)
class SlowRK(AbstractStochasticRK):
    """Strong order 3/2 for all noise that commutes: two evaluations of f and five of g per step, no error estimate.

    In the sense of Stratonovich; strong order 1/2 for general noise.

    Source: Foster, dos Reis & Strange (2024), "High order splitting methods for SDEs satisfying a commutativity
    condition", SIAM J. Numer. Anal. 62, arXiv 2210.17543, (6.2).
    """

    tableau: ClassVar[StochasticTableau] = _SLOWRK
    order: ClassVar[int] = 2
    stages: ClassVar[int] = 5
    strong = Orders(0.5, 1.5, 1.5)
    weak = Orders(1.0, 2.0, 2.0)
