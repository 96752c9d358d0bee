"""torchdiffeq as a method of `solve`: equal to ours where it can do the problem, an error by name where not."""

import pytest
import torch
from torch import nn

from sciml.integrate import (
    ODE,
    PID,
    RK4,
    Clip,
    Direct,
    Dopri5,
    Eager,
    Fixed,
    SaveAt,
    SemiLinear,
    SolveError,
    TorchDiffEq,
    solve,
)

TIGHT = PID(rtol=1e-10, atol=1e-10, per_sample=False)
LOOSE = PID(rtol=1e-5, atol=1e-5, per_sample=False)
TS = torch.tensor([0.0, 0.3, 0.3, 0.8, 1.0])


class Field(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, t, y):
        return torch.tanh(self.layer(y)) * torch.cos(t)


@pytest.fixture
def field():
    return Field()


def outcome(field, method, *, t0=0.0, t1=1.0, **options):
    """States, and gradients of their sum of squares."""
    y0 = torch.linspace(-1, 1, 12).reshape(4, 3).requires_grad_()
    ys = solve(ODE(field), method, y0, t0, t1, **options).ys
    loss = torch.cat([value.flatten() for value in (ys.values() if isinstance(ys, dict) else (ys,))]).square().sum()
    return ys, torch.autograd.grad(loss, [y0, *field.parameters()])


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)])
def test_equal_to_ours(field, ends, adjoint):
    ts = TS if ends[1] else TS.flip(0)
    options = {"t0": ends[0], "t1": ends[1], "control": TIGHT, "save": SaveAt(t0=True, t1=True, ts=ts)}
    theirs, ours = outcome(field, TorchDiffEq("dopri5", adjoint), **options), outcome(field, Dopri5(), **options)
    torch.testing.assert_close(theirs, ours, rtol=1e-8, atol=1e-8)
    assert theirs[0]["ts"].shape == (4, 5, 3)


def test_equal_to_ours_on_a_grid(field):
    options = {"control": Fixed(n=10), "save": SaveAt(ts=torch.tensor([0.1, 0.55, 1.0]))}
    theirs, ours = (outcome(field, method, **options)[0] for method in (TorchDiffEq("midpoint"), RK4()))
    torch.testing.assert_close(theirs, ours, rtol=1e-2, atol=1e-2)
    theirs, ours = (outcome(field, method, control=Fixed(dt=0.3))[0] for method in (TorchDiffEq("rk4"), RK4()))
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)  # theirs is the 3/8 rule


def test_gradients_of_times(field):
    results = []
    for method in (TorchDiffEq(), Dopri5()):
        t1, ts = torch.tensor(1.0, requires_grad=True), torch.tensor([0.2, 0.7], requires_grad=True)
        ys = solve(ODE(field), method, torch.ones(2, 3), 0.0, t1, control=TIGHT, save=SaveAt(t1=True, ts=ts)).ys
        results.append(torch.autograd.grad(ys["t1"].sum() + ys["ts"].square().sum(), [t1, ts]))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def test_trees_and_counts():
    def field(t, y):
        return {"a": y["b"], "b": -y["a"]}

    y0 = {"a": torch.ones(2, 1), "b": torch.zeros(2, 1)}
    theirs, ours = (solve(ODE(field), method, y0, 0.0, 2.0, control=TIGHT) for method in (TorchDiffEq(), Dopri5()))
    torch.testing.assert_close(theirs.ys, ours.ys, rtol=1e-9, atol=1e-9)
    assert theirs.stats.steps.shape == (2,)
    assert abs(int(theirs.stats.attempts[0]) - int(ours.stats.attempts[0])) <= 8  # of 48
    assert int(theirs.stats.evaluations[0]) >= 6 * int(theirs.stats.attempts[0])
    joint_by_default = solve(ODE(field), TorchDiffEq(), y0, 0.0, 2.0)
    assert joint_by_default.result.tolist() == [0, 0]


REFUSED = {
    "per-sample steps": ({"control": PID()}, ValueError, "values of per_sample"),
    "groups": ({"control": PID(groups=torch.tensor([0, 0, 1, 1]))}, ValueError, "groups"),
    "gains": ({"control": PID(per_sample=False, gains=(0.3, 0.4, 0.0))}, ValueError, "values of gains"),
    "clip": ({"control": Clip(LOOSE, stops=torch.tensor([0.5]))}, TypeError, r"takes PID\(.*got Clip"),
    "grid": ({"control": Fixed(n=3)}, TypeError, r"takes PID\(.*got Fixed"),
    "every": ({"save": SaveAt(every=1)}, ValueError, r"SaveAt\(every="),
    "dense": ({"save": SaveAt(dense=True)}, ValueError, r"SaveAt\(dense="),
    "fn": ({"save": SaveAt(t1=True, fn=lambda t, y: y)}, ValueError, r"SaveAt\(fn="),
    "own t1": ({"t1": torch.tensor([1.0, 2.0, 3.0, 4.0])}, ValueError, "got `t1` per sample"),
    "own ts": ({"save": SaveAt(ts=torch.rand(4, 2))}, ValueError, "got `save.ts` per sample"),
    "ts outside": ({"save": SaveAt(ts=torch.tensor([0.5, 3.0]))}, ValueError, "must be sorted"),
    "no interval": ({"t1": 0.0}, ValueError, "finite and differ"),
    "gradient": ({"gradient": Direct()}, ValueError, "itself, got gradient"),
    "compile": ({"compile": True}, ValueError, "itself, got compile"),
    "executor": ({"executor": Eager()}, ValueError, "itself, got executor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(field, name):
    options, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        outcome(field, TorchDiffEq(), **options)


def test_more_is_refused_by_name(field):
    with pytest.raises(ValueError, match="must be one of dopri5"):
        TorchDiffEq("scipy_solver")
    with pytest.raises(TypeError, match="got SemiLinear"):
        solve(SemiLinear(torch.zeros(3), lambda t, y: y), TorchDiffEq(), torch.ones(1, 3), 0.0, 1.0)
    with pytest.raises(ValueError, match="its step must be given"):
        outcome(field, TorchDiffEq("rk4"))
    w = torch.ones((), requires_grad=True)
    with pytest.raises(ValueError, match="would lose its gradient"):
        solve(ODE(lambda t, y: -w * y), TorchDiffEq(adjoint=True), torch.ones(1, 1), 0.0, 1.0)
    with pytest.raises(SolveError, match="torchdiffeq gave up: max_num_steps"):
        outcome(field, TorchDiffEq(), control=TIGHT, max_steps=2)
    with pytest.raises(SolveError, match="1 of 2 samples failed"):
        solve(ODE(lambda t, y: y**9), TorchDiffEq("euler"), torch.tensor([[0.1], [9.0]]), 0, 9, control=Fixed(n=9))
