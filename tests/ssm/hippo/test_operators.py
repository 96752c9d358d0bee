"""Every operator: its bases are biorthogonal, and its A and B are what their derivation says."""

import math

import mpmath
import pytest
import torch
from torch import Tensor

from sciml.ssm.hippo import LMU, AbstractOperator, Chebyshev, FouT, LagT, LegS, LegT
from sciml.ssm.hippo.polynomials import gauss_legendre, legendre
from tests.helpers import final_subclasses

OPERATORS = [
    LegS(),
    LegT(),
    LegT(window=2.0),
    LMU(),
    LMU(window=0.7),
    LagT(),
    FouT(),
    FouT(window=2.0),
    Chebyshev(),
    Chebyshev(0.5),
]
NODES, WEIGHTS = gauss_legendre(200)


def quadrature(operator: AbstractOperator, end: float | None = None) -> tuple[Tensor, Tensor]:
    """Ages and weights: exact for polynomials on windows, and in exp(-s) where all is remembered."""
    if isinstance(operator, LegS):
        x = (NODES + 1) / 2
        return -torch.log(x), WEIGHTS / 2 / x
    if math.isinf(operator.span):
        pieces = [(60 * i + 30 + 30 * NODES, 30 * WEIGHTS) for i in range(4)]
        ages, weights = zip(*pieces, strict=True)
        return torch.cat(ages), torch.cat(weights)
    return operator.span * (NODES + 1) / 2, operator.span * WEIGHTS / 2


def test_every_operator_is_here() -> None:
    assert {type(operator) for operator in OPERATORS} == final_subclasses(AbstractOperator)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
@pytest.mark.parametrize("states", [2, 12])
def test_kernels_and_duals_are_biorthogonal(operator: AbstractOperator, states: int) -> None:
    ages, weights = quadrature(operator)
    gram = (operator.kernels(states, ages) * weights) @ operator.duals(states, ages).mT
    expected = torch.eye(states)
    if isinstance(operator, FouT):
        expected[1, 1] = 0  # the sine of frequency 0
    torch.testing.assert_close(gram, expected, rtol=0, atol=1e-12)


def test_generalised_bases_are_orthogonal_under_their_measures() -> None:
    """Polynomials of each family under its weight; LegS warped: R_n P_n(2 exp(-s) - 1) under exp(-s)."""
    n = 10
    ages, weights = quadrature(LegS())
    warped = LegS().duals(n, ages)
    torch.testing.assert_close((warped * weights * torch.exp(-ages)) @ warped.mT, torch.eye(n))
    ages, weights = quadrature(LegT())
    uniform = LegT().duals(n, ages)
    torch.testing.assert_close((uniform * weights) @ uniform.mT, torch.eye(n))
    ages, weights = quadrature(LagT())
    fading = LagT().duals(n, ages)
    torch.testing.assert_close((fading * weights) @ fading.mT, torch.eye(n))
    angle = torch.pi * (torch.arange(64) + 0.5) / 64  # Chebyshev's own quadrature: dx / (pi sqrt(1 - x^2))
    polynomials = Chebyshev().kernels(n, (1 - torch.cos(angle)) / 2)
    torch.testing.assert_close(polynomials @ polynomials.mT / 64, torch.eye(n))


# Functions of age for which the closure of each operator is exact: whatever is left of them behind the window is known.
def smooth(t: Tensor) -> Tensor:
    return torch.sin(0.7 * t) * torch.exp(0.05 * t) + 0.3 * torch.cos(1.3 * t)


def polynomial(t: Tensor) -> Tensor:
    return 1 - 2 * t + 3 * t**2 - t**3 + 0.4 * t**4 - 0.2 * t**5


def periodic(window: float) -> "type":
    def f(t: Tensor) -> Tensor:
        w = 2 * torch.pi / window
        return 0.5 + torch.cos(w * t) - 2 * torch.sin(w * t) + 0.3 * torch.sin(3 * w * t)

    return f  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_transition_moves_the_projection_as_derived(operator: AbstractOperator) -> None:
    """The slope of int f(t - s) K(s) ds, by differentiating f under the integral, is A c + B f(t).

    Exactly so for LegS and LagT; for windows with polynomials of degree below N, or series of the window's period.
    """
    states, now = 8, torch.tensor(1.3)
    f = smooth if isinstance(operator, LagT) else lambda t: torch.sin(3 * torch.exp(t))
    if isinstance(operator, FouT):
        f = periodic(operator.window)
    elif math.isfinite(operator.span):
        f = polynomial
    ages, weights = quadrature(operator)
    slope = torch.func.vmap(torch.func.grad(f))
    c, rate = ((value * weights) @ operator.kernels(states, ages).mT for value in (f(now - ages), slope(now - ages)))
    a, b = operator.transition(states)
    torch.testing.assert_close(a @ c + b * f(now), rate, rtol=1e-9, atol=1e-10)


def test_impulse_responses_of_legs_and_lagt_are_their_kernels() -> None:
    """Check 5: exp(A s) B in closed form, to rounding."""
    ages = torch.linspace(0.01, 4.0, 40)
    for operator, states in ((LegS(), 16), (LagT(), 16)):
        a, b = operator.transition(states)
        response = torch.linalg.matrix_exp(ages[:, None, None] * a) @ b
        error = (response.mT - operator.kernels(states, ages)).abs().max()
        print(f"{operator}: {error:.1e}")
        assert error < 1e-13


def test_legs_for_four_states() -> None:
    a, _ = LegS().transition(4)
    rows = [[-1, 0, 0, 0], [-1.7321, -2, 0, 0], [-2.2361, -3.8730, -3, 0], [-2.6458, -4.5826, -5.9161, -4]]
    torch.testing.assert_close(a, torch.tensor(rows, dtype=a.dtype), rtol=0, atol=5e-5)


def test_legt_for_four_states_and_the_halved_convention() -> None:
    a, b = LegT().transition(4)
    found = torch.linalg.eigvals(a)
    expected = torch.tensor([-4.787 - 1.567j, -4.787 + 1.567j, -3.213 - 4.773j, -3.213 + 4.773j])
    for value in expected:
        assert (found - value).abs().min() < 1e-3
    halved = LegT(window=2.0).transition(4)
    torch.testing.assert_close(halved, (a / 2, b / 2), rtol=0, atol=0)
    p = LegT().low_rank(4)
    torch.testing.assert_close(p.sum(-1), b)  # even and odd halves of R_n; of R_n / sqrt 2 for the halved one
    torch.testing.assert_close(LegT(window=2.0).low_rank(4).sum(-1), b / 2**0.5)


def test_lmu_is_legt_in_other_units() -> None:
    """c_LMU = (-1)^n R_n c_LegT, and the published entries for window 1."""
    n = torch.arange(6)
    scale = torch.diag((-1.0) ** n * torch.sqrt(2 * n + 1.0))
    a, b = LegT(0.3).transition(6)
    found = LMU(0.3).transition(6)
    torch.testing.assert_close(found, (scale @ a @ torch.linalg.inv(scale), scale @ b))
    a, b = LMU().transition(3)
    torch.testing.assert_close(a, torch.tensor([[-1.0, -1, -1], [3, -3, -3], [-5, 5, -5]]))
    torch.testing.assert_close(b, torch.tensor([1.0, -3, 5]))


def test_fout_in_both_windows() -> None:
    """Window 2: frequencies pi k and A = rotations - B B^T; window 1 doubles rotations, rank-one term and B."""
    a, b = FouT(window=2.0).transition(6)
    torch.testing.assert_close(b, torch.tensor([1, 0, 2**0.5, 0, 2**0.5, 0]))
    rotations = a + torch.outer(b, b)
    torch.testing.assert_close(rotations, -rotations.mT)
    torch.testing.assert_close(rotations.diagonal(-1), torch.pi * torch.tensor([0.0, 0, 1, 0, 2]))
    double, b2 = FouT().transition(6)
    torch.testing.assert_close(b2, 2 * b)
    torch.testing.assert_close(double, 2 * a)
    torch.testing.assert_close(FouT().low_rank(6).squeeze(-1), b2 / 2**0.5)


def test_gauss_rule_is_exact_for_polynomials() -> None:
    nodes, weights = gauss_legendre(6)
    torch.testing.assert_close((weights * legendre(12, nodes)).sum(-1), torch.tensor([2.0] + [0.0] * 11))


def test_fout_of_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="`states` of FouT must be even, .* got 5. Take 6"):
        FouT().transition(5)


@pytest.mark.parametrize("make", [LegT, LMU, FouT, Chebyshev])
def test_windows_must_be_positive(make) -> None:
    with pytest.raises(ValueError, match="`window` must be positive and finite, got 0"):
        make(0)


@pytest.mark.parametrize(("states", "dtype", "bound"), [(64, torch.float32, 3e-5), (800, torch.float64, 1e-11)])
def test_laguerre_functions_at_ages_whose_weight_underflows(states, dtype, bound) -> None:
    """exp(-s/2) is 0 in float32 from s = 207 on, and in float64 from 1491 on; the functions are not."""
    ages = torch.tensor([0.0, 150.0, 230.0, 250.0]) if states == 64 else torch.tensor([0.0, 1000.0, 1600.0, 3000.0])
    with mpmath.workdps(60):
        exact = [float(mpmath.laguerre(states - 1, 0, s) * mpmath.exp(-mpmath.mpf(s) / 2)) for s in ages.tolist()]
    found = LagT().kernels(states, ages.to(dtype))[-1]
    assert (found.double() - torch.tensor(exact)).abs().max() < bound
    assert min(abs(value) for value in exact) > 1e-3
