"""Every stochastic method: strong and weak orders as claimed for every structure and sense that it serves.

How they are measured stands in `tests/stochastic_orders.py`; `benchmarks/orders/stochastic.py` records the whole table.
"""

import pytest

from sciml.integrate import AbstractLangevin, AbstractStochastic
from tests.helpers import final_subclasses
from tests.stochastic_orders import (
    CASES,
    LANGEVIN,
    METHODS,
    exact_strong_order,
    langevin_strong_order,
    langevin_weak_order,
    strong_order,
    weak_orders,
)

QUICK = {
    "SRA1()-additive-ito",
    "AlongChords(method=RK4())-additive-ito",
    "EES25()-general-stratonovich",
}
"""Cases that run by default with fewer samples; the slow suite has all, with all."""
LONG = {"ReversibleHeun()-commutative-stratonovich", "ReversibleHeun()-general-stratonovich"}
"""Weak orders that are not measured by default: the state is a pair, on a torus."""
QUICK_EXACT = {"SRI2()-diagonal-ito", "StochasticHeun()-diagonal-stratonovich"}


def cases(quick: set[str] | None, structure: str | None = None) -> list[object]:
    """Cases for tests, slow ones marked unless all are quick."""
    return [
        pytest.param(case, id=case.name, marks=() if quick is None or case.name in quick else pytest.mark.slow)
        for case in CASES
        if structure is None or case.structure == structure
    ]


def test_every_method_has_a_case():
    found = final_subclasses(AbstractStochastic) | final_subclasses(AbstractLangevin)
    assert {type(method) for method in (*METHODS, *LANGEVIN)} == found
    assert {case.name for case in CASES} >= QUICK | QUICK_EXACT | LONG


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(None))
def test_strong_order_is_as_claimed(case):
    found = strong_order(case)
    print(f"\n{case.name}: strong order {found}")
    assert found.holds


@pytest.mark.parametrize("case", [case for case in CASES if case.name in QUICK], ids=lambda case: case.name)
def test_strong_order_is_as_claimed_with_few_samples(case):
    found = strong_order(case, samples=600)
    print(f"\n{case.name}: strong order {found}")
    assert found.holds


@pytest.mark.parametrize("case", cases(QUICK_EXACT, "diagonal"))
def test_strong_order_against_an_exact_solution_is_as_claimed(case):
    found = exact_strong_order(case.method, case.sense)
    print(f"\n{case.name}, geometric Brownian motion: strong order {found}")
    assert found.holds


@pytest.mark.parametrize("case", cases({case.name for case in CASES if case.name not in LONG}))
def test_weak_order_is_as_claimed(case):
    """The lowest of those measured: a linear equation does not show all errors, a circle not those of a linear part."""
    found = weak_orders(case)
    for each in found:
        print(f"\n{case.name}: weak order {each}")
    assert min(found, key=lambda each: each.slope).holds


@pytest.mark.parametrize("method", LANGEVIN, ids=repr)
def test_langevin_orders_are_as_claimed(method):
    strong, weak = langevin_strong_order(method), langevin_weak_order(method)
    print(f"\n{method!r}: strong order {strong}; weak order {weak}")
    assert strong.holds and weak.holds
