"""Rosenbrock23: the pair of ode23s."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

from sciml.integrate.implicit import AbstractStructure, Auto
from sciml.integrate.methods.rosenbrock import AbstractRosenbrock
from sciml.integrate.methods.rosenbrock_tableau import RosenbrockTableau

_D = 1 / (2 + math.sqrt(2))
_E = 6 + math.sqrt(2)


@final
@dataclass(frozen=True)
class Rosenbrock23(AbstractRosenbrock):
    """The Rosenbrock method of order 2 by Shampine & Reichelt, L-stable, with an error estimate of order 3.

    In their words W = I - h d J, d = 1 / (2 + sqrt 2), e = 6 + sqrt 2, T = df/dt and F_0, F_1, F_2 = f at the
    beginning, the middle, the end,

        W k_1 = F_0 + h d T,    W (k_2 - k_1) = F_1 - k_1,    y1 = y0 + h k_2
        W k_3 = F_2 - e (k_2 - F_1) - 2 (k_1 - F_0) + h d T,    error = h (k_1 - 2 k_2 + k_3) / 6

    For stiff problems at loose tolerances, 1e-2 to 1e-4.

    Args:
        structure: what is known of the Jacobian; it must be exact.

    Source: Shampine & Reichelt (1997), SIAM J. Sci. Comput. 18, 1-22, section 3.
    """

    structure: AbstractStructure = Auto()

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 3
    tableau: ClassVar[RosenbrockTableau] = RosenbrockTableau(
        gamma=_D,
        a=((0.5 / _D,), (1 / _D, 1 / _D)),
        c=((-1 / _D,), (-2 / _D, -_E / _D)),
        m=(1 / _D, 1 / _D, 0.0),
        nodes=(0.0, 0.5, 1.0),
        drifts=(_D, 0.0, -_D),
        error=(1 / (6 * _D), (_E - 2) / (6 * _D), 1 / (6 * _D)),
        dense=((1 / _D, 0.0), (-2 / (1 - 2 * _D), 1 / (_D * (1 - 2 * _D))), (0.0, 0.0)),
        order=2,
        error_order=3,
        dense_order=2,
    )
