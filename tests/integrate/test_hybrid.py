"""Hybrid systems: a thermostat against closed form, gradients, jumps, samples in different modes, refusals."""

import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.integrate import ODE, PID, Hybrid, SaveAt, Solution, Transition, Tsit5, solve

TIGHT = PID(rtol=1e-12, atol=1e-12)
LOW, HIGH, HOT = 18.0, 22.0, 30.0


def cool(t: Tensor, y: Tensor) -> Tensor:
    return -y


def thermostat(low: Any = LOW, high: Any = HIGH, **more: Any) -> Hybrid:
    """A room that cools towards 0, or is heated towards 30; the heater is switched at both thresholds."""
    cold = Transition(0, 1, lambda t, y: y[:, 0] - low, direction=-1)
    warm = Transition(1, 0, lambda t, y: y[:, 0] - high, direction=+1)
    return Hybrid([cool, lambda t, y: HOT - y], [cold, warm], **more)


def made(kind: type, *arguments: Any, **more: Any) -> Any:
    """An object, without the types that only tests check."""
    instance = object.__new__(kind)
    inspect.unwrap(kind.__init__)(instance, *arguments, **more)  # type: ignore[misc]
    return instance


def run(system: Hybrid, y0: Any, t1: float, mode: Any = 0, **more: Any) -> Solution:
    return solve(system.term, Tsit5(), system.state(y0, mode), 0.0, t1, control=TIGHT, event=system.events, **more)


def test_thermostat_against_closed_form() -> None:
    """Cooling from a to b takes log(a/b), heating log((30 - a)/(30 - b))."""
    y0 = torch.tensor([[20.0], [25.0], [15.0]])
    solution = run(thermostat(), y0, 3.0, torch.tensor([0, 0, 1]))
    down, up = math.log(HIGH / LOW), math.log((HOT - LOW) / (HOT - HIGH))
    first = torch.tensor([math.log(20 / LOW), math.log(25 / LOW), math.log(15 / 8) + down])
    cold, warm = solution.events[0], solution.events[1]
    n = torch.arange(int(cold.count.max()))
    expected = first[:, None] + n * (down + up)
    assert torch.equal(cold.count, (expected < 3.0).sum(1))
    assert torch.allclose(cold.times.nan_to_num(9.0), torch.where(expected < 3.0, expected, 9.0), rtol=0, atol=1e-10)
    assert torch.allclose(warm.times[:2, :2], expected[:2, :2] + up, rtol=0, atol=1e-10)
    mode, y = solution.ys["mode"][:, 0], solution.ys["y"][:, 0]
    assert set(mode.tolist()) <= {0.0, 1.0}
    assert bool(((y > LOW - 1e-9) & (y < HIGH + 1e-9)).all())
    assert cold.after["mode"][0, 0].tolist() == [1.0]
    assert float(cold.after["y"][0, 0]) == pytest.approx(LOW, abs=1e-10)


def test_gradients_reach_thresholds_and_start() -> None:
    low, high = torch.tensor(LOW, requires_grad=True), torch.tensor(HIGH, requires_grad=True)
    y0 = torch.tensor([[20.0]], requires_grad=True)
    t = run(thermostat(low, high), y0, 2.0).events[0].times[0, 1]
    t2 = (y0[0, 0] / low).log() + ((HOT - low) / (HOT - high)).log() + (high / low).log()
    mine, true = (torch.autograd.grad(x, [low, high, y0]) for x in (t, t2))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-8) for a, b in zip(mine, true, strict=True))


def test_modes_of_one_sample_change_nothing_of_another() -> None:
    y0 = torch.tensor([[20.0], [19.0]])
    both = run(thermostat(), y0, 2.0, save=SaveAt(t1=True, ts=torch.linspace(0, 2, 5)))
    never = run(thermostat(low=torch.tensor([-1.0, LOW])), y0, 2.0, save=SaveAt(t1=True, ts=torch.linspace(0, 2, 5)))
    assert int(never.events[0].count[0]) == 0
    assert torch.equal(both.ys["t1"]["y"][1], never.ys["t1"]["y"][1])
    assert torch.equal(both.ys["ts"]["y"][1], never.ys["ts"]["y"][1])


def test_a_jump_between_modes() -> None:
    """Slow growth to 1, back to 0.25, then fast growth to 2, where it begins anew: all within a tree of events."""
    slow, fast = (lambda t, y, k=k: torch.full_like(y, k) for k in (1.0, 4.0))
    changes = [
        Transition(0, 1, lambda t, y: y[:, 0] - 1.0, jump=lambda t, y: y - 0.75),
        Transition(1, 0, lambda t, y: y[:, 0] - 2.0, jump=lambda t, y: torch.zeros_like(y)),
    ]
    solution = run(Hybrid([slow, fast], changes), torch.tensor([[0.0], [0.5]]), 3.0)
    period = 1.0 + 1.75 / 4
    assert torch.allclose(solution.events[0].times[0], torch.tensor([1.0, 1.0 + period]), rtol=0, atol=1e-10)
    assert torch.allclose(solution.events[1].times[0], torch.tensor([period, 2 * period]), rtol=0, atol=1e-10)
    assert float(solution.ys["y"][0]) == pytest.approx(3.0 - 2 * period, abs=1e-10)
    assert float(solution.events[0].after["y"][1, 0]) == pytest.approx(0.25, abs=1e-10)


def test_trees_in_modes() -> None:
    system = Hybrid(
        [lambda t, y: {"x": -y["x"]}, lambda t, y: {"x": y["x"]}],
        [Transition(0, 1, lambda t, y: y["x"][:, 0] - 0.5), Transition(1, 0, lambda t, y: y["x"][:, 0] - 2.0)],
    )
    solution = run(system, {"x": torch.ones(1, 2)}, 2.0)
    assert float(solution.ys["y"]["x"][0, 0]) == pytest.approx(0.5 * math.exp(2.0 - math.log(2.0)), abs=1e-9)


def test_at_most_and_probes_are_handed_on() -> None:
    system = thermostat(at_most=7, probes=1)
    assert [(event.at_most, event.probes) for event in system.events] == [(7, 1)] * 2
    assert isinstance(system.term, ODE)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="one field per mode, got none"):
        Hybrid([], [])
    with pytest.raises(TypeError, match="sequence of Transition, got a float.*Transition\\(source, target, guard\\)"):
        wrong: Any = [1.0]
        Hybrid([cool], wrong)
    with pytest.raises(ValueError, match="transition 0 has the target 1, but modes are numbered from 0 to 0"):
        Hybrid([cool], [Transition(0, 1, lambda t, y: y[:, 0])])
    with pytest.raises(ValueError, match="`source` must be a whole number of at least 0, got -1"):
        Hybrid([cool], [Transition(-1, 0, lambda t, y: y[:, 0])])
    single: Any = cool
    with pytest.raises(TypeError, match="`fields` must be a list or a tuple, got function.*Write"):
        made(Hybrid, single, [])
    single = Transition(0, 0, lambda t, y: y[:, 0])
    with pytest.raises(TypeError, match="`transitions` must be a list or a tuple, got Transition.*Write"):
        made(Hybrid, [cool], single)
    with pytest.raises(TypeError, match=r"`fields\[1\]` must be a function of \(t, y\), got str 'a'"):
        Hybrid([cool, "a"], [])
    with pytest.raises(ValueError, match="`at_most` must be a whole number of at least 1, got 0"):
        Hybrid([cool], [], at_most=0)
    with pytest.raises(ValueError, match="`probes` must be a whole number of at least 0, got -1"):
        Hybrid([cool], [], probes=-1)


@pytest.mark.parametrize(
    ("more", "error", "match"),
    [
        ({"guard": None}, TypeError, "`guard` must be a function.*got NoneType None"),
        ({"guard": "x"}, TypeError, "`guard` must be a function.*got str 'x'"),
        ({"direction": 2}, ValueError, "`direction` must be .*got 2"),
        ({"jump": 1.0}, TypeError, "`jump` must be a function.*got float 1.0"),
        ({"source": 0.5}, ValueError, "`source` must be a whole number of at least 0, got 0.5"),
        ({"target": -1}, ValueError, "`target` must be a whole number of at least 0, got -1"),
    ],
)
def test_transitions_are_checked_when_built(more: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        made(Transition, **{"source": 0, "target": 0, "guard": lambda t, y: y[:, 0], **more})


@pytest.mark.parametrize(
    "mode", [2, -1, 0.5, math.nan, "x", None, torch.tensor([0.0, 0.5]), torch.zeros(3), [0, 1, 0], 1j], ids=str
)
def test_modes_that_do_not_exist(mode: Any) -> None:
    with pytest.raises(ValueError, match=r"`mode` must be a whole number from 0 to 1, or one per sample \(2,\), got"):
        inspect.unwrap(Hybrid.state)(thermostat(), torch.ones(2, 1), mode)


def test_modes_that_exist() -> None:
    for mode in (1, 1.0, torch.tensor(1), [1, 1], torch.ones(2)):
        state = inspect.unwrap(Hybrid.state)(thermostat(), torch.ones(2, 1), mode)
        assert state["mode"].tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("guard", "error", "match"),
    [
        (lambda t, y: y[:, 0] > 0, TypeError, "guard of transition 1 must be a real tensor, got torch.bool"),
        (lambda t, y: 1.0, TypeError, "guard of transition 1 must be a real tensor, got float"),
        (lambda t, y: y - 0.5, ValueError, r"guard of transition 1 must return one value per sample.*got \(2, 1\)"),
    ],
)
def test_guards_of_the_wrong_kind(guard: Any, error: type[Exception], match: str) -> None:
    system = Hybrid([cool], [Transition(0, 0, lambda t, y: y[:, 0] + 9.0), Transition(0, 0, guard)])
    with pytest.raises(error, match=match):
        run(system, torch.ones(2, 1), 1.0)


@pytest.mark.parametrize(
    ("state", "error", "match"),
    [
        (torch.ones(2, 1), TypeError, r'must be \{"mode": ..., "y": ...\}, got a Tensor. Begin from system.state'),
        ({"y": torch.ones(2, 1)}, TypeError, r"got a dict of \['y'\]. Begin from system.state"),
        ({"mode": torch.ones(2, 2), "y": torch.ones(2, 1)}, ValueError, r"shape \(batch, 1\), got \(2, 2\)"),
    ],
)
def test_states_that_are_none(state: Any, error: type[Exception], match: str) -> None:
    system = thermostat()
    with pytest.raises(error, match=match):
        solve(system.term, Tsit5(), state, 0.0, 1.0, event=system.events)


def test_fields_may_be_modules() -> None:
    class Decay(nn.Module):
        def __init__(self, rate: float) -> None:
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(rate))

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return -self.rate * y

    fields = nn.ModuleList([Decay(1.0), Decay(2.0)])
    half = Transition(0, 1, lambda t, y: y[:, 0] - 0.5, direction=-1)
    solution = run(Hybrid(fields, (half,)), torch.ones(1, 1), 1.0)
    assert float(solution.ys["y"].detach()) == pytest.approx(0.5 * math.exp(-2 * (1 - math.log(2))), abs=1e-9)


@pytest.mark.parametrize("field", [lambda t, y: y[:, :1], lambda t, y: {"x": y}, lambda t, y: 1.0])
def test_a_field_that_would_be_broadcast(field: Any) -> None:
    with pytest.raises(
        ValueError, match=r"fields\[1\] must return the structure and shapes of the state, \(2, 3\), got"
    ):
        run(Hybrid([cool, field], []), torch.ones(2, 3), 1.0)


def test_a_guard_that_writes_is_named() -> None:
    system = Hybrid([cool], [Transition(0, 0, lambda t, y: y.clamp_(max=0.1)[:, 0])])
    with pytest.raises(ValueError, match="`fn` of event 0 must leave time and state as they are"):
        run(system, torch.ones(2, 1), 1.0)
