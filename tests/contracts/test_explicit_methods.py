"""Every explicit method for dy/dt = f(t, y): order, order of the dense output and of the error estimate, tolerances.

Orders are measured on autonomous, non-autonomous, complex and purely oscillating problems with exact solutions, on
equal and on unequal steps.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sciml import integrate
from sciml.integrate import (
    ODE,
    PID,
    RK4,
    SSPRK3,
    AbstractDIRK,
    AbstractFullyImplicit,
    AbstractLangevin,
    AbstractMethod,
    AbstractStochastic,
    Adams,
    AdamsBashforth,
    Bosh3,
    Dopri5,
    Dopri8,
    Euler,
    Heun,
    Midpoint,
    Ralston,
    StepDoubling,
    ThreeEighths,
    Tsit5,
    Vern7,
    solve,
)
from sciml.integrate.methods.bdf import AbstractBDF
from sciml.integrate.methods.exponential_rk import AbstractExponentialRK
from sciml.integrate.methods.rosenbrock import AbstractRosenbrock
from sciml.integrate.methods.tableau import elementary_weights, rooted_trees
from tests.helpers import final_subclasses, order_table
from tests.orders import errors, unequal
from tests.problems import ExactProblem, ode_problems

PROBLEMS = ode_problems()
METHODS: list[AbstractMethod] = [
    Euler(),
    Midpoint(),
    Heun(),
    Ralston(),
    SSPRK3(),
    RK4(),
    ThreeEighths(),
    Bosh3(),
    Dopri5(),
    Tsit5(),
    Vern7(),
    Dopri8(),
    StepDoubling(Euler()),
    StepDoubling(SSPRK3()),
    StepDoubling(RK4()),
    StepDoubling(Bosh3()),
    AdamsBashforth(3),
    AdamsBashforth(5),
    Adams(2),
    Adams(4),
    Adams(5),
]
"""One case or more per class."""
MULTISTEP: list[AbstractMethod] = [
    *(AdamsBashforth(k) for k in (1, 2, 4, 6)),
    *(Adams(k) for k in (3, 6, 7)),
]
"""Further orders, measured on the oscillator. Those above 7 reach rounding before the slope shows;
`tests/integrate/test_adams.py` proves their orders by polynomials."""
OTHER_FILES: tuple[type, ...] = (
    AbstractExponentialRK,
    AbstractDIRK,
    AbstractFullyImplicit,
    AbstractRosenbrock,
    AbstractBDF,
    AbstractLangevin,
    AbstractStochastic,
)
"""Interfaces whose cases stand in another file of this folder."""
OTHER_NAMES = {"Reversibly"}
"""Classes with cases of their own elsewhere, by name."""
HALVINGS = 5
MANY_STEPS = (Adams, AdamsBashforth)
SMALL_LEADING_TERMS = (Dopri5, Tsit5, Vern7, Dopri8)
"""Their errors of order p + 1 were made so small that on smooth problems the next ones rule until rounding does. The
measured order must not be below the claim; that it is not above is proved from the coefficients."""


def name_of(method: AbstractMethod) -> str:
    return repr(method).replace("()", "").replace("method=", "").replace("order=", "")


METHOD = pytest.mark.parametrize("method", METHODS, ids=name_of)
WITH_ERROR = pytest.mark.parametrize("method", [m for m in METHODS if m.has_error], ids=name_of)


def step_counts(method: AbstractMethod) -> list[int]:
    """Five halvings, with errors in the asymptotic range."""
    few = 4 if isinstance(method, (Vern7, Dopri8)) else 8
    if isinstance(method, MANY_STEPS) and method.order > 2:
        few = 32 if method.order == 3 else 16
    return [few * 2**i for i in range(HALVINGS + 1)]


def interval(method: AbstractMethod, problem: ExactProblem) -> ExactProblem:
    """Low orders are measured on the first part, to come into the asymptotic range with few steps."""
    share = {1: 0.03, 2: 0.3}.get(method.order, 1.0)
    return replace(problem, t1=problem.t0 + share * (problem.t1 - problem.t0))


def check_order(method: AbstractMethod, found: float, expected: int, *, dense: bool) -> None:
    """Within 0.2; more for methods with small leading terms, upwards, and of orders 7 and 8 downwards between steps,
    where rounding comes before the slope."""
    inner = method.method if isinstance(method, StepDoubling) else method
    slack = 0.7 if dense and isinstance(inner, (Vern7, Dopri8)) else 0.2
    assert expected - slack < found
    assert found < expected + 0.2 or isinstance(inner, SMALL_LEADING_TERMS)


def check_orders(method: AbstractMethod, name: str, *, dense: bool, even: bool = True) -> None:
    """Print the tables and compare the orders with the claim."""
    problem, counts = interval(method, PROBLEMS[name]), step_counts(method)
    grids = {n: torch.linspace(problem.t0, problem.t1, n + 1) if even else unequal(problem, n) for n in counts}
    found = {n: errors(method, problem, grid, dense=dense) for n, grid in grids.items()}
    label = f"{name_of(method)} on {name}, {'equal' if even else 'unequal'} steps"
    order = order_table(label, lambda n: found[n]["end"], counts)
    check_order(method, order, method.order, dense=False)
    if dense:
        # The error within a step is made once, that of the steps adds up: one power of h less is needed.
        expected = min(method.order, method.dense_order + 1)
        order = order_table(f"{label}, between", lambda n: found[n]["dense"], counts)
        check_order(method, order, expected, dense=True)


def test_every_method_has_a_case():
    found = {
        cls
        for cls in final_subclasses(AbstractMethod)
        if cls.__module__.startswith("sciml.integrate") and cls.__name__ in integrate.__all__
    }
    others = {cls for cls in found if issubclass(cls, OTHER_FILES) or cls.__name__ in OTHER_NAMES}
    assert {type(method) for method in METHODS} == found - others


@pytest.mark.parametrize("method", SMALL_LEADING_TERMS, ids=lambda m: m.__name__)
def test_order_of_small_leading_terms_is_no_higher(method):
    tableau = method.tableau
    a = np.zeros((tableau.stages, tableau.stages))
    for i, row in enumerate(tableau.a):
        a[i + 1, : len(row)] = row
    left = elementary_weights(a, method.order + 1) @ np.array(tableau.b)
    wanted = np.array([1 / tree.density for tree in rooted_trees(method.order + 1)])
    assert 1e-7 < np.abs(left - wanted).max() < 1e-2


def case(method: AbstractMethod, problem: str) -> Any:
    """What takes longest runs on two problems by default, and on all in the slow suite."""
    long = isinstance(method, (*MANY_STEPS, StepDoubling)) and problem in ("autonomous", "complex")
    marks = (pytest.mark.slow,) if long else ()
    return pytest.param(method, problem, marks=marks, id=f"{name_of(method)}-{problem}")


@pytest.mark.parametrize(("method", "problem"), [case(method, problem) for problem in PROBLEMS for method in METHODS])
def test_order_is_as_stated(method, problem):
    check_orders(method, problem, dense=False)


@METHOD
def test_orders_of_states_and_dense_output_on_unequal_steps(method):
    check_orders(method, "non_autonomous", dense=True, even=False)


@pytest.mark.parametrize("method", MULTISTEP, ids=name_of)
def test_orders_of_multistep_methods(method):
    check_orders(method, "oscillator", dense=True, even=True)


@WITH_ERROR
def test_error_estimate_has_its_order(method):
    problem = PROBLEMS["non_autonomous"]
    many, term = isinstance(method, MANY_STEPS), ODE(problem.f)

    def estimate(n: int) -> float:
        """In the first step, or in the last one before 0.5 where steps before it count."""
        h, y = (0.5 if many else 1.0) / n, problem.at(problem.t0)
        carry = method.init(term, problem.t0, y)
        for i in range(n if many else 1):
            step = method.step(term, problem.t0 + i * h, problem.t0 + (i + 1) * h, y, carry)
            y, carry = step.y, step.carry
        return float(step.error.norm())

    counts = [8 * 2**i for i in range(5)]
    found = {n: estimate(n) for n in counts}
    usable = [n for n in counts if found[n] >= 1e-13]
    slope = math.log2(found[usable[-2]] / found[usable[-1]])
    print(f"\n{name_of(method)}: error estimate of order {slope:.2f}, stated {method.error_order}")
    assert slope == pytest.approx(method.error_order, abs=0.25)


@WITH_ERROR
def test_error_follows_the_tolerance(method):
    problem = PROBLEMS["non_autonomous"]
    tolerances = (1e-3, 1e-4, 1e-5) if method.order <= 2 else (1e-4, 1e-6, 1e-8)
    found = []
    for tolerance in tolerances:
        control = PID(rtol=tolerance, atol=tolerance)
        y1 = solve(ODE(problem.f), method, problem.at(problem.t0), problem.t0, problem.t1, control=control).ys
        found.append(float((y1 - problem.at(problem.t1)).abs().max()))
    slope = math.log(found[0] / found[-1]) / math.log(tolerances[0] / tolerances[-1])
    print(f"\n{name_of(method)}: errors {found} at {tolerances}, power {slope:.2f}")
    assert found[0] > found[1] > found[2]
    # Without local extrapolation the error of a step is controlled, which is h times that of the solution.
    power = method.order / method.error_order
    assert 0.7 * power < slope < 1.4 * power
    assert found[-1] < 50 * tolerances[-1] ** power


@pytest.mark.parametrize("method,name", [(Dopri5(), "RK45"), (Dopri8(), "DOP853")], ids=["RK45", "DOP853"])
def test_as_accurate_as_scipy(method, name):
    """The same pairs: RK45 step for step. SciPy's DOP853 mixes two estimates into a smaller one: larger steps."""
    peers = pytest.importorskip("scipy.integrate", reason="SciPy (extra `dev`) is not installed")
    problem = PROBLEMS["non_autonomous"]
    y0, exact = problem.at(problem.t0)[:1], problem.at(problem.t1)[0].numpy()

    def field(t: float, y: np.ndarray) -> np.ndarray:
        return problem.f(torch.tensor(t), torch.from_numpy(y)[None])[0].numpy()

    for rtol in (1e-6, 1e-7, 1e-8, 1e-9):
        peer = peers.solve_ivp(field, (problem.t0, problem.t1), y0[0].numpy(), method=name, rtol=rtol, atol=rtol)
        ours = solve(ODE(problem.f), method, y0, problem.t0, problem.t1, control=PID(rtol=rtol, atol=rtol))
        ratio = float(np.abs(ours.ys[0].numpy() - exact).max() / np.abs(peer.y[:, -1] - exact).max())
        evaluations = int(ours.stats.evaluations[0])
        print(f"\n{name} rtol {rtol:g}: error {ratio:.2f} of SciPy's, evaluations {evaluations} to {peer.nfev}")
        assert ratio < 5
        if name == "RK45":
            assert ratio > 0.2 and abs(evaluations - peer.nfev) <= 0.05 * peer.nfev
        else:
            assert evaluations <= 2.5 * peer.nfev
