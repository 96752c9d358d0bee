"""Online updates against the exact projection: the stated figures, orders, and every operator against quadrature."""

import math

import pytest
import torch
from torch import Tensor

from sciml.ssm.discretise import ZOH, AbstractDiscretisation, Bilinear, Discrete, GeneralizedBilinear
from sciml.ssm.hippo import LMU, AbstractOperator, Chebyshev, FouT, LagT, LegS, LegT
from sciml.ssm.hippo.online import coefficients, project, project_scaled, reconstruct, scaled_ages
from sciml.ssm.hippo.polynomials import gauss_legendre
from tests.helpers import order_table

FORWARD, BACKWARD = GeneralizedBilinear(0.0), GeneralizedBilinear(1.0)


def signal(t: Tensor) -> Tensor:
    """That of checks 1 to 3."""
    return torch.sin(6 * torch.pi * t) + 0.5 * torch.cos(14 * torch.pi * t) + t


def scaled_run(states: int, length: int, rule: AbstractDiscretisation) -> tuple[Tensor, Tensor, Tensor]:
    """Last coefficients, the points (middles of the intervals) and the values there."""
    t = (torch.arange(length) + 0.5) / length
    c = project_scaled(states, signal(t)[None], torch.linspace(0, 1, length + 1), rule)[:, -1]
    return c, t, signal(t)


def exact_legs(states: int) -> Tensor:
    nodes, weights = gauss_legendre(400)
    x = (nodes + 1) / 2
    return coefficients(LegS(), states, signal(x)[None], -torch.log(x), weights / 2 / x)


@pytest.mark.parametrize(
    ("states", "length", "error", "deviation"),
    [(16, 1000, 0.313, None), (32, 500, 2.0e-2, 2.06e-2), (32, 1000, 1.05e-2, 1.05e-2), (32, 4000, 2.7e-3, 2.67e-3)],
)
def test_reconstruction_by_legs(states: int, length: int, error: float, deviation: float | None) -> None:
    """Checks 1 and 2: reconstruction, and coefficients against the exact projection, first order in 1/length."""
    c, t, f = scaled_run(states, length, Bilinear())
    again = reconstruct(LegS(), c, scaled_ages(t))[0]
    relative = float((again - f).norm() / f.norm())
    exact = exact_legs(states)
    off = float((c - exact).norm() / exact.norm())
    print(f"N={states} L={length}: reconstruction {relative:.3e}, coefficients {off:.3e}")
    assert relative == pytest.approx(error, rel=0.03)
    if deviation is None:
        best = reconstruct(LegS(), exact, scaled_ages(t))[0]
        assert relative == pytest.approx(float((best - f).norm() / f.norm()), rel=2e-3)
        assert float((again - f).square().mean()) == pytest.approx(8.37e-2, rel=0.01)
    else:
        assert off == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize(
    ("states", "rule", "mse"),
    [
        (8, Bilinear(), 0.266),
        (16, Bilinear(), 0.0839),
        (32, Bilinear(), 1.98e-4),
        (64, Bilinear(), 6.1e-4),
        (32, BACKWARD, 3.96e-3),
        (64, BACKWARD, 4.07e-3),
    ],
    ids=str,
)
def test_sizes_and_rules_of_legs(states: int, rule: AbstractDiscretisation, mse: float) -> None:
    """Check 3: 1000 points from 0 to 1, both ends in."""
    t = torch.linspace(0, 1, 1000)
    c = project_scaled(states, signal(t)[None], torch.linspace(0, 1, 1001), rule)[:, -1]
    ages = scaled_ages(t.clamp(min=1e-300))
    found = float((reconstruct(LegS(), c, ages)[0] - signal(t)).square().mean())
    print(f"N={states} {rule}: {found:.3e}")
    assert found == pytest.approx(mse, rel=0.02)


@pytest.mark.parametrize(("states", "mse"), [(8, 0.469), (16, 0.0434), (32, 6.9e-5), (64, 6.9e-5)])
def test_reconstruction_by_legt(states: int, mse: float) -> None:
    """Check 4: unit window, d = 1e-3."""
    t = torch.arange(1, 2001) * 1e-3
    f = torch.sin(6 * torch.pi * t) + 0.5 * torch.cos(10 * torch.pi * t)
    c = project(LegT(), states, f[None], torch.linspace(0, 2, 2001), Bilinear())[:, -1]
    ages = torch.arange(1000) * 1e-3
    found = float((reconstruct(LegT(), c, ages)[0] - f.flip(-1)[:1000]).square().mean())
    print(f"N={states}: {found:.3e}")
    assert found == pytest.approx(mse, rel=0.02)


ORDERS = [(FORWARD, 1), (BACKWARD, 1), (Bilinear(), 2), (ZOH(), None)]


@pytest.mark.parametrize(("rule", "order"), ORDERS, ids=str)
@pytest.mark.parametrize("operator", [LegT(), LagT(), FouT(), Chebyshev(), LMU()], ids=str)
def test_orders_of_the_rules(operator: AbstractOperator, rule: AbstractDiscretisation, order: int | None) -> None:
    """The input is constant, so that the rule alone errs; the reference is one exact interval."""
    end, states = 0.02, 6
    reference = project(operator, states, torch.ones(1, 1), torch.tensor([0, end]), ZOH())[:, -1]

    def error(n: int) -> float:
        c = project(operator, states, torch.ones(1, n), torch.linspace(0, end, n + 1), rule)[:, -1]
        return float((c - reference).norm() / reference.norm())

    if order is None:
        assert error(7) < 1e-12
    else:
        steps = [(16 if order == 2 else 64) * 2**i for i in range(5)]
        assert order_table(f"{operator} {rule}", error, steps) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize(("rule", "order"), ORDERS, ids=str)
def test_orders_of_legs_scaled(rule: AbstractDiscretisation, order: int | None) -> None:
    """1 over [0, 1], then -2 up to 1.02: exact coefficients by quadrature, steps from the exact ones at 1."""
    states, end = 6, 1.02
    nodes, weights = gauss_legendre(40)
    old, new = (nodes + 1) / 2 / end, (1 + (nodes + 1) / 2 * (end - 1)) / end
    x, w = torch.cat([old, new]), torch.cat([weights, weights * (end - 1)]) / (2 * end)
    values = torch.cat([torch.ones(40), torch.full((40,), -2.0)])[None]
    exact = coefficients(LegS(), states, values, -torch.log(x), w / x)
    constant = torch.eye(states)[:1]

    def error(n: int) -> float:
        ts, f = torch.linspace(1, end, n + 1), torch.full((1, n), -2.0)
        c = project_scaled(states, f, ts, rule, origin=0.0, start=constant)[:, -1]
        return float((c - exact).norm() / exact.norm())

    if order is None:
        assert error(9) < 1e-12
        whole = project_scaled(states, torch.tensor([[1.0, -2.0]]), torch.tensor([0, 1, end]), rule)[:, -1]
        torch.testing.assert_close(whole, exact, rtol=1e-11, atol=1e-12)
    else:  # the step is the interval over its end: first order for every such rule
        steps = [32 * 2**i for i in range(5)]
        assert order_table(f"LegS scaled {rule}", error, steps) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    "operator", [LegS(), LegT(), LegT(2.0), LMU(), LagT(), FouT(), Chebyshev(), Chebyshev(0.5)], ids=str
)
def test_online_update_follows_the_numerical_projection(operator: AbstractOperator) -> None:
    """A known function, projected by quadrature at two times; the update leads from one to the other.

    A trapezoidal run over values at the middles of fine intervals: what remains is its second order.
    """
    states, begin, end = 8, 1.0, 1.25

    def f(t: Tensor) -> Tensor:
        if isinstance(operator, FouT):
            return 0.5 + torch.cos(2 * torch.pi * t) - torch.sin(6 * torch.pi * t)
        if math.isfinite(operator.span):
            return 1 - 2 * t + t**2 - t**3 + 0.4 * t**5
        if isinstance(operator, LegS):
            return torch.cos(3 * torch.exp(t))
        return torch.cos(t)

    def projection(now: float) -> Tensor:
        nodes, weights = gauss_legendre(120)
        if isinstance(operator, LegS):
            x = (nodes + 1) / 2
            return coefficients(operator, states, f(now + torch.log(x))[None], -torch.log(x), weights / 2 / x)
        span = min(operator.span, 200.0)
        return coefficients(
            operator, states, f(now - span * (nodes + 1) / 2)[None], span * (nodes + 1) / 2, span * weights / 2
        )

    def error(n: int) -> float:
        ts = torch.linspace(begin, end, n + 1)
        middles = (ts[1:] + ts[:-1]) / 2
        c = project(operator, states, f(middles)[None], ts, Bilinear(), start=projection(begin))[:, -1]
        return float((c - projection(end)).norm() / projection(end).norm())

    steps = [64 * 2**i for i in range(5)]
    assert order_table(f"{operator} against quadrature", error, steps) == pytest.approx(2, abs=0.2)


def test_irregular_intervals_agree_with_regular_ones_that_hold_the_same_values() -> None:
    ts = torch.tensor([0.0, 0.1, 0.2, 0.5, 0.6])
    f = torch.randn(2, 4)
    fine = project(LegT(), 6, f.repeat_interleave(torch.tensor([1, 1, 3, 1]), dim=1), torch.linspace(0, 0.6, 7), ZOH())
    torch.testing.assert_close(project(LegT(), 6, f, ts, ZOH())[:, -1], fine[:, -1])
    fine = project_scaled(6, f.repeat_interleave(torch.tensor([1, 1, 3, 1]), dim=1), torch.linspace(0, 0.6, 7), ZOH())
    torch.testing.assert_close(project_scaled(6, f, ts, ZOH())[:, -1], fine[:, -1])


def test_times_are_checked() -> None:
    f = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="`ts` must have shape .3., .* got .2."):
        project(LegT(), 4, f, torch.tensor([0.0, 1]), ZOH())
    with pytest.raises(ValueError, match="`ts` must increase strictly"):
        project(LegT(), 4, f, torch.tensor([0.0, 1, 1]), ZOH())
    with pytest.raises(ValueError, match="`states` must be a whole number of at least 1, got 0"):
        project(LegT(), 0, f, torch.tensor([0.0, 1, 2]), ZOH())
    with pytest.raises(
        ValueError, match="must not begin before `origin`, got ts.0. = 0 and origin = 0.5. Give the time"
    ):
        project_scaled(4, f, torch.tensor([0.0, 1, 2]), ZOH(), origin=0.5)
    f, ts = torch.zeros(2, 3), torch.arange(4.0)
    with pytest.raises(ValueError, match=r"`f` must have shape \(any, any\), that is batch and time; one function is"):
        project(LegT(), 4, f[0], ts, ZOH())
    for wrong in (torch.zeros(4), torch.zeros(2, 5), torch.zeros(3, 4)):
        with pytest.raises(ValueError, match=r"`start` must have shape \(2, 4\)"):
            project(LegT(), 4, f, ts, ZOH(), start=wrong)
        with pytest.raises(ValueError, match=r"`start` must have shape \(2, 4\)"):
            project_scaled(4, f, ts, ZOH(), start=wrong)
    for call in (lambda: project(LegT(), 4, f, ts, Discrete()), lambda: project_scaled(4, f, ts, Discrete())):
        with pytest.raises(ValueError, match="`rule` must step a flow, got Discrete.*Take ZOH"):
            call()
