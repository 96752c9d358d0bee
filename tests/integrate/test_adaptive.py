"""Adaptive steps: times of all kinds, isolation of samples, equality of executors, control, and what is refused."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from sciml.integrate import (
    ODE,
    PID,
    AbstractControl,
    Bosh3,
    Chunks,
    Clip,
    Dopri5,
    Dopri8,
    Eager,
    Euler,
    Fixed,
    Kvaerno3,
    Result,
    SaveAt,
    Solution,
    SolveError,
    Tsit5,
    solve,
)

EXECUTORS = [Eager(), Chunks(16)]
each_executor = pytest.mark.parametrize("executor", EXECUTORS, ids=["eager", "chunks"])
TIGHT = PID(rtol=1e-9, atol=1e-11)
JOINT = PID(rtol=1e-9, atol=1e-11, per_sample=False)


def swing(t: Tensor, y: Tensor) -> Tensor:
    """A pendulum, pushed: rows are (angle, speed)."""
    return torch.stack([y[:, 1], -torch.sin(y[:, 0]) + 0.1 * torch.cos(t * torch.ones_like(y[:, :1]))[:, 0]], dim=1)


def stiffness(t: Tensor, y: Tensor) -> Tensor:
    """Van der Pol with mu = y[:, 2]: samples need very different numbers of steps."""
    x, v, mu = y.unbind(1)
    return torch.stack([v, mu * (1 - x**2) * v - x, torch.zeros_like(mu)], dim=1)


def oscillators() -> Tensor:
    return torch.tensor([[1.5, 0.0, 0.1], [0.5, 1.0, 8.0], [2.0, -1.0, 1.0], [1.0, 0.0, 0.0], [0.2, 0.3, 4.0]])


def decay(t: Tensor, y: Tensor) -> Tensor:
    return -y


def square(t: Tensor, y: Tensor) -> Tensor:
    return y * y


def ones(batch: int = 3) -> Tensor:
    return torch.arange(1.0, batch + 1)[:, None]


def counts(solution: Solution) -> list[Any]:
    return [solution.stats.attempts.tolist(), solution.stats.steps.tolist(), solution.result.tolist()]


class Reads(TorchDispatchMode):
    """Counts how often a value is read by the host, `tolist` included, which no dispatch shows on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += "local_scalar_dense" in str(func) or "nonzero" in str(func)
        return func(*args, **(kwargs or {}))


class Lists(TorchFunctionMode):
    """Counts `tolist`."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += func is Tensor.tolist
        return func(*args, **(kwargs or {}))


# Times


@each_executor
@pytest.mark.parametrize(
    ("t0", "t1"),
    [
        (0.2, 1.7),
        (1.7, 0.2),
        (-2.0, 0.0),
        (0, 2),
        (torch.tensor(0.2), torch.tensor(-1.7)),
        (torch.tensor([0.0, 0.5, -1.0]), 2.0),
        (0.0, torch.tensor([0.5, 1.0, 2.0])),
        (torch.tensor([0.0, 1.0, -0.5]), torch.tensor([1.0, 0.0, -2.5])),
        (torch.tensor([0.0, 1.0, -0.5], dtype=torch.float32), 0.3),
    ],
)
def test_times_shared_and_own_forward_and_backward(executor, t0, t1):
    y0 = ones()
    for control in (TIGHT, PID(rtol=1e-9, atol=1e-11, groups=torch.arange(3))):
        y1 = solve(ODE(decay), Dopri8(), y0, t0, t1, control=control, executor=executor).ys
        exact = y0[:, 0] * torch.exp(torch.as_tensor(t0).double() - torch.as_tensor(t1).double())
        assert torch.allclose(y1[:, 0], exact, rtol=1e-7, atol=0)


@each_executor
@pytest.mark.parametrize("control", [JOINT, TIGHT, PID(rtol=1e-9, groups=torch.tensor([0, 1, 1]))])
def test_backward_undoes_forward_on_a_non_autonomous_field(executor, control):
    y0 = oscillators()[:3, :2]
    y1 = solve(ODE(swing), Dopri8(), y0, 0.0, 5.0, control=control, executor=executor)
    back = solve(ODE(swing), Dopri8(), y1.ys, 5.0, 0.0, control=control, executor=executor)
    assert torch.allclose(back.ys, y0, rtol=0, atol=1e-6)
    assert bool((back.stats.last_step < 0).all()) and bool((y1.stats.last_step > 0).all())


def test_times_arrive_as_the_state_has_them():
    seen = set()

    def field(t, y):
        seen.add((t.dtype, tuple(t.shape)))
        return -y * t

    y0 = torch.ones(3, 2, 2, dtype=torch.complex64)
    solve(ODE(field), Dopri5(), y0, 0.0, 1.0, control=PID(per_sample=False))
    assert seen == {(torch.float32, ())}
    seen.clear()
    solve(ODE(field), Dopri5(), y0, 0.0, 1.0, control=PID(compact=False))
    assert seen == {(torch.float32, (3, 1, 1))}


def test_a_long_float32_solve_keeps_its_clock_in_float64():
    y0 = torch.ones(2, 1, dtype=torch.float32)
    solution = solve(
        ODE(lambda t, y: torch.ones_like(y)), Dopri5(), y0, 1e6, 1e6 + 1, control=PID(dt0=0.01, dt_max=0.01)
    )
    assert solution.stats.steps.tolist() == [100, 100] and torch.allclose(solution.ys, torch.tensor(2.0).float())


def test_first_steps_may_be_tiny_beside_the_end():
    exact = math.exp(-1e-3)
    fast = ODE(lambda t, y: torch.where(t < 1e-6, -1e3 * y, torch.zeros_like(y)))
    control = Clip(PID(dt0=1e-9), jumps=torch.tensor([1e-6]))
    y1 = solve(fast, Dopri5(), ones(), 0.0, 1e11, control=control).ys
    assert torch.allclose(y1, exact * ones(), rtol=1e-6)


# States


def as_tensor(t, y):
    return swing(t, y)


def as_tuple(t, y):
    slope = swing(t, torch.cat(y, dim=1))
    return slope[:, :1], slope[:, 1:]


def as_dict(t, y):
    slope = swing(t, torch.cat([y["x"], y["v"]], dim=1))
    return {"x": slope[:, :1], "v": slope[:, 1:]}


def as_nested(t, y):
    (x,), inner = y
    slope = swing(t, torch.cat([x, inner["v"][0]], dim=1))
    return [slope[:, :1]], {"v": (slope[:, 1:],)}


@each_executor
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize(
    ("field", "pack"),
    [
        (as_tuple, lambda x, v: (x, v)),
        (as_dict, lambda x, v: {"x": x, "v": v}),
        (as_nested, lambda x, v: ([x], {"v": (v,)})),
    ],
    ids=["tuple", "dict", "nested"],
)
def test_trees_equal_the_joined_tensor(executor, per_sample, field, pack):
    from torch.utils._pytree import tree_flatten, tree_leaves

    y0, ts = oscillators()[:, :2], torch.linspace(0, 3, 7)
    arguments: dict[str, Any] = {"control": PID(per_sample=per_sample), "executor": executor}
    save = SaveAt(t1=True, ts=ts, every=2, dense=True)
    want = solve(ODE(as_tensor), Dopri5(), y0, 0.0, 3.0, save=save, **arguments)
    start = pack(y0[:, :1], y0[:, 1:])
    got = solve(ODE(field), Dopri5(), start, 0.0, 3.0, save=save, **arguments)
    assert counts(got) == counts(want)
    pairs = [(got.ys[key], want.ys[key]) for key in want.ys] + [(got(1.1), want(1.1))]
    for tree, whole in pairs:
        assert tree_flatten(tree)[1] == tree_flatten(start)[1]
        joined = torch.cat(sorted(tree_leaves(tree), key=lambda leaf: 0 if _is_first(leaf, whole) else 1), dim=-1)
        assert torch.allclose(joined, whole, rtol=0, atol=1e-12, equal_nan=True)


def _is_first(leaf: Tensor, whole: Tensor) -> bool:
    return torch.allclose(leaf, whole[..., :1], rtol=0, atol=1e-12, equal_nan=True)


@each_executor
def test_leaves_of_different_rank_get_times_of_the_first(executor):
    def field(t, y):
        assert t.shape == (2, 1)
        return {"a": -y["a"] * t, "b": -y["b"] * t.reshape(2, 1, 1)}

    y0 = {"a": torch.ones(2, 3), "b": torch.ones(2, 2, 2)}
    t1 = torch.tensor([1.0, 2.0])
    control = PID(rtol=1e-10, compact=False)
    y1 = solve(ODE(field), Dopri8(), y0, 0.0, t1, control=control, executor=executor).ys
    exact = torch.exp(-t1.square() / 2)
    assert torch.allclose(y1["a"], exact[:, None].expand(2, 3), rtol=1e-8)
    assert torch.allclose(y1["b"], exact[:, None, None].expand(2, 2, 2), rtol=1e-8)


@each_executor
@pytest.mark.parametrize("per_sample", [True, False])
def test_complex_states(executor, per_sample):
    omega = torch.tensor([[1j, 2j - 0.1]])
    y0, ts = torch.ones(3, 2, dtype=torch.complex128), torch.linspace(0, 4, 9)
    control = PID(rtol=1e-10, atol=1e-12, per_sample=per_sample)
    save = SaveAt(ts=ts, dense=True, every=1)
    solution = solve(ODE(lambda t, y: omega * y), Dopri8(), y0, 0.0, 4.0, control=control, save=save, executor=executor)
    exact = torch.exp(omega * ts[:, None]).expand(3, 9, 2)
    assert torch.allclose(solution.ys["ts"], exact, rtol=0, atol=1e-7)
    assert torch.allclose(solution(ts), exact, rtol=0, atol=1e-7)
    assert solution.ys["steps"].is_complex()


# Samples do not see each other


@each_executor
@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("method", [Dopri5(), Bosh3()], ids=["dopri5", "bosh3"])
def test_a_sample_alone_equals_the_sample_in_a_batch(executor, compact, method):
    y0, t1 = oscillators(), torch.tensor([3.0, 2.0, 4.0, -2.0, 1.0])
    ts = torch.linspace(0.1, 1, 5) * t1[:, None]
    control = PID(rtol=1e-5, compact=compact)
    save = SaveAt(t1=True, ts=ts, every=1)
    batch = solve(ODE(stiffness), method, y0, 0.0, t1, control=control, save=save, executor=executor)
    for i in range(5):
        save = SaveAt(t1=True, ts=ts[i : i + 1], every=1)
        alone = solve(ODE(stiffness), method, y0[i : i + 1], 0.0, t1[i : i + 1], control=control, save=save)
        assert [c[0] for c in counts(alone)] == [c[i] for c in counts(batch)]
        steps = int(alone.stats.steps)
        for a, b in (
            (alone.ys["t1"][0], batch.ys["t1"][i]),
            (alone.ys["ts"][0], batch.ys["ts"][i]),
            (alone.ys["steps"][0], batch.ys["steps"][i, :steps]),
            (alone.ts["steps"][0], batch.ts["steps"][i, :steps]),
        ):
            assert torch.allclose(a, b, rtol=0, atol=1e-12)
        assert bool(batch.ys["steps"][i, steps:].isnan().all()) and bool(batch.ts["steps"][i, steps:].isnan().all())


def spoiled(kind: str) -> tuple[Any, Tensor]:
    """A field that spoils sample 1 only, and the result it must have."""

    def field(t, y):
        slope = swing(t, y[:, :2])
        bad = {
            "nan": torch.where(t > 0.7, math.nan, 0.0),
            "inf": torch.where(t > 0.7, math.inf, 0.0),
            "singular": y[:, 2:] ** 2,
            "stiff": -1e7 * (y[:, 2:] - torch.cos(t)),
        }[kind]
        return torch.cat([slope, torch.where(y[:, 2:] > 0.5, bad, torch.zeros_like(bad))], dim=1)

    y0 = torch.cat([oscillators()[:, :2], torch.zeros(5, 1)], dim=1)
    y0[1, 2] = 1.0
    return field, y0


CODES = {
    "nan": Result.NON_FINITE,
    "inf": Result.NON_FINITE,
    "singular": Result.STEP_TOO_SMALL,
    "stiff": Result.MAX_STEPS,
}


@each_executor
@pytest.mark.parametrize("kind", CODES)
def test_a_failing_sample_leaves_the_others_bitwise_unchanged(executor, kind):
    field, y0 = spoiled(kind)
    good = y0.clone()
    good[1, 2] = 0.0
    save = SaveAt(t1=True, ts=torch.linspace(0, 3, 8), every=1)
    arguments: dict[str, Any] = {"control": PID(compact=False), "save": save, "executor": executor, "max_steps": 400}
    want = solve(ODE(field), Dopri5(), good, 0.0, 3.0, **arguments)
    got = solve(ODE(field), Dopri5(), y0, 0.0, 3.0, throw=False, **arguments)
    others = [0, 2, 3, 4]
    assert got.result.tolist() == [0, CODES[kind], 0, 0, 0]
    assert torch.equal(got.ys["t1"][others], want.ys["t1"][others])
    assert torch.equal(got.ys["ts"][others], want.ys["ts"][others])
    length = int(want.stats.steps[others].max())
    assert torch.allclose(got.ys["steps"][others, :length], want.ys["steps"][others, :length], 0, 0, equal_nan=True)
    assert torch.equal(got.stats.attempts[others], want.stats.attempts[others])
    assert bool(torch.isfinite(got.ys["t1"]).all()), "a failed sample is frozen at its last accepted state"
    reached = 1.0 if kind == "singular" else 0.7
    if kind != "stiff":
        kept = torch.isfinite(got.ys["ts"][1]).all(dim=1).tolist()
        assert kept == [t < reached for t in torch.linspace(0, 3, 8).tolist()], "NaN at times not reached"


@each_executor
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "nan",
            r"1 of 5 samples failed \(samples \[1\]\).*sample 1, at or shortly before t=0\.(7|69).*NaN or infinite",
        ),
        ("singular", r"samples \[1\]\).*shortly before t=1 \(step \d+\): the step size fell below"),
        ("stiff", r"sample 1, .* \(step 400\): max_steps attempts were made"),
    ],
)
def test_failures_name_sample_and_time(executor, kind, message):
    field, y0 = spoiled(kind)
    with pytest.raises(SolveError, match=message):
        solve(ODE(field), Dopri5(), y0, 0.0, 3.0, executor=executor, max_steps=400)


@pytest.mark.parametrize("compact", [True, False])
def test_a_failing_sample_with_compaction(compact):
    field, y0 = spoiled("nan")
    got = solve(ODE(field), Dopri5(), y0[:2], 0.0, 3.0, control=PID(compact=compact), throw=False)
    alone = solve(ODE(field), Dopri5(), y0[:1], 0.0, 3.0)
    assert got.result.tolist() == [0, Result.NON_FINITE]
    assert torch.allclose(got.ys[0], alone.ys[0], rtol=0, atol=1e-12)


@each_executor
@pytest.mark.parametrize("per_sample", [True, False])
def test_a_field_that_is_never_finite_ends_early(executor, per_sample):
    for t0 in (0.0, -3.0):
        calls = []
        term = ODE(lambda t, y, calls=calls: calls.append(1) or y * math.nan)
        control = PID(per_sample=per_sample)
        save = SaveAt(t1=True, ts=torch.tensor([t0, 1.0]), every=1)
        solution = solve(term, Dopri5(), ones(), t0, 1.0, control=control, save=save, throw=False, executor=executor)
        assert solution.result.tolist() == [Result.NON_FINITE] * 3 and len(calls) < 400
        assert torch.equal(solution.ys["t1"], ones()) and torch.equal(solution.ys["ts"][:, 0], ones())
        assert bool(solution.ys["ts"][:, 1].isnan().all()) and solution.ys["steps"].shape == (3, 0, 1)


@each_executor
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("end", [0.9, 0.0])
def test_a_singularity_ends_early(executor, per_sample, end):
    """Also where rounding makes the next step as large as the rejected one; and where the end is at 0."""
    control = PID(per_sample=per_sample)
    term, t0 = ODE(square), end - 0.9
    solution = solve(term, Dopri5(), ones(), t0, end, control=control, throw=False, executor=executor, max_steps=2000)
    assert solution.result.tolist() == ([0, 2, 2] if per_sample else [2, 2, 2])


@each_executor
def test_gradients_survive_rejected_steps_that_are_not_finite(executor):
    """The first step of every sample leaves the domain of the square root and is rejected."""
    rate = torch.tensor(1.0, requires_grad=True)
    y0 = torch.tensor([[1.1], [2.0], [1.6]], requires_grad=True)

    def field(t, y):
        return -rate * torch.sqrt(y)

    control = PID(rtol=1e-9, dt0=1.0, factor_max=20.0)
    sparse = torch.tensor([[9.0], [0.2], [0.1]], requires_grad=True)
    for start in (y0, sparse):
        t1 = 0.6
        solution = solve(ODE(field), Dopri5(), start, 0.0, t1, control=control, throw=False, executor=executor)
        good = solution.result == 0
        assert bool(good[0]) and (bool(good.all()) or start is sparse)
        exact = (start.sqrt() - rate * t1 / 2).square()[good]
        want = torch.autograd.grad(exact.sum(), (start, rate))
        got = torch.autograd.grad(solution.ys[good].sum(), (start, rate))
        assert torch.allclose(got[0][good], want[0][good], rtol=1e-6) and torch.allclose(got[1], want[1], rtol=1e-6)


# Groups


def graph_field(edges: Tensor) -> Any:
    def field(t, y):
        flow = torch.sin(y[edges[0]] - y[edges[1]])
        return -torch.zeros_like(y).index_add(0, edges[0], flow) - 0.1 * y**3

    return field


@each_executor
def test_two_graphs_in_one_batch_equal_each_alone(executor):
    small = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    large = torch.tensor([[0, 1, 2, 3, 0, 3], [1, 2, 3, 0, 2, 1]])
    both = torch.cat([small, large + 3], dim=1)
    groups = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    y0 = torch.cat([torch.randn(3, 2), 8 * torch.randn(4, 2)])
    t1 = torch.tensor([5.0, 2.0])[groups]
    save = SaveAt(t1=True, ts=torch.tensor([0.0, 0.5, 2.0]), every=1, dense=True)
    control = PID(rtol=1e-6, groups=groups)
    got = solve(ODE(graph_field(both)), Tsit5(), y0, 0.0, t1, control=control, save=save, executor=executor)
    for edges, rows in ((small, slice(0, 3)), (large, slice(3, 7))):
        joint, end = PID(rtol=1e-6, per_sample=False), float(t1[rows][0])
        alone = solve(ODE(graph_field(edges)), Tsit5(), y0[rows], 0.0, end, control=joint, save=save)
        assert [c[rows] for c in counts(got)] == counts(alone)
        steps = int(alone.stats.steps[0])
        for key, value in alone.ys.items():
            mine = got.ys[key][rows][:, :steps] if key == "steps" else got.ys[key][rows]
            assert torch.allclose(mine, value, rtol=0, atol=1e-9 if key == "steps" else 1e-12), key
        times = torch.tensor([0.3, 1.9])
        assert torch.allclose(got(times)[rows], alone(times), rtol=0, atol=1e-12)
    assert len(set(got.stats.steps.tolist())) == 2
    own = torch.linspace(0.1, 1.5, 7)[:, None]
    assert torch.allclose(
        got(own)[:, 0], torch.stack([got(float(t))[i] for i, t in enumerate(own)]), rtol=0, atol=1e-12
    )


@each_executor
def test_a_group_fails_as_one(executor):
    y0 = torch.tensor([[1.0], [0.1], [0.2], [0.3]])
    control = PID(groups=torch.tensor([1, 0, 1, 0]))
    solution = solve(ODE(square), Dopri5(), y0, 0.0, 2.0, control=control, throw=False, executor=executor)
    assert solution.result.tolist() == [2, 0, 2, 0]
    assert torch.allclose(solution.ys[[1, 3], 0], torch.tensor([0.125, 0.75]), rtol=1e-5)
    with pytest.raises(SolveError, match=r"2 of 4 samples failed \(samples \[0, 2\]\)"):
        solve(ODE(square), Dopri5(), y0, 0.0, 2.0, control=control, executor=executor)


def test_gradients_of_the_times_of_groups_are_not_counted_once_per_row():
    groups = torch.tensor([0, 1, 1, 1])
    ends = torch.tensor([1.0, 1.5], requires_grad=True)
    y1 = solve(ODE(decay), Dopri8(), ones(4), 0.0, ends[groups], control=PID(rtol=1e-10, groups=groups)).ys
    got = torch.autograd.grad(y1.sum(), ends)[0]
    assert torch.allclose(got, torch.tensor([-math.exp(-1.0), -9 * math.exp(-1.5)]), rtol=1e-7)


# Executors


def kick(t: Tensor, y: Tensor) -> Tensor:
    return swing(t, y) + (t >= 1.0) * 3.0 - (t >= 2.0) * 5.0


STOPS = torch.tensor([0.4, 0.4, 2.5, 7.0])
JUMPS = torch.tensor([1.0, 2.0])
CONTROLS = {
    "plain": PID(per_sample=False),
    "pi": PID(per_sample=False, gains=(0.3, 0.4, 0.0)),
    "pid": PID(per_sample=False, gains=(0.1, 0.3, 0.05), factor_max=3.0),
    "dt_max": PID(per_sample=False, dt_max=0.05),
    "dt0": PID(per_sample=False, dt0=2.0),
    "dt0 above dt_max": PID(per_sample=False, dt0=2.0, dt_max=0.3),
    "dt_min": PID(per_sample=False, rtol=1e-9, dt_min=0.05),
    "at dt_min": PID(per_sample=False, rtol=1e-9, dt_min=0.04, accept_at_dt_min=True),
    "stops": Clip(PID(per_sample=False), stops=STOPS),
    "jumps": Clip(PID(per_sample=False, gains=(0.2, 0.5, 0.0)), stops=STOPS, jumps=JUMPS),
    "norm": PID(per_sample=False, norm=lambda error: error.abs().max()),
}


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", CONTROLS)
def test_joint_steps_decided_in_python_equal_those_of_tensors(name, backward):
    t0, t1 = (3.0, 0.0) if backward else (0.0, 3.0)
    save = SaveAt(t1=True, every=1, ts=torch.linspace(t0, t1, 40))
    y0, arguments = oscillators()[:, :2], {"control": CONTROLS[name], "save": save, "throw": False}
    python, tensor = (solve(ODE(kick), Dopri5(), y0, t0, t1, executor=executor, **arguments) for executor in EXECUTORS)
    assert counts(python) == counts(tensor)
    assert torch.allclose(python.ys["steps"][:, :5], tensor.ys["steps"][:, :5], rtol=0, atol=1e-12)
    # Where steps meet the jumps of the field unprepared, rounding grows by a power of ten or two each.
    assert torch.allclose(python.stats.last_step, tensor.stats.last_step, rtol=0, atol=1e-5)
    assert python.result.tolist() == [Result.STEP_TOO_SMALL if name == "dt_min" else 0] * 5
    for key in python.ys:
        assert torch.allclose(python.ys[key], tensor.ys[key], rtol=0, atol=1e-5, equal_nan=True), key
    assert torch.allclose(python.ts["steps"], tensor.ts["steps"], rtol=0, atol=1e-5)


def test_joint_steps_are_those_of_one_sample():
    y0 = oscillators()[:1, :2]
    joint, own = (solve(ODE(swing), Dopri5(), y0, 0.0, 5.0, control=PID(per_sample=p)) for p in (False, True))
    assert counts(joint) == counts(own) and torch.allclose(joint.ys, own.ys, rtol=0, atol=1e-13)


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("attempts", [1, 3, 64])
def test_chunks_of_any_length_equal_eager(attempts, per_sample):
    save = SaveAt(t1=True, ts=torch.linspace(0, 2, 50), every=3, dense=True)
    control = PID(per_sample=per_sample)
    eager, chunks = (
        solve(ODE(stiffness), Tsit5(), oscillators(), 0.0, 2.0, control=control, save=save, executor=executor)
        for executor in (Eager(), Chunks(attempts))
    )
    assert counts(eager) == counts(chunks)
    for key in eager.ys:
        assert torch.allclose(eager.ys[key], chunks.ys[key], rtol=0, atol=1e-10, equal_nan=True), key
    times = torch.linspace(0, 2, 9)
    assert torch.allclose(eager(times), chunks(times), rtol=0, atol=1e-10)


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize(
    "save",
    [
        pytest.param(SaveAt(t1=True), marks=pytest.mark.slow),
        SaveAt(ts=torch.linspace(0, 6, 30)),
        pytest.param(SaveAt(every=1), marks=pytest.mark.slow),
        pytest.param(SaveAt(dense=True), marks=pytest.mark.slow),
    ],
)
def test_a_chunk_is_read_at_most_once_per_8_attempts(per_sample, save):
    control = PID(per_sample=per_sample, rtol=1e-6)
    y0 = oscillators()[:, :2].requires_grad_()
    for start in (y0, y0.detach()):
        reads, lists = Reads(), Lists()
        with lists, reads:
            solution = solve(
                ODE(swing), Bosh3(), start, 0.0, 6.0, control=control, save=save, throw=False, executor=Chunks(16)
            )
        attempts = int(solution.stats.attempts.max())
        around = 6
        assert attempts > 150 and reads.count + lists.count <= around + attempts / 8


@pytest.mark.parametrize("attempts", [20, 60])
def test_a_fixed_grid_is_not_read(attempts):
    for throw, most in ((False, 0), (True, 2)):
        reads, lists = Reads(), Lists()
        save = SaveAt(t1=True, every=10)
        with lists, reads:
            solve(
                ODE(swing), Dopri5(), oscillators()[:, :2], 0.0, 1.0, control=Fixed(n=attempts), save=save, throw=throw
            )
        assert reads.count + lists.count <= most


@each_executor
@pytest.mark.parametrize("per_sample", [True, False])
def test_max_steps_counts_attempts(executor, per_sample):
    control = PID(per_sample=per_sample)
    save = SaveAt(t1=True, every=1, ts=torch.tensor([0.0, 5.0]))
    enough = int(solve(ODE(swing), Dopri5(), oscillators()[:, :2], 0.0, 5.0, control=control).stats.attempts.max())
    for limit in (1, 17, enough - 1, enough):
        solution = solve(
            ODE(swing), Dopri5(), oscillators()[:, :2], 0.0, 5.0, control=control, save=save, max_steps=limit,
            throw=False, executor=executor,
        )  # fmt: skip
        assert int(solution.stats.attempts.max()) == limit
        assert (Result.MAX_STEPS in solution.result.tolist()) == (limit < enough)


# Compaction


class Rows:
    """A field that counts the rows it is asked for."""

    def __init__(self, field: Any) -> None:
        self.field, self.rows = field, []

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.rows.append(len(y))
        return self.field(t, y)


def test_finished_samples_are_left_out():
    t1 = torch.tensor([0.1, 0.2, 0.1, 0.2, 20.0])
    full, compact = Rows(stiffness), Rows(stiffness)
    want = solve(ODE(full), Dopri5(), oscillators(), 0.0, t1, control=PID(compact=False))
    got = solve(ODE(compact), Dopri5(), oscillators(), 0.0, t1)
    assert counts(got) == counts(want) and torch.allclose(got.ys, want.ys, rtol=0, atol=1e-9)
    assert set(full.rows) == {5} and sum(compact.rows) < 0.3 * sum(full.rows) and compact.rows[-1] == 1


def test_gradients_through_compaction():
    t1 = torch.tensor([0.1, 0.2, 0.1, 0.2, 2.0])
    gradients = []
    for compact in (True, False):
        y0 = oscillators().requires_grad_()
        save = SaveAt(t1=True, ts=t1[:, None] * torch.tensor([[0.3, 0.9]]))
        ys = solve(ODE(stiffness), Dopri5(), y0, 0.0, t1, control=PID(compact=compact), save=save).ys
        gradients.append(torch.autograd.grad(ys["t1"].sum() + ys["ts"].square().sum(), y0)[0])
    assert torch.allclose(*gradients, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", ["column", "scalar rows", "cut"])
def test_a_field_with_tensors_per_sample_keeps_the_whole_batch(shape):
    rate = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    fields = {
        "column": lambda t, y: -rate * y,
        "scalar rows": lambda t, y: -(rate[:, 0] * y.T).T,
        "cut": lambda t, y: -rate[: len(y)] * y,  # would be wrong, not an error, with fewer rows
    }
    field = Rows(fields[shape])
    t1 = torch.tensor([0.1, 0.1, 0.1, 3.0])
    y1 = solve(ODE(field), Dopri8(), torch.ones(4, 1), 0.0, t1, control=PID(rtol=1e-9)).ys
    assert torch.allclose(y1[:, 0], torch.exp(-rate[:, 0] * t1), rtol=1e-6)
    assert field.rows.count(4) >= len(field.rows) - 1, "but for the question itself"


RATES = torch.tensor([[0.1], [0.2], [0.3], [0.4], [7.0], [8.0]])


def table_of(holder: nn.Module) -> Any:
    """The rows of a batch out of the first parameter of a module."""
    return lambda y: next(holder.parameters())[torch.arange(len(y))]


def late_decay(rates: Any) -> Any:
    """A field that looks at its table behind t = 3 only, when some samples are finished."""
    return lambda t, y: torch.where(t > 3, -rates(y) * y, 0 * y)


@pytest.mark.parametrize(
    "rates",
    [
        table_of(nn.ParameterList([nn.Parameter(RATES[:4])])),
        table_of(nn.Embedding.from_pretrained(RATES[:4])),
        lambda y: RATES[: len(y)],
        lambda y: RATES.T[None, 0, : len(y)].T,
        lambda y: torch.from_numpy(RATES.numpy()[: len(y)]),
        lambda y, each=list(RATES): torch.stack(each[: len(y)]),
        lambda y, model={"rates": RATES}: model["rates"][: len(y)],
        lambda y, held=tuple(range(30_000)), late=[RATES]: late[-1][: len(y)] + 0.0 * held[0],
    ],
    ids=["parameter", "embedding", "longer", "other axis", "numpy", "list", "dict", "too much to look through"],
)
def test_a_table_that_is_read_later_keeps_the_whole_batch(rates):
    """No evaluation before shows that the field knows which sample is which."""
    t1 = torch.tensor([1.0, 1.0, 10.0, 10.0])
    field = ODE(late_decay(rates))
    with torch.no_grad():
        got = solve(field, Dopri5(), torch.ones(4, 1), 0.0, t1).ys
        want = solve(field, Dopri5(), torch.ones(4, 1), 0.0, t1, control=PID(compact=False)).ys
    assert torch.equal(got, want)
    assert torch.allclose(got[2:], torch.exp(-7 * RATES[2:4]), rtol=1e-3)


@pytest.mark.parametrize("begins", [1.5, 5.0])
def test_independence_is_asked_again(begins):
    """What looks like every sample's own at first shows when fewer are left, or at the end of the time."""
    t1 = torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 10.0, 10.0])
    count = lambda y: torch.arange(float(len(y)))[:, None]  # noqa: E731
    field = lambda t, y: torch.where(t > begins, -0.1 * count(y), 0 * y)  # noqa: E731
    got = solve(ODE(field), Dopri5(), torch.ones(8, 1), 0.0, t1).ys
    want = solve(ODE(field), Dopri5(), torch.ones(8, 1), 0.0, t1, control=PID(compact=False)).ys
    assert torch.equal(got, want)


def test_weights_of_layers_do_not_keep_the_whole_batch():
    """However wide they are; and a number or a short vector is nobody's row."""
    layers = [nn.Linear(1, 5), nn.Tanh(), nn.utils.parametrizations.weight_norm(nn.Linear(5, 64)), nn.LayerNorm(64)]
    net, scale = nn.Sequential(*layers, nn.Linear(64, 1)), torch.tensor([[0.5]])
    field = Rows(lambda t, y: torch.tanh(net(y)) * scale)
    t1 = torch.tensor([0.1, 0.2, 0.1, 0.2, 20.0])
    with torch.no_grad():
        got = solve(ODE(field), Dopri5(), ones(5), 0.0, t1).ys
        want = solve(ODE(field.field), Dopri5(), ones(5), 0.0, t1, control=PID(compact=False)).ys
    assert torch.allclose(got, want, rtol=0, atol=1e-9) and field.rows[-1] == 1


def test_tolerances_per_sample_keep_the_whole_batch():
    rtol = torch.tensor([1e-3, 1e-3, 1e-3, 1e-10])[:, None]
    y0 = oscillators()[:1, :2].expand(4, 2)
    solution = solve(ODE(swing), Dopri5(), y0, 0.0, 3.0, control=PID(rtol=rtol))
    for i, tolerance in enumerate((1e-3, 1e-3, 1e-3, 1e-10)):
        alone = solve(ODE(swing), Dopri5(), y0[:1], 0.0, 3.0, control=PID(rtol=tolerance))
        assert torch.allclose(alone.ys[0], solution.ys[i], rtol=0, atol=1e-12)


# Times to be hit


@each_executor
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_stops_are_hit_exactly(executor, per_sample, sign):
    stops = torch.tensor([2.0, 0.3, 0.3, 5.0, 1.1, -1.0, 3.0, 0.0])  # unsorted, twice, outside, at the ends
    control = Clip(PID(per_sample=per_sample), stops=sign * stops)
    y0 = oscillators()[:, :2]
    solution = solve(
        ODE(swing), Dopri5(), y0, 0.0, sign * 3.0, control=control, save=SaveAt(every=1), executor=executor
    )
    times = solution.ts.expand(5, -1)
    for stop in (0.3, 1.1, 2.0, 3.0):
        assert bool((times == sign * stop).sum(dim=1).eq(1).all())
    assert bool((sign * times.diff(dim=1) > 0).logical_or(times[:, 1:].isnan()).all())


@each_executor
def test_stops_of_each_sample(executor):
    stops = torch.tensor([[0.3, math.nan], [0.4, 0.9], [math.nan, math.nan]])
    t1 = torch.tensor([1.0, -1.0, 1.0])
    signed = stops * torch.tensor([1.0, -1.0, 1.0])[:, None]
    for compact in (True, False):
        control = Clip(PID(dt0=0.25, rtol=1e-2, dt_max=0.25, compact=compact), stops=signed)
        got = solve(ODE(decay), Dopri5(), ones(), 0.0, t1, control=control, save=SaveAt(every=1), executor=executor)
        for i, wanted in enumerate(([0.3], [-0.4, -0.9], [])):
            for stop in wanted:
                assert bool((got.ts[i] == stop).any())
        assert got.ts[2, :4].tolist() == [0.25, 0.5, 0.75, 1.0]


@each_executor
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_jumps_cost_less_than_finding_them(executor, per_sample, dtype):
    def forced(t, y):
        return -y + torch.where(t >= 1.0, 4.0, 0.0).to(dtype) - torch.where(t >= 2.0, 3.0, 0.0).to(dtype)

    y0, ts = ones().to(dtype), torch.tensor([0.5, 1.0, 1.5, 2.0, 3.0])
    pid = PID(rtol=1e-5, atol=1e-6, per_sample=per_sample)
    known = Clip(pid, jumps=torch.tensor([1.0, 2.0]), stops=torch.tensor([2.0]))
    plain, clipped = (
        solve(ODE(forced), Dopri5(), y0, 0.0, 3.0, control=control, save=SaveAt(ts=ts), executor=executor)
        for control in (pid, known)
    )
    exact = ones() * torch.exp(-ts)
    for jump, size in ((1.0, 4.0), (2.0, -3.0)):
        exact = exact + size * torch.where(ts > jump, 1 - torch.exp(-(ts - jump)), 0.0)
    error = (clipped.ys[..., 0] - exact).abs().max()
    assert error < 2e-5 and bool((clipped.stats.rejected <= 3).all())
    assert int(clipped.stats.attempts.max()) < 0.7 * int(plain.stats.attempts.max())


@each_executor
@pytest.mark.parametrize("per_sample", [True, False])
def test_nothing_is_carried_over_a_jump(executor, per_sample):
    """With the slope of before the jump in its first stage, a step behind it would be of first order only."""
    seen = []

    def field(t, y):
        seen.extend(t.reshape(-1).tolist())
        return torch.where(t > 1.0, 5.0, 0.0) + 0 * y

    control = Clip(PID(per_sample=per_sample), jumps=torch.tensor([1.0]))
    solution = solve(ODE(field), Dopri5(), ones(), 0.0, 2.0, control=control, executor=executor)
    assert torch.allclose(solution.ys, ones() + 5, rtol=0, atol=1e-12) and bool((solution.stats.rejected == 0).all())
    assert math.nextafter(1.0, 2.0) in seen and math.nextafter(1.0, 0.0) in seen and 1.0 not in seen


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("stops", [[0.5], [0.5, 3.0], [0.5, 1.0], [3.0]])
def test_the_end_is_differentiable_whatever_stops_there_are(per_sample, stops):
    t1 = torch.tensor(1.0, requires_grad=True)
    control = Clip(PID(rtol=1e-10, per_sample=per_sample), stops=torch.tensor(stops))
    y1 = solve(ODE(decay), Dopri8(), ones(), 0.0, t1, control=control).ys
    assert torch.autograd.grad(y1.sum(), t1)[0].item() == pytest.approx(-6 * math.exp(-1), rel=1e-8)


# Control


@each_executor
@pytest.mark.parametrize("method", [Bosh3(), Dopri5(), Tsit5(), Dopri8()], ids=lambda m: type(m).__name__)
def test_the_error_follows_the_tolerance(executor, method):
    y0 = oscillators()[:, :2]
    want = solve(ODE(swing), Dopri8(), y0, 0.0, 4.0, control=PID(rtol=1e-13, atol=1e-14)).ys
    errors = []
    for rtol in (1e-3, 1e-5, 1e-7):
        got = solve(ODE(swing), method, y0, 0.0, 4.0, control=PID(rtol=rtol, atol=rtol), executor=executor)
        errors.append(float((got.ys - want).abs().max()))
        assert errors[-1] < 100 * rtol
    assert errors[0] > 20 * errors[1] > 400 * errors[2]


def test_tolerances_per_leaf():
    def field(t, y):
        return {"slow": -y["slow"], "fast": torch.cos(30 * t) * torch.ones_like(y["fast"])}

    y0 = {"slow": ones(), "fast": ones()}
    loose = {"slow": 1e-6, "fast": 1e9}
    attempts = [
        int(solve(ODE(field), Dopri5(), y0, 0.0, 3.0, control=PID(rtol=0.0, atol=atol)).stats.attempts[0])
        for atol in (1e-6, loose, {"slow": torch.tensor(1e-6), "fast": torch.full((1,), 1e9)})
    ]
    assert attempts[0] > 5 * attempts[1] and attempts[1] == attempts[2]


def test_an_entry_that_stays_0_needs_no_absolute_tolerance():
    y0 = torch.tensor([[1.0, 0.0]])
    for per_sample in (True, False):
        for dtype in (torch.float32, torch.float64):
            control = PID(rtol=1e-6, atol=0.0, per_sample=per_sample)
            y1 = solve(ODE(decay), Dopri5(), y0.to(dtype), 0.0, 1.0, control=control).ys
            assert float(y1[0, 0]) == pytest.approx(math.exp(-1), rel=1e-5) and float(y1[0, 1]) == 0.0


def test_a_norm_of_ones_own_judges_the_structure_of_the_state():
    shapes = []

    def norm(error):
        shapes.append(set(error))
        return error["a"].abs().max()

    y0 = {"a": ones(), "b": ones()}
    field = ODE(lambda t, y: {"a": -y["a"], "b": torch.cos(100 * t) * y["b"]})
    only_a = solve(field, Dopri5(), y0, 0.0, 2.0, control=PID(per_sample=False, norm=norm))
    both = solve(field, Dopri5(), y0, 0.0, 2.0, control=PID(per_sample=False))
    assert all(shape == {"a", "b"} for shape in shapes)
    assert int(only_a.stats.attempts[0]) < 0.3 * int(both.stats.attempts[0])


def test_the_first_step_follows_the_scale_of_the_field():
    """A field c times faster starts with a step some c times smaller; samples choose their own."""
    speed = torch.tensor([[1.0], [1e3], [1e6]])
    control = PID(compact=False)
    solution = solve(
        ODE(lambda t, y: -speed * y), Dopri5(), torch.ones(3, 1), 0.0, 3 / speed[:, 0], control=control,
        save=SaveAt(every=1),
    )  # fmt: skip
    first = solution.ts[:, 0] * speed[:, 0]
    assert bool(((first > 0.01) & (first < 1)).all()) and bool((solution.stats.rejected <= 1).all())


@pytest.mark.parametrize("method, gains", [(Dopri5(), (0.0, 1.0, 0.0)), (Kvaerno3(), (0.3, 0.4, 0.0))])
@pytest.mark.parametrize("per_sample", [True, False])
def test_gains_are_those_of_the_method_unless_named(method, gains, per_sample):
    def steps(named):
        control = PID(gains=named, per_sample=per_sample, rtol=1e-2, atol=1e-4)
        return solve(ODE(kick), method, oscillators()[:, :2], 0.0, 3.0, control=control).stats.attempts.tolist()

    assert steps(None) == steps(gains) != steps((0.1, 0.9, 0.0))


def test_only_accepted_steps_are_remembered():
    """With a gain on the error before, the step after a rejection looks at the last accepted error."""
    pid = PID(gains=(0.3, 0.4, 0.0))
    memory = (torch.tensor(0.5), torch.tensor(1.0))
    accepted = torch.tensor(True)
    factor = pid.factor(torch.tensor(0.25), memory, accepted, 5)
    assert float(factor) == pytest.approx(0.9 * 0.25 ** (-0.7 / 5) * 0.5 ** (0.3 / 5))
    assert pid.factor_of(0.25, (0.5, 1.0), True, 5) == pytest.approx(float(factor))
    seen = []

    def remembering(self, ratio, memory, accepted, order):
        seen.append((ratio, memory[0], bool(accepted)))
        return factor_of(self, ratio, memory, accepted, order)

    factor_of = PID.factor_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PID, "factor_of", remembering)
        solve(ODE(kick), Dopri5(), oscillators()[:, :2], 0.0, 3.0, control=PID(gains=(0.3, 0.4, 0.0), per_sample=False))
    last = 1.0
    assert any(not accepted for _, _, accepted in seen)
    for ratio, remembered, accepted in seen:
        assert remembered == last
        last = max(ratio, 1e-10) if accepted else last


def test_limits_of_the_step_size_hold():
    y0 = oscillators()[:, :2]
    save = SaveAt(every=1)
    for control in (PID(dt_max=0.07), PID(dt_max=0.07, dt0=1.0), PID(dt_max=0.07, per_sample=False, dt0=1.0)):
        ts = solve(ODE(swing), Dopri5(), y0, 0.0, 2.0, control=control, save=save).ts
        assert float(ts.diff(dim=-1).nan_to_num().max()) < 0.07001 and float(ts[..., 0].max()) < 0.07001
    tight = PID(rtol=1e-12, atol=1e-12, dt_min=0.1, dt0=0.5, accept_at_dt_min=True)
    ts = solve(ODE(swing), Dopri5(), y0, 0.0, 2.0, control=tight, save=save).ts
    assert ts[0].tolist() == pytest.approx([0.1 * i for i in range(1, 21)])
    with pytest.raises(SolveError, match="below dt_min"):
        solve(ODE(swing), Dopri5(), y0, 0.0, 2.0, control=PID(rtol=1e-12, atol=1e-12, dt_min=0.1))


@each_executor
@pytest.mark.parametrize("per_sample", [True, False])
def test_evaluations_are_counted(executor, per_sample):
    for method, dt0 in ((Dopri5(), None), (Dopri5(), 0.1), (Dopri8(), None), (Dopri8(), 0.1)):
        field = Rows(swing)
        control = PID(per_sample=per_sample, dt0=dt0, compact=False)
        stats = solve(ODE(field), method, oscillators()[:1, :2], 0.0, 3.0, control=control, executor=executor).stats
        masked = -int(stats.attempts[0]) % 16 * (method.stages - method.reuses_last)
        padding = masked if isinstance(executor, Chunks) else 0
        assert int(stats.evaluations[0]) == len(field.rows) - padding


# What is refused


class Other(AbstractControl):
    """A control that no method knows."""


def bad_third(t: Tensor, y: Tensor) -> Tensor:
    return torch.where(y > 2.5, math.nan, -y)


def changing(good: Any, bad: Any) -> Any:
    """A field that answers wrongly after some calls."""
    calls = []

    def field(t, y):
        calls.append(1)
        return bad(y) if len(calls) > 5 else good(y)

    return field


TREE = {"a": torch.ones(2, 1), "b": torch.ones(2, 1)}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y0": torch.ones(3)}, ValueError, r"y0\[None\]; for many scalar systems write y0\[:, None\]"),
        ({"y0": torch.tensor(1.0)}, ValueError, r"at least one state axis, got \(\)"),
        ({"y0": {"a": torch.ones(3, 1), "b": torch.ones(2, 1)}}, ValueError, r"same batch axis, got sizes \[2, 3\]"),
        ({"y0": (torch.ones(3, 1), 1.0)}, TypeError, "tensor or a tree of tensors, got a float"),
        ({"y0": torch.ones(0, 2)}, ValueError, "at least one sample, got a batch of 0"),
        ({"y0": torch.ones(3, 1, dtype=torch.int64)}, TypeError, "floating point or complex, got torch.int64"),
        ({"y0": torch.ones(3, 1, dtype=torch.bool)}, TypeError, "floating point or complex, got torch.bool"),
        ({"y0": (torch.ones(3, 1), torch.ones(3, 1).float())}, TypeError, "one precision, got .*float32.*float64"),
        ({"t1": 0.0}, ValueError, "must be finite and differ, for every sample, got t0=0.0, t1=0.0"),
        ({"t1": math.nan}, ValueError, "must be finite and differ.*t1=nan"),
        ({"t1": math.inf}, ValueError, "must be finite and differ.*t1=inf"),
        ({"t0": torch.tensor([0.0, 1.0, 0.0])}, ValueError, "must be finite and differ"),
        ({"t1": torch.tensor([1.0, math.nan, 1.0])}, ValueError, "must be finite and differ"),
        ({"t1": torch.ones(2)}, ValueError, r"one per sample \(3,\), got shape \(2,\)"),
        ({"t1": torch.tensor(1.0 + 0j)}, TypeError, "`t1` must be real"),
        ({"t1": torch.ones(3), "control": PID(per_sample=False)}, ValueError, "joint steps need one `t0` and `t1`"),
        ({"save": SaveAt(ts=torch.tensor([0.2, 0.1]))}, ValueError, "`ts` must be sorted"),
        ({"save": SaveAt(ts=torch.tensor([0.1, math.nan]))}, ValueError, "not be NaN"),
        ({"save": SaveAt(ts=torch.tensor([math.nan, 0.5, 0.7]))}, ValueError, "not be NaN"),
        ({"save": SaveAt(ts=torch.tensor([0.1, 1.1]))}, ValueError, "lie between t0 and t1.*for t0=0.0 and t1=1.0"),
        ({"save": SaveAt(ts=torch.tensor([-0.1, 0.1]))}, ValueError, "Sort the times and drop those outside"),
        (
            {"save": SaveAt(ts=torch.tensor([0.5])), "t1": torch.tensor([1.0, 0.4, 1.0])},
            ValueError,
            "between t0 and t1",
        ),
        (
            {"save": SaveAt(ts=torch.tensor([[0.5], [0.5]]))},
            ValueError,
            r"one row per sample \(3, time\), got \(2, 1\)",
        ),
        (
            {"save": SaveAt(ts=torch.full((3, 1), 0.5)), "control": PID(per_sample=False)},
            ValueError,
            "needs per-sample steps",
        ),
        ({"save": SaveAt(dense=True), "method": Euler(), "control": PID()}, TypeError, r"Wrap it as StepDoubling"),
        ({"method": Euler()}, ValueError, "Euler has no error estimate.*control=None"),
        ({"control": Other()}, TypeError, "`control` must be Fixed or PID or Clip or Ladder for Dopri5, got Other"),
        ({"max_steps": 0}, ValueError, "`max_steps` must be a whole number of at least 1, got 0"),
        ({"max_steps": 3, "control": PID(dt_max=0.01)}, SolveError, r"\(step 3\): max_steps attempts"),
        ({"control": PID(groups=torch.tensor([0, 2, 2]))}, ValueError, "count from 0 without gaps"),
        ({"control": PID(groups=torch.tensor([0, -1, 1]))}, ValueError, "count from 0 without gaps"),
        ({"control": PID(groups=torch.tensor([0, 1]))}, ValueError, r"one entry per row \(3,\), got shape \(2,\)"),
        (
            {"control": PID(groups=torch.tensor([0, 0, 1])), "t1": torch.tensor([1.0, 2.0, 3.0])},
            ValueError,
            "must be equal within a group",
        ),
        ({"control": PID(rtol={"a": 1e-3})}, ValueError, "tree like the state"),
        (
            {"control": Clip(PID(), stops=torch.ones(2, 1))},
            ValueError,
            r"one row per clock \(3\), got \(2, 1\)",
        ),
        ({"f": lambda t, y: y[:, :0]}, ValueError, r"must return shape \(3, 1\).*got \(3, 0\)"),
        ({"f": lambda t, y: y.expand(3, 4)}, ValueError, r"got \(3, 4\) and"),
        (
            {"f": lambda t, y: y.float()},
            ValueError,
            r"and torch.float64 like the state, got \(3, 1\) and torch.float32",
        ),
        ({"f": lambda t, y: y + 0j}, ValueError, "complex128"),
        ({"f": lambda t, y: 1.0}, TypeError, "must return tensors, got a float"),
        ({"f": lambda t, y: None}, TypeError, "must return tensors, got a NoneType"),
        ({"f": lambda t, y: (y, y)}, TypeError, "must return tensors, got a tuple"),
        ({"f": changing(torch.neg, lambda y: y[:1])}, ValueError, r"must return shape \(3, 1\).*got \(1, 1\)"),
        ({"y0": TREE, "f": lambda t, y: (y["a"], y["b"])}, TypeError, "must return the structure of the state"),
        ({"y0": TREE, "f": lambda t, y: {"a": y["a"]}}, TypeError, "Return the derivative of every leaf"),
        ({"y0": TREE, "f": lambda t, y: {"a": y["a"], "b": 1.0}}, TypeError, "must return tensors, got a float"),
        ({"f": bad_third}, SolveError, r"\(samples \[2\]\).*sample 2, at or shortly before t=0 .*NaN or infinite"),
        (
            {"y0": torch.tensor([[1.0], [1.0], [math.nan]])},
            SolveError,
            r"`y0` must be finite, but that of sample 2 is not",
        ),
    ],
)
def test_bad_input_is_answered(change, error, message):
    given = {"f": decay, "method": Dopri5(), "y0": ones(), "t0": 0.0, "t1": 1.0} | change
    f, method, y0, t0, t1 = (given.pop(name) for name in ("f", "method", "y0", "t0", "t1"))
    with pytest.raises(error, match=message):
        solve(ODE(f), method, y0, t0, t1, **given)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PID(rtol=0.0, atol=0.0), "must not both be 0"),
        (lambda: PID(rtol={"a": 0.0}, atol={"a": torch.zeros(2)}), "must not both be 0"),
        (lambda: PID(rtol=-1e-3), "`rtol` must not be negative or NaN, got -0.001"),
        (lambda: PID(atol=math.nan), "`atol` must not be negative or NaN"),
        (lambda: PID(safety=0.0), "`safety` must be positive"),
        (lambda: PID(safety=1.5), "safety <= 1"),
        (lambda: PID(factor_min=1.0), "0 < factor_min < 1 < factor_max"),
        (lambda: PID(factor_max=1.0), "0 < factor_min < 1 < factor_max"),
        (lambda: PID(dt0=-0.1), "`dt0` must be positive"),
        (lambda: PID(dt_min=-1.0), "`dt_min` must be at least 0"),
        (lambda: PID(dt_min=math.nan), "`dt_min` must be at least 0"),
        (lambda: PID(dt_min=1.0, dt_max=0.5), "`dt_max` must be above `dt_min`"),
        (lambda: PID(norm=torch.linalg.vector_norm), "needs joint steps. Pass per_sample=False"),
        (lambda: Clip(PID()), "must be given `stops` or `jumps`"),
        (lambda: Clip(PID(), stops=torch.tensor([0.5, math.nan])), "`stops` must be finite"),
        (lambda: Clip(PID(), jumps=torch.tensor([[0.5, math.inf]])), "`jumps` must be finite"),
        (lambda: Clip(PID(), jumps=torch.zeros(1, 1, 1)), r"shape \(count,\) or \(batch, count\)"),
        (lambda: Chunks(0), "`attempts` must be a whole number of at least 1"),
    ],
)
def test_bad_control_is_answered(build, message):
    with pytest.raises(ValueError, match=message):
        build()
