"""Checkpoint: the gradients of Direct from few stored states; what it reaches, and what it refuses."""

import functools
import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.integrate import (
    ODE,
    PID,
    RK4,
    SSPRK3,
    AbstractLangevin,
    AbstractMethod,
    AbstractStochastic,
    Adams,
    Checkpoint,
    Chunks,
    Clip,
    Direct,
    Dopri5,
    Dopri8,
    Fixed,
    Heun,
    Result,
    Reversibly,
    SaveAt,
    SemiLinear,
    StepDoubling,
    solve,
)
from sciml.integrate.gradient.checkpoint import _Anchors, backwards, capacity
from tests.helpers import final_subclasses

ROWS = 3
LINEAR = torch.tensor([-1.0, -2.0, -0.5], dtype=torch.float64, requires_grad=True)
OTHERS = {"StepDoubling": StepDoubling(RK4()), "Reversibly": Reversibly(Dopri5())}
"""Cases of classes that need arguments."""
METHODS: list[AbstractMethod] = [
    OTHERS.get(kind.__name__) or kind()
    for kind in sorted(final_subclasses(AbstractMethod), key=lambda kind: kind.__name__)
    if kind.__module__.startswith("sciml.integrate")
    and not kind.__name__.startswith(("_", "Compiled"))
    and not issubclass(kind, (AbstractStochastic, AbstractLangevin))
]
"""Every method there is, but for those of noise: `tests/integrate/test_stochastic.py`."""
LOOSE = PID(rtol=1e-4, atol=1e-4)
COARSE = {"BackwardEuler": 1e-2, "Trapezoid": 1e-2, "Euler": 1e-2}
"""Tolerances of methods that would need hundreds of steps; they reject steps all the same."""
CONTROLS = {
    "per sample": LOOSE,
    "joint": replace(LOOSE, per_sample=False),
    "groups": replace(LOOSE, groups=torch.tensor([0, 1, 1])),
    "jumps": Clip(LOOSE, jumps=torch.tensor([0.5]), stops=torch.tensor([0.7])),
}


class Net(nn.Module):
    """A small field that depends on time and counts its calls."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.a = nn.Parameter(torch.randn(size + 1, 8, generator=generator) / 2)
        self.b = nn.Parameter(torch.randn(8, size, generator=generator) / 2)
        self.calls = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        time = torch.sin(3 * t).expand(len(y), 1)
        return torch.tanh(torch.cat([y, time], dim=1) @ self.a) @ self.b


def start(rows: int = ROWS, size: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, size, generator=generator).requires_grad_()


def time(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def loss_of(ys: Any) -> Tensor:
    """A sum in which every kept number has a weight of its own."""
    if isinstance(ys, dict):
        return sum((loss_of(value) for value in ys.values()), torch.zeros(()))
    weights = torch.linspace(1, 2, ys.numel()).reshape(ys.shape)
    return (torch.nan_to_num(torch.sin(ys)) * weights).sum()


def gradients(gradient: Any, term: Any, method: AbstractMethod, inputs: list[Tensor], **options: Any) -> list[Tensor]:
    t0, t1 = options.pop("t0", 0.0), options.pop("t1", 1.5)
    solution = solve(term, method, inputs[0], t0, t1, gradient=gradient, **options)
    found = torch.autograd.grad(loss_of(solution.ys), inputs, allow_unused=True)
    return [torch.zeros(()) if g is None else g for g in found]


def difference(a: list[Tensor], b: list[Tensor]) -> float:
    """Largest difference, each tensor in units of its largest entry."""
    assert all(float(x.abs().max()) > 0 for x in a)
    return max(float((x - y).abs().max() / x.abs().max()) for x, y in zip(a, b, strict=True))


def equation(method: AbstractMethod, net: Net) -> tuple[Any, list[Any]]:
    """The term a method steps, and the tensors in it."""
    parameters = list(net.parameters())
    if type(method).__name__.startswith("ETD"):
        return SemiLinear(LINEAR, net), [*parameters, LINEAR]
    return ODE(net), parameters


def coarser(control: PID | Clip, method: AbstractMethod) -> PID | Clip:
    """The same control at the tolerance of the method."""
    if isinstance(control, Clip):
        return replace(control, inner=coarser(control.inner, method))
    tolerance = COARSE.get(type(method).__name__, control.rtol)
    return replace(control, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_equals_direct_on_fixed_grids(method: AbstractMethod):
    term, parameters = equation(method, Net())
    save = SaveAt(t0=True, t1=True, every=3)
    inputs = [start(), *parameters]
    options: dict[str, Any] = {"control": Fixed(n=10), "save": save}
    assert difference(*(gradients(g, term, method, inputs, **options) for g in (Direct(), Checkpoint(4)))) < 1e-12
    t0, t1 = time([0.0, 0.1, 2.0]), time([1.5, 1.0, 0.5])
    inputs, options = [*inputs, t0, t1], options | {"t0": t0, "t1": t1}
    assert difference(*(gradients(g, term, method, inputs, **options) for g in (Direct(), Checkpoint()))) < 1e-12
    if method.has_dense:
        ts = time([[0.0, 0.7], [0.3, 0.9], [1.5, 1.0]])
        inputs, options = [*inputs, ts], options | {"save": replace(save, ts=ts)}
        assert difference(*(gradients(g, term, method, inputs, **options) for g in (Direct(), Checkpoint()))) < 1e-12


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("method", [m for m in METHODS if m.has_error], ids=lambda m: type(m).__name__)
def test_equals_direct_on_adaptive_steps(method: AbstractMethod, control: str):
    term, parameters = equation(method, Net())
    ts = time([0.0, 0.33, 0.34, 1.4, 1.5]) if method.has_dense else None
    save = SaveAt(t0=True, t1=True, every=2, ts=ts)
    inputs = [start(), *parameters, *([ts] if ts is not None else [])]
    options: dict[str, Any] = {"control": coarser(CONTROLS[control], method), "save": save}
    assert difference(*(gradients(g, term, method, inputs, **options) for g in (Direct(), Checkpoint(3)))) < 1e-12


@pytest.mark.parametrize("executor", [None, Chunks(4)], ids=["eager", "chunks"])
@pytest.mark.parametrize("method", [Dopri5(), Dopri8(), SSPRK3()], ids=lambda m: type(m).__name__)
def test_equals_direct_for_times_of_each_sample(method: AbstractMethod, executor: Any):
    net = Net()
    t0, t1 = time([0.0, 0.1, 2.0]), time([1.5, 1.0, 0.5])
    ts = time([[0.0, 0.7], [0.3, 0.9], [1.5, 1.0]])
    inputs = [start(), t0, t1, ts, *net.parameters()]
    save = SaveAt(t1=True, ts=ts, every=1)
    options: dict[str, Any] = {"control": LOOSE, "save": save, "t0": t0, "t1": t1, "executor": executor}
    found = [gradients(g, ODE(net), method, inputs, **options) for g in (Direct(), Checkpoint())]
    assert difference(*found) < 1e-12


@pytest.mark.parametrize("method", [Dopri5(), Adams()], ids=lambda m: type(m).__name__)
def test_equals_direct_for_times_all_samples_share(method: AbstractMethod):
    net, t0, t1 = Net(), time(0.1), time(1.4)
    inputs = [start(), t0, t1, *net.parameters()]
    options: dict[str, Any] = {"control": replace(LOOSE, per_sample=False), "t0": t0, "t1": t1}
    found = [gradients(g, ODE(net), method, inputs, **options) for g in (Direct(), Checkpoint())]
    assert difference(*found) < 1e-12


def test_equals_direct_for_trees_and_functions_of_the_state():
    net = Net(5)

    def f(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        slope = net(t, torch.cat([y["a"], y["b"][:, 0]], dim=1))
        return {"a": slope[:, :3], "b": slope[:, None, 3:]}

    a, b, scale = start(), start(size=2), time(1.3)
    found = []
    for gradient in (Direct(), Checkpoint(2)):
        save = SaveAt(t0=True, t1=True, ts=time([0.2, 1.0]), fn=lambda t, y: y["a"] * scale + t)
        solution = solve(ODE(f), Dopri5(), {"a": a, "b": b[:, None]}, 0.0, 1.5, save=save, gradient=gradient)
        found.append(list(torch.autograd.grad(loss_of(solution.ys), [a, b, scale, *net.parameters()])))
    assert difference(*found) < 1e-12


def test_without_gradients_of_the_state_and_for_complex_states():
    net, w = Net(), time([0.3, 0.5, 0.7])
    found = []
    for gradient in (Direct(), Checkpoint()):
        y = solve(ODE(net), Dopri5(), start().detach(), 0.0, 1.0, gradient=gradient).ys
        found.append(list(torch.autograd.grad(loss_of(y), list(net.parameters()))))
        z = start().detach().to(torch.complex128).requires_grad_()
        turned = solve(ODE(lambda t, y: 1j * w * y * y), Dopri5(), z, 0.0, 1.0, gradient=gradient, params=(w,)).ys
        found[-1] += torch.autograd.grad(loss_of(turned.real), [z, w])
    assert difference(*found) < 1e-12


# Memory and work


class Alive:
    """A state of the schedule; those alive are counted."""

    count = most = 0

    def __init__(self, n: int) -> None:
        self.n = n
        Alive.count += 1
        Alive.most = max(Alive.most, Alive.count)
        weakref.finalize(self, Alive.forget)

    @staticmethod
    def forget() -> None:
        Alive.count -= 1


@pytest.mark.parametrize("steps", [1, 2, 44, 45, 46, 500, 1000, 1035])
def test_schedule_visits_every_step_once_and_takes_none_more_than_twice_again(steps: int):
    keeper, taken, nothing = _Anchors(45), [0] * steps, torch.empty(0)
    Alive.count = Alive.most = 0
    for n in range(steps):
        keeper.offer(n, (nothing, Alive(n)))
        assert len(keeper.anchors) <= 45

    def advance(n: int, state: Any) -> Any:
        assert state[1].n == n
        taken[n] += 1
        return nothing, Alive(n + 1)

    order = []
    for n, state in backwards(keeper.kept(), steps, 45, advance):
        assert state[1].n == n
        order.append(n)
        del state
    assert order == list(reversed(range(steps)))
    assert max(taken) <= (0 if steps <= 45 else 1)  # besides the first sweep and the time it is differentiated
    assert Alive.most <= 45 + 2  # the one that is being made, and the one it is made of


@pytest.mark.parametrize(("states", "repetitions"), [(1, 3), (2, 1), (5, 2), (7, 4)])
def test_capacity_is_the_sum_it_is_built_from(states: int, repetitions: int):
    parts = [capacity(c, repetitions - 1) for c in range(1, states + 1)]
    assert capacity(states, repetitions) == sum(parts)


def test_few_places_repeat_no_more_than_they_must():
    steps, taken = 1000, [0] * 1000
    keeper = _Anchors(8)
    for n in range(steps):
        keeper.offer(n, (torch.empty(0), n))

    def advance(n: int, state: Any) -> Any:
        taken[n] += 1
        return state[0], state[1] + 1

    found = [(n, state[1]) for n, state in backwards(keeper.kept(), steps, 8, advance)]
    assert found == [(n, n) for n in reversed(range(steps))]
    least = next(r for r in range(1, 20) if capacity(8, r) >= steps)
    assert max(taken) <= least - 1


@pytest.mark.parametrize(
    "control",
    [pytest.param(Fixed(n=1000), marks=pytest.mark.slow), PID(rtol=1e-3, atol=1e-3, dt_max=5e-3, per_sample=False)],
)
def test_thousand_steps_store_45_states_and_compute_none_more_than_3_times(control: Any):
    """States are counted as tensors of their shape that are alive when the field is called."""
    most = 0
    weight = nn.Parameter(torch.eye(7) * -0.1)
    calls = 0

    def f(t: Tensor, y: Tensor) -> Tensor:
        nonlocal calls, most
        calls += 1
        if calls % 97 == 0:
            storages = {x.data_ptr() for x in gc.get_objects() if type(x) is Tensor and x.shape == (11, 7)}
            most = max(most, len(storages))
        return y @ weight

    y0 = torch.linspace(0, 1, 77).reshape(11, 7)
    solution = solve(ODE(f), Heun(), y0, 0.0, 5.0, control=control, gradient=Checkpoint(), params=(weight,))
    steps, forward = int(solution.stats.steps.max()), calls
    assert 1000 <= steps <= 1035
    # Besides states: slopes and stages of the step that is taken, and gradients.
    assert len(solution.ys.grad_fn.kept) <= 45
    solution.ys.sum().backward()
    assert calls <= 3 * forward and calls - forward <= 2 * 2 * steps + 2
    assert most <= 45 + 15
    assert weight.grad is not None


# What gradients reach


@pytest.mark.parametrize("kind", ["module", "method", "closure", "partial", "attribute", "global", "list"])
def test_modules_are_found_wherever_they_are(kind: str):
    net = Net()
    net.b.requires_grad_(False)  # a frozen parameter is skipped

    class Holder:
        def __init__(self) -> None:
            self.inner = net

        def __call__(self, t: Tensor, y: Tensor) -> Tensor:
            return self.inner(t, y)

    global GLOBAL_NET
    GLOBAL_NET = net
    nets = [net]
    fields: dict[str, Any] = {
        "module": net,
        "method": net.forward,
        "closure": lambda t, y: net(t, y),
        "partial": functools.partial(lambda model, t, y: model(t, y), net),
        "attribute": Holder(),
        "global": lambda t, y: GLOBAL_NET(t, y),
        "list": lambda t, y: nets[0](t, y),
    }
    y0 = start()
    found = [gradients(g, ODE(fields[kind]), Heun(), [y0, net.a], control=Fixed(n=5)) for g in (Direct(), Checkpoint())]
    assert difference(*found) < 1e-12


def test_params_may_be_results_and_the_field_may_use_the_initial_state():
    base, y0 = time([0.1, 0.2, 0.3]), start()

    def run(gradient: Any) -> list[Tensor]:
        w = base.exp()
        y = solve(ODE(lambda t, y: torch.sin(w * y + y0)), RK4(), y0, 0.0, 1.0, control=Fixed(n=9), gradient=gradient,
                  params=(w,)).ys  # fmt: skip
        return list(torch.autograd.grad(loss_of(y), [base, y0]))

    assert difference(run(Direct()), run(Checkpoint())) < 1e-12


class Held:
    """Something that holds a tensor."""

    def __init__(self, w: Tensor) -> None:
        self.w = w


def test_captured_tensors_are_refused_by_name():
    w, y0 = time([0.1, 0.2, 0.3]), start()
    with pytest.raises(ValueError, match=r"uses `w`, \(3,\) of torch.float64.*params=\(w,\).*Direct"):
        solve(ODE(lambda t, y: w * y), RK4(), y0, 0.0, 1.0, control=Fixed(n=5), gradient=Checkpoint())
    made = w * 2
    with pytest.raises(ValueError, match=r"uses `made`, \(3,\)"):
        solve(ODE(lambda t, y: made * y), RK4(), y0, 0.0, 1.0, control=Fixed(n=5), gradient=Checkpoint())
    holder = Held(w)
    secret = weakref.ref(holder)
    with pytest.raises(ValueError, match=r"uses a tensor of shape \(3,\) and torch.float64"):
        solve(ODE(lambda t, y: secret().w * y), RK4(), y0, 0.0, 1.0, control=Fixed(n=5), gradient=Checkpoint())  # type: ignore[union-attr]
    with pytest.raises(TypeError, match="params"):
        solve(ODE(lambda t, y: y), RK4(), y0, 0.0, 1.0, control=Fixed(n=5), gradient=Checkpoint(), params=(1.0,))  # type: ignore[arg-type]


def test_refusals_name_the_remedy():
    net, y0 = Net(), start()
    with pytest.raises(ValueError, match=r"keeps no dense output.*SaveAt\(ts=...\)"):
        solve(ODE(net), Dopri5(), y0, 0.0, 1.0, save=SaveAt(dense=True), gradient=Checkpoint())
    with pytest.raises(ValueError, match=r"`budget`"):
        Checkpoint(1)
    y = solve(ODE(net), Dopri5(), y0, 0.0, 1.0, gradient=Checkpoint()).ys
    with pytest.raises(RuntimeError, match=r"differentiated twice.*Direct\(\) or Quadrature\(\)"):
        torch.autograd.grad(y.sum(), y0, create_graph=True)


def test_a_parameter_changed_before_the_gradient_is_noticed():
    net, y0 = Net(), start()
    y = solve(ODE(net), Dopri5(), y0, 0.0, 1.0, gradient=Checkpoint()).ys
    with torch.no_grad():
        net.a.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# Training


def test_gradients_accumulate_and_hooks_see_them_whole():
    net, y0, seen = Net(), start(), []
    net.a.register_hook(lambda g: seen.append(g.clone()))
    alone = gradients(Direct(), ODE(net), Dopri5(), [y0, net.a])
    seen.clear()
    for _ in range(2):
        loss_of(solve(ODE(net), Dopri5(), y0, 0.0, 1.5, gradient=Checkpoint()).ys).backward()
    assert len(seen) == 2
    assert net.a.grad is not None and y0.grad is not None
    assert difference([2 * g for g in alone], [y0.grad, net.a.grad]) < 1e-12
    y = solve(ODE(net), Dopri5(), y0, 0.0, 1.5, gradient=Checkpoint()).ys
    twice = [torch.autograd.grad(loss_of(y), y0, retain_graph=True)[0] for _ in range(2)]
    assert torch.equal(*twice)


class Model(nn.Module):
    """A model with a solve inside."""

    def __init__(self, gradient: Any) -> None:
        super().__init__()
        self.net, self.gradient = Net(), gradient

    def forward(self, y0: Tensor) -> Tensor:
        return solve(ODE(self.net), Dopri5(), y0, 0.0, 1.0, gradient=self.gradient).ys


def test_distributed_data_parallel(tmp_path):
    """One process: its gradients are reduced once, as with Direct."""
    distributed = torch.distributed
    if not distributed.is_available():
        pytest.skip("this build of torch has no torch.distributed")
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        found = []
        for gradient in (Direct(), Checkpoint()):
            model = nn.parallel.DistributedDataParallel(Model(gradient))
            for _ in range(2):
                loss_of(model(start())).backward()
            found.append([p.grad for p in model.parameters()])
        assert difference(*found) < 1e-12
    finally:
        distributed.destroy_process_group()


def test_autocast_is_as_it_was_and_leaves_no_casts_behind():
    net, y0, seen = nn.Linear(3, 3).float(), start().detach().float(), set()

    def f(t: Tensor, y: Tensor) -> Tensor:
        made = net(y)
        seen.add(made.dtype)
        return torch.tanh(made).float()

    found = []
    for gradient in (Direct(), Checkpoint()):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = solve(ODE(f), RK4(), y0, 0.0, 1.0, control=Fixed(n=5), gradient=gradient).ys
            after = net(y0)
        found.append(list(torch.autograd.grad(y.sum(), list(net.parameters()))))
        assert torch.autograd.grad(after.float().sum(), net.weight)[0].abs().sum() > 0
    assert seen == {torch.bfloat16}
    assert difference(*found) < 2e-2  # Direct adds up the steps in bfloat16, Checkpoint in float32


@pytest.mark.parametrize("executor", [None, Chunks(3)], ids=["eager", "chunks"])
@pytest.mark.parametrize("control", [Fixed(n=12), replace(LOOSE, per_sample=False), replace(LOOSE, compact=False)])
def test_random_numbers_are_drawn_again(control: Any, executor: Any):
    net = Net()
    gradient_of = []
    for gradient in (Direct(), Checkpoint(3)):
        torch.manual_seed(3)
        field = ODE(lambda t, y: nn.functional.dropout(net(t, y), 0.5) * 1e-4 + y)
        options: dict[str, Any] = {"control": control, "gradient": gradient, "executor": executor}
        y = solve(field, Heun(), start().detach(), 0.0, 1.0, **options).ys
        state = torch.get_rng_state()
        gradient_of.append(list(torch.autograd.grad(loss_of(y), list(net.parameters()))))
        assert torch.equal(state, torch.get_rng_state())
    assert difference(*gradient_of) < 1e-12


def test_a_failed_sample_leaves_the_gradients_of_the_others():
    net = Net()
    for control in (Fixed(n=40), LOOSE):
        term = ODE(lambda t, y: net(t, y) + 0.5 * y**3)
        healthy, wild = start().detach()[:1].requires_grad_(), torch.full((1, 3), 30.0)
        inputs = [healthy, *net.parameters()]
        save = SaveAt(t1=True, every=4)
        alone = solve(term, Heun(), healthy, 0.0, 0.5, control=control, gradient=Direct(), save=save)
        want = torch.autograd.grad(loss_of(alone.ys["t1"]), inputs)
        both = solve(
            term, Heun(), torch.cat([healthy, wild]), 0.0, 0.5, control=control, gradient=Checkpoint(), save=save,
            throw=False, max_steps=300,
        )  # fmt: skip
        assert both.result[0] == Result.SUCCESS and both.result[1] != Result.SUCCESS
        found = torch.autograd.grad(loss_of(both.ys["t1"][:1]), inputs)
        assert difference(list(want), list(found)) < 1e-12
