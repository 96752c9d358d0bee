"""The continuous adjoints: against closed forms and `Direct` at tight tolerances, and what they refuse."""

import gc
import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.integrate import (
    ETD2RK,
    ODE,
    PID,
    AbstractGradient,
    Backsolve,
    Checkpoint,
    Clip,
    Direct,
    Dopri5,
    Dopri8,
    Fixed,
    Quadrature,
    SaveAt,
    SemiLinear,
    SolveError,
    Tsit5,
    solve,
)

TIGHT = PID(rtol=1e-8, atol=1e-10)
JOINT = PID(rtol=1e-8, atol=1e-10, per_sample=False)
ADJOINTS = [Backsolve(), Backsolve(seminorm=True), Quadrature()]
NAMES = ["backsolve", "seminorm", "quadrature"]
each_adjoint = pytest.mark.parametrize("gradient", ADJOINTS, ids=NAMES)


class Net(nn.Module):
    """A small field with explicit time that counts its evaluations."""

    def __init__(self, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 8, dtype=dtype), nn.Linear(8, 3, dtype=dtype)
        self.evaluations = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.evaluations += 1
        hidden = torch.cat([y, torch.sin(t) * torch.ones_like(y[:, :1])], dim=1)
        return self.outer(torch.tanh(self.inner(hidden)))


def gradients(f: Any, gradient: AbstractGradient, y0: Tensor, t0: Any, t1: Any, ts: Any, control: Any = TIGHT) -> Any:
    """Gradients of a loss of y(t1) and y(ts) for everything that is a tensor, and for the parameters of `f`."""
    inputs = [x.clone().requires_grad_() if isinstance(x, Tensor) else x for x in (y0, t0, t1, ts)]
    y0, t0, t1, ts = inputs
    save = SaveAt(t1=True, ts=ts)
    ys = solve(ODE(f), Dopri8(), y0, t0, t1, control=control, save=save, gradient=gradient).ys
    ys = ys if isinstance(ys, dict) else {"t1": ys}
    weights = torch.linspace(1.0, 2.0, y0.numel()).reshape(y0.shape)
    loss = (ys["t1"].square() * weights).sum()
    if ts is not None:
        loss = loss + (torch.sin(ys["ts"]) * weights[:, None]).sum()
    wanted = [x for x in inputs if isinstance(x, Tensor)]
    return torch.autograd.grad(loss, [*wanted, *(p for p in f.parameters())])


def assert_close(got: Any, want: Any, tolerance: float) -> None:
    for a, b in zip(got, want, strict=True):
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance), float((a - b).abs().max())


class Linear(nn.Module):
    """y' = A y."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[-0.3, 1.2], [-0.9, 0.1]]))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return y @ self.matrix.T


@each_adjoint
@pytest.mark.parametrize(
    "control", [TIGHT, JOINT, Clip(TIGHT, stops=torch.tensor([0.5]))], ids=["own", "joint", "clip"]
)
def test_linear_gradients_are_those_of_the_matrix_exponential(gradient, control):
    f, y0 = Linear(), torch.randn(3, 2).requires_grad_()
    t0, t1 = (torch.tensor(t).requires_grad_() for t in (0.2, 1.9))
    inputs = [y0, t0, t1, f.matrix]
    exact = (y0 @ torch.matrix_exp(f.matrix * (t1 - t0)).T).square().sum()
    y1 = solve(ODE(f), Dopri8(), y0, t0, t1, control=control, gradient=gradient).ys
    assert_close(torch.autograd.grad(y1.square().sum(), inputs), torch.autograd.grad(exact, inputs), 1e-7)


TIMES = {
    "numbers": (0.1, 1.6, torch.tensor([0.4, 0.4, 1.2])),
    "shared": (torch.tensor(0.1), torch.tensor(1.6), torch.tensor([0.4, 1.2])),
    "own": (
        torch.tensor([0.0, 0.1, 0.2]),
        torch.tensor([1.5, 0.9, 0.21]),
        torch.tensor([[0.3, 1.2], [0.5, 0.5], [0.203, 0.206]]),
    ),
    "both ways": (
        torch.tensor([0.0, 0.1, 1.6]),
        torch.tensor([1.5, 0.9, 0.4]),
        torch.tensor([[0.3, 1.2], [0.5, 0.7], [1.3, 0.8]]),
    ),
}


@each_adjoint
@pytest.mark.parametrize(
    "times", [TIMES[name] for name in ("shared", "own", "both ways")], ids=["shared", "own", "both"]
)
def test_gradients_of_states_times_and_parameters_equal_direct(gradient, times):
    f, y0 = Net(), torch.randn(3, 3)
    want = gradients(f, Direct(), y0, *times)
    assert_close(gradients(f, gradient, y0, *times), want, 2e-6)


@pytest.mark.parametrize("gradient", [Backsolve(), Quadrature(), Quadrature(rtol=1e-8)], ids=str)
@pytest.mark.parametrize("name", ["numbers", "own"])
def test_after_a_fixed_grid(gradient, name):
    f, y0 = Net(), torch.randn(3, 3)
    control = Fixed(ts=torch.tensor([0.1, *torch.linspace(0.2, 1.6, 10)])) if name == "numbers" else Fixed(n=10)
    want = gradients(f, Direct(), y0, *TIMES[name], control=control)
    assert_close(gradients(f, gradient, y0, *TIMES[name], control=control), want, 1e-6)


@pytest.mark.parametrize("gradient", [Backsolve(), Quadrature()], ids=["backsolve", "quadrature"])
def test_control_and_method_of_the_backward_solve(gradient):
    f, y0 = Net(), torch.randn(3, 3)
    times = TIMES["shared"]
    want = gradients(f, Direct(), y0, *times)
    if isinstance(gradient, Backsolve):
        others = [Backsolve(method=Tsit5(), control=PID(rtol=1e-7, atol=1e-9)), Backsolve(control=Fixed(dt=0.1))]
        coarse = Backsolve(control=Fixed(dt=0.8), method=Dopri5())
    else:
        others = [Quadrature(rtol=1e-7, method=Tsit5()), Quadrature(nodes=6)]
        coarse = Quadrature(rtol=1e-2, atol=1e-2, method=Dopri5())
    for other in others:
        assert_close(gradients(f, other, y0, *times), want, 1e-5)
    error = [(a - b).abs().max() for a, b in zip(gradients(f, coarse, y0, *times), want, strict=True)]
    assert 1e-6 < max(error) < 0.1


@each_adjoint
def test_trees_complex_states_functions_and_params(gradient):
    rate = torch.tensor(0.7, requires_grad=True)
    turn = torch.tensor(0.4 + 0.3j, requires_grad=True)

    def f(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            "z": turn * y["z"] * y["x"][:, :1],
            "x": torch.cos(t) - rate * y["x"] + 0.1 * y["z"].abs().square().sum(1, True),
        }

    def run(gradient: AbstractGradient) -> Any:
        generator = torch.Generator().manual_seed(3)
        x = torch.randn(2, 2, generator=generator).requires_grad_()
        z = torch.randn(2, 2, dtype=torch.complex128, generator=generator).requires_grad_()
        save = SaveAt(t0=True, t1=True, ts=torch.tensor([0.3, 1.0]), fn=lambda t, y: y["z"] * torch.exp(t))
        args = {"control": TIGHT, "save": save, "gradient": gradient, "params": (rate, turn)}
        ys = solve(ODE(f), Dopri8(), {"z": z, "x": x}, 0.0, 1.0, **args).ys
        loss = sum(y.abs().square().sum() for y in ys.values())
        return ys, torch.autograd.grad(loss, [x, z, rate, turn])  # type: ignore[arg-type]

    (ys, want), (same, got) = run(Direct()), run(gradient)
    assert_close(got, want, 1e-6)
    assert_close([same[name].detach() for name in ys], [ys[name].detach() for name in ys], 1e-12)


def test_seminorm_needs_fewer_evaluations():
    """The gradient of many parameters varies fast, but nothing depends on it."""
    f, y0, ts = Net(), torch.randn(8, 3), torch.tensor([0.5, 1.0, 1.5])
    counts = []
    for seminorm in (False, True):
        y1 = solve(
            ODE(f), Dopri5(), y0, 0.0, 2.0, control=JOINT, save=SaveAt(ts=ts), gradient=Backsolve(seminorm=seminorm)
        )
        f.evaluations = 0
        y1.ys.square().sum().backward()
        counts.append(f.evaluations)
    assert counts[1] < 0.9 * counts[0]


def test_a_norm_of_ones_own_is_used_and_excludes_the_seminorm():
    f, y0, seen = Net(), torch.randn(2, 3), []

    def norm(y: Tensor, adjoint: Tensor, params: tuple[Tensor, ...]) -> Tensor:
        seen.append((y.shape, adjoint.shape, len(params)))
        return torch.maximum(y.abs().amax(), adjoint.abs().amax())

    times = TIMES["shared"]
    assert_close(gradients(f, Backsolve(norm=norm), y0, *times), gradients(f, Direct(), y0, *times), 1e-6)
    assert set(seen) == {((2, 3), (2, 3), 4)}
    with pytest.raises(ValueError, match="not both"):
        Backsolve(seminorm=True, norm=norm)
    forward = PID(rtol=1e-9, atol=1e-11, per_sample=False, norm=lambda y: y.abs().amax())
    assert_close(gradients(f, Backsolve(), y0, *times, control=forward), gradients(f, Direct(), y0, *times), 1e-6)


def test_quadrature_resolves_what_the_adjoint_does_not_see():
    """y' = p sin(40 t): lambda is constant and takes one step; the integral of sin(40 t) needs those of y."""

    class Wave(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.tensor(1.3))

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return self.p * torch.sin(40 * t) + 0 * y

    f = Wave()
    y1 = solve(ODE(f), Dopri8(), torch.zeros(2, 1), 0.0, 1.0, control=TIGHT, gradient=Quadrature()).ys
    (got,) = torch.autograd.grad(y1.sum(), f.p)
    assert float(got) == pytest.approx(2 * (1 - math.cos(40.0)) / 40, abs=1e-8)


def test_quadrature_does_not_depend_on_the_scale_of_the_loss():
    f, y0 = Net(), torch.randn(3, 3)
    y1 = solve(ODE(f), Dopri5(), y0, 0.0, 1.0, control=PID(rtol=1e-5), gradient=Quadrature()).ys
    want = torch.autograd.grad(y1.sum(), list(f.parameters()), retain_graph=True)
    got = torch.autograd.grad(y1.sum() * 2.0**-40, list(f.parameters()))
    assert_close([g * 2.0**40 for g in got], want, 1e-14)


def test_a_sample_alone_has_the_gradient_it_has_in_a_batch():
    f, y0, ts = Net(), torch.randn(3, 3), torch.tensor([[0.1, 0.5], [0.2, 0.3], [0.6, 0.9]])
    control = PID(rtol=1e-5)

    def of(rows: slice) -> Tensor:
        y = y0[rows].clone().requires_grad_()
        ys = solve(ODE(f), Dopri5(), y, 0.0, 1.0, control=control, save=SaveAt(ts=ts[rows]), gradient=Quadrature()).ys
        return torch.autograd.grad(ys.square().sum(), y)[0]

    assert torch.allclose(of(slice(1, 2)), of(slice(None))[1:2], rtol=0, atol=1e-12)


def test_groups():
    f, y0 = Net(), torch.randn(4, 3)
    control = PID(rtol=1e-9, atol=1e-11, groups=torch.tensor([0, 1, 1, 0]))
    times = TIMES["shared"]
    want = gradients(f, Direct(), y0, *times, control=control)
    for gradient in (Backsolve(), Quadrature()):
        assert_close(gradients(f, gradient, y0, *times, control=control), want, 1e-6)


class Pole(nn.Module):
    """y' = p y²: infinite at t = 1 / (p y0)."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(1.0))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.p * y * y


@each_adjoint
def test_failed_samples_do_not_touch_the_others(gradient):
    f = Pole()

    def run(start: list[float], rows: list[int]) -> Any:
        y0 = torch.tensor(start)[:, None].requires_grad_()
        control = PID(rtol=1e-6, atol=1e-8, compact=False)
        args = {"control": control, "gradient": gradient, "throw": False, "max_steps": 60}
        solution = solve(ODE(f), Dopri5(), y0, 0.0, 1.0, **args)
        return torch.autograd.grad(solution.ys[rows].sum(), [y0, f.p])

    alone, shared = run([0.3, 0.5], [0, 1]), run([0.3, 2.0, 0.5], [0, 2])
    assert_close([shared[0][[0, 2]], shared[1]], alone, 1e-5)
    assert_close([alone[1]], [torch.tensor(0.3**2 / 0.7**2 + 1.0)], 1e-4)
    assert shared[0][1] == 0.0
    asked = run([0.3, 2.0, 0.5], [0, 1, 2])
    assert asked[0].isnan().tolist() == [[False], [True], [False]] and asked[1].isnan()


@each_adjoint
def test_infinite_cotangents_give_nan_and_no_error(gradient):
    """A loss scaler looks for them and skips the step."""
    f, y0 = Net(), torch.randn(2, 3).requires_grad_()
    y1 = solve(ODE(f), Dopri5(), y0, 0.0, 1.0, gradient=gradient).ys
    got = torch.autograd.grad((y1 * torch.tensor([[1.0], [math.inf]])).sum(), [y0, *f.parameters()])
    assert got[0].isnan().any(1).tolist() == [False, True]
    assert all(g.isnan().all() for g in got[1:])


def at_the_start(gradient: AbstractGradient, control: Any, t0: Tensor, ts: Tensor) -> Any:
    """Gradients for the times, y0 and a parameter, where some of `ts` are t0."""
    w = torch.tensor(0.7, requires_grad=True)
    t0, ts, y0 = (x.clone().requires_grad_() for x in (t0, ts, torch.tensor([[1.0, 2.0], [-1.0, 0.5]])))
    term = ODE(lambda t, y: w * y * (1 + t) + t)
    save = SaveAt(ts=ts)
    ys = solve(term, Dopri5(), y0, t0, 1.0, control=control, save=save, gradient=gradient, params=(w,)).ys
    weights = torch.linspace(1.0, 2.0, ys.numel()).reshape(ys.shape)
    return torch.autograd.grad((ys * weights).sum(), [ts, t0, y0, w])


@pytest.mark.parametrize("control", [Fixed(n=50), TIGHT, JOINT], ids=["fixed", "per sample", "joint"])
@pytest.mark.parametrize("shared", [True, False])
def test_gradients_of_a_kept_time_that_is_t0(shared, control):
    """dy/dt is f(t0, y0) there too."""
    if not shared and control is JOINT:
        return
    t0, ts = torch.tensor(0.0), torch.tensor([0.0, 0.0, 0.3, 1.0])
    if not shared:
        t0, ts = torch.tensor([0.0, 0.1]), torch.tensor([[0.0, 0.3, 1.0], [0.1, 0.1, 0.5]])
    want = at_the_start(Quadrature(), control, t0, ts)
    assert bool((want[0][..., 0].abs() > 0.1).all())
    for gradient in (Direct(), Checkpoint(), Backsolve()):
        assert_close(at_the_start(gradient, control, t0, ts), want, 1e-4)
    if shared:
        numbers = at_the_start(Direct(), control, t0, ts)[0]
        y0, weights = torch.tensor([[1.0, 2.0], [-1.0, 0.5]]), torch.linspace(1.0, 2.0, 16).reshape(2, 4, 2)
        assert_close([numbers[0]], [(0.7 * y0 * weights[:, 0]).sum()], 1e-12)


def test_the_initial_state_stays_what_it_is():
    """Also where the field is infinite at t0, which fails the sample, and where only times are differentiated."""
    ts = torch.tensor([0.0, 0.5], requires_grad=True)
    y0 = torch.tensor([[1.0], [0.0]])
    field = ODE(lambda t, y: 0.1 / y)
    ys = solve(field, Dopri5(), y0, 0.0, 0.5, control=PID(), save=SaveAt(ts=ts), throw=False).ys
    assert torch.equal(ys[:, 0], y0)
    assert_close(torch.autograd.grad(ys[0].sum(), ts), [torch.tensor([0.1, 0.1 / math.sqrt(1.1)])], 1e-4)


class Rates(nn.Module):
    """y' = -k y with a number k."""

    def __init__(self) -> None:
        super().__init__()
        self.k = nn.Parameter(torch.tensor(0.5))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.k * y


@pytest.mark.parametrize("control", [Fixed(n=40), TIGHT, JOINT], ids=["fixed", "per sample", "joint"])
@each_adjoint
def test_parameters_without_axes(gradient, control):
    f, c = Rates(), torch.tensor(0.25, requires_grad=True)
    term, y0 = ODE(lambda t, y: f(t, y) - c * y), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    y1 = solve(term, Dopri5(), y0, 0.0, 1.0, control=control, gradient=gradient, params=(c,)).ys
    found = torch.autograd.grad(y1.sum(), [f.k, c])
    assert all(g.shape == () for g in found)
    assert_close(found, [torch.tensor(-10.0 * math.exp(-0.75))] * 2, 1e-6)


def test_backward_failure_is_reported():
    f = Pole()
    y1 = solve(
        ODE(f),
        Dopri5(),
        torch.tensor([[0.5]]),
        0.0,
        1.0,
        gradient=Backsolve(control=PID(rtol=1e-12, atol=1e-12, dt0=1.0, dt_min=0.5)),
    ).ys
    with pytest.raises(SolveError, match=r"the backward solve of Backsolve failed.*Use Checkpoint"):
        y1.sum().backward()


def test_quadrature_can_be_differentiated_twice():
    f, y0 = Net(), torch.randn(2, 3)
    control = TIGHT

    def second(gradient: AbstractGradient) -> Any:
        y = y0.clone().requires_grad_()
        t1 = torch.tensor([0.7, 0.9], requires_grad=True)
        ts = torch.tensor([[0.2, 0.5], [0.3, 0.8]], requires_grad=True)
        ys = solve(ODE(f), Dopri8(), y, 0.0, t1, control=control, save=SaveAt(t1=True, ts=ts), gradient=gradient).ys
        loss = ys["t1"].square().sum() + torch.sin(ys["ts"]).sum()
        inputs = [y, t1, ts, *f.parameters()]
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), inputs)  # type: ignore[arg-type]

    assert_close(second(Quadrature()), second(Direct()), 1e-7)

    def solved(y: Tensor, matrix: Tensor) -> Tensor:
        field = ODE(lambda t, x: torch.sin(x @ matrix))
        return solve(field, Dopri8(), y, 0.0, 0.5, control=Fixed(n=2), gradient=Quadrature(), params=(matrix,)).ys

    inputs = (torch.randn(1, 2, requires_grad=True), torch.randn(2, 2, requires_grad=True))
    assert torch.autograd.gradcheck(solved, inputs, atol=1e-7)
    assert torch.autograd.gradgradcheck(solved, inputs, atol=1e-6)


def test_backsolve_refuses_a_second_derivative():
    y0 = torch.randn(2, 3, requires_grad=True)
    y1 = solve(ODE(Net()), Dopri5(), y0, 0.0, 1.0, gradient=Backsolve()).ys
    with pytest.raises(RuntimeError, match=r"Use gradient=Direct\(\) or Quadrature\(\)"):
        torch.autograd.grad(y1.sum(), y0, create_graph=True)


@each_adjoint
def test_parameters_of_a_functional_call(gradient):
    """The backward solve sees the parameters of the forward solve, not those the module has by then."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = Net()

        def forward(self, y0: Tensor, gradient: AbstractGradient) -> Tensor:
            return solve(ODE(self.f), Dopri8(), y0, 0.0, 1.0, control=TIGHT, gradient=gradient).ys

    model, y0 = Model(), torch.randn(2, 3)
    other = {name: torch.randn_like(p).requires_grad_() for name, p in model.named_parameters()}

    def of(gradient: AbstractGradient) -> Any:
        y1 = torch.func.functional_call(model, other, (y0, gradient))
        return torch.autograd.grad(y1.square().sum(), list(other.values()))

    assert_close(of(gradient), of(Direct()), 1e-7)


@each_adjoint
def test_hooks_of_parameters_see_the_whole_gradient_once(gradient):
    f, seen = Net(), []
    f.outer.weight.register_hook(lambda g: seen.append(g.clone()))
    solve(ODE(f), Dopri5(), torch.randn(2, 3), 0.0, 1.0, gradient=gradient).ys.sum().backward()
    assert len(seen) == 1 and torch.equal(seen[0], f.outer.weight.grad)  # type: ignore[arg-type]


@each_adjoint
def test_nothing_outlives_the_solution(gradient):
    gc.collect()
    gc.disable()
    try:
        y0 = torch.randn(2, 3, requires_grad=True)
        y1 = solve(ODE(Net()), Dopri5(), y0, 0.0, 1.0, gradient=gradient).ys
        (y1 * 2).sum().backward()
        gone = weakref.ref(y1)
        del y1
        assert gone() is None
    finally:
        gc.enable()


@each_adjoint
def test_changed_parameters_are_noticed(gradient):
    f = Net()
    y1 = solve(ODE(f), Dopri5(), torch.randn(2, 3), 0.0, 1.0, gradient=gradient).ys
    with torch.no_grad():
        f.outer.weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y1.sum().backward()


@each_adjoint
def test_float32_and_mixed_precision(gradient):
    f, y0 = Net(torch.float32), torch.randn(3, 3, dtype=torch.float32)

    def of(gradient: AbstractGradient, autocast: bool) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            y1 = solve(ODE(f), Dopri5(), y0, 0.0, 1.0, control=Fixed(n=10), gradient=gradient).ys
        assert y1.dtype == torch.float32
        return torch.autograd.grad(y1.square().sum(), list(f.parameters()))

    want = of(Direct(), False)
    assert_close(of(gradient, False), want, 1e-5)
    low = of(gradient, True)
    assert_close(low, of(Direct(), True), 0.05)
    assert not torch.equal(low[0], of(gradient, False)[0])


@each_adjoint
def test_without_anything_to_differentiate(gradient):
    y0 = torch.randn(2, 3)
    with torch.no_grad():
        assert not solve(ODE(Net()), Dopri5(), y0, 0.0, 1.0, gradient=gradient).ys.requires_grad
    y1 = solve(ODE(lambda t, y: torch.sin(y)), Dopri5(), y0, 0.0, 1.0, gradient=gradient).ys
    assert not y1.requires_grad


def test_refusals():
    f, y0, lost = Net(), torch.randn(2, 3), torch.randn(3, requires_grad=True)
    for gradient in ADJOINTS:
        with pytest.raises(TypeError, match=r"differentiates ODE\(f\) terms, got SemiLinear"):
            solve(SemiLinear(-1.0, f), ETD2RK(), y0, 0.0, 1.0, control=Fixed(n=4), gradient=gradient)
        for save in (SaveAt(every=1), SaveAt(dense=True)):
            with pytest.raises(ValueError, match="states at given times"):
                solve(ODE(f), Dopri5(), y0, 0.0, 1.0, save=save, gradient=gradient)
        with pytest.raises(ValueError, match="random numbers"):
            solve(ODE(lambda t, y: nn.functional.dropout(y)), Dopri5(), y0, 0.0, 1.0, gradient=gradient)
        with pytest.raises(ValueError, match="`lost`"):
            solve(ODE(lambda t, y: lost * y), Dopri5(), y0, 0.0, 1.0, gradient=gradient)
        with pytest.raises(ValueError, match="torch.func"):
            torch.func.grad(lambda y, g=gradient: solve(ODE(f), Dopri5(), y, 0.0, 1.0, gradient=g).ys.sum())(y0)
    with pytest.raises(ValueError, match="nodes"):
        Quadrature(nodes=0)
