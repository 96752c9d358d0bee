"""A layer is a linear differential equation: `integrate` steps the same A and B to the same states."""

import pytest
import torch

from sciml.integrate import ETD1, ODE, PID, Dopri8, Fixed, SemiLinear, solve
from sciml.ssm import ZOH, Bilinear, StateSpace, companion, flow, lru, lssl, s4, s4d, s4d_real, s5
from sciml.ssm.flow import real_state

DIAGONAL = {
    "s4d": lambda: s4d(3, 8),
    "s4d real": lambda: s4d(3, 8, spectrum=s4d_real),
    "s5": lambda: s5(3, 8),
    "lru": lambda: lru(3, 4),
}
FULL = {
    "lssl": lambda: lssl(3, 6, discretisation=ZOH()),
    "companion": lambda: companion(3, 4, discretisation=ZOH()),
}


def relative(have: torch.Tensor, want: torch.Tensor) -> float:
    return float(((have - want).abs().max() / want.abs().max()).detach())


@pytest.mark.parametrize("name", DIAGONAL)
def test_exponential_method_gives_the_states(name) -> None:
    """One step of exponential Euler per interval: both are exact. Its tables name a step by twelve digits."""
    layer: StateSpace = DIAGONAL[name]()
    u, gaps = torch.randn(2, 6, 3), torch.rand(6) + 0.1
    _, want = layer.prefill(u, gaps.expand(2, 6))
    x = layer.initial_state(2)
    for k, gap in enumerate(gaps.tolist()):
        term = flow(layer, u[:, k])
        assert isinstance(term, SemiLinear)
        x = solve(term, ETD1(), x, 0.0, gap, control=Fixed(n=1)).ys
    error = relative(x, want)
    print(f"{name}: ETD1 against the layer {error:.1e}")
    assert error < 1e-12


@pytest.mark.parametrize("name", [*DIAGONAL, *FULL])
def test_accurate_method_gives_the_states_at_intervals_of_each_sample(name) -> None:
    layer: StateSpace = {**DIAGONAL, **FULL}[name]()
    u, dt = torch.randn(3, 4, 3), torch.rand(3, 4) + 0.1
    _, want = layer.prefill(u, dt)
    x = layer.initial_state(3)
    for k in range(4):
        term = flow(layer, u[:, k])
        if isinstance(term, SemiLinear):
            term = ODE(lambda t, y, held=term: held.linear * y + held.nonlinear(t, y))
        x = solve(term, Dopri8(), x, torch.zeros(3), dt[:, k], control=PID(rtol=1e-11, atol=1e-13)).ys
    error = relative(x, want)
    print(f"{name}: Dopri8 against the layer {error:.1e}")
    assert error < 1e-11


def test_pairs_of_s4_are_stepped_as_real_numbers() -> None:
    """Its bilinear rule is of order 2, so that short intervals come close to the flow."""
    torch.manual_seed(0)
    layer, u = s4(3, 4, shortest=0.5, longest=0.5), torch.randn(2, 3)
    term = flow(layer, u)
    want = solve(term, Dopri8(), torch.zeros(2, 3, 4), 0.0, 1.0, control=PID(rtol=1e-11, atol=1e-13)).ys
    errors = []
    for n in (64, 128):
        _, state = layer.prefill(u.unsqueeze(1).expand(-1, n, -1), 1 / n)
        errors.append(relative(real_state(state), want))
    assert errors[1] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)


def test_gradients_of_both_agree() -> None:
    layer, u = s5(3, 8), torch.randn(2, 3)
    parameters = [*layer.matrix.parameters(), layer.b, layer.log_step]
    _, state = layer.prefill(u.unsqueeze(1), 0.7)
    want = torch.autograd.grad(torch.view_as_real(state).square().sum(), parameters)
    x = solve(flow(layer, u), ETD1(), layer.initial_state(2), 0.0, 0.7, control=Fixed(n=1)).ys
    for have, expected in zip(torch.autograd.grad(torch.view_as_real(x).square().sum(), parameters), want, strict=True):
        torch.testing.assert_close(have, expected, rtol=1e-9, atol=1e-9)


def test_other_rules_do_not_agree() -> None:
    layer, u = s4d(3, 8, discretisation=Bilinear(), shortest=0.5, longest=0.5), torch.randn(2, 3)
    _, state = layer.prefill(u.unsqueeze(1))
    x = solve(flow(layer, u), ETD1(), layer.initial_state(2), 0.0, 1.0, control=Fixed(n=1)).ys
    assert relative(x, state) > 1e-3


def test_a_map_is_no_flow() -> None:
    with pytest.raises(ValueError, match="`layer` must be a flow"):
        flow(companion(3, 4), torch.randn(2, 3))
