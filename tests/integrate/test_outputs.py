"""What adaptive solves keep: given times, every n-th step, functions of the state, the solution as a function."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.integrate import ODE, PID, RK4, Checkpoint, Chunks, Direct, Dopri5, Dopri8, Eager, Fixed, SaveAt, solve

CONTROLS = {
    "own": PID(rtol=1e-10, atol=1e-12),
    "joint": PID(rtol=1e-10, atol=1e-12, per_sample=False),
    "groups": PID(rtol=1e-10, atol=1e-12, groups=torch.tensor([0, 1, 1])),
}
each_control = pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
each_executor = pytest.mark.parametrize("executor", [Eager(), Chunks(16)], ids=["eager", "chunks"])
each_direction = pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])


def field(t: Tensor, y: Tensor) -> Tensor:
    return y * torch.cos(t)


def exact(ts: Tensor) -> Tensor:
    """States (batch, time, 2) for times (time,) or (batch, time)."""
    return start()[:, None] * torch.exp(torch.sin(ts).expand(3, -1))[..., None]


def start() -> Tensor:
    return torch.tensor([[1.0, -1.0], [2.0, 0.5], [30.0, 0.1]])


def close(got: Tensor, want: Tensor) -> bool:
    return torch.allclose(got, want.to(got.dtype), rtol=0, atol=1e-6)


@each_executor
@each_control
@each_direction
@pytest.mark.parametrize("number", [1, 7, 600])
def test_states_at_given_times(executor, control, sign, number):
    """600 times are many per step, 7 few; both ends are among them."""
    ts = sign * torch.linspace(0, 4, number) if number > 1 else sign * torch.tensor([4.0])
    save = SaveAt(ts=ts, t1=True, t0=True)
    solution = solve(ODE(field), Dopri8(), start(), 0.0, sign * 4.0, control=control, save=save, executor=executor)
    assert set(solution.ys) == {"t0", "t1", "ts"} and torch.equal(solution.ts["ts"], ts)
    assert solution.ys["ts"].shape == (3, number, 2) and close(solution.ys["ts"], exact(ts))
    assert torch.equal(solution.ys["t0"], start())
    assert number == 1 or torch.equal(solution.ys["ts"][:, 0], start())
    assert torch.allclose(solution.ys["ts"][:, -1], solution.ys["t1"], rtol=0, atol=1e-12)


@each_executor
@pytest.mark.parametrize("compact", [True, False])
def test_times_of_each_sample_in_both_directions(executor, compact):
    t0, t1 = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, -1.0, 2.2])
    ts = t0[:, None] + (t1 - t0)[:, None] * torch.tensor([0.0, 0.1, 0.11, 0.5, 1.0, 1.0])
    control = PID(rtol=1e-10, atol=1e-12, compact=compact)
    y0 = start() * torch.exp(torch.sin(t0))[:, None]
    save = SaveAt(ts=ts, dense=not compact)
    solution = solve(ODE(field), Dopri8(), y0, t0, t1, control=control, save=save, executor=executor)
    assert torch.equal(solution.ys[:, 0], y0) and close(solution.ys, exact(ts))
    if not compact:
        assert close(solution(ts), exact(ts))
        shared = torch.tensor([2.1])
        with pytest.raises(ValueError, match="`t` must lie between t0=.*Ask for times in between"):
            solution(shared)


@each_executor
@each_control
@each_direction
def test_the_solution_is_a_function(executor, control, sign):
    arguments: dict[str, Any] = {"control": control, "executor": executor}
    solution = solve(ODE(field), Dopri8(), start(), 0.0, sign * 4.0, save=SaveAt(dense=True), **arguments)
    assert solution.ys is None and solution.ts is None
    ts = sign * torch.tensor([3.0, 0.0, 1.0, 4.0, 0.5])
    own = sign * torch.rand(3, 6) * 4
    assert close(solution(ts), exact(ts)) and close(solution(own), exact(own))
    assert close(solution(sign * 1.3), exact(sign * torch.tensor([1.3]))[:, 0])
    assert close(solution(torch.tensor(sign * 4.0)), exact(torch.tensor([sign * 4.0]))[:, 0])
    for outside in (sign * 4.001, -sign * 0.001, math.nan):
        with pytest.raises(ValueError, match="`t` must lie between t0=.*, got .*Ask for times in between"):
            solution(outside)
        with pytest.raises(ValueError, match="`t` must lie between t0="):
            solution(torch.tensor([sign * 1.0, outside]))
    with pytest.raises(ValueError, match=r"\(time,\) or \(batch, time\) with batch 3, got \(2, 4\)"):
        solution(torch.ones(2, 4))


@each_executor
@each_control
def test_every_step(executor, control):
    arguments: dict[str, Any] = {"control": control, "executor": executor}
    each, third = (
        solve(ODE(field), Dopri8(), start(), 0.0, 4.0, save=SaveAt(every=n, t1=True), **arguments) for n in (1, 3)
    )
    times, states = each.ts["steps"].expand(3, -1), each.ys["steps"]
    for i in range(3):
        n = int(each.stats.steps[i])
        assert bool(times[i, n:].isnan().all()) and bool(states[i, n:].isnan().all())
        assert close(states[i, :n], exact(times)[i, :n]) and bool((times[i, :n].diff() > 0).all())
        assert times[i, n - 1] == 4.0 and torch.equal(states[i, n - 1], each.ys["t1"][i])
        kept = third.ys["steps"][i, : n // 3]
        assert torch.equal(kept, states[i, 2:n:3]) and bool(third.ys["steps"][i, n // 3 :].isnan().all())
    assert states.shape[1] == int(each.stats.steps.max())
    joint = control.groups is None and not control.per_sample
    assert each.ts["steps"].ndim == (1 if joint else 2)


@each_control
def test_a_function_of_the_state_is_kept(control):
    shapes = set()

    def fn(t, y):
        shapes.add(tuple(t.shape))
        return {"sum": y.sum(1), "scaled": y / torch.exp(torch.sin(t))}

    ts = torch.linspace(0, 2, 5)
    save = SaveAt(t0=True, t1=True, ts=ts, every=2, fn=fn)
    ys = solve(ODE(field), Dopri8(), start(), 0.0, 2.0, control=control, save=save).ys
    assert set(ys) == {"t0", "t1", "ts", "steps"}
    assert close(ys["t1"]["scaled"], start()) and close(ys["t0"]["sum"], start().sum(1))
    assert close(ys["ts"]["scaled"], start()[:, None].expand(3, 5, 2)) and ys["ts"]["sum"].shape == (3, 5)
    assert close(ys["steps"]["scaled"][:, 0], start())
    assert shapes <= {(), (3, 1)}
    none = solve(ODE(field), Dopri8(), start(), 0.0, 2.0, control=control, save=SaveAt(every=9999, fn=fn)).ys
    assert none["sum"].shape == (3, 0) and none["scaled"].shape == (3, 0, 2)


@each_executor
@each_control
def test_times_that_were_not_reached_are_nan(executor, control):
    term = ODE(lambda t, y: torch.where((t > 1.0) & (y[:, :1] > 10), math.nan, field(t, y)))
    save = SaveAt(ts=torch.tensor([0.0, 0.9, 1.1, 2.0]), dense=True)
    solution = solve(term, Dopri5(), start(), 0.0, 2.0, control=control, save=save, throw=False, executor=executor)
    lost = solution.result != 0
    assert bool(lost[2]) and lost.tolist() == {"own": [False, False, True], "joint": [True] * 3}.get(
        next(name for name, c in CONTROLS.items() if c is control), [False, True, True]
    )
    assert bool(torch.isfinite(solution.ys[:, :2]).all()) and bool(solution.ys[lost, 2:].isnan().all())
    assert bool(torch.isfinite(solution.ys[~lost]).all())
    assert close(solution(0.9), solution.ys[:, 1])
    late = solution(1.5)
    assert bool(late[lost].isnan().all()) and close(late[~lost], exact(torch.tensor([1.5]))[~lost, 0])


@pytest.mark.parametrize("per_sample", [True, False])
def test_a_solution_without_steps_is_no_function(per_sample):
    term = ODE(lambda t, y: y * math.nan)
    control = PID(per_sample=per_sample)
    solution = solve(term, Dopri5(), start(), 0.0, 1.0, control=control, save=SaveAt(dense=True), throw=False)
    with pytest.raises(ValueError, match="no step was accepted"):
        solution(0.5)


def test_without_dense_output_there_is_no_function():
    solution = solve(ODE(field), Dopri5(), start(), 0.0, 1.0)
    with pytest.raises(ValueError, match=r"Solve with SaveAt\(dense=True\)"):
        solution(0.5)


def test_a_fixed_grid_has_dense_output_too():
    ts = torch.tensor([0.0, 0.013, 1.7, 4.0])
    for t1 in (4.0, torch.full((3,), 4.0)):
        save = SaveAt(ts=ts, dense=True, t1=True)
        solution = solve(ODE(field), Dopri8(), start(), 0.0, t1, control=Fixed(n=100), save=save)
        assert close(solution.ys["ts"], exact(ts)) and close(solution(ts), exact(ts))
        assert torch.equal(solution.ys["ts"][:, 0], start())
        own = torch.rand(3, 4)
        assert close(solution(own), exact(own))


@each_executor
@each_control
def test_kept_states_do_not_change_the_steps(executor, control):
    plain = solve(ODE(field), Dopri5(), start(), 0.0, 4.0, control=control, executor=executor)
    save = SaveAt(t1=True, ts=torch.linspace(0, 4, 100), every=1, dense=True)
    kept = solve(ODE(field), Dopri5(), start(), 0.0, 4.0, control=control, save=save, executor=executor)
    assert torch.equal(plain.stats.attempts, kept.stats.attempts) and torch.equal(plain.ys, kept.ys["t1"])


@each_control
def test_gradients_of_kept_times(control):
    """d y(t)/dt is the slope of the dense output."""
    ts = torch.tensor([0.5, 1.0, 1.7], requires_grad=True)
    y0 = start().requires_grad_()
    ys = solve(ODE(field), Dopri8(), y0, 0.0, 2.0, control=control, save=SaveAt(ts=ts)).ys
    got = torch.autograd.grad(ys[:, :, 0].sum(), (ts, y0))
    assert torch.allclose(got[0], (exact(ts.detach())[..., 0].sum(0) * torch.cos(ts)).detach(), rtol=1e-5)
    assert torch.allclose(got[1][:, 0], torch.exp(torch.sin(ts)).sum().expand(3), rtol=1e-7)


OWN = torch.tensor([[0.5, 3.0], [3.0, 0.5], [0.5, 3.0]])
REFUSED_ON_A_GRID: dict[str, tuple[Any, Any]] = {
    "unsorted": (10.0, torch.tensor([9.97, 0.03])),
    "unsorted points of the grid": (10.0, torch.tensor([9.9, 0.1])),
    "sorted the wrong way": (-10.0, torch.tensor([-9.97, -0.03])),
    "outside": (10.0, torch.tensor([0.5, 10.1])),
    "of samples in both directions": (torch.tensor([-1.0, 5.0, 5.0]), torch.tensor([0.5, 3.0])),
    "outside of one sample": (torch.tensor([5.0, 1.0, 5.0]), torch.tensor([0.5, 3.0])),
    "unsorted of one sample": (torch.tensor([5.0, 5.0, 5.0]), OWN),
    "outside and not a number": (torch.tensor(1.0, requires_grad=True), torch.tensor([0.5, 3.0, math.nan])),
    "not a number": (torch.tensor(5.0, requires_grad=True), torch.tensor([0.5, 3.0, math.nan])),
    "needing a gradient": (10.0, torch.tensor([9.97, 0.03], requires_grad=True)),
}


@pytest.mark.parametrize("gradient", [Direct(), Checkpoint()], ids=["direct", "checkpoint"])
@pytest.mark.parametrize(("t1", "ts"), REFUSED_ON_A_GRID.values(), ids=REFUSED_ON_A_GRID)
def test_times_a_grid_cannot_keep_are_refused(t1, ts, gradient):
    y0 = start().requires_grad_()
    with pytest.raises(ValueError, match="`ts` must be sorted in the direction of time, lie between t0 and t1.*Sort"):
        solve(ODE(field), RK4(), y0, 0.0, t1, control=Fixed(n=100), save=SaveAt(ts=ts), gradient=gradient)


def test_times_of_each_sample_need_a_clock_of_each():
    ts = OWN.sort(dim=1).values
    with pytest.raises(
        ValueError, match=r"needs per-sample steps, got \(3, 2\) with a shared clock.*one `t0` per sample"
    ):
        solve(ODE(field), RK4(), start(), 0.0, 5.0, control=Fixed(n=100), save=SaveAt(ts=ts))
    ys = solve(ODE(field), Dopri8(), start(), torch.zeros(3), 5.0, control=Fixed(n=100), save=SaveAt(ts=ts)).ys
    assert close(ys, exact(ts))


@pytest.mark.parametrize("control", [Fixed(n=100), Fixed(n=10), PID(rtol=1e-10, atol=1e-12)], ids=["on", "off", "pid"])
def test_equal_times_keep_equal_states(control):
    ts = torch.tensor([0.1, 0.3, 0.3, 0.5])
    ys = solve(ODE(field), Dopri8(), start(), 0.0, 1.0, control=control, save=SaveAt(ts=ts)).ys
    assert close(ys, exact(ts)) and torch.equal(ys[:, 1], ys[:, 2])


@pytest.mark.parametrize("gradient", [Direct(), Checkpoint()], ids=["direct", "checkpoint"])
@pytest.mark.parametrize("control", [Fixed(n=100), PID()], ids=["grid", "pid"])
@pytest.mark.parametrize("ts", [torch.tensor([0.5, 0.75]), torch.tensor([0.512, 0.7511])], ids=["on", "off"])
def test_outputs_come_in_one_order(control, gradient, ts):
    save = SaveAt(every=2, ts=ts, t1=True, t0=True)
    y0 = start().requires_grad_()
    solution = solve(ODE(field), Dopri5(), y0, 0.0, 1.0, control=control, save=save, gradient=gradient)
    assert list(solution.ys) == list(solution.ts) == ["t0", "t1", "ts", "steps"]


@pytest.mark.parametrize("gradient", [Direct(), Checkpoint()], ids=["direct", "checkpoint"])
@pytest.mark.parametrize("control", [Fixed(n=10), PID()], ids=["grid", "pid"])
def test_the_kept_initial_state_is_a_copy(control, gradient):
    y0 = start().requires_grad_()
    save = SaveAt(t0=True, t1=True)
    first = solve(ODE(field), Dopri5(), y0, 0.0, 1.0, control=control, save=save, gradient=gradient).ys["t0"]
    assert torch.equal(first, y0) and first.data_ptr() != y0.data_ptr()
    assert torch.equal(torch.autograd.grad(first.sum(), y0)[0], torch.ones_like(y0))
    tree = {"a": start(), "b": start() + 1}
    term = ODE(lambda t, y: {"a": y["b"], "b": y["a"]})
    kept = solve(term, Dopri5(), tree, 0.0, 1.0, control=control, save=SaveAt(t0=True), gradient=gradient).ys
    for name, leaf in tree.items():
        assert torch.equal(kept[name], leaf) and kept[name].data_ptr() != leaf.data_ptr()


def test_the_last_state_of_a_sample_that_never_moved_is_a_copy():
    y0, control = torch.ones(1, 1), PID(per_sample=False)
    y1 = solve(ODE(lambda t, y: y * math.nan), Dopri5(), y0, 0.0, 1.0, control=control, throw=False).ys
    assert torch.equal(y1, y0) and y1.data_ptr() != y0.data_ptr()
