"""Reversibly(method) and the gradient Reversible: order, stability, the way back, and where there is none."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.core import tree_leaves
from sciml.integrate import (
    ODE,
    PID,
    RK4,
    Checkpoint,
    Clip,
    Direct,
    Dopri5,
    Fixed,
    Heun,
    Midpoint,
    Result,
    Reversible,
    Reversibly,
    SaveAt,
    SolveError,
    solve,
)
from tests.integrate.test_checkpoint import LOOSE, Net, difference, gradients, start, time


def turn(t: Tensor, y: Tensor) -> Tensor:
    """y' = cos(t) (y2, -y1): a rotation by sin(t)."""
    return torch.cos(t) * torch.stack([y[:, 1], -y[:, 0]], dim=1)


def turned(y0: Tensor, t: Tensor) -> Tensor:
    c, s = torch.cos(torch.sin(t)), torch.sin(torch.sin(t))
    return torch.stack([c * y0[:, 0] + s * y0[:, 1], c * y0[:, 1] - s * y0[:, 0]], dim=1)


@pytest.mark.parametrize("inner", [Midpoint(), Heun(), RK4(), Dopri5()], ids=lambda m: type(m).__name__)
def test_order_is_that_of_the_method_and_dense_output_keeps_it(inner: Any):
    method, y0 = Reversibly(inner), torch.tensor([[1.0, 0.5]])
    assert (method.order, method.stages, method.has_error) == (inner.order, 2 * inner.stages, inner.has_error)
    ts = torch.linspace(0, 2, 41)
    exact = torch.stack([turned(y0, t) for t in ts], dim=1)
    ends, between = [], []
    for n in (8, 16, 32, 64, 128):
        ys = solve(ODE(turn), method, y0, 0.0, 2.0, control=Fixed(n=n), save=SaveAt(t1=True, ts=ts)).ys
        ends.append(float((ys["t1"] - exact[:, -1]).abs().max()))
        between.append(float((ys["ts"] - exact).abs().max()))
    for errors, order in ((ends, method.order), (between, min(method.order, method.dense_order + 1))):
        used = [e for e in errors if 1e-11 < e < 1e-3]
        slope = torch.log2(torch.tensor(used[-2] / used[-1])).item()
        print(type(inner).__name__, errors, slope)
        assert slope > order - 0.25


@pytest.mark.parametrize(
    ("inner", "real", "imaginary"), [(RK4(), 0.01005, 2.828), (Dopri5(), 0.01005, 0.9978)], ids=["RK4", "Dopri5"]
)
def test_stability_interval_is_as_stated(inner: Any, real: float, imaginary: float):
    """The matrix of one step of (y, z) on y' = x y, column by column."""
    method = Reversibly(inner)

    def radius(x: Tensor) -> Tensor:
        rate = x.to(torch.complex128)[:, None]
        columns = []
        for y, z in ((1.0, 0.0), (0.0, 1.0)):
            y, z = (torch.full_like(rate, value) for value in (y, z))
            step = method.step(ODE(lambda t, y: rate * y), 0.0, 1.0, y, z)
            columns.append(torch.cat(tree_leaves((step.y, step.carry)), dim=1))
        return torch.linalg.eigvals(torch.stack(columns, dim=2)).abs().amax(dim=1)

    inside = torch.linspace(0, 1, 2001)
    assert float(radius(-real * inside).max()) <= 1 + 1e-9
    assert float(radius(-1.01 * real * torch.ones(1))) > 1 + 1e-9
    assert float(radius(1j * imaginary * inside).max()) <= 1 + 1e-9
    assert float(radius(1.001j * imaginary * torch.ones(1))) > 1 + 1e-9


def test_steps_are_taken_back():
    method, y, net = Reversibly(RK4()), start().detach(), Net()
    z = method.init(ODE(net), 0.0, y)
    step = method.step(ODE(net), 0.0, 0.1, y, z)
    step2 = method.step(ODE(net), 0.1, 0.3, step.y, step.carry)
    y1, z1 = method.step_back(ODE(net), 0.1, 0.3, step2.y, step2.carry)
    assert isinstance(y1, Tensor) and isinstance(z1, Tensor) and isinstance(step.y, Tensor)
    assert torch.allclose(y1, step.y, rtol=0, atol=1e-14) and torch.allclose(z1, step.carry, rtol=0, atol=1e-14)


@pytest.mark.parametrize("inner", [RK4(), pytest.param(Dopri5(), marks=pytest.mark.slow)], ids=["RK4", "Dopri5"])
def test_equals_direct_over_a_thousand_steps(inner: Any):
    net, y0 = Net(), start()
    inputs = [y0, *net.parameters()]
    options: dict[str, Any] = {"control": Fixed(n=1000), "t1": 5.0, "save": SaveAt(t1=True, every=100)}
    found = [gradients(g, ODE(net), Reversibly(inner), inputs, **options) for g in (Direct(), Reversible())]
    print(type(inner).__name__, difference(*found))
    assert difference(*found) < 1e-10


@pytest.mark.parametrize(
    "control", [LOOSE, PID(rtol=1e-4, atol=1e-4, per_sample=False), Clip(LOOSE, stops=torch.tensor([0.7]))]
)
def test_equals_direct_on_adaptive_steps(control: Any):
    net, ts = Net(), time([0.0, 0.33, 1.5])
    inputs = [start(), ts, *net.parameters()]
    options: dict[str, Any] = {"control": control, "save": SaveAt(t1=True, ts=ts, every=2)}
    found = [gradients(g, ODE(net), Reversibly(Dopri5()), inputs, **options) for g in (Direct(), Reversible())]
    assert difference(*found) < 1e-10


def test_one_state_is_stored():
    solution = solve(ODE(Net()), Reversibly(RK4()), start(), 0.0, 5.0, control=Fixed(n=200), gradient=Reversible())
    ((n, state),) = solution.ys.grad_fn.kept
    assert n == 200 and len(state) == 2  # y and z at the end


def lorenz(t: Tensor, y: Tensor) -> Tensor:
    x, v, w = y.unbind(1)
    return torch.stack([10 * (v - x), x * (28 - w) - v, x * v - 8 / 3 * w], dim=1)


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([y[:, 1], 5 * (1 - y[:, 0] ** 2) * y[:, 1] - y[:, 0]], dim=1)


@pytest.mark.parametrize(
    ("field", "y0"), [(lorenz, [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), (van_der_pol, [[2.0, 0.0], [0.0, 0.0]])]
)
def test_where_the_way_back_is_lost_no_gradient_is_returned(field: Any, y0: Any):
    y0 = torch.tensor(y0, requires_grad=True)
    method = Reversibly(RK4(), 0.5)  # loses a factor of 2 per step
    y = solve(ODE(field), method, y0, 0.0, 0.3, control=Fixed(n=60), gradient=Reversible()).ys
    with pytest.raises(SolveError, match=r"way back failed for 1 of 2 samples \(samples \[0\]\).*Checkpoint\(\)"):
        y.sum().backward()
    assert "smaller" in Result.NOT_REVERSIBLE.text


def test_refusals_name_the_remedy():
    net, y0 = Net(), start()
    with pytest.raises(TypeError, match=r"got Dopri5. Use Reversibly\(Dopri5\(\)\).*Checkpoint\(\)"):
        solve(ODE(net), Dopri5(), y0, 0.0, 1.0, gradient=Reversible())
    jumps = Clip(LOOSE, jumps=torch.tensor([0.5]))
    with pytest.raises(ValueError, match=r"cannot go back over jumps.*Checkpoint\(\)"):
        solve(ODE(net), Reversibly(Dopri5()), y0, 0.0, 1.0, control=jumps, gradient=Reversible())
    with pytest.raises(TypeError, match=r"is reversible already, got Reversibly"):
        Reversibly(Reversibly(RK4()))
    with pytest.raises(ValueError, match=r"`coupling` must be above 0 and at most 1, got 1.5"):
        Reversibly(RK4(), 1.5)
    with pytest.raises(ValueError, match=r"`rtol`"):
        Reversible(0.0)
    w = time([1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"uses `w`.*so Reversible would lose"):
        solve(ODE(lambda t, y: w * y), Reversibly(Dopri5()), y0, 0.0, 1.0, gradient=Reversible())
    y = solve(ODE(net), Reversibly(Dopri5()), y0, 0.0, 1.0, gradient=Reversible()).ys
    with pytest.raises(RuntimeError, match=r"Reversible cannot be differentiated twice"):
        torch.autograd.grad(y.sum(), y0, create_graph=True)


def test_checkpoint_serves_reversible_methods_over_jumps():
    net = Net()
    options: dict[str, Any] = {"control": Clip(LOOSE, jumps=torch.tensor([0.5]))}
    inputs = [start(), *net.parameters()]
    found = [gradients(g, ODE(net), Reversibly(Dopri5()), inputs, **options) for g in (Direct(), Checkpoint(2))]
    assert difference(*found) < 1e-12
