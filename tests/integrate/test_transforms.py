"""Forward mode, second derivatives, `torch.func` and `torch.vmap` through solves, and the grid that is frozen."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from sciml.core.transforms import is_differentiated
from sciml.integrate import ODE, PID, RK4, Bosh3, Clip, Direct, Dopri5, Fixed, Forward, SaveAt, SolveError, solve

# PyTorch scripts rules of its own at the first dual level.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

ADAPTIVE = PID(rtol=1e-5, atol=1e-7)
JOINT = PID(rtol=1e-5, atol=1e-7, per_sample=False)
JUMPS = Clip(ADAPTIVE, jumps=torch.tensor([0.5]))
GRID = Fixed(n=5)
CONTROLS = [ADAPTIVE, JOINT, JUMPS, GRID]
each_control = pytest.mark.parametrize("control", CONTROLS, ids=["own", "joint", "jumps", "grid"])

POINT = {
    "y0": torch.tensor([[0.4, -0.7], [1.1, 0.2]]),
    "matrix": torch.tensor([[0.3, -0.8], [0.5, 0.1]]),
    "t0": torch.tensor(0.1),
    "t1": torch.tensor(1.3),
    "ts": torch.tensor([0.3, 0.9]),
}


def loss_of(control: Any, name: str, gradient: Any = None, *, ts: bool = True) -> Callable[[Tensor], Tensor]:
    """A loss as a function of one of the tensors in POINT."""

    def loss(value: Tensor) -> Tensor:
        point: dict[str, Any] = {k: v if k in ("y0", "matrix", "ts") else float(v) for k, v in POINT.items()}
        point[name] = value
        field = ODE(lambda t, y: torch.tanh(y @ point["matrix"].T) + torch.sin(t) * y)
        save = SaveAt(t1=True, ts=point["ts"] if ts else None)
        args = {"control": control, "save": save, "gradient": gradient}
        ys = solve(field, Dopri5(), point["y0"], point["t0"], point["t1"], **args).ys
        return sum(y.square().sum() for y in (ys.values() if ts else [ys]))  # type: ignore[return-value]

    return loss


def reverse(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]


@each_control
@pytest.mark.parametrize("name", POINT)
def test_forward_reverse_and_func_agree(control, name):
    loss, x = loss_of(control, name), POINT[name]
    want, v = reverse(loss, x), torch.linspace(0.5, 1.5, x.numel()).reshape(x.shape)
    assert torch.allclose(torch.func.grad(loss)(x), want, rtol=0, atol=1e-11)
    assert torch.allclose(torch.func.jacfwd(loss)(x), want, rtol=0, atol=1e-11)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(loss_of(control, name, Forward())(forward_ad.make_dual(x, v))).tangent
    assert tangent is not None and torch.allclose(tangent, (want * v).sum(), rtol=0, atol=1e-11)


@each_control
@pytest.mark.parametrize("name", ["y0", "t1"])
def test_hessian(control, name):
    loss, x = loss_of(control, name), POINT[name]
    y = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(y), y, create_graph=True)
    want = torch.autograd.grad(first.sum(), y)[0]
    hessian = torch.func.hessian(loss)(x)
    assert torch.allclose(hessian.reshape(x.numel(), -1).sum(0).reshape(x.shape), want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["y0", "matrix", "t0", "t1"])
def test_vmap_over_a_fixed_grid(name):
    loss = loss_of(GRID, name, ts=name in ("y0", "matrix"))
    several = torch.stack([POINT[name], 1.1 * POINT[name], 0.9 * POINT[name]])
    for function in (loss, torch.func.grad(loss)):
        want = torch.stack([function(x) for x in several])
        assert torch.allclose(torch.vmap(function)(several), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", POINT)
@pytest.mark.parametrize("control", [ADAPTIVE, JOINT], ids=["own", "joint"])
def test_vmap_of_adaptive_steps_is_refused(control, name):
    with pytest.raises(ValueError, match="Put what is mapped over on the batch axis"):
        torch.vmap(loss_of(control, name))(torch.stack([POINT[name]] * 2))


def test_vmap_over_times_keeps_grid_points_only():
    with pytest.raises(ValueError, match="no times between them"):
        torch.vmap(loss_of(GRID, "t1"))(torch.tensor([1.0, 2.0]))


def test_vmap_marks_failures_without_raising():
    f = ODE(lambda t, y: y * y)
    run = lambda y0: solve(f, RK4(), y0, 0.0, 1.0, control=Fixed(n=40)).ys  # noqa: E731
    y1 = torch.vmap(run)(torch.tensor([[[0.5]], [[50.0]]]))
    assert float(y1[0]) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(SolveError):
        run(torch.tensor([[50.0]]))


def frozen(solution: Any) -> Tensor:
    """The accepted times of a solve with joint steps from 0.1."""
    return torch.cat([torch.tensor([0.1]), solution.ts["steps"]])


def test_gradients_are_those_of_the_frozen_grid():
    y0, matrix = POINT["y0"].clone().requires_grad_(), POINT["matrix"].clone().requires_grad_()
    field, v = ODE(lambda t, y: torch.tanh(y @ matrix.T) + torch.sin(t) * y), torch.tensor([[1.0, -0.5], [0.3, 0.8]])
    t1 = torch.tensor(1.3, requires_grad=True)
    solution = solve(field, Dopri5(), y0, 0.1, t1, control=JOINT, save=SaveAt(t1=True, every=1))
    assert int(solution.stats.rejected[0]) >= 0 and len(solution.ts["steps"]) > 2
    grid = frozen(solution).detach()
    got = torch.autograd.grad(solution.ys["t1"].square().sum(), [y0, matrix, t1])

    def on_grid(y: Tensor, last: float = 1.3) -> Tensor:
        times = torch.cat([grid[:-1], torch.tensor([last])])
        return solve(field, Dopri5(), y, 0.1, last, control=Fixed(ts=times)).ys.square().sum()

    want = torch.autograd.grad(on_grid(y0), [y0, matrix])
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(got[:2], want, strict=True))
    with torch.no_grad():
        step = 1e-5
        slope = (on_grid(y0 + step * v) - on_grid(y0 - step * v)) / (2 * step)
        in_t1 = (on_grid(y0, 1.3 + step) - on_grid(y0, 1.3 - step)) / (2 * step)
    assert float(slope) == pytest.approx(float((got[0] * v).sum()), abs=1e-8)
    assert float(in_t1) == pytest.approx(float(got[2]), abs=1e-8)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(y0.detach(), v)
        out = solve(field, Dopri5(), dual, 0.1, 1.3, control=JOINT, gradient=Forward()).ys
        tangent = forward_ad.unpack_dual(out.square().sum()).tangent
    assert tangent is not None and float(slope) == pytest.approx(float(tangent.detach()), abs=1e-8)


@pytest.mark.parametrize("method", [Bosh3(), RK4()], ids=["bosh3", "rk4"])
def test_gradcheck_once_and_twice(method):
    def solved(y0: Tensor, matrix: Tensor, t1: Tensor) -> Tensor:
        return solve(ODE(lambda t, y: torch.tanh(y @ matrix.T) * t), method, y0, 0.1, t1, control=Fixed(n=2)).ys

    inputs = [POINT["y0"][:1], POINT["matrix"], torch.tensor([0.9])]
    inputs = [x.clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(solved, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(solved, inputs)
    grid = torch.tensor([0.1, 0.3, 0.4, 0.9])

    def along(y0: Tensor, matrix: Tensor) -> Tensor:
        field = ODE(lambda t, y: torch.tanh(y @ matrix.T) * t)
        return solve(field, method, y0, 0.1, 0.9, control=Fixed(ts=grid)).ys

    assert torch.autograd.gradcheck(along, inputs[:2])
    assert torch.autograd.gradgradcheck(along, inputs[:2])


@pytest.mark.parametrize("control", [PID(rtol=1e-9, atol=1e-11), Clip(PID(rtol=1e-9, atol=1e-11), stops=torch.ones(1))])
def test_times_of_each_sample(control):
    """y = y0 exp(t² - t0²): dy/dt = 2 t y, dy/dt0 = -2 t0 y."""
    y0 = torch.tensor([[0.5], [1.5], [-1.0]])
    t0, t1 = torch.tensor([0.1, 0.3, 1.2], requires_grad=True), torch.tensor([1.5, 1.1, 0.2], requires_grad=True)
    ts = torch.tensor([[0.5, 1.4], [0.4, 0.9], [1.1, 0.3]], requires_grad=True)
    save = SaveAt(t1=True, ts=ts)
    ys = solve(ODE(lambda t, y: 2 * t * y), Dopri5(), y0, t0, t1, control=control, save=save).ys
    got = torch.autograd.grad(ys["t1"].sum() + 2 * ys["ts"].sum(), [t0, t1, ts])
    end, inner = ys["t1"][:, 0].detach(), ys["ts"][..., 0].detach()
    want = [-2 * t0 * (end + 2 * inner.sum(1)), 2 * t1 * end, 4 * ts * inner]
    for a, b in zip(got, want, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4), (a, b)


def test_gradient_of_t0_survives_a_rejected_first_step():
    t0 = torch.tensor([0.0, 0.0], requires_grad=True)
    control = PID(rtol=1e-9, atol=1e-11, dt0=1.0)
    solution = solve(ODE(lambda t, y: -5 * y), Dopri5(), torch.tensor([[1.0], [2.0]]), t0, 1.0, control=control)
    assert (solution.stats.rejected > 0).all()
    (got,) = torch.autograd.grad(solution.ys.sum(), t0)
    assert torch.allclose(got, 5 * solution.ys[:, 0].detach(), rtol=1e-6)


class Net(nn.Module):
    """A solve of a small network."""

    def __init__(self, gradient: Any) -> None:
        super().__init__()
        self.layer, self.gradient = nn.Linear(2, 2), gradient

    def forward(self, y0: Tensor) -> Tensor:
        return solve(ODE(lambda t, y: torch.tanh(self.layer(y))), Dopri5(), y0, 0.0, 1.0, gradient=self.gradient).ys


def test_forward_mode_in_module_parameters():
    net, y0 = Net(Forward()), POINT["y0"]
    values = {name: p.detach() for name, p in net.named_parameters()}
    tangents = {name: torch.ones_like(p) for name, p in values.items()}
    with forward_ad.dual_level():
        duals = {name: forward_ad.make_dual(p, tangents[name]) for name, p in values.items()}
        out = torch.func.functional_call(net, duals, (y0,))
        assert not out.requires_grad
        got = forward_ad.unpack_dual(out).tangent
    net.gradient = Direct()
    run = lambda params: torch.func.functional_call(net, params, (y0,))  # noqa: E731
    want = torch.func.jvp(run, (values,), (tangents,))[1]
    assert got is not None and torch.allclose(got, want, rtol=0, atol=1e-12)


def test_forward_mode_refuses_to_go_back():
    lost = torch.tensor(0.5, requires_grad=True)
    for net, y0 in (
        (Net(Forward()), POINT["y0"]),
        (Net(Forward()).requires_grad_(False), POINT["y0"].requires_grad_()),
    ):
        y1 = net(y0)
        assert y1.requires_grad
        with pytest.raises(RuntimeError, match=r"records nothing to go back through.*Direct\(\)"):
            y1.sum().backward()
    y0 = POINT["y0"].requires_grad_(False)
    y1 = solve(ODE(lambda t, y: lost * y), Dopri5(), y0, 0.0, 1.0, gradient=Forward()).ys
    with pytest.raises(RuntimeError, match="records nothing"):
        torch.autograd.grad(y1.sum(), lost)
    assert not solve(ODE(lambda t, y: -y), Dopri5(), y0, 0.0, 1.0, gradient=Forward()).ys.requires_grad


def test_mixed_precision():
    """The state keeps its precision; what autocast computed in half of it is brought back."""
    layer = nn.Linear(2, 2, dtype=torch.float32)
    y0 = POINT["y0"].float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = solve(ODE(lambda t, y: layer(y)), Dopri5(), y0, 0.0, 1.0, control=Fixed(n=3)).ys
        tree = solve(ODE(lambda t, y: {"a": layer(y["a"])}), Dopri5(), {"a": y0}, 0.0, 1.0, control=Fixed(n=3)).ys["a"]
    assert plain.dtype == torch.float32 and torch.equal(plain, tree)
    assert torch.isfinite(torch.autograd.grad(plain.sum(), layer.weight)[0]).all()


def derivative_of(outer: str, inner: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Call `function(a, x)` with `a` differentiated by an outer transform and `x` by an inner one."""
    apply = {
        "grad": lambda f, x: torch.func.grad(f)(x),
        "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
    }
    one = torch.tensor(1.0)
    apply[outer](lambda a: apply[inner](lambda x: function(a, x), one), one)


@pytest.mark.parametrize("inner", ["grad", "jvp"])
@pytest.mark.parametrize("outer", ["grad", "jvp"])
def test_what_a_transform_differentiates_is_told_from_constants(outer, inner):
    seen = []

    def function(a: Tensor, x: Tensor) -> Tensor:
        constant = 2 * torch.tensor(1.0)
        seen.append([is_differentiated(t) for t in (constant, x.detach(), x, 2 * a, a * x, constant + x)])
        return a * x * x

    derivative_of(outer, inner, function)
    assert seen == [[False, False, True, True, True, True]]
    mapped = []
    torch.vmap(lambda x: (mapped.append(is_differentiated(x)), x)[1])(torch.ones(2))
    assert mapped == [True] and not is_differentiated(torch.ones(2))
