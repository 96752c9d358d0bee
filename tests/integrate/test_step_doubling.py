"""Step doubling: two half steps of any method, and what a whole one says about their error."""

import pytest
import torch

from sciml.integrate import (
    ODE,
    PID,
    RK4,
    SSPRK3,
    Adams,
    Clip,
    Dopri5,
    Euler,
    Fixed,
    SaveAt,
    SemiLinear,
    StepDoubling,
    Vern7,
    solve,
)

METHODS = [Euler(), SSPRK3(), RK4(), Dopri5(), Vern7()]


def logistic(t, y):
    return y * (1 - y)


def logistic_exact(y0, t):
    return 1 / (1 + (1 / y0 - 1) * torch.exp(-t))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_states_are_those_of_half_the_step(method):
    y0 = torch.tensor([[0.1, 0.7], [1.5, 0.4]])
    doubled = solve(ODE(logistic), StepDoubling(method), y0, 0.0, 2.0, control=Fixed(n=8)).ys
    assert torch.allclose(doubled, solve(ODE(logistic), method, y0, 0.0, 2.0, control=Fixed(n=16)).ys, atol=1e-15)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_evaluations_are_counted(method):
    calls = []
    term = ODE(lambda t, y: calls.append(1) or -y)
    solution = solve(term, StepDoubling(method), torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=6))
    assert int(solution.stats.evaluations[0]) == len(calls)
    calls.clear()
    solution = solve(term, StepDoubling(method), torch.ones(1, 1), 0.0, 1.0, control=PID(rtol=1e-3, atol=1e-3))
    assert int(solution.stats.evaluations[0]) == len(calls)


@pytest.mark.parametrize("method", [RK4(), SSPRK3(), Euler()], ids=lambda m: type(m).__name__)
def test_estimate_is_the_error_of_the_step(method):
    y0 = torch.tensor([[0.2], [0.6]])
    doubled = StepDoubling(method)
    step = doubled.step(ODE(logistic), 0.0, 0.01, y0, doubled.init(ODE(logistic), 0.0, y0))
    assert isinstance(step.y, torch.Tensor) and isinstance(step.error, torch.Tensor)
    error = logistic_exact(y0, torch.tensor(0.01)) - step.y
    assert torch.allclose(step.error, error, rtol=0.05, atol=1e-17)


@pytest.mark.parametrize("method", [RK4(), Vern7(), Adams(4)], ids=lambda m: type(m).__name__)
def test_any_control_and_any_time(method):
    y0, t1 = torch.tensor([[0.1], [1.9]]), torch.tensor([6.0, 2.0])
    ts = torch.linspace(0.0, 1.99, 23)
    control = Clip(PID(rtol=1e-8, atol=1e-10), stops=torch.tensor([0.7]), jumps=torch.tensor([1.1]))
    save = SaveAt(t1=True, ts=ts)
    ys = solve(ODE(logistic), StepDoubling(method), y0, 0.0, t1, control=control, save=save).ys
    assert torch.allclose(ys["t1"], logistic_exact(y0, t1[:, None]), rtol=0, atol=1e-6)
    assert torch.allclose(ys["ts"][..., 0], logistic_exact(y0, ts), rtol=0, atol=1e-6)


def test_trees():
    y0 = {"a": torch.tensor([[0.1], [0.6]]), "b": torch.tensor([[[0.3, 0.4]], [[1.2, 1.1]]])}
    term = ODE(lambda t, y: {name: logistic(t, value) for name, value in y.items()})
    for method in (RK4(), Vern7()):
        save = SaveAt(ts=torch.tensor([0.33, 1.0]))
        ys = solve(term, StepDoubling(method), y0, 0.0, 1.0, control=PID(rtol=1e-8, atol=1e-8), save=save).ys
        assert torch.allclose(ys["b"][:, 0], logistic_exact(y0["b"], torch.tensor(0.33)), rtol=0, atol=1e-6)


def test_gradients():
    y0 = torch.tensor([[0.1], [0.6]], requires_grad=True)

    def final(y0):
        return solve(ODE(logistic), StepDoubling(RK4()), y0, 0.0, 1.0, control=Fixed(n=3)).ys

    assert torch.autograd.gradcheck(final, (y0,))


def test_what_is_refused():
    with pytest.raises(TypeError, match="StepDoubling needs a method that does not double steps itself"):
        StepDoubling(StepDoubling(RK4()))
    with pytest.raises(TypeError, match="StepDoubling is an explicit method and steps ODE"):
        solve(SemiLinear(-1.0, lambda t, y: y), StepDoubling(RK4()), torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=2))
