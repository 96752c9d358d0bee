"""Every diagonally implicit method: orders, stiff order, stability, tolerances.

Orders are measured on problems with exact solutions as those of the explicit methods are.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sciml.integrate import (
    ODE,
    PID,
    SDIRK2,
    TRBDF2,
    AbstractDIRK,
    BackwardEuler,
    Fixed,
    ImplicitMidpoint,
    KenCarp3,
    KenCarp4,
    KenCarp5,
    Kvaerno3,
    Kvaerno4,
    Kvaerno5,
    Split,
    StepDoubling,
    Trapezoid,
    solve,
)
from tests.helpers import final_subclasses, order_table
from tests.orders import errors, unequal
from tests.problems import ExactProblem, ode_problems

PROBLEMS = ode_problems()
METHODS: list[AbstractDIRK] = [
    BackwardEuler(),
    Trapezoid(),
    ImplicitMidpoint(),
    SDIRK2(),
    TRBDF2(),
    Kvaerno3(),
    Kvaerno4(),
    Kvaerno5(),
    KenCarp3(),
    KenCarp4(),
    KenCarp5(),
]
"""One case per class."""
A_STABLE_ONLY = (Trapezoid, ImplicitMidpoint)
STIFF_ORDERS = {kind: 1 if kind in (BackwardEuler, SDIRK2) else 2 for kind in map(type, METHODS)}
"""Powers of h where h lambda is large: the orders of the stages. Stiffly accurate methods win a factor 1 / lambda."""


def name_of(method: AbstractDIRK) -> str:
    return type(method).__name__


METHOD = pytest.mark.parametrize("method", METHODS, ids=name_of)
WITH_ERROR = pytest.mark.parametrize("method", [m for m in METHODS if m.has_error], ids=name_of)
IMEX = pytest.mark.parametrize("method", [m for m in METHODS if m.tableau.explicit is not None], ids=name_of)


def interval(method: AbstractDIRK, problem: ExactProblem) -> ExactProblem:
    """Low orders are measured on the first part, to come into the asymptotic range with few steps."""
    share = {1: 0.03, 2: 0.2, 3: 0.12, 4: 0.15, 5: 0.12}[method.order]
    return replace(problem, t1=problem.t0 + share * (problem.t1 - problem.t0))


def test_every_method_has_a_case():
    assert {type(method) for method in METHODS} == final_subclasses(AbstractDIRK)


FAST = ("non_autonomous", "complex")
"""The other problems are in the slow suite."""


def check_order(method: AbstractDIRK, problem: str, *, even: bool) -> None:
    """Print the tables and compare the orders with the claim."""
    exact, few = interval(method, PROBLEMS[problem]), 2 if method.order > 3 else 4
    counts = [few * 2**i for i in range(5)]
    grids = {n: torch.linspace(exact.t0, exact.t1, n + 1) if even else unequal(exact, n) for n in counts}
    with torch.no_grad():
        found = {n: errors(method, exact, grid, dense=not even) for n, grid in grids.items()}
    order = order_table(f"{name_of(method)} on {problem}", lambda n: found[n]["end"], counts)
    assert order == pytest.approx(method.order, abs=0.2)
    if not even:
        expected = min(method.order, method.dense_order + 1)
        order = order_table(f"{name_of(method)} on {problem}, between", lambda n: found[n]["dense"], counts)
        assert order == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(
    "problem", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in PROBLEMS]
)
@METHOD
def test_order_is_as_stated(method, problem):
    check_order(method, problem, even=True)


@METHOD
def test_orders_of_states_and_dense_output_on_unequal_steps(method):
    check_order(method, "non_autonomous", even=False)


@IMEX
def test_order_with_an_explicit_partner(method):
    problem = replace(PROBLEMS["non_autonomous"], t1=0.7)

    def implicit(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.stack([-(y[:, 0] ** 3), y[:, 0] - 2 * y[:, 1]], dim=1)

    term = Split(lambda t, y: problem.f(t, y) - implicit(t, y), implicit)

    def error(n: int) -> float:
        with torch.no_grad():
            y1 = solve(term, method, problem.at(0.0), 0.0, problem.t1, control=Fixed(n=n)).ys
        return float((y1 - problem.at(problem.t1)).norm())

    order = order_table(f"{name_of(method)}, split", error, [4, 8, 16, 32, 64])
    assert order == pytest.approx(method.order, abs=0.25)


@WITH_ERROR
def test_error_estimate_has_its_order(method):
    problem = PROBLEMS["non_autonomous"]
    term, y0 = ODE(problem.f), problem.at(0.0)

    def estimate(n: int) -> float:
        step = method.step(term, 0.0, 1.0 / n, y0, method.init(term, 0.0, y0))
        return float(step.error.norm())

    found = {n: estimate(n) for n in (16, 32, 64, 128, 256)}
    usable = [n for n in found if found[n] >= 1e-11]
    slope = math.log2(found[usable[-2]] / found[usable[-1]])
    print(f"\n{name_of(method)}: error estimate of order {slope:.2f}, stated {method.error_order}")
    assert slope == pytest.approx(method.error_order, abs=0.25)


# Stiffness


LAMBDA = -1e6


def prothero_robinson(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """y' = lambda (y - cos t) - sin t, whose solution from 1 is cos t."""
    return LAMBDA * (y - torch.cos(t)) - torch.sin(t)


@METHOD
def test_stiff_order(method):
    """On Prothero and Robinson's problem an order of the stages, not of the method, is seen at h |lambda| >> 1."""

    def error(n: int) -> float:
        with torch.no_grad():
            y1 = solve(ODE(prothero_robinson), method, torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=n)).ys
        return abs(float(y1) - math.cos(1.0))

    counts = (4, 8, 16, 32, 64)
    found = {n: error(n) for n in counts}
    order = math.log(found[8] / found[64]) / math.log(8)
    print(f"\n{name_of(method)}: stiff errors {found}, order {order:.2f}")
    assert order == pytest.approx(STIFF_ORDERS[type(method)], abs=0.2)
    assert found[64] < 1e-3


@METHOD
def test_stability_is_as_claimed(method):
    tableau = method.tableau
    axis = np.concatenate([np.linspace(0, 50, 501), np.logspace(2, 5, 60)])
    assert max(abs(tableau.stability(1j * x)) for x in axis) <= 1 + 1e-10
    assert max(abs(tableau.stability(-x)) for x in axis) <= 1 + 1e-10
    at_infinity = abs(tableau.stability(-1e8))
    one = 1.0 if isinstance(method, A_STABLE_ONLY) else 0.0
    assert at_infinity == pytest.approx(one, abs=2e-7)
    # One real step at h lambda = -1e8.
    step = solve(ODE(lambda t, y: -1e8 * y), method, torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=1))
    assert abs(float(step.ys)) == pytest.approx(one, abs=1e-6)


@IMEX
def test_stiff_parts_of_a_split_are_damped(method):
    term = Split(lambda t, y: -torch.sin(t) * torch.ones_like(y), lambda t, y: LAMBDA * (y - torch.cos(t)))
    y1 = solve(term, method, torch.full((1, 1), 3.0), 0.0, 1.0, control=PID(rtol=1e-6, atol=1e-6)).ys
    assert abs(float(y1) - math.cos(1.0)) < 1e-5


@WITH_ERROR
def test_error_follows_the_tolerance_on_a_stiff_problem(method):
    """A decay to a curve, 1e4 times faster than the curve changes, then along it."""

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        goal = torch.cos(3 * t)
        return -1e4 * (y**3 - goal**3) / (1 + y * y) - 3 * torch.sin(3 * t)

    tolerances = (1e-2, 1e-3, 1e-4) if method.order <= 2 else (1e-3, 1e-5, 1e-7)
    found = []
    for tolerance in tolerances:
        control = PID(rtol=tolerance, atol=tolerance)
        with torch.no_grad():
            y1 = solve(ODE(field), method, torch.full((1, 1), 2.0), 0.0, 0.3, control=control).ys
        found.append(abs(float(y1) - math.cos(0.9)))
    print(f"\n{name_of(method)}: errors {found} at {tolerances}")
    assert found[-1] < found[0]
    assert all(error < 3 * tolerance for error, tolerance in zip(found, tolerances, strict=True))


def test_steps_without_an_error_estimate_are_doubled():
    method = StepDoubling(ImplicitMidpoint())
    problem = PROBLEMS["non_autonomous"]
    y1 = solve(ODE(problem.f), method, problem.at(0.0), 0.0, 1.0, control=PID(rtol=1e-5, atol=1e-5)).ys
    assert float((y1 - problem.at(1.0)).norm()) < 1e-3


# Tableaus


def test_tableaus_are_checked():
    good = TRBDF2.tableau
    with pytest.raises(ValueError, match="the row sum of stage 1"):
        replace(good, c=(0.0, 0.5, 1.0))
    with pytest.raises(ValueError, match="the sum of b over the tree"):
        replace(good, b=(0.3, 0.4, 0.3))
    with pytest.raises(ValueError, match="the sum of b - error over the tree"):
        replace(good, error=(0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="the error estimate must not vanish at error_order=2"):
        replace(good, error_order=2)
    with pytest.raises(ValueError, match="the count of numbers on the diagonal"):
        replace(good, a=((0.0,), good.a[1], (*good.a[2][:-1], 0.2)))
    imex = KenCarp3.tableau
    assert imex.explicit is not None
    rows = [list(row) for row in imex.explicit]
    rows[-1][0] += 1e-3
    rows[-1][1] -= 1e-3
    with pytest.raises(ValueError, match=r"the sum of b .*over the tree \[.*E"):
        replace(imex, explicit=tuple(map(tuple, rows)))
