"""Every equation that is not linear: the order of the default method in time. (Linear ones are exact for any step.)"""

import pytest
import torch

from sciml.pde import AbstractEquation, evolve
from tests.helpers import final_subclasses, order_table
from tests.problems import equation_problems, order_problems

PROBLEMS = equation_problems()
STEPS = (2, 4, 8, 16, 32, 64)


def test_every_equation_has_a_problem():
    """Those of `order_problems` are measured with every method in tests/contracts/test_methods.py."""
    measured = {type(problem[0]) for problem in (order_problems() | PROBLEMS).values()}
    assert measured == {cls for cls in final_subclasses(AbstractEquation) if cls.degree > 1}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_default_method_has_order_four(name):
    equation, grid, u0, end = PROBLEMS[name]
    reference = evolve(equation, grid, u0, torch.tensor([end]), dt=end / 256)

    def error(steps: int) -> float:
        u = evolve(equation, grid, u0, torch.tensor([end]), dt=end / steps, throw=False)
        return float((u - reference).norm() / reference.norm())

    assert order_table(f"ETDRK4 on {name}", error, STEPS) == pytest.approx(4, abs=0.2)
