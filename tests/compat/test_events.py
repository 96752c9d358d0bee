"""Events of the compatible names: their times, and the gradients of these."""

import math
from typing import Any

import pytest
import torch
import torchdiffeq as theirs
from torch import Tensor, nn

from sciml.compat import torchdiffeq as ours
from sciml.compat.torchdiffeq import adaptive, external, fixed
from sciml.compat.torchdiffeq.crossing import _root

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # theirs warn about their own tensors
BOTH = pytest.mark.parametrize("package", [theirs, ours], ids=["theirs", "ours"])


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "rk4"])
@pytest.mark.parametrize("backwards", [False, True])
def test_events(method: str, backwards: bool) -> None:
    """exp(-t) = 1/2 at ln 2, with several events combined."""
    sign = -1.0 if backwards else 1.0
    options = dict(step_size=0.01, interp="cubic") if method == "rk4" else {}

    def event(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack([y[0] - 0.5, y[0] - 0.1])

    times = torch.tensor([0.0, sign])
    for package, near in ((theirs, 1e-4), (ours, 1e-5)):  # their interpolant of bosh3 is coarser
        time, y = package.odeint(
            lambda t, y: -sign * y, torch.ones(1), times, event_fn=event, method=method, options=options
        )
        assert y.shape == (2, 1) and time.dtype == times.dtype
        assert float(time) == pytest.approx(sign * math.log(2), abs=near) and float(y[1]) == pytest.approx(
            0.5, abs=1e-6
        )


@BOTH
@pytest.mark.parametrize("solver", ["odeint", "odeint_adjoint"])
@pytest.mark.parametrize("backwards", [False, True])
def test_gradient_of_an_event_time(package: Any, solver: str, backwards: bool) -> None:
    """y = y0 exp(k t) reaches 1 at t = -ln(y0) / k."""

    class Growth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = nn.Parameter(torch.tensor(-0.5 if backwards else 0.5))

        def forward(self, t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return self.k * y[0], torch.ones_like(y[1])

    field, y0, t0 = Growth(), torch.tensor([0.5], requires_grad=True), torch.tensor(0.0, requires_grad=True)
    time, states = package.odeint_event(
        field,
        (y0, torch.zeros(1)),
        t0,
        event_fn=lambda t, y: y[0] - 1.0,
        reverse_time=backwards,
        odeint_interface=getattr(package, solver),
        rtol=1e-9,
        atol=1e-10,
    )
    k = float(field.k)
    assert float(time) == pytest.approx(math.log(2) / k, rel=1e-7)
    assert states[1].shape == (2, 1)
    time.backward()
    assert y0.grad is not None and field.k.grad is not None
    assert float(y0.grad) == pytest.approx(-2 / k, rel=1e-5)
    assert float(field.k.grad) == pytest.approx(-math.log(2) / k**2, rel=1e-5)


class Ball(nn.Module):
    """A ball that falls; the state is (height, speed)."""

    def __init__(self) -> None:
        super().__init__()
        self.gravity = nn.Parameter(torch.tensor(9.81))

    def forward(self, t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return y[1], -self.gravity * torch.ones_like(y[1])


@pytest.mark.parametrize("solver", [ours.odeint, ours.odeint_adjoint])
def test_a_falling_ball_in_closed_form(solver: Any) -> None:
    """From height h it reaches the level l at t = sqrt(2 (h - l) / g), with speed -sqrt(2 g (h - l))."""
    ball, height, level = Ball(), torch.tensor([3.0], requires_grad=True), torch.tensor(0.5, requires_grad=True)
    time, (_, speed) = ours.odeint_event(
        ball,
        (height, torch.zeros(1)),
        torch.tensor(0.0),
        event_fn=lambda t, y: y[0] - level,
        odeint_interface=solver,
        rtol=1e-12,
        atol=1e-12,
    )
    g, fallen = 9.81, 2.5
    exact = math.sqrt(2 * fallen / g)
    assert float(time) == pytest.approx(exact, abs=1e-12)
    inputs = (height, level, ball.gravity)
    rate = math.sqrt(g / (2 * fallen))
    for value, wanted in (
        (time, (1 / (g * exact), -1 / (g * exact), -exact / (2 * g))),
        (speed[-1], (-rate, rate, -math.sqrt(fallen / (2 * g)))),
    ):
        for gradient, expected in zip(torch.autograd.grad(value, inputs, retain_graph=True), wanted, strict=True):
            assert float(gradient) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_the_first_of_several_events_counts(method: str) -> None:
    options = dict(step_size=0.01, interp="cubic") if method == "rk4" else {}
    field, start = (lambda t, y: torch.stack([y[1], -y[0]])), torch.tensor([0.0, 1.0])

    def event(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack([y[0] - 0.5, 2.0 - t, y[1] + 5.0])

    time, y = ours.odeint_event(field, start, torch.tensor(0.0), event_fn=event, method=method, options=options)
    assert float(time) == pytest.approx(math.pi / 6, abs=1e-6) and float(y[1, 0]) == pytest.approx(0.5, abs=1e-6)


@BOTH
def test_an_event_of_the_time_alone(package: Any) -> None:
    """What the state is then still depends on where it started."""
    y0 = torch.ones(1, requires_grad=True)
    time, y = package.odeint_event(lambda t, y: -y, y0, torch.tensor(0.0), event_fn=lambda t, y: t - 0.5)
    (gradient,) = torch.autograd.grad(y[1], y0)
    assert float(time) == pytest.approx(0.5, abs=1e-8) and float(gradient) == pytest.approx(math.exp(-0.5), rel=1e-6)


def test_an_event_that_autograd_cannot_follow_stays_where_it_is() -> None:
    y0 = torch.ones(1, requires_grad=True)
    time, y = ours.odeint_event(lambda t, y: -y, y0, torch.tensor(0.0), event_fn=lambda t, y: (y - 0.5).detach())
    assert not time.requires_grad
    assert float(torch.autograd.grad(y[1], y0)[0]) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("method", ["dopri5", "euler"])
def test_an_event_at_the_start_is_there(method: str) -> None:
    options = dict(step_size=0.1) if method == "euler" else {}
    t, y0 = torch.tensor([1.0, 2.0]), torch.ones(2)
    time, y = ours.odeint(lambda t, y: -y, y0, t, event_fn=lambda t, y: y[0] - 1.0, method=method, options=options)
    assert float(time) == 1.0 and torch.equal(y, torch.ones(2, 2))


def test_events_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixed, "_MAX_EVENT_STEPS", 20)
    call: dict[str, Any] = dict(func=lambda t, y: -y, y0=torch.ones(1), t=torch.tensor([0.0, 1.0]))
    with pytest.raises(RuntimeError, match="no event within 20 steps"):
        ours.odeint(**call, event_fn=lambda t, y: y + 1, method="rk4", options=dict(step_size=0.1))
    with pytest.raises(AssertionError, match="max_num_steps=30"):
        ours.odeint(**call, event_fn=lambda t, y: y + 1, options=dict(max_num_steps=30))
    with pytest.raises(AssertionError, match="step_size"):
        ours.odeint(**call, event_fn=lambda t, y: y - 0.5, method="rk4")
    call["t"] = torch.tensor([0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="two times"):
        ours.odeint(**call, event_fn=lambda t, y: y - 0.5)


@pytest.mark.parametrize("solver", [ours.odeint, ours.odeint_adjoint])
@pytest.mark.parametrize("reverse", [False, True])
def test_an_event_that_no_step_meets(solver: Any, reverse: bool) -> None:
    """Steps without an error grow tenfold, and are at the largest time at once."""
    field = nn.Identity()
    field.forward = lambda t, y: torch.ones_like(y)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="`event_fn` did not change its sign up to t=-?1e\\+100.*max_step"):
        ours.odeint_event(
            field,
            torch.ones(1),
            torch.tensor(0.0),
            event_fn=lambda t, y: (y - 1.0) ** 2 + 1.0,
            reverse_time=reverse,
            odeint_interface=solver,
        )


def test_the_search_for_an_event_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """y' = -y decays for ever, in steps that do not grow: there is a limit also where none is given."""
    monkeypatch.setattr(adaptive, "MOST_EVENT_STEPS", 40)
    monkeypatch.setattr(external, "_MOST_LOOKS", 40)
    call: dict[str, Any] = dict(func=lambda t, y: -y, y0=torch.ones(1), t0=torch.tensor(0.0))
    with pytest.raises(AssertionError, match="`event_fn` did not change its sign within max_num_steps=40 attempts"):
        ours.odeint_event(**call, event_fn=lambda t, y: y + 1)
    time, _ = ours.odeint_event(**call, event_fn=lambda t, y: y - 1e-4, options=dict(max_num_steps=400))
    assert float(time) == pytest.approx(4 * math.log(10), rel=1e-4)
    turn = lambda t, y: torch.stack([y[1], -y[0]])  # noqa: E731
    with pytest.raises(AssertionError, match="`event_fn` did not change its sign within 40 steps of SciPy"):
        ours.odeint_event(turn, torch.ones(2), call["t0"], event_fn=lambda t, y: y + 9, method="scipy_solver")
    many = ours.odeint(
        call["func"], torch.ones(1), torch.tensor([0.0, 60.0])
    )  # where there is none, nothing is limited
    assert float(many[1]) == pytest.approx(0.0, abs=1e-8)


def test_fewer_looks_than_by_halving() -> None:
    counts = []
    for package in (theirs, ours):
        looks = [0]

        def event(t: Tensor, y: Tensor, looks: list[int] = looks) -> Tensor:
            looks[0] += 1
            return y - 0.3

        package.odeint(lambda t, y: -y, torch.ones(1), torch.tensor([0.0, 1.0]), event_fn=event, atol=1e-12)
        counts.append(looks[0])
    assert counts[1] < 0.6 * counts[0], counts


@pytest.mark.parametrize("root", [0.0, 1e-13, 0.123, 0.5, 0.999999, 1.0])
@pytest.mark.parametrize(
    "kind", [lambda x: x, lambda x: x**3, lambda x: math.copysign(1.0, x), lambda x: math.expm1(9 * x)]
)
def test_roots_to_rounding(root: float, kind: Any) -> None:
    looks = [0]

    def value(theta: float) -> float:
        looks[0] += 1
        return kind(root - theta) if theta != root else 0.0

    assert _root(value, 1e-15) == pytest.approx(root, abs=3e-15)
    assert looks[0] < 110


def test_a_root_that_rounding_hides_is_at_the_end() -> None:
    assert _root(lambda theta: 1e-17, 1e-15) == 1.0
