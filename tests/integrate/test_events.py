"""Events: times, states and gradients against closed form; that none is missed; isolation of samples; refusals."""

import inspect
import math
from typing import Any, ClassVar, final

import pytest
import torch
from scipy.special import ellipe, ellipk, ellipkinc
from torch import Tensor

from sciml.integrate import (
    ETDRK4,
    ODE,
    PID,
    RK4,
    AbstractMethod,
    Adams,
    Bosh3,
    Checkpoint,
    Chunks,
    Clip,
    Dopri5,
    Dopri8,
    Eager,
    Event,
    Fixed,
    Hybrid,
    Result,
    SaveAt,
    SemiLinear,
    Solution,
    SolveError,
    Step,
    StepDoubling,
    TorchDiffEq,
    Tsit5,
    Vern7,
    solve,
)

GRAVITY = 9.81
TIGHT = PID(rtol=1e-12, atol=1e-12)
USUAL = PID(rtol=1e-8, atol=1e-10)
JOINT = PID(rtol=1e-8, atol=1e-10, per_sample=False)


def fall(t: Tensor, y: Tensor) -> Tensor:
    """Rows are (height, speed)."""
    return torch.stack([y[:, 1], torch.full_like(y[:, 1], -GRAVITY)], dim=1)


def swing(t: Tensor, y: Tensor) -> Tensor:
    """A pendulum: rows are (angle, speed)."""
    return torch.stack([y[:, 1], -torch.sin(y[:, 0])], dim=1)


def clock(t: Tensor, y: Tensor) -> Tensor:
    return torch.ones_like(y)


def still(t: Tensor, y: Tensor) -> Tensor:
    return torch.zeros_like(y)


def turn(t: Tensor, y: Tensor) -> Tensor:
    """A rotation with angular speed 1, clockwise."""
    return torch.stack([y[:, 1], -y[:, 0]], dim=1)


def first(t: Tensor, y: Tensor) -> Tensor:
    return y[:, 0]


def bounce(restitution: Any) -> Any:
    return lambda t, y: torch.stack([y[:, 0], -restitution * y[:, 1]], dim=1)


def floor(restitution: Any = 0.9, **more: Any) -> Event:
    return Event(first, direction=-1, jump=bounce(restitution), **more)


def dropped(*heights: float) -> Tensor:
    h = torch.tensor(heights)
    return torch.stack([h, torch.zeros_like(h)], dim=1)


def bounces(height: Tensor, restitution: Any, count: int) -> Tensor:
    """Times of the first bounces of balls at rest, (batch, count): t_n = t_1 (1 + 2 (e + ... + e^(n - 1)))."""
    powers = torch.as_tensor(restitution) ** torch.arange(1, count)
    steps = torch.cat([torch.ones(1), 2 * powers]).cumsum(0)
    return (2 * height / GRAVITY).sqrt()[:, None] * steps


@final
class Undense(AbstractMethod):
    """The midpoint rule, without dense output."""

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2

    def init(self, term: Any, t0: Any, y0: Any) -> tuple[()]:
        return ()

    def step(self, term: Any, t0: Any, t1: Any, y: Any, carry: Any) -> Step:
        h, slope = t1 - t0, term.f(t0, y)
        return Step(y + h * term.f(t0 + h / 2, y + h / 2 * slope), None, None, (), None)


def made(kind: type, *arguments: Any, **more: Any) -> Any:
    """An object, without the types that only tests check."""
    instance = object.__new__(kind)
    inspect.unwrap(kind.__init__)(instance, *arguments, **more)  # type: ignore[misc]
    return instance


def run(event: Any, y0: Tensor, t1: Any, field: Any = fall, control: Any = TIGHT, **more: Any) -> Solution:
    method = more.pop("method", Tsit5())
    return solve(ODE(field), method, y0, more.pop("t0", 0.0), t1, control=control, event=event, **more)


# Against closed form


def test_ball_time_and_state() -> None:
    y0 = dropped(1.0, 2.0)
    solution = run(Event(first), y0, 5.0)
    t = bounces(y0[:, 0], 1.0, 1)
    assert torch.allclose(solution.events[0].times, t, rtol=0, atol=1e-12)
    assert torch.allclose(solution.ys[:, 1], -(2 * GRAVITY * y0[:, 0]).sqrt(), rtol=0, atol=1e-12)
    assert torch.equal(solution.ts, solution.events[0].times[:, 0])
    assert torch.equal(solution.events.end, solution.ts)
    assert solution.events.ended_by.tolist() == [0, 0]
    assert solution.result.tolist() == [Result.SUCCESS] * 2


def test_ball_gradients() -> None:
    y0 = dropped(1.0, 2.0).requires_grad_()
    e = torch.tensor(0.8, requires_grad=True)
    solution = run(floor(e), y0, 3.2)
    h = y0[:, 0].detach().requires_grad_()
    e2 = torch.tensor(0.8, requires_grad=True)
    closed = bounces(h, e2, 4)
    found = solution.events[0].times[:, :4]
    assert torch.allclose(found, closed, rtol=0, atol=1e-11)
    for column in range(4):
        mine = torch.autograd.grad(found[:, column].sum(), [y0, e], retain_graph=True)
        true = torch.autograd.grad(closed[:, column].sum(), [h, e2], retain_graph=True, allow_unused=True)
        assert torch.allclose(mine[0][:, 0], true[0], rtol=0, atol=1e-8)
        assert float(mine[1]) == pytest.approx(float(true[1]) if true[1] is not None else 0.0, abs=1e-8)
    # Speeds behind the bounces are e^n sqrt(2 g h); at rest afterwards nothing else depends on the height.
    speed, true_speed = solution.events[0].after[:, 3, 1], e2**4 * (2 * GRAVITY * h).sqrt()
    mine = torch.autograd.grad(speed.sum(), [y0, e], retain_graph=True)
    true = torch.autograd.grad(true_speed.sum(), [h, e2])
    assert torch.allclose(mine[0][:, 0], true[0], rtol=0, atol=1e-8)
    assert torch.allclose(mine[1], true[1], rtol=0, atol=1e-8)


def test_gradient_of_the_state_at_t1_through_bounces() -> None:
    """Height at t1, in closed form after n bounces: v_n s - g s²/2 with s = t1 - t_n."""
    y0, e = dropped(1.0, 1.7).requires_grad_(), torch.tensor(0.85, requires_grad=True)
    solution = run(floor(e), y0, 3.0)
    h, e2 = y0[:, 0].detach().requires_grad_(), torch.tensor(0.85, requires_grad=True)
    n = solution.events[0].count
    assert int(n.min()) >= 3
    t = bounces(h, e2, int(n.max())).gather(1, n[:, None] - 1)[:, 0]
    v, s = e2**n * (2 * GRAVITY * h).sqrt(), 3.0 - t
    closed = v * s - GRAVITY * s**2 / 2
    assert torch.allclose(solution.ys[:, 0], closed, rtol=0, atol=1e-10)
    mine = torch.autograd.grad(solution.ys[:, 0].sum(), [y0, e])
    true = torch.autograd.grad(closed.sum(), [h, e2])
    assert torch.allclose(mine[0][:, 0], true[0], rtol=0, atol=1e-8)
    assert torch.allclose(mine[1], true[1], rtol=0, atol=1e-8)


def test_second_derivative_of_a_time() -> None:
    y0 = dropped(1.3).requires_grad_()
    t = run(floor(0.8), y0, 2.0).events[0].times[0, 1]
    (slope,) = torch.autograd.grad(t, y0, create_graph=True)
    (bend,) = torch.autograd.grad(slope[0, 0], y0)
    true = -0.25 * math.sqrt(2 / GRAVITY) * 2.6 * 1.3**-1.5
    assert float(bend[0, 0]) == pytest.approx(true, abs=1e-8)


@pytest.mark.parametrize("method", [Tsit5(), Dopri8(), Vern7()], ids=lambda m: type(m).__name__)
def test_pendulum(method: Any) -> None:
    """From rest at a, it comes to angle b at K(m) - F(phi, m), m = sin²(a/2), sin(phi) = sin(b/2) / sin(a/2)."""
    a = torch.tensor([1.0, 2.0, 2.9], requires_grad=True)
    b = torch.tensor(0.4, requires_grad=True)
    y0 = torch.stack([a, torch.zeros(3)], dim=1)
    event = Event(lambda t, y: y[:, 0] - b)
    solution = run(event, y0, 20.0, swing, method=method)
    start, level = a.detach(), b.detach()
    m = torch.sin(start / 2).square().numpy()
    phi = torch.asin(torch.sin(level / 2) / torch.sin(start / 2)).numpy()
    time = torch.as_tensor(ellipk(m) - ellipkinc(phi, m))
    assert torch.allclose(solution.ts, time, rtol=0, atol=1e-8)
    speed = -(2 * (torch.cos(b) - torch.cos(a))).sqrt()
    assert torch.allclose(solution.ys[:, 1], speed, rtol=0, atol=1e-8)
    assert torch.allclose(solution.ys[:, 0], b.expand(3), rtol=0, atol=1e-12)
    (by_b,) = torch.autograd.grad(solution.ts.sum(), b, retain_graph=True)
    assert float(by_b) == pytest.approx(float((1 / speed.detach()).sum()), abs=1e-8)
    mine = torch.autograd.grad(solution.ys[:, 1].sum(), [a, b])
    true = torch.autograd.grad(speed.sum(), [a, b])
    assert all(torch.allclose(x, y, rtol=0, atol=1e-8) for x, y in zip(mine, true, strict=True))


def test_pendulum_gradient_of_a_quarter_period() -> None:
    a = torch.tensor([0.5, 1.5, 2.5], requires_grad=True)
    solution = run(Event(first), torch.stack([a, torch.zeros(3)], dim=1), 20.0, swing)
    m = torch.sin(a.detach() / 2).square()
    k, e = (torch.as_tensor(f(m.numpy())) for f in (ellipk, ellipe))
    assert torch.allclose(solution.ts, k, rtol=0, atol=1e-8)
    (mine,) = torch.autograd.grad(solution.ts.sum(), a)
    true = (e - (1 - m) * k) / (2 * m * (1 - m)) * torch.sin(a.detach()) / 2
    assert torch.allclose(mine, true, rtol=0, atol=1e-8)


def test_gradient_of_the_field_s_parameter_and_of_t0() -> None:
    """Height h under gravity g from t0: t = t0 + sqrt(2 h / g)."""
    g, t0 = torch.tensor(4.0, requires_grad=True), torch.tensor(0.5, requires_grad=True)
    field = lambda t, y: torch.stack([y[:, 1], -g.expand(len(y))], dim=1)  # noqa: E731
    solution = run(Event(first), dropped(2.0), 5.0, field, t0=t0)
    assert solution.ts.tolist() == pytest.approx([1.5], abs=1e-12)
    by_g, by_t0 = torch.autograd.grad(solution.ts.sum(), [g, t0])
    assert float(by_g) == pytest.approx(-0.5 * 1.0 / 4.0, abs=1e-8)
    assert float(by_t0) == pytest.approx(1.0, abs=1e-8)


def test_a_thousand_balls() -> None:
    y0 = dropped(*torch.linspace(1.0, 5.0, 1000).tolist())
    solution = run(floor(0.8), y0, 3.0, control=USUAL)
    count = solution.events[0].count
    closed = bounces(y0[:, 0], 0.8, int(count.max()) + 1)
    assert torch.equal(count, (closed <= 3.0).sum(1))
    error = (solution.events[0].times - closed[:, :-1]).nan_to_num(0.0)
    assert float(error.abs().max()) < 1e-10


def test_fifty_bounces() -> None:
    y0 = dropped(1.0)
    closed = bounces(y0[:, 0], 0.9, 51)
    solution = run(floor(0.9), y0, float(closed[0, -2:].mean()))
    assert solution.events[0].count.tolist() == [50]
    assert torch.allclose(solution.events[0].times, closed[:, :50], rtol=0, atol=1e-9)


def test_gradient_through_fifteen_bounces() -> None:
    y0, e = dropped(1.0), torch.tensor(0.95, requires_grad=True)
    e2 = torch.tensor(0.95, requires_grad=True)
    closed = bounces(y0[:, 0], e2, 16)
    solution = run(floor(e), y0, float(closed[0, -2:].detach().mean()))
    (mine,) = torch.autograd.grad(solution.events[0].times[0, 14], e)
    (true,) = torch.autograd.grad(closed[0, 14], e2)
    assert float(mine) == pytest.approx(float(true), rel=1e-8)


# Events that never end, never come, or cannot be


def test_a_ball_that_comes_to_rest_is_stopped() -> None:
    with pytest.raises(SolveError, match="event 0 came again and again at one time.*terminal event at a small speed"):
        run(floor(0.1), dropped(1.0), 10.0)
    solution = run(floor(0.2), dropped(1.0, 60.0), 3.0, throw=False)
    assert solution.result.tolist() == [Result.TOO_MANY_EVENTS, Result.SUCCESS]
    assert float(solution.ts[0]) == pytest.approx(1.5 * math.sqrt(2 / GRAVITY), abs=1e-10)


def test_a_ball_that_sticks_does_not_fall_through() -> None:
    solution = run(floor(0.0), dropped(1.0), 10.0, throw=False)
    assert solution.result.tolist() == [Result.TOO_MANY_EVENTS]
    assert abs(float(solution.ys[0, 0])) < 1e-9


def test_at_most() -> None:
    solution = run(floor(0.9, at_most=3), dropped(1.0, 0.001), 2.0, throw=False)
    assert solution.result.tolist() == [Result.SUCCESS, Result.TOO_MANY_EVENTS]
    assert solution.events[0].count.tolist() == [3, 3]
    assert solution.events.failed_at.tolist() == [-1, 0]
    never = Event(lambda t, y: y[:, 0] + 1.0)
    with pytest.raises(SolveError, match="event 1 came more often than its at_most=3: raise `at_most`"):
        run([never, floor(0.9, at_most=3)], dropped(0.001), 2.0)
    again = run([never, floor(0.9, at_most=3)], dropped(0.001), 2.0, throw=False)
    assert again.events.failed_at.tolist() == [1]
    assert "more often than its `at_most`" in Result(int(again.result)).text


def test_an_event_at_rest_ends_the_ball() -> None:
    slow = Event(lambda t, y: y[:, 1] - 1e-3, direction=-1, terminal=True)
    still_up = Event(first, direction=-1, jump=bounce(0.5))
    solution = run([still_up, slow], dropped(1.0), 10.0, throw=False)
    assert solution.result.tolist() == [Result.SUCCESS]


def test_an_event_that_never_comes() -> None:
    y0 = dropped(1.0, 1000.0)
    solution = run(Event(first), y0, 2.0)
    assert solution.events.ended_by.tolist() == [0, -1]
    assert solution.events[0].count.tolist() == [1, 0]
    assert torch.isnan(solution.events[0].times[1]).all()
    assert float(solution.ts[1]) == 2.0
    assert float(solution.ys[1, 0]) == pytest.approx(1000 - 2 * GRAVITY)
    assert "ended by an event" in Result.SUCCESS.text
    nobody = run(Event(first), y0[1:], 2.0)
    assert nobody.events[0].times.shape == (1, 0)
    assert nobody.events[0].before.shape == (1, 0, 2)


def test_nothing_fires_at_t0() -> None:
    """A ball thrown up from the floor, where the function is zero, comes down to it at 2 v / g."""
    y0 = torch.tensor([[0.0, 3.0], [0.0, -1.0]])
    for control in (TIGHT, Fixed(n=3)):
        solution = run(Event(first), y0, 2.0, control=control)
        assert float(solution.ts[0]) == pytest.approx(6 / GRAVITY, abs=1e-10)
        assert solution.events.ended_by.tolist() == [0, -1]  # the other was on its way through


@pytest.mark.parametrize("direction", [-1, 0, 1])
@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("speed", [-1.0, 1.0])
def test_the_side_at_t0(direction: int, value: float, speed: float) -> None:
    """y = value + speed t - speed t² / 3 turns at t = 1.5 and is back at its start at t = 3."""
    field = lambda t, y: speed * (1 - 2 * t / 3) + 0 * y  # noqa: E731
    side = value or speed
    roots = [3.0] if value == 0.0 else [(1.5 + s * math.sqrt(2.25 + 3 * value * speed)) for s in (-1, 1)] if (
        value * speed > -0.75
    ) else []  # fmt: skip
    crossings = [(t, 1 if speed * (1 - 2 * t / 3) > 0 else -1) for t in roots if 0 < t < 5]
    expected = [t for t, way in crossings if direction in (0, way)]
    solution = run(Event(first, direction=direction, terminal=False), torch.tensor([[value]]), 5.0, field)
    assert solution.events[0].times.flatten().tolist() == pytest.approx(expected, abs=1e-9)
    if expected:
        assert crossings[0][1] == -side, "the first crossing leaves the side of t0"


def test_a_boolean_event_that_holds_at_t0() -> None:
    event = Event(lambda t, y: y[:, 0] > 2.0)
    with pytest.raises(SolveError, match="event 1, which is boolean, held at t0 already.*real function"):
        run([Event(lambda t, y: y[:, 0] > 9.0), event], torch.tensor([[1.0], [3.0]]), 2.0, clock)
    solution = run(event, torch.tensor([[1.0], [3.0]]), 2.0, clock, throw=False)
    assert solution.result.tolist() == [Result.SUCCESS, Result.EVENT_AT_START]
    assert solution.ys.tolist() == [[pytest.approx(2.0)], [3.0]]


def test_a_function_that_is_nan() -> None:
    event = Event(lambda t, y: torch.sqrt(y[:, 0]) + 1.0)
    with pytest.raises(SolveError, match="`fn` of event 1 became NaN.*dt_max"):
        run([Event(lambda t, y: y[:, 0] + 9.0), event], dropped(1.0), 5.0)
    solution = run(event, dropped(1.0, 1000.0), 1.0, throw=False)
    assert solution.result.tolist() == [Result.EVENT_NOT_FINITE, Result.SUCCESS]
    assert torch.isfinite(solution.ys).all()


def test_a_function_that_is_nan_behind_the_event() -> None:
    event = Event(lambda t, y: torch.sqrt(y[:, 0] - 0.5) - 0.1)
    solution = run(event, dropped(1.0), 0.7, control=PID(rtol=1e-10, atol=1e-10, dt_max=0.02))
    assert float(solution.ys[0, 0]) == pytest.approx(0.51, abs=1e-10)


def test_a_jump_that_is_not_finite() -> None:
    event = Event(first, jump=lambda t, y: y / 0.0)
    solution = run(event, dropped(1.0, 1000.0), 1.0, throw=False)
    assert solution.result.tolist() == [Result.JUMP_NOT_FINITE, Result.SUCCESS]
    assert solution.events.failed_at.tolist() == [0, -1]
    assert torch.isfinite(solution.ys).all()
    second = Event(first, direction=-1, jump=lambda t, y: torch.where(t < 1.0, -y, torch.nan))
    with pytest.raises(SolveError, match="`jump` of event 1 gave a state that is NaN or infinite, at its occurrence 2"):
        run([Event(lambda t, y: y[:, 0] + 9.0), second], dropped(1.0), 3.0)


# Which events are found


@pytest.mark.parametrize("probes", [0, 3, 9])
def test_none_is_missed_at_the_stated_resolution(probes: int) -> None:
    """In one step of length 1 a function keeps its new sign for a bit more, or less, than 1/(probes + 1)."""
    gap = 1 / (probes + 1)
    for start in torch.linspace(0.001, 1 - 1.02 * gap, 12).tolist() if probes else [0.3]:
        for width, sure in ((1.01 * gap, True), (0.3 * gap, False)):
            middle, half = start + width / 2, width / 2
            event = Event(lambda t, y, m=middle, h=half: (y[:, 0] - m).abs() - h, probes=probes)
            solution = run(event, torch.zeros(1, 1), 1.0, clock, Fixed(n=1), method=RK4())
            if sure and start + width < 1.0 or int(solution.events[0].count):
                assert float(solution.ts) == pytest.approx(start, abs=1e-12)


def test_an_event_between_probes_may_be_missed() -> None:
    """What the class says is a bound is one: without probes a dip within a step is not seen."""
    event = Event(lambda t, y: (y[:, 0] - 0.3).abs() - 0.1, probes=0)
    assert int(run(event, torch.zeros(1, 1), 1.0, clock, Fixed(n=1), method=RK4()).events[0].count) == 0


@pytest.mark.parametrize(("direction", "times"), [(1, [1.5]), (-1, [0.5, 2.5]), (0, [0.5, 1.5, 2.5])])
def test_direction(direction: int, times: list[float]) -> None:
    event = Event(lambda t, y: torch.cos(torch.pi * y[:, 0]), direction=direction, terminal=False)
    solution = run(event, torch.zeros(1, 1), 3.0, clock, USUAL)
    assert solution.events[0].times[0].tolist() == pytest.approx(times, abs=1e-12)
    assert torch.allclose(solution.ys, torch.tensor([[3.0]]))
    assert torch.equal(solution.events[0].before, solution.events[0].after)


@pytest.mark.parametrize(("direction", "times"), [(1, [1.0]), (0, [1.0]), (-1, [2.0])])
def test_boolean(direction: int, times: list[float]) -> None:
    event = Event(lambda t, y: (y[:, 0] >= 1.0) & (y[:, 0] < 2.0), direction=direction, terminal=False)
    start = torch.zeros(1, 1) if direction >= 0 else torch.full((1, 1), 1.5)
    solution = run(event, start, 3.0 - float(start), clock, PID(dt_max=0.7))
    assert (solution.events[0].times[0] + start).flatten().tolist() == pytest.approx(times, abs=1e-12)
    if direction >= 0:
        assert 1.0 <= float(solution.events[0].before[0, 0, 0]) < 1.0 + 1e-12, "it has happened there"


def test_boolean_has_no_gradient() -> None:
    y0 = dropped(1.0).requires_grad_()
    with pytest.raises(ValueError, match="autograd can differentiate.*torch.bool.*real function"):
        run(Event(lambda t, y: y[:, 0] < 0), y0, 2.0)
    with torch.no_grad():
        assert int(run(Event(lambda t, y: y[:, 0] < 0), y0, 2.0).events[0].count) == 1


def test_an_event_of_time_has_a_constant_time() -> None:
    y0 = torch.tensor([[2.0]], requires_grad=True)
    kick = Event(lambda t, y: t[:, 0] - 0.5, jump=lambda t, y: 3 * y)
    solution = run(kick, y0, 1.0, lambda t, y: -y)
    (slope,) = torch.autograd.grad(solution.ys.sum(), y0)
    assert float(slope) == pytest.approx(3 * math.exp(-1), abs=1e-9)
    assert solution.events[0].times.tolist() == [[pytest.approx(0.5, abs=1e-14)]]


def test_the_earliest_comes_first_and_ties_go_by_order() -> None:
    def at(time: float, factor: float, **more: Any) -> Event:
        return Event(lambda t, y: y[:, 0] - time, jump=lambda t, y: torch.stack([y[:, 0], factor * y[:, 1] + 1], 1))

    field = lambda t, y: torch.stack([torch.ones(len(y)), torch.zeros(len(y))], dim=1)  # noqa: E731
    solution = run([at(0.7, 2.0), at(0.3, 3.0), at(0.3, 5.0)], torch.zeros(1, 2), 1.0, field, Fixed(n=1))
    assert [float(solution.events[k].times) for k in range(3)] == pytest.approx([0.7, 0.3, 0.3])
    # y: 0 -> 3*0+1 = 1 -> 5*1+1 = 6 -> 2*6+1 = 13
    assert solution.ys[0].tolist() == pytest.approx([1.0, 13.0])
    assert len(solution.events) == 3


def test_a_corner_turns_both_ways() -> None:
    """A point in a box that meets two walls at once comes back on its way."""

    def wall(k: int) -> Event:
        flip = torch.ones(4)
        flip[2 + k] = -1.0
        return Event(lambda t, y: 1.0 - y[:, k].abs(), direction=-1, jump=lambda t, y: y * flip)

    field = lambda t, y: torch.cat([y[:, 2:], torch.zeros_like(y[:, 2:])], dim=1)  # noqa: E731
    y0 = torch.tensor([[0.1, 0.1, 0.7, 0.7], [0.1, 0.1, 0.7, 0.7 + 1e-15], [0.3, 0.1, 0.7, 0.9]])
    solution = run([wall(0), wall(1)], y0, 20.0, field, USUAL)
    t = 20.0
    for k in (0, 1):
        way = y0[:, k] + y0[:, 2 + k] * t
        true = 1 - ((way - 1) % 4 - 2).abs() + 0.0  # a triangle wave between -1 and 1
        true = -true
        assert torch.allclose(solution.ys[:, k].abs(), true.abs(), atol=1e-9)
        assert torch.equal(solution.events[k].count, ((way + 1) / 2).floor().long())


def test_a_jump_fires_nothing() -> None:
    """A jump over the threshold of another event is no crossing; the next crossing is."""
    kick = Event(lambda t, y: t[:, 0] - 0.5, jump=lambda t, y: y + 10.0)
    level = Event(lambda t, y: y[:, 0] - 5.0, terminal=True)
    solution = run([kick, level], torch.zeros(1, 1), 20.0, lambda t, y: torch.where(t < 0.5, 1.0, -1.0) + 0 * y)
    assert solution.events.ended_by.tolist() == [1]
    assert float(solution.ts) == pytest.approx(6.0, abs=1e-9)


def test_terminal_with_a_jump() -> None:
    solution = run(floor(0.5, terminal=True), dropped(1.0), 5.0)
    speed = math.sqrt(2 * GRAVITY)
    assert float(solution.ys[0, 1]) == pytest.approx(0.5 * speed, abs=1e-10)
    assert float(solution.events[0].before[0, 0, 1]) == pytest.approx(-speed, abs=1e-10)


def test_no_event_fires_in_a_rejected_step() -> None:
    """First steps far too long pass the floor, finite and rejected; with drag no step is exact."""
    drag = lambda t, y: torch.stack([y[:, 1], -GRAVITY - 0.3 * y[:, 1] * y[:, 1].abs()], dim=1)  # noqa: E731
    y0, save = dropped(1.0, 1.5, 2.0), SaveAt(ts=torch.linspace(0.0, 1.2, 25))
    solution = run(floor(0.8), y0, 1.2, drag, PID(rtol=1e-7, atol=1e-9, dt0=1.0), save=save)
    tight = run(floor(0.8), y0, 1.2, drag, TIGHT, save=save)
    assert int(solution.stats.rejected.min()) > 0
    assert torch.allclose(solution.events[0].times, tight.events[0].times, rtol=0, atol=1e-6, equal_nan=True)
    assert torch.allclose(solution.ys, tight.ys, rtol=0, atol=1e-5)


# Samples are on their own


def test_batch_mates_are_unchanged() -> None:
    y0 = torch.tensor([[1.0, 0.3], [0.7, 0.0], [2.2, -0.4], [1.5, 0.1]])
    high = torch.tensor([0.5, 9.0, 9.0, 9.0])
    alone = high.new_full((4,), 9.0)

    def solved(level: Tensor) -> Solution:
        event = Event(lambda t, y: y[:, 0] - level, jump=lambda t, y: y * 0.9, at_most=100)
        return run(event, y0, 6.0, swing, PID(rtol=1e-7, atol=1e-9), save=SaveAt(t1=True, ts=torch.linspace(0, 6, 9)))

    with_events, without = solved(high), solved(alone)
    assert int(with_events.events[0].count[0]) > 1
    assert torch.equal(with_events.ys["t1"][1:], without.ys["t1"][1:])
    assert torch.equal(with_events.ys["ts"][1:], without.ys["ts"][1:])
    assert torch.equal(with_events.stats.attempts[1:], without.stats.attempts[1:])
    plain = solve(
        ODE(swing), Tsit5(), y0, 0.0, 6.0, control=PID(rtol=1e-7, atol=1e-9, compact=False), save=SaveAt(t1=True)
    )
    assert torch.equal(plain.ys, without.ys["t1"])


def test_a_gradient_is_not_spoilt_by_batch_mates() -> None:
    """A jump that is not defined for the others, who have no event, leaves the gradient of what is shared finite."""
    e = torch.tensor(0.5, requires_grad=True)
    event = Event(first, jump=lambda t, y: torch.stack([y[:, 0], e * (-y[:, 1] - 4.0).sqrt()], dim=1))
    solution = run(event, dropped(1.0, 1000.0), 0.5)
    (slope,) = torch.autograd.grad(solution.ys[0, 1], e)
    assert torch.isfinite(slope)
    assert solution.events[0].count.tolist() == [1, 0]


def test_per_sample_ends_and_directions_of_time() -> None:
    y0 = torch.tensor([[0.0], [0.0], [3.0]])
    t0, t1 = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([2.0, 4.0, 0.0])
    event = Event(lambda t, y: y[:, 0] - 1.25)
    for control in (USUAL, Fixed(n=4)):
        solution = run(event, y0, t1, clock, control, t0=t0)
        assert solution.ts.tolist() == pytest.approx([1.25, 2.25, 1.25], abs=1e-12)


# Every kind of step


@pytest.mark.parametrize(
    "method",
    [Bosh3(), Dopri5(), Dopri8(), Vern7(), Adams(6), StepDoubling(RK4()), StepDoubling(Dopri5())],
    ids=lambda m: type(m).__name__,
)
def test_methods(method: Any) -> None:
    """They begin anew behind each bounce."""
    y0 = torch.tensor([[1.0, 0.0], [0.5, 0.1]])
    event = Event(first, jump=lambda t, y: torch.stack([y[:, 0], -0.9 * y[:, 1]], dim=1), direction=-1)
    found = run(event, y0, 4.0, swing, PID(rtol=1e-7, atol=1e-7), method=method)
    true = run(event, y0, 4.0, swing, PID(rtol=1e-10, atol=1e-10))
    assert torch.equal(found.events[0].count, true.events[0].count)
    assert int(found.events[0].count.min()) >= 1
    assert torch.allclose(found.ys, true.ys, rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", [RK4(), Tsit5(), Adams(4)], ids=lambda m: type(m).__name__)
def test_fixed_grid_keeps_its_points_behind_a_jump(method: Any) -> None:
    y0 = dropped(1.0, 2.0).requires_grad_()
    save = SaveAt(t1=True, ts=torch.linspace(0, 1.5, 7))
    solution = run(floor(0.8), y0, 1.5, control=Fixed(n=6), method=method, save=save)
    tight = run(floor(0.8), y0, 1.5, save=save)
    assert torch.allclose(solution.ys["ts"], tight.ys["ts"], rtol=0, atol=1e-10)
    count = solution.events[0].count
    assert torch.equal(solution.stats.steps, 6 + count)
    mine, true = (torch.autograd.grad(s.ys["t1"].sum(), y0, retain_graph=True)[0] for s in (solution, tight))
    assert torch.allclose(mine, true, rtol=0, atol=1e-8)


def test_order_on_a_fixed_grid_with_jumps() -> None:
    """Events do not lower the order: RK4 with the cubic as dense output is of order 4 behind bounces."""
    y0 = torch.tensor([[1.0, 0.0]])
    event = Event(first, jump=lambda t, y: torch.stack([y[:, 0], -0.9 * y[:, 1]], dim=1), direction=-1)
    true = run(event, y0, 5.0, swing, TIGHT).ys
    errors = [float((run(event, y0, 5.0, swing, Fixed(n=n), method=RK4()).ys - true).abs().max()) for n in (20, 40, 80)]
    assert math.log2(errors[1] / errors[2]) > 3.7


def test_fixed_grid_fails_per_sample() -> None:
    field = lambda t, y: torch.where(y > 1.5, torch.nan, torch.ones_like(y))  # noqa: E731
    solution = run(Event(lambda t, y: y[:, 0] - 5.0), torch.tensor([[0.0], [1.0]]), 1.0, field, Fixed(n=8), throw=False)
    assert solution.result.tolist() == [Result.SUCCESS, Result.NON_FINITE]
    assert torch.isfinite(solution.ys).all()


def test_backward_in_time() -> None:
    """Backwards the ball comes to 0.9 at t = -s with 0.5 + 3 s - g s²/2 = 0.9; events are met in that direction."""
    y0 = torch.tensor([[0.5, -3.0]], requires_grad=True)
    level = Event(lambda t, y: y[:, 0] - 0.9)
    for control in (TIGHT, Fixed(n=4)):
        solution = run(level, y0, -1.0, control=control)
        time, speed = solution.ts.detach(), solution.ys[0, 1].detach()
        assert float(time) == pytest.approx(-(3.0 - math.sqrt(9 - 2 * GRAVITY * 0.4)) / GRAVITY, abs=1e-11)
        (slope,) = torch.autograd.grad(solution.ts.sum(), y0)
        assert float(slope[0, 0]) == pytest.approx(-1 / float(speed), abs=1e-8)
    down = Event(lambda t, y: y[:, 0] - 0.9, direction=-1, jump=lambda t, y: y)
    assert int(run(down, y0, -1.0).events[0].count) == 1


def test_joint_steps_end_samples_one_by_one() -> None:
    y0 = torch.tensor([[1.0, 0.0], [2.0, 0.0], [2.5, 0.0]])
    save = SaveAt(t1=True, ts=torch.linspace(0, 2.5, 6), dense=True, every=1)
    solution = run(Event(first), y0, 2.5, swing, JOINT, save=save)
    alone = run(Event(first), y0, 2.5, swing, TIGHT, save=save)
    assert solution.events.ended_by.tolist() == [0, 0, -1]
    assert torch.allclose(solution.ts["t1"], alone.ts["t1"], rtol=0, atol=1e-7)
    assert torch.allclose(solution.ys["ts"], alone.ys["ts"], rtol=0, atol=1e-7, equal_nan=True)
    assert torch.allclose(solution(torch.tensor(1.0)), alone(torch.tensor(1.0)), rtol=0, atol=1e-7)
    sizes = solution.ts["steps"].diff(dim=1)
    both = torch.isfinite(sizes[0]) & torch.isfinite(sizes[2])
    assert torch.allclose(sizes[0, both][:-1], sizes[2, both][:-1]), "steps are those of all"
    norm = run(Event(first), y0, 2.5, swing, PID(per_sample=False, norm=lambda e: e.abs().max()))
    assert norm.events.ended_by.tolist() == [0, 0, -1]


def test_joint_steps_of_one_sample_may_jump() -> None:
    solution = run(floor(0.9), dropped(1.0), 2.0, control=JOINT)
    assert torch.allclose(solution.events[0].times, run(floor(0.9), dropped(1.0), 2.0).events[0].times)


def test_jumps_of_the_field() -> None:
    """Thrust that begins at 0.2, and a floor: both a mark and events on the way."""
    field = lambda t, y: torch.stack([y[:, 1], torch.where(t[:, 0] >= 0.2, 2.0, -2.0) - 4.0 + 0 * y[:, 1]], 1)  # noqa: E731
    control = Clip(PID(rtol=1e-11, atol=1e-11), jumps=torch.tensor([0.2]))
    event = Event(first, jump=bounce(0.5), direction=-1)
    solution = run(event, torch.tensor([[0.09, 0.0], [1.0, 0.0]]), 0.65, field, control)
    first_time = math.sqrt(0.09 / 3)
    assert float(solution.events[0].times[0, 0]) == pytest.approx(first_time, abs=1e-9)
    v = 0.5 * 6 * first_time
    s = 0.2 - first_time
    x, v = v * s - 3 * s**2, v - 6 * s
    second = 0.2 + (v + math.sqrt(v**2 + 4 * x)) / 2
    assert float(solution.events[0].times[0, 1]) == pytest.approx(second, abs=1e-9)


def test_trees_and_float32() -> None:
    y0 = {"x": torch.tensor([[1.0], [2.0]], dtype=torch.float32), "v": torch.zeros(2, 1, dtype=torch.float32)}
    field = lambda t, y: {"x": y["v"], "v": torch.full_like(y["v"], -GRAVITY)}  # noqa: E731
    event = Event(lambda t, y: y["x"][:, 0], jump=lambda t, y: {"x": y["x"], "v": -0.8 * y["v"]}, direction=-1)
    solution = solve(ODE(field), Tsit5(), y0, 0.0, 3.0, event=event)
    closed = bounces(torch.tensor([1.0, 2.0]), 0.8, 10)
    times = solution.events[0].times
    assert times.dtype == torch.float64
    assert torch.equal(solution.events[0].count, (closed < 3.0).sum(1))
    assert float((times - closed[:, : times.shape[1]]).nan_to_num(0.0).abs().max()) < 1e-4
    assert solution.events[0].after["v"].dtype == torch.float32
    assert solution.events[0].after["v"].shape == (2, times.shape[1], 1)


def test_under_no_grad_and_inference_mode() -> None:
    y0 = dropped(1.0).requires_grad_()
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            solution = run(floor(0.9), y0, 2.0)
        assert not solution.ys.requires_grad
        assert int(solution.events[0].count) == 3


# What is kept


def test_outputs_on_both_sides_of_a_jump() -> None:
    """y grows by 1 per time and loses 1 whenever it comes to 1: a saw. At its teeth the state behind is kept."""
    event = Event(lambda t, y: y[:, 0] - 1.0, jump=lambda t, y: y - 1.0)
    y0 = torch.tensor([[0.0], [0.5]])
    ts = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.25, 3.0])
    for control in (USUAL, Fixed(n=4)):
        save = SaveAt(t0=True, t1=True, ts=ts, every=1, dense=True)
        solution = run(event, y0, 3.0, clock, control, save=save)
        saw = (y0 + ts) % 1.0
        assert torch.allclose(solution.ys["ts"][..., 0], saw, rtol=0, atol=1e-12)
        inner = torch.tensor([0.1, 0.25, 0.4999, 0.51, 0.9, 1.1, 1.7, 2.9])
        assert torch.allclose(solution(inner)[..., 0], (y0 + inner) % 1.0, rtol=0, atol=1e-9)
        assert torch.allclose(solution(ts)[..., 0], saw, rtol=0, atol=1e-12)
        taus, steps = solution.ts["steps"], solution.ys["steps"][..., 0]
        off = (steps - (y0 + taus)).nan_to_num(0.0)  # a grid point may come just before a tooth
        assert torch.allclose(off, off.round(), rtol=0, atol=1e-9)
        for k in range(2):
            assert all((taus[k] - t).abs().nan_to_num(1.0).min() < 1e-12 for t in solution.events[0].times[k])
        assert torch.allclose(solution.ys["t1"][:, 0], (y0[:, 0] + 3.0) % 1.0, rtol=0, atol=1e-12)
        assert torch.equal(solution.ys["t0"], y0)


def test_outputs_behind_the_end_are_nan() -> None:
    event = Event(lambda t, y: y[:, 0] - 1.0)
    ts = torch.tensor([0.25, 0.5, 1.0, 1.5])
    y0 = torch.tensor([[0.0], [0.5], [-9.0]])
    solution = run(event, y0, 2.0, clock, USUAL, save=SaveAt(ts=ts, dense=True))
    expected = torch.tensor([[0.25, 0.5, 1.0, torch.nan], [0.75, 1.0, torch.nan, torch.nan], [-8.75, -8.5, -8.0, -7.5]])
    assert torch.allclose(solution.ys["ts"][..., 0] if isinstance(solution.ys, dict) else solution.ys[..., 0], expected,
                          rtol=0, atol=1e-12, equal_nan=True)  # fmt: skip
    assert torch.allclose(solution(ts)[..., 0], expected, rtol=0, atol=1e-12, equal_nan=True)
    with pytest.raises(ValueError, match="`t` must lie between t0=.*and t1=.*2.0.*Ask for times in between"):
        solution(2.5)


def test_gradient_of_saved_states_between_jumps() -> None:
    y0, e = dropped(1.0).requires_grad_(), torch.tensor(0.8, requires_grad=True)
    ts = torch.tensor([0.3, 0.6, 1.0, 1.4, 1.9])
    ys = run(floor(e), y0, 2.0, save=SaveAt(ts=ts)).ys[0, :, 0]
    mine = torch.stack([torch.autograd.grad(y, e, retain_graph=True)[0] for y in ys])
    step = 1e-6
    ends = [run(floor(0.8 + s * step), y0.detach(), 2.0, save=SaveAt(ts=ts)).ys[0, :, 0] for s in (-1, 1)]
    assert torch.allclose(mine, (ends[1] - ends[0]) / (2 * step), rtol=0, atol=1e-7)


def test_function_of_what_is_kept() -> None:
    event = Event(lambda t, y: y[:, 0] - 1.0)
    solution = run(event, torch.tensor([[0.0], [0.5]]), 2.0, clock, save=SaveAt(t1=True, fn=lambda t, y: y + 10 * t))
    assert solution.ys[:, 0].tolist() == pytest.approx([11.0, 6.0])


def test_evaluations_are_counted() -> None:
    calls = [0]

    def field(t: Tensor, y: Tensor) -> Tensor:
        calls[0] += 1
        return fall(t, y)

    solution = run(floor(0.9), dropped(1.0), 2.0, field)
    assert int(solution.stats.evaluations) == calls[0]


# What is refused


def test_wrong_kinds() -> None:
    with pytest.raises(TypeError, match="`fn` must be a function.*float.*lambda t, y"):
        Event(1.0)
    with pytest.raises(TypeError, match="`jump` must be a function"):
        Event(first, jump=2.0)
    with pytest.raises(ValueError, match="`direction` must be .1.*got 2"):
        Event(first, direction=2)
    with pytest.raises(ValueError, match="`at_most` must be a whole number of at least 1, got 0"):
        Event(first, at_most=0)
    with pytest.raises(ValueError, match="`probes` must be a whole number of at least 0, got -1"):
        Event(first, probes=-1)
    with pytest.raises(TypeError, match="`event` must be an Event.*got function.*Event\\(fn\\)"):
        inspect.unwrap(solve)(ODE(fall), Tsit5(), dropped(1.0), 0.0, 1.0, event=first)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`fn` must be a function.*got the class Tensor itself"):
        made(Event, Tensor)
    for terminal in ("no", 3):
        with pytest.raises(TypeError, match=f"`terminal` must be True, False or None, got .*{terminal}"):
            made(Event, first, terminal=terminal)
    for direction in (torch.tensor([-1, 1]), "down", True, 1.0):
        with pytest.raises(ValueError, match="`direction` must be .1.*got "):
            made(Event, first, direction=direction)
    system = Hybrid([clock], [])
    for event, given in (
        (Event, "got the class Event itself. Write Event"),
        ((Event(first), 2), "got int 2 at place 1"),
        ("x", "got str 'x'"),
        (system, "got Hybrid.*Give system.events"),
    ):
        with pytest.raises(TypeError, match=f"`event` must be an Event or a list or tuple of them, {given}"):
            inspect.unwrap(solve)(ODE(fall), Tsit5(), dropped(1.0), 0.0, 1.0, event=event)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fn", "error", "match"),
    [
        (lambda t, y: y, ValueError, r"one value per sample, shape \(2,\), got \(2, 2\).*y\[:, 0\]"),
        (lambda t, y: y[:, 0] - t, ValueError, r"one value per sample.*t\[:, 0\]"),
        (lambda t, y: 1.0, TypeError, "real or boolean tensor, got float"),
        (lambda t, y: y[:, 0] * 1j, TypeError, "real or boolean tensor, got torch.complex128"),
    ],
)
def test_functions_of_the_wrong_shape(fn: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        run(Event(fn), dropped(1.0, 2.0), 1.0)


@pytest.mark.parametrize(
    ("jump", "error", "match"),
    [
        (lambda t, y: y[:, :1], ValueError, r"shape \(1, 2\).*got \(1, 1\).*keep their shape"),
        (lambda t, y: y.float(), ValueError, "torch.float64 like the state, got .*torch.float32"),
        (lambda t, y: None, TypeError, "must return tensors, got a NoneType"),
    ],
)
def test_jumps_that_change_the_shape(jump: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        run(Event(first, jump=jump), dropped(1.0), 1.0)


def test_jumps_that_change_the_tree() -> None:
    y0 = {"x": torch.ones(1, 1)}
    event = Event(lambda t, y: y["x"][:, 0], jump=lambda t, y: {"z": y["x"]})
    with pytest.raises(TypeError, match="must return the structure of the state.*every leaf in its place"):
        solve(ODE(lambda t, y: {"x": -torch.ones_like(y["x"])}), Tsit5(), y0, 0.0, 2.0, event=event)


@pytest.mark.parametrize("control", [TIGHT, Fixed(n=4)], ids=["PID", "Fixed"])
@pytest.mark.parametrize("late", [False, True])
def test_a_function_that_writes_into_the_state(control: Any, late: bool) -> None:
    def fn(t: Tensor, y: Tensor) -> Tensor:
        return (y.clamp_(max=0.1) if not late or bool((t > 0.3).all()) else y)[:, 0]

    y0 = dropped(1.0)
    with pytest.raises(ValueError, match="`fn` of event 1 must leave time and state.*clamp\\(max=1.0\\) instead of"):
        run([Event(lambda t, y: y[:, 0] + 9.0), Event(fn)], y0, 1.0, control=control)
    assert torch.equal(y0, dropped(1.0))


def test_a_function_that_writes_into_the_time() -> None:
    with pytest.raises(ValueError, match="must leave time and state as they are"):
        run(Event(lambda t, y: t.add_(1.0)[:, 0] - 9.0), dropped(1.0), 1.0)


def test_a_function_that_writes_changes_nothing_in_inference_mode() -> None:
    """There tensors do not count their changes: it gets copies."""
    with torch.inference_mode():
        y0 = dropped(1.0)
        solution = run(Event(lambda t, y: y.clamp_(max=0.1)[:, 0]), y0, 1.0)
        assert torch.equal(y0, dropped(1.0))
    assert float(solution.ts) == pytest.approx(math.sqrt(2 / GRAVITY), abs=1e-10)


def test_a_jump_may_write_into_its_argument() -> None:
    def jump(t: Tensor, y: Tensor) -> Tensor:
        y[:, 1] *= -0.9
        return y

    y0 = dropped(1.0).requires_grad_()
    solution = run(Event(first, jump=jump, direction=-1), y0, 2.0)
    true = run(floor(0.9), y0, 2.0)
    assert torch.equal(solution.ys, true.ys)
    assert torch.equal(solution.events[0].before, true.events[0].before)
    mine, grad = (torch.autograd.grad(s.ys.sum(), y0)[0] for s in (solution, true))
    assert torch.allclose(mine, grad)


@pytest.mark.parametrize(
    ("more", "error", "match"),
    [
        ({"gradient": Checkpoint()}, ValueError, r"gradient=Checkpoint\(\).*Use gradient=Direct\(\)"),
        ({"compile": True}, ValueError, "not compiled, got compile=True.*compile=False"),
        ({"executor": Chunks()}, ValueError, "executor=Chunks.*executor=None"),
        ({"method": TorchDiffEq("dopri5"), "control": None}, ValueError, "event, which it would not use"),
        ({"control": PID(groups=torch.tensor([0, 0]))}, ValueError, "`groups` makes rows share.*one sample"),
        ({"control": PID(per_sample=False)}, ValueError, r"joint steps and event 0.*PID\(per_sample=True\)"),
    ],
)
def test_refusals(more: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        run(floor(), dropped(1.0, 2.0), 1.0, **more)


def test_methods_without_dense_output_are_refused() -> None:
    term = SemiLinear(-1.0, lambda t, y: 0 * y)
    with pytest.raises(TypeError, match="dense output, but ETDRK4 has none.*as ODE.f.*Rodas5P.*Tsit5"):
        solve(term, ETDRK4(), torch.ones(1, 2), 0.0, 1.0, control=Fixed(n=4), event=Event(first))
    with pytest.raises(TypeError, match="but Undense has none. Take .*StepDoubling"):
        run(Event(first), dropped(1.0), 1.0, control=Fixed(n=4), method=Undense())
    doubled = run(Event(first), dropped(1.0), 1.0, method=StepDoubling(Undense()))
    assert float(doubled.ts) == pytest.approx(math.sqrt(2 / GRAVITY), abs=1e-9)


def test_transforms_are_refused() -> None:
    with pytest.raises(ValueError, match="inside torch.func transforms.*batch axis"):
        torch.func.grad(lambda h: run(Event(first), torch.stack([h, 0 * h])[None], 1.0).ts.sum())(torch.tensor(1.0))


def test_the_eager_executor_may_be_named() -> None:
    assert int(run(Event(first), dropped(1.0), 1.0, executor=Eager()).events[0].count) == 1


def test_no_event_is_no_event() -> None:
    assert run([], dropped(1.0), 1.0).events is None
