"""Gradients of good samples beside one that became NaN, with `throw=False`: those of the good samples alone."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.integrate import (
    ODE,
    PID,
    RK4,
    AbstractControl,
    Backsolve,
    Checkpoint,
    Clip,
    Direct,
    Dopri5,
    Fixed,
    Kvaerno3,
    Quadrature,
    Result,
    Reversible,
    Reversibly,
    SaveAt,
    Solution,
    solve,
)

GRADIENTS = [Direct(), Checkpoint(), Quadrature(), Backsolve()]
each_gradient = pytest.mark.parametrize("gradient", GRADIENTS, ids=lambda g: type(g).__name__)
GRID, OWN = Fixed(n=40), PID(rtol=1e-5, atol=1e-7)
GOOD = torch.tensor([[-1.0], [0.5]])


def squares(w: Tensor) -> Any:
    """y' = w y², which ends at t = 1 / (w y0)."""
    return ODE(lambda t, y: w * y * y)


def with_lost(first: float) -> Tensor:
    return torch.tensor([[-1.0], [first], [0.5]])


@each_gradient
@pytest.mark.parametrize("control, first", [(GRID, 1.0), (GRID, math.nan), (OWN, math.nan)])
def test_shared_gradients_are_those_of_the_good_samples(gradient, control, first):
    found = []
    for y0, rows in ((GOOD, [0, 1]), (with_lost(first), [0, 2])):
        w, y0 = torch.tensor(1.0, requires_grad=True), y0.clone().requires_grad_()
        solution = solve(
            squares(w), Dopri5(), y0, 0.0, 1.5, control=control, gradient=gradient, params=(w,), throw=False
        )
        in_w, in_y0 = torch.autograd.grad(solution.ys[rows].sum(), [w, y0])
        found.append([solution.ys[rows].detach(), in_w, in_y0[rows]])
        assert bool((solution.result[rows] == 0).all())
        assert len(y0) == 2 or solution.result[1] == Result.NON_FINITE and in_y0[1] == 0.0
    for got, want in zip(*found, strict=True):
        assert torch.allclose(got, want, rtol=1e-3, atol=1e-4)


def test_reversible_too():
    w = torch.tensor(1.0, requires_grad=True)
    solution = solve(
        squares(w), Reversibly(RK4()), with_lost(1.0), 0.0, 1.5, control=GRID, gradient=Reversible(), params=(w,),
        throw=False,
    )  # fmt: skip
    (found,) = torch.autograd.grad(solution.ys[[0, 2]].sum(), w)
    assert torch.allclose(found, torch.tensor(1.5 / 2.5**2 + 1.5 * 0.25 / 0.25**2), rtol=1e-3)


def test_equations_that_were_not_solved():
    w = torch.tensor(1.0, requires_grad=True)
    y0 = torch.tensor([[-1.0], [math.nan], [0.5]])
    solution = solve(squares(w), Kvaerno3(), y0, 0.0, 1.5, throw=False, control=PID(rtol=1e-3, atol=1e-4))
    assert solution.result[1] == Result.NOT_CONVERGED
    (found,) = torch.autograd.grad(solution.ys[[0, 2]].sum(), w)
    assert torch.allclose(found, torch.tensor(1.5 / 2.5**2 + 1.5 * 0.25 / 0.25**2), rtol=3e-2)


def pushed(w: Tensor) -> Any:
    """y' = w y, NaN in samples that begin above 1 as soon as t > 0.7, but where t0 is behind."""
    return ODE(lambda t, y: torch.where((y > 1.0) & (t > 0.7), math.nan, w * y))


def everything(control: AbstractControl, recorded: bool, fn: Any = None, times: Any = (0.0, 1.0)) -> Solution:
    w = torch.tensor(0.2, requires_grad=recorded)
    y0 = torch.tensor([[0.5, 0.1], [3.0, 0.2], [0.2, 0.3]])
    ts = torch.tensor([[0.0, 0.3, 1.0], [0.2, 0.8, 0.9], [0.1, 0.2, 0.3]])
    dense = fn is None
    save = SaveAt(t0=True, t1=True, ts=ts, every=2, dense=dense, fn=fn)
    return solve(pushed(w), Dopri5(), y0, *times, control=control, save=save, throw=False)


def same(a: Any, b: Any) -> bool:
    return torch.allclose(torch.as_tensor(a), torch.as_tensor(b), rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    "fn", [None, lambda t, y: torch.cat([y - y[:, :1].mean(), t + 0 * y[:, :1]], dim=1)], ids=["plain", "view"]
)
@pytest.mark.parametrize(
    "control, times",
    [
        (Fixed(n=20), (torch.zeros(3), 1.0)),
        (Fixed(n=20), (0.0, torch.tensor([1.0, 0.95, 1.0]))),
        (PID(dt0=0.1, dt_max=0.1), (0.0, 1.0)),
        (PID(dt0=0.1, dt_max=0.1), (torch.tensor([0.0, 0.1, 0.05]), torch.tensor([1.0, 0.9, 1.1]))),
        (Clip(PID(dt0=0.1, dt_max=0.1), stops=torch.tensor([[0.1], [0.2], [0.3]])), (0.0, 1.0)),
    ],
)
def test_all_outputs_are_as_without_gradients(control, times, fn):
    got, want = everything(control, True, fn, times), everything(control, False, fn, times)
    assert got.result.tolist() == want.result.tolist() == [0, 1, 0]
    for name in ("t0", "t1", "ts", "steps"):
        assert same(got.ts[name], want.ts[name]) and same(got.ys[name], want.ys[name]), name
    for name, count in vars(want.stats).items():
        assert same(getattr(got.stats, name), count), name
    mean = got.ys["t1"][2].sum() + got.ys["steps"][0, :2].sum()
    assert mean.requires_grad and not torch.isnan(torch.autograd.grad(mean, leaves(mean))[0]).any()
    if fn is None:
        t = torch.tensor([[0.2, 0.9], [0.3, 0.9], [0.4, 0.8]])
        assert same(got(t), want(t)) and same(got(0.5), want(0.5))


def leaves(output: Tensor) -> list[Tensor]:
    """The tensors that were differentiated to make an output."""
    todo, found, seen = [output.grad_fn], [], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.append(variable)
        todo.extend(n for n, _ in node.next_functions)
    return found


@each_gradient
def test_a_field_that_knows_the_initial_state(gradient):
    """The rows stand for others in the second solve, but what the field holds is what it was."""
    y0 = torch.tensor([[1.0], [30.0], [0.5]], requires_grad=True)
    term = ODE(lambda t, y: y**3 + 0.1 * y0.mean())
    ys = solve(term, RK4() if gradient != GRADIENTS[2] else Dopri5(), y0, 0.0, 0.2, control=GRID, gradient=gradient,
               throw=False).ys  # fmt: skip
    (found,) = torch.autograd.grad(ys[[0, 2]].sum(), y0)
    assert bool(torch.isfinite(found).all()) and found[1] != 0.0


def test_trees_and_nothing_to_rescue():
    w = torch.tensor(1.0, requires_grad=True)
    calls: list[int] = []

    def field(t: Tensor, y: Any) -> Any:
        calls.append(1)
        return {"a": w * y["a"] ** 2, "b": -y["b"]}

    def run(first: float) -> Solution:
        calls.clear()
        y0 = {"a": with_lost(first), "b": torch.ones(3, 2, 2)}
        return solve(ODE(field), RK4(), y0, 0.0, 1.5, control=GRID, throw=False)

    solution = run(1.0)
    twice = len(calls)
    (found,) = torch.autograd.grad(solution.ys["a"][[0, 2]].sum() + solution.ys["b"].sum(), w)
    assert torch.allclose(found, torch.tensor(1.5 / 2.5**2 + 1.5 * 0.25 / 0.25**2), rtol=1e-3)
    assert not run(math.nan).ys["a"][1].isfinite().any()
    run(0.1)
    assert len(calls) < 0.6 * twice, "a solve in which all is well is made once"
    with torch.no_grad():
        run(1.0)
    assert len(calls) < 0.6 * twice, "and so is one that nobody differentiates"
    assert replace(solution, ys=None).result.tolist() == [0, 1, 0]
