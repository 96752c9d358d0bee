"""Every method: its order on every kind of linear part, and exactness for constant N."""

import pytest
import torch

from sciml.integrate import ETD1, ETD2RK, ETD3RK, ETD32, ETD43, ETDRK4, Fixed, SemiLinear, solve
from sciml.integrate.methods.exponential_rk import AbstractExponentialRK, ExponentialTableau
from sciml.integrate.phi import phi
from sciml.pde import evolve
from tests.helpers import final_subclasses, order_table
from tests.problems import order_problems

METHODS = [ETD1(), ETD2RK(), ETD3RK(), ETDRK4(), ETD32(), ETD43()]
PROBLEMS = order_problems()
STEPS = {
    "ETD1": (64, 128, 256, 512, 1024, 2048),
    "ETD2RK": (16, 32, 64, 128, 256, 512),
    "ETD3RK": (8, 16, 32, 64, 128, 256),
    "ETDRK4": (4, 8, 16, 32, 64, 128),
    "ETD32": (8, 16, 32, 64, 128, 256),
    "ETD43": (4, 8, 16, 32, 64, 128),
}
REFERENCE_STEPS = 1024


@pytest.fixture(scope="module")
def references():
    torch.set_default_dtype(torch.float64)
    return {
        name: evolve(equation, grid, u0, torch.tensor([end]), dt=end / REFERENCE_STEPS)
        for name, (equation, grid, u0, end) in PROBLEMS.items()
    }


def test_every_method_has_a_case():
    assert {type(method) for method in METHODS} == final_subclasses(AbstractExponentialRK)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_order_is_as_stated(method, problem, references):
    equation, grid, u0, end = PROBLEMS[problem]
    reference = references[problem]

    def error(steps: int) -> float:
        u = evolve(equation, grid, u0, torch.tensor([end]), dt=end / steps, method=method)
        return float((u - reference).norm() / reference.norm())

    name = type(method).__name__
    assert order_table(f"{name} on {problem}", error, STEPS[name]) == pytest.approx(method.order, abs=0.2)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_exact_for_constant_nonlinearity(method):
    linear = torch.tensor([0.0, -3.0, -40.0, 2j, -1 + 7j], dtype=torch.complex128)
    source = torch.tensor([1.0, 2.0, 3.0, -1.0, 0.5], dtype=torch.complex128)
    y0 = torch.ones(1, 5, dtype=torch.complex128)
    y1 = solve(SemiLinear(linear, lambda t, y: source + 0 * y), method, y0, 0.0, 1.5, control=Fixed(n=2)).ys
    exact = torch.exp(1.5 * linear) * y0 + 1.5 * phi(1, 1.5 * linear) * source
    assert torch.allclose(y1, exact, rtol=1e-13, atol=1e-13)


def test_a_wrong_tableau_does_not_build():
    with pytest.raises(ValueError, match="sum of b must be"):
        ExponentialTableau(c=(0.0,), a=(), b={0: lambda z: phi(2, z)}, order=1)
    with pytest.raises(ValueError, match=r"row sum of the stage at c=1.0"):
        ExponentialTableau(c=(0.0, 1.0), a=({0: lambda z: phi(2, z)},), b={0: lambda z: phi(1, z)}, order=1)
    with pytest.raises(ValueError, match="sum of b c.1 must be"):
        ExponentialTableau(c=(0.0, 1.0), a=({0: lambda z: phi(1, z)},), b={0: lambda z: phi(1, z)}, order=2)
