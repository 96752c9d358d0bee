"""Backsolve of SDEs: against `Direct` as steps shrink, against closed forms, every structure and sense, refusals."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.core import Key
from sciml.integrate import (
    PID,
    SDE,
    AdditiveNoise,
    Backsolve,
    DiagonalNoise,
    EulerHeun,
    EulerMaruyama,
    Fixed,
    GeneralNoise,
    Ito,
    Milstein,
    Quadrature,
    ReversibleHeun,
    SaveAt,
    SemiLinear,
    SlowRK,
    SPaRK,
    StochasticHeun,
    StochasticMidpoint,
    Stratonovich,
    solve,
)
from sciml.paths import BrownianMotion, SpaceTime
from tests.stochastic_orders import FIELDS, SENSES, STRUCTURES

N = 256


def path_of(shape: tuple[int, ...], rows: int, n: int = N, **options: Any) -> BrownianMotion:
    return BrownianMotion.on_grid(Key.rows(1, rows), shape, torch.linspace(0, 1, n + 1), levy=SpaceTime(), **options)


def start(rows: int) -> Tensor:
    return torch.linspace(-0.5, 1.0, 2 * rows).reshape(rows, 2)


def gradients(structure: str, sense: str, method: Any, gradient: Any, n: int, rows: int = 48) -> tuple[Tensor, Tensor]:
    """Of a loss of three states: for y0, and for weights of drift and diffusion."""
    f, g, noise = FIELDS[structure]
    y0, w = start(rows).requires_grad_(), torch.tensor([0.8, 0.7], requires_grad=True)
    term = SDE(
        lambda t, y: w[0] * f(t, y),
        lambda t, y: w[1] * g(t, y),
        path_of(noise, rows),
        structure=STRUCTURES[structure],
        sense=SENSES[sense],
    )
    params = () if gradient is None else (w,)
    save = SaveAt(t1=True, ts=torch.tensor([0.25, 0.5]))
    ys = solve(term, method, y0, 0.0, 1.0, control=Fixed(n=n), gradient=gradient, params=params, save=save).ys
    loss = ys["t1"].square().sum() + ys["ts"].sin().sum()
    first, second = torch.autograd.grad(loss, (y0, w))
    return first, second


def slope(structure: str, sense: str, method: Any, steps: tuple[int, ...]) -> float:
    """Least-squares order of the difference from Direct, root mean square over samples."""
    errors = []
    for n in steps:
        direct, adjoint = (gradients(structure, sense, method, gradient, n) for gradient in (None, Backsolve()))
        errors.append(float((adjoint[0] - direct[0]).square().mean().sqrt()))
        torch.testing.assert_close(adjoint[1], direct[1], rtol=10 / n**0.5, atol=0.1)
    x = torch.tensor(steps).double().log()
    y = -torch.tensor(errors).log()
    order = float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
    print(f"\n{structure} {sense} {method!r}: {[f'{e:.1e}' for e in errors]}, order {order:.2f}")
    assert errors[-1] < 0.1 * float(direct[0].square().mean().sqrt())
    return order


SLOW = pytest.mark.slow
CASES = [
    ("additive", "ito", StochasticHeun(), 2.0),
    ("diagonal", "stratonovich", StochasticHeun(), 1.0),
    ("general", "stratonovich", StochasticMidpoint(), 0.5),
    pytest.param("diagonal", "ito", EulerMaruyama(), 0.5, marks=SLOW),
    pytest.param("diagonal", "ito", Milstein(), 1.0, marks=SLOW),
    pytest.param("diagonal", "stratonovich", ReversibleHeun(), 1.0, marks=SLOW),
    pytest.param("diagonal", "stratonovich", SPaRK(), 1.0, marks=SLOW),
    pytest.param("diagonal", "stratonovich", SlowRK(), 1.0, marks=SLOW),
    pytest.param("scalar", "stratonovich", EulerHeun(), 1.0, marks=SLOW),
    pytest.param("commutative", "ito", Milstein(), 1.0, marks=SLOW),
    pytest.param("general", "ito", EulerMaruyama(), 0.5, marks=SLOW),
]


@pytest.mark.parametrize(("structure", "sense", "method", "order"), CASES)
def test_tends_to_the_gradients_of_direct(structure, sense, method, order):
    steps = (16, 32, 64)
    assert slope(structure, sense, method, steps) > order - 0.25


class Geometric(nn.Module):
    """dy = mu y dt + sigma y dW."""

    def __init__(self) -> None:
        super().__init__()
        self.mu, self.sigma = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(0.5))

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return self.mu * y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return self.sigma * y


@pytest.mark.parametrize("sense", ["ito", "stratonovich"])
def test_pathwise_gradients_of_geometric_brownian_motion(sense):
    """Parameters of a module are found; Ito takes the corrected drift."""
    rows, model = 16, Geometric()
    y0, path = torch.full((rows, 1), 1.5, requires_grad=True), path_of((1,), rows)
    term = SDE(model.f, model.g, path, structure=DiagonalNoise(), sense=SENSES[sense])
    method = Milstein() if sense == "ito" else StochasticHeun()
    y1 = solve(term, method, y0, 0.0, 1.0, control=Fixed(n=N), gradient=Backsolve()).ys
    found = torch.autograd.grad(y1.sum(), (y0, model.mu, model.sigma))
    w, mu, sigma = path.value(1.0), model.mu.item(), model.sigma.item()
    growth = torch.exp(mu + sigma * w - (sigma**2 / 2 if sense == "ito" else 0.0))
    exact = (growth, 1.5 * growth.sum(), (1.5 * growth * (w - (sigma if sense == "ito" else 0.0))).sum())
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)


def test_pathwise_gradients_of_ornstein_uhlenbeck():
    rows = 16
    path, y0 = path_of((1,), rows), torch.ones(rows, 1, requires_grad=True)
    rate, sigma = torch.tensor(0.9, requires_grad=True), torch.tensor(0.7, requires_grad=True)
    term = SDE(
        lambda t, y: -rate * y,
        lambda t, y: sigma.expand_as(y),
        path,
        structure=AdditiveNoise(diagonal=True),
        sense=Ito(),
    )
    solved = solve(term, StochasticHeun(), y0, 0.0, 1.0, control=Fixed(n=N), gradient=Backsolve(), params=(rate, sigma))
    found = torch.autograd.grad(solved.ys.sum(), (y0, rate, sigma))
    # y(1) = e^-a y0 + s int e^-a(1-t) dW, the integral by parts.
    ts = torch.linspace(0, 1, N + 1)
    a = rate.detach().clone().requires_grad_()
    walk = torch.stack([path.value(float(t)) for t in ts])
    weights = torch.exp(-a * (1 - ts))[:, None, None]
    integral = walk[-1] - a * torch.trapezoid(weights * walk, ts, dim=0)
    exact = (torch.exp(-a) + sigma.detach() * integral).sum()
    (in_rate,) = torch.autograd.grad(exact, a)
    for x, y in zip(found, (torch.exp(-a).expand(rows, 1), in_rate, integral.sum()), strict=True):
        torch.testing.assert_close(x, y.detach(), rtol=1e-3, atol=1e-3)


def test_times_of_each_sample_and_trees():
    rows, f, g = 6, FIELDS["diagonal"][0], FIELDS["diagonal"][1]
    weight = torch.tensor(0.7, requires_grad=True)
    t0, t1 = torch.linspace(0.0, 0.25, rows), torch.linspace(0.5, 1.0, rows)
    parts = lambda y: {"a": y[:, :1], "b": y[:, 1:, None]}  # noqa: E731
    whole = lambda y: torch.cat([y["a"], y["b"][..., 0]], dim=1)  # noqa: E731
    term = SDE(
        lambda t, y: parts(f(t, whole(y))),
        lambda t, y: parts(weight * g(t, whole(y))),
        path_of((2,), rows, depth=16),
        structure=DiagonalNoise(),
        sense=Stratonovich(),
    )
    found = []
    for gradient in (None, Backsolve()):
        y0 = start(rows).requires_grad_()
        params = () if gradient is None else (weight,)
        ys = solve(term, StochasticHeun(), parts(y0), t0, t1, control=Fixed(n=128), gradient=gradient, params=params).ys
        found.append(torch.autograd.grad(whole(ys).square().sum(), (y0, weight)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-2, atol=1e-2)


def test_adaptive_steps_and_a_method_of_its_own():
    rows, f, g = 4, FIELDS["diagonal"][0], FIELDS["diagonal"][1]
    weight = torch.tensor(0.7, requires_grad=True)
    term = SDE(f, lambda t, y: weight * g(t, y), path_of((2,), rows), structure=DiagonalNoise(), sense=Stratonovich())
    control, found = PID(rtol=2e-3, atol=2e-3), []
    for gradient in (None, Backsolve(), Backsolve(method=EulerHeun(), control=Fixed(n=N))):
        y1 = solve(
            term,
            SPaRK(),
            start(rows),
            0.0,
            1.0,
            control=control,
            gradient=gradient,
            params=() if gradient is None else (weight,),
        ).ys
        found.append(torch.autograd.grad(y1.square().sum(), weight)[0])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=3e-2, atol=0)


def test_refusals():
    f, g, noise = FIELDS["diagonal"]
    y0, path = start(4).requires_grad_(), path_of(noise, 4, 16)

    def run(gradient: Any, method: Any = None, t1: Any = 1.0, **changes: Any) -> Any:
        options = {"f": f, "g": g, "path": path, "structure": DiagonalNoise(), "sense": Stratonovich()} | changes
        term = SDE(options.pop("f"), options.pop("g"), options.pop("path"), **options)
        return solve(term, method or StochasticHeun(), y0, 0.0, t1, control=Fixed(n=16), gradient=gradient)

    with pytest.raises(TypeError, match=r"drift that is one function, got SemiLinear"):
        run(Backsolve(), f=SemiLinear(-1.0, f))
    with pytest.raises(ValueError, match=r"no gradients of the times of an SDE.*`t0` or `t1` is differentiated"):
        run(Backsolve(), t1=torch.tensor(1.0, requires_grad=True))
    with pytest.raises(TypeError, match=r"Runge-Kutta method in the sense of Stratonovich, got Milstein"):
        run(Backsolve(method=Milstein()))
    with pytest.raises(TypeError, match=r"Quadrature differentiates ODE\(f\) terms, got SDE"):
        run(Quadrature())
    factor = torch.eye(2).requires_grad_()
    with pytest.raises(ValueError, match=r"does not reach the covariance of the path"):
        run(Backsolve(), path=path_of(noise, 4, 16, factor=factor))
    with pytest.raises(ValueError, match=r"this one mixes entries. Give it as GeneralNoise"):
        run(Backsolve(), EulerMaruyama(), g=lambda t, y: y.flip(1), sense=Ito())
    # The remedy works.
    wide = lambda t, y: torch.diag_embed(y.flip(1))  # noqa: E731
    made = run(Backsolve(), EulerMaruyama(), g=wide, sense=Ito(), structure=GeneralNoise())
    assert math.isfinite(float(torch.autograd.grad(made.ys.sum(), y0)[0].sum()))
