"""Tsitouras' pair of orders 5 and 4."""

from dataclasses import dataclass
from typing import ClassVar, final

from sciml.integrate.methods.explicit_rk import AbstractExplicitRK
from sciml.integrate.methods.tableau import ButcherTableau

_B = (
    0.09646076681806523,
    0.01,
    0.4798896504144996,
    1.379008574103742,
    -3.290069515436081,
    2.324710524099774,
)
_TABLEAU = ButcherTableau(
    c=(0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0),
    a=(
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.02826905039406838),
        _B,
    ),
    b=(*_B, 0.0),
    order=5,
    error=(
        0.0017800110522257771,
        0.0008164344596567469,
        -0.007880878010261995,
        0.1447110071732629,
        -0.5823571654525552,
        0.458082105929187,
        -1 / 66,
    ),
    error_order=5,
    dense=(
        (1.0, -2.763706197274826, 2.9132554618219126, -1.0530884977290216),
        (0.0, 0.1317, -0.2234, 0.1017),
        (0.0, 3.9302962368947516, -5.941033872131505, 2.490627285651253),
        (0.0, -12.411077166933676, 30.33818863028232, -16.548102889244902),
        (0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928),
        (0.0, -27.896526289197286, 65.09189467479366, -34.87065786149661),
        (0.0, 1.5, -4.0, 2.5),
    ),
    dense_order=4,
)


@final
@dataclass(frozen=True)
class Tsit5(AbstractExplicitRK):
    """The first method to try on a problem that is not stiff, for tolerances of 1e-3 to 1e-8.

    Order 5 with an error estimate from order 4; six evaluations per step, as the last stage is the first of the next.
    Dense output of order 4 without further evaluations.

    Source: Tsitouras (2011), Comput. Math. Appl. 62, 770-775: the pair and its interpolant. What is printed there as
    the second weights is the difference from the first ones, and its last entry has the sign used here.
    """

    tableau: ClassVar[ButcherTableau] = _TABLEAU
    order: ClassVar[int] = 5
    stages: ClassVar[int] = 7
