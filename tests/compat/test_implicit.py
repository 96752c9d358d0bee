"""Implicit methods on given steps, by the names of torchdiffeq's main branch."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.compat.torchdiffeq import odeint, odeint_adjoint
from sciml.compat.torchdiffeq.recorded import Recorded
from sciml.integrate.implicit import PackedField, Packing

ORDERS = {
    "implicit_euler": 1,
    "implicit_midpoint": 2,
    "trapezoid": 2,
    "sdirk2": 2,
    "trbdf2": 2,
    "radauIIA3": 3,
    "gl4": 4,
    "radauIIA5": 5,
    "gl6": 6,
}
STIFFLY_STABLE = ("implicit_euler", "sdirk2", "trbdf2", "radauIIA3", "radauIIA5")
METHODS = pytest.mark.parametrize("method", ORDERS)


def turning(t: Tensor, y: Tensor) -> Tensor:
    """A spiral whose speed depends on the time."""
    return (y @ torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=y.dtype)) * torch.cos(t)


@METHODS
def test_orders_on_a_problem_that_depends_on_time(method: str) -> None:
    """gl4 too, which is of order 1 there in the package itself."""
    y0, errors = torch.tensor([1.0, 0.5]), []
    a = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
    exact = y0 @ torch.matrix_exp(a * math.sin(2.0))
    for n in (16, 32) if ORDERS[method] > 3 else (32, 64):
        y = odeint(turning, y0, torch.tensor([0.0, 2.0]), method=method, options=dict(step_size=2 / n))[-1]
        errors.append(float((y - exact).abs().max()))
    assert math.log2(errors[-2] / errors[-1]) == pytest.approx(ORDERS[method], abs=0.2), errors


@pytest.mark.parametrize("method", STIFFLY_STABLE)
def test_stiff_parts_vanish(method: str) -> None:
    y0, t = torch.tensor([2.0, 1.0]), torch.linspace(0, 1, 6)
    rates = torch.tensor([-1e6, -1.0])
    y = odeint(lambda t, y: rates * (y - torch.cos(t)), y0, t, method=method)[-1]
    assert float(y[0]) == pytest.approx(math.cos(1.0), abs=1e-4)


@METHODS
def test_gradients_of_state_times_and_parameters(method: str) -> None:
    """By differentiating what was computed, and by the adjoint equation stepped by the same method."""
    t = torch.tensor([0.0, 0.3, 0.5], requires_grad=True)
    y0 = torch.tensor([0.7, 1.1], requires_grad=True)
    rate = torch.tensor(0.8, requires_grad=True)

    def field(t: Tensor, y: Tensor) -> Tensor:
        return rate * y.cos() * t

    torch.autograd.gradcheck(lambda y0, t, _: odeint(field, y0, t, method=method), (y0, t, rate))
    found = []
    adjoint: dict[str, Any] = dict(adjoint_params=(rate,))
    for solve, more in ((odeint, {}), (odeint_adjoint, adjoint)):
        y = solve(field, y0, t.detach(), method=method, options=dict(step_size=0.05), **more)
        found.append(torch.autograd.grad(y[1:].sum(), (y0, rate)))
    tolerance = 0.1 if ORDERS[method] == 1 else 1e-3
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=tolerance, atol=tolerance)


@METHODS
@pytest.mark.parametrize("perturb", [False, True])
def test_evaluates_at_the_start_of_a_step_or_just_inside(method: str, perturb: bool) -> None:
    times: list[float] = []

    def field(t: Tensor, y: Tensor) -> Tensor:
        times.append(float(t))
        return -y

    options = dict(step_size=0.5, perturb=perturb)
    odeint(field, torch.ones(2), torch.tensor([0.0, 1.0]), method=method, options=options)
    assert ({0.0, 0.5}.isdisjoint(times)) == perturb
    assert {0.0, 0.5} <= set(times) or perturb


@pytest.mark.parametrize("method", ["implicit_midpoint", "radauIIA5"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_tuples_dtypes_and_cubic_outputs(method: str, dtype: torch.dtype) -> None:
    t = torch.linspace(1, 0, 9)
    y0 = (torch.ones((), dtype=dtype), torch.ones(2, 1, dtype=dtype))
    options = dict(step_size=0.05, interp="cubic")
    a, b = odeint(lambda t, y: (-y[0], y[1] * 0.5), y0, t, method=method, options=options)
    assert a.shape == (9,) and b.shape == (9, 2, 1) and a.dtype == b.dtype == dtype
    exact = torch.exp(1 - t).to(dtype)
    torch.testing.assert_close(a, exact, rtol=3e-4, atol=0)


def test_an_event() -> None:
    options = dict(step_size=0.1, interp="cubic")
    t = torch.tensor([0.0, 1.0])
    time, y = odeint(
        lambda t, y: -y, torch.ones(1), t, event_fn=lambda t, y: y - 0.5, method="radauIIA5", options=options
    )
    assert float(time) == pytest.approx(math.log(2), abs=1e-5) and y.shape == (2, 1)


class Pendulum(nn.Module):
    """A field made of a gradient, as Hamiltonian networks are."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            y = y if y.requires_grad else y.detach().requires_grad_()
            energy = (0.5 * y[1] ** 2 - torch.cos(y[0])).sum()
            (slope,) = torch.autograd.grad(energy, y, create_graph=True)
        return torch.stack([slope[1], -slope[0]])


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_a_field_that_differentiates(solve: Any) -> None:
    y0 = torch.tensor([1.0, 0.0], requires_grad=True)
    t, options = torch.tensor([0.0, 1.0]), dict(step_size=0.1)
    y = solve(Pendulum(), y0, t, method="gl4", options=options)
    reference = odeint(Pendulum(), y0, t, method="dopri8", rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(y, reference, rtol=1e-4, atol=1e-5)
    (found,), (wanted,) = (torch.autograd.grad(value[-1].sum(), y0) for value in (y, reference))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


class _Unbatched(torch.autograd.Function):
    """The square, without a rule for batches of gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        if float(g.sum()) == 0.5:  # a look at the values, which a batch does not allow
            raise AssertionError
        return 2 * x * g


def test_jacobians() -> None:
    y = torch.tensor([[1.0, 2.0, 3.0]])
    t, matrix = torch.tensor(0.0), torch.randn(3, 3)

    def jacobian(f: Any, coupled: int | None = None) -> Tensor:
        return Recorded(coupled).jacobian(PackedField(f, Packing.of(y)), t, y)[0]

    torch.testing.assert_close(jacobian(lambda t, y: y @ matrix.T)[0], matrix)
    torch.testing.assert_close(jacobian(lambda t, y: y @ matrix.T, 2)[0], matrix[:2, :2])
    torch.testing.assert_close(jacobian(lambda t, y: _Unbatched.apply(y)), torch.diag(2 * y[0])[None])
    assert jacobian(lambda t, y: y.detach()).count_nonzero() == 0
    r = torch.randn(1, 3)
    field = PackedField(lambda t, y: y @ matrix.T, Packing.of(y))
    structure = Recorded(2)
    kept = structure.jacobian(field, t, y)
    whole = torch.zeros(3, 3)
    whole[:2, :2] = matrix[:2, :2]
    shifted = torch.eye(3) - 0.3 * whole
    system = structure.system(field, kept, 0.3)
    torch.testing.assert_close(system.solve(r) @ shifted.T, r)
    torch.testing.assert_close(system.solve_transposed(r) @ shifted, r)
    torch.testing.assert_close(structure.product(field, kept, r), r @ whole.T)


def test_equations_without_a_solution_are_named() -> None:
    """y1 = y0 + h (1 + y1²) has no real solution for h = 1."""
    with pytest.raises(AssertionError, match="could not be solved at t=0"):
        odeint(lambda t, y: 1 + y**2, torch.ones(1), torch.tensor([0.0, 1.0]), method="implicit_euler")
    options = dict(max_iters=1)
    with pytest.raises(AssertionError, match="max_iters"):
        odeint(lambda t, y: -(y**3), torch.ones(1), torch.tensor([0.0, 3.0]), method="radauIIA5", options=options)
