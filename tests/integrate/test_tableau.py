"""Butcher tableaus: every one proves its orders when built, and every wrong coefficient is refused by name."""

import math
from dataclasses import replace

import pytest

from sciml.integrate.methods.bosh3 import Bosh3
from sciml.integrate.methods.dopri5 import Dopri5
from sciml.integrate.methods.dopri8 import Dopri8
from sciml.integrate.methods.low_order import RK4, SSPRK3, Euler, Heun, Midpoint, Ralston, ThreeEighths
from sciml.integrate.methods.tableau import ButcherTableau, rooted_trees
from sciml.integrate.methods.tsit5 import Tsit5
from sciml.integrate.methods.vern7 import Vern7

# order, stages, error_order, dense_order, further stages, whether the last stage is the first of the next step
TABLEAUS = {
    Euler: (1, 1, 0, 0, 0, False),
    Midpoint: (2, 2, 2, 0, 0, False),
    Heun: (2, 2, 2, 0, 0, False),
    Ralston: (2, 2, 2, 0, 0, False),
    SSPRK3: (3, 3, 3, 0, 0, False),
    RK4: (4, 4, 0, 0, 0, False),
    ThreeEighths: (4, 4, 0, 0, 0, False),
    Bosh3: (3, 4, 3, 0, 0, True),
    Dopri5: (5, 7, 5, 4, 0, True),
    Tsit5: (5, 7, 5, 4, 0, True),
    Vern7: (7, 10, 7, 6, 3, False),
    Dopri8: (8, 13, 6, 7, 3, True),
}
METHODS = pytest.mark.parametrize("method", TABLEAUS, ids=lambda method: method.__name__)
WITH_ERROR = pytest.mark.parametrize("method", [m for m in TABLEAUS if TABLEAUS[m][2]], ids=lambda m: m.__name__)
WITH_DENSE = pytest.mark.parametrize("method", [m for m in TABLEAUS if TABLEAUS[m][3]], ids=lambda m: m.__name__)


def nudged(values: tuple, i: int, by: float = 1e-7) -> tuple:
    """The tuple with entry i changed a little; of a tuple of rows, the first entry of row i."""
    new = nudged(values[i], 0, by) if isinstance(values[i], tuple) else values[i] + by
    return (*values[:i], new, *values[i + 1 :])


def test_rooted_trees_are_counted():
    """Source: OEIS A000081."""
    sizes = [tree.nodes for tree in rooted_trees(8)]
    assert [sizes.count(n) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]
    assert len({tree.text for tree in rooted_trees(8)}) == len(sizes)


def test_densities_of_known_trees():
    density = {tree.text: tree.density for tree in rooted_trees(6)}
    assert density["[[[[[.]]]]]"] == math.factorial(6)
    assert density["[.....]"] == 6
    assert density["[.[.]]"] == 8
    assert density["[[.][.]]"] == 20


@METHODS
def test_tableau_is_as_stated(method):
    tableau = method.tableau
    have = (
        tableau.order,
        tableau.stages,
        tableau.error_order,
        tableau.dense_order,
        len(tableau.dense_c),
        tableau.fsal,
    )
    assert have == TABLEAUS[method]
    assert (method.order, method.stages) == (tableau.order, tableau.stages)


@METHODS
def test_stated_order_is_the_highest(method):
    with pytest.raises(ValueError, match=f"the sum of b over the tree .* of order {method.order + 1} must be"):
        replace(method.tableau, order=method.order + 1)


@WITH_ERROR
def test_stated_error_order_is_exact(method):
    tableau = method.tableau
    with pytest.raises(ValueError, match=f"the sum of b - error over the tree .* of order {tableau.error_order} must"):
        replace(tableau, error_order=tableau.error_order + 1)
    with pytest.raises(ValueError, match="the error estimate must not vanish at error_order="):
        replace(tableau, error_order=tableau.error_order - 1)


@WITH_DENSE
def test_stated_dense_order_is_the_highest(method):
    tableau = method.tableau
    assert tableau.dense is not None
    higher = tableau.dense_order + 1
    longer = tuple((*row, 0.0) for row in tableau.dense)
    with pytest.raises(ValueError, match=f"in dense on the tree .* of order {higher} must be"):
        replace(tableau, dense=longer, dense_order=higher)


@METHODS
def test_wrong_weight(method):
    with pytest.raises(ValueError, match=r"the sum of b over the tree \. of order 1 must be 1, got 1\.0000001"):
        replace(method.tableau, b=nudged(method.tableau.b, 0))


@METHODS
def test_wrong_node(method):
    with pytest.raises(ValueError, match=r"c\[0\] must be 0, got 1e-07"):
        replace(method.tableau, c=nudged(method.tableau.c, 0))
    for i in range(1, method.stages):
        with pytest.raises(ValueError, match=f"the row sum of stage {i}, as its node c, must be"):
            replace(method.tableau, c=nudged(method.tableau.c, i))


@METHODS
def test_wrong_stage_weight(method):
    for i in range(method.stages - 1):
        with pytest.raises(ValueError, match=f"the row sum of stage {i + 1}, as its node c, must be"):
            replace(method.tableau, a=nudged(method.tableau.a, i))


def test_wrong_weights_of_right_sum():
    b = nudged(nudged(RK4.tableau.b, 0), 1, -1e-7)
    with pytest.raises(ValueError, match=r"the sum of b over the tree \[\.\] of order 2 must be 0\.5, got 0\.49999995"):
        replace(RK4.tableau, b=b)


def test_wrong_stage_weights_of_right_sum():
    a = ((1 / 2,), (1e-7, 1 / 2 - 1e-7), (0.0, 0.0, 1.0))
    with pytest.raises(ValueError, match=r"the sum of b over the tree \[\[\.\]\] of order 3 must be 0\.166"):
        replace(RK4.tableau, a=a)


@WITH_ERROR
def test_wrong_error(method):
    with pytest.raises(ValueError, match=r"the sum of b - error over the tree \. of order 1 must be 1, got 0\.999999"):
        replace(method.tableau, error=nudged(method.tableau.error, 0))


@WITH_ERROR
def test_error_that_is_none(method):
    with pytest.raises(ValueError, match="the error estimate must not vanish"):
        replace(method.tableau, error=(0.0,) * method.stages)


@WITH_DENSE
def test_wrong_dense(method):
    with pytest.raises(ValueError, match=r"the coefficient of theta\^1 in dense on the tree \. of order 1 must be 1,"):
        replace(method.tableau, dense=nudged(method.tableau.dense, 0))
    row = nudged(method.tableau.dense[3], 1)
    dense = (*method.tableau.dense[:3], row, *method.tableau.dense[4:])
    with pytest.raises(ValueError, match=r"the coefficient of theta\^2 in dense on the tree \. of order 1 must be 0,"):
        replace(method.tableau, dense=dense)


@pytest.mark.parametrize("method", [Vern7, Dopri8], ids=lambda method: method.__name__)
def test_wrong_dense_stage(method):
    tableau = method.tableau
    for i in range(len(tableau.dense_c)):
        match = f"the row sum of stage {tableau.stages + i}, as its node c, must be"
        with pytest.raises(ValueError, match=match):
            replace(tableau, dense_a=nudged(tableau.dense_a, i))
        with pytest.raises(ValueError, match=match):
            replace(tableau, dense_c=nudged(tableau.dense_c, i))


def test_dense_that_does_not_end_at_the_result():
    line = ((1.0,), (0.0,))
    with pytest.raises(ValueError, match="dense at theta = 1, as b, of stage 0 must be 0.5, got 1"):
        replace(Heun.tableau, dense=line, dense_order=1)


def test_nan_is_refused():
    with pytest.raises(ValueError, match=r"the sum of b over the tree \. of order 1 must be 1, got nan"):
        ButcherTableau(c=(0.0,), a=(), b=(math.nan,), order=1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"order": 0}, "`order > 0` must be True, got False"),
        ({"b": (1.0,)}, "the length of b must be 7, got 1"),
        ({"a": Dopri5.tableau.a[:-1]}, "the number of rows of a must be 6, got 5"),
        (
            {"a": (*Dopri5.tableau.a[:-1], (1.0,))},
            r"the lengths of the rows of a and dense_a must be \[1, 2, 3, 4, 5, 6\]",
        ),
        ({"dense_a": ((1.0,),)}, "the number of rows of dense_a must be 0, got 1"),
        ({"error": (1.0,)}, "the length of error must be 7, got 1"),
        ({"error": None}, "`error_order > 0`, true with an error only, must be False, got True"),
        ({"dense": None}, "`dense_order > 0`, true with a dense only, must be False, got True"),
        ({"dense_order": 0}, "`dense_order > 0`, true with a dense only, must be True, got False"),
        ({"dense": ((1.0, 0.0), (0.0,))}, "the lengths of the rows of dense must be"),
        ({"dense_order": 5}, "dense_order, at most the powers in dense, must be 5, got 4"),
        (
            {"dense": None, "dense_order": 0, "dense_c": (1.0,), "dense_a": (Dopri5.tableau.b,)},
            "the length of dense_c without dense must be 0, got 1",
        ),
    ],
)
def test_lengths_must_fit(change, match):
    with pytest.raises(ValueError, match=match):
        replace(Dopri5.tableau, **change)
