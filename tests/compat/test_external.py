"""Methods of SciPy under torchdiffeq's name for them."""

import sys
from typing import Any

import pytest
import torch
import torchdiffeq as theirs
from torch import Tensor, nn

from sciml.compat import torchdiffeq as ours

pytestmark = pytest.mark.filterwarnings("ignore:.*no effect for a chosen solver:UserWarning")  # theirs
SOLVERS = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")
T = torch.tensor([0.0, 0.4, 1.0])


def decay(t: Tensor, y: Tensor) -> Tensor:
    return -y * t


def solved(package: Any, y0: Any, t: Tensor = T, func: Any = decay, **options: Any) -> Any:
    return package.odeint(func, y0, t, method="scipy_solver", options=options)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("backwards", [False, True])
def test_values_are_theirs(solver: str, backwards: bool) -> None:
    y0, t = torch.rand(2, 3), T.flip(0) if backwards else T
    a, b = (solved(package, y0, t, solver=solver, max_step=0.3) for package in (theirs, ours))
    torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(), (1,), (2, 1, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_shapes_and_dtypes(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    y0 = torch.rand(shape, dtype=dtype)
    y = solved(ours, y0, solver="RK45")
    assert y.dtype == dtype and y.shape == (3, *shape)
    torch.testing.assert_close(y[-1], y0 * 0.60653066, rtol=1e-5, atol=1e-5)
    assert torch.equal(solved(ours, y0, T[:1]), y0[None])


def test_tuples_with_tolerances_of_their_own() -> None:
    y0 = (torch.ones(2), torch.tensor(2.0))
    y = ours.odeint(
        lambda t, y: (-y[0], y[1]), y0, T, method="scipy_solver", rtol=(1e-9, torch.tensor(1e-8)), atol=(1e-9, 1e-8)
    )
    torch.testing.assert_close(y[0][:, 0], torch.exp(-T), rtol=1e-6, atol=0)
    torch.testing.assert_close(y[1], 2 * torch.exp(T), rtol=1e-6, atol=0)


def test_gradients_come_from_the_adjoint() -> None:
    class Field(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(-0.7))

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return self.rate * y * t

    found = []
    for package, method in ((ours, "scipy_solver"), (ours, "dopri5"), (theirs, "scipy_solver")):
        field, y0, t = Field(), torch.ones(2, requires_grad=True), T.clone().requires_grad_()
        package.odeint_adjoint(field, y0, t, method=method, rtol=1e-9, atol=1e-10).sum().backward()
        found.append((y0.grad, t.grad, field.rate.grad))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_a_lost_gradient_is_named() -> None:
    with pytest.warns(UserWarning, match="no gradients"):
        assert not solved(ours, torch.ones(2, requires_grad=True)).requires_grad


def test_options_and_callbacks_that_mean_nothing_are_named() -> None:
    with pytest.warns(UserWarning, match="wings"):
        solved(ours, torch.ones(2), wings=2)

    class Field:
        def __call__(self, t: Tensor, y: Tensor) -> Tensor:
            return -y

        def callback_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
            raise AssertionError

    with pytest.warns(UserWarning, match="takes its steps in SciPy"):
        solved(ours, torch.ones(2), func=Field())
    solved(ours, torch.ones(2), solver="LSODA", min_step=1e-6, max_step=0.1)
    with pytest.raises(ValueError, match="method"):
        solved(ours, torch.ones(2), solver="nonsense")


def test_a_solve_that_stops_leaves_nan() -> None:
    t = torch.tensor([0.0, 0.4, 0.6, 2.0])
    with pytest.warns(UserWarning, match="stopped behind t=0.4"):
        y = solved(ours, torch.full((1,), 2.0), t, lambda t, y: y**2, solver="RK45")
    torch.testing.assert_close(y[1], torch.tensor([10.0]), rtol=1e-5, atol=0)
    assert bool(y[2:].isnan().all())


@pytest.mark.parametrize("solver", ["RK45", "LSODA"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_events(solver: str, sign: float) -> None:
    """torchdiffeq has none for these methods."""
    level = torch.tensor(0.25, requires_grad=True)

    def event(t: Tensor, y: Tensor) -> Tensor:
        return y - level

    kwargs: dict[str, Any] = dict(method="scipy_solver", options=dict(solver=solver), rtol=1e-10, atol=1e-11)
    for interface in (ours.odeint, ours.odeint_adjoint):
        more = {} if interface is ours.odeint else dict(adjoint_params=())
        time, y = ours.odeint_event(
            lambda t, y: -sign * y,
            torch.ones(1),
            torch.tensor(0.0),
            event_fn=event,
            reverse_time=sign < 0,
            odeint_interface=interface,
            **kwargs,
            **more,
        )
        assert time.item() == pytest.approx(sign * 1.3862943611, abs=1e-8) and y.shape == (2, 1)
        (slope,) = torch.autograd.grad(time, level)
        assert float(slope) == pytest.approx(-sign * 4, rel=1e-7)
    start, states = ours.odeint(decay, torch.ones(1), T[:2], event_fn=lambda t, y: y - 1.0, **kwargs)
    assert float(start) == 0.0 and torch.equal(states, torch.ones(2, 1))


def test_an_event_that_is_not_reached() -> None:
    kwargs: dict[str, Any] = dict(method="scipy_solver", options=dict(solver="RK45"))
    with pytest.raises(AssertionError, match="no event was found"):
        ours.odeint(lambda t, y: torch.zeros_like(y), torch.ones(1), T[:2], event_fn=lambda t, y: y, **kwargs)
    with pytest.raises(AssertionError, match="RK45 stopped"):
        ours.odeint(lambda t, y: y**2, torch.ones(1), T[:2], event_fn=lambda t, y: y, **kwargs)


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.integrate", None)
    with pytest.raises(ImportError, match="pip install scipy"):
        solved(ours, torch.ones(2))
