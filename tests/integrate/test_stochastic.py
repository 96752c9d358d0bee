"""Stochastic methods: limits without noise, gradients, batches, trees, conversion between the senses."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.core import Key
from sciml.integrate import (
    EES25,
    ETD1,
    ODE,
    PID,
    RI6,
    SDE,
    SRI2,
    AdditiveNoise,
    AlongChords,
    Checkpoint,
    Clip,
    DiagonalNoise,
    Euler,
    EulerHeun,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Fixed,
    Heun,
    Ito,
    Langevin,
    Midpoint,
    Milstein,
    Reversible,
    ReversibleHeun,
    Reversibly,
    SaveAt,
    SemiLinear,
    ShARK,
    SlowRK,
    StochasticHeun,
    StochasticMidpoint,
    Stratonovich,
    Tsit5,
    solve,
    to_ito,
    to_stratonovich,
)
from sciml.paths import BrownianMotion, SpaceTime
from tests.integrate.stochastic_terms import N, noise_of, path_of, start, term_for
from tests.stochastic import NodePath, StoredPath, nodes_of
from tests.stochastic_orders import FIELDS, LANGEVIN, METHODS, STRUCTURES

EACH = pytest.mark.parametrize("method", METHODS, ids=repr)


def silent(term: Any) -> Any:
    """The same term without noise."""
    return replace(
        term, g=lambda t, y: 0.0 * FIELDS["diagonal" if term.structure == DiagonalNoise() else "additive"][1](t, y)
    )


TWINS = [
    (EulerMaruyama(), Euler()),
    (EulerHeun(), Euler()),
    (Milstein(), Euler()),
    (StochasticHeun(), Heun()),
    (StochasticMidpoint(), Midpoint()),
    (RI6(), Heun()),
    (AlongChords(Tsit5()), Tsit5()),
    (ExponentialEulerMaruyama(), ETD1()),
]


@pytest.mark.parametrize(("method", "twin"), TWINS, ids=lambda m: type(m).__name__)
def test_without_noise_it_is_the_ode_method(method, twin):
    term = silent(term_for(method, path_of(noise_of(method))))
    ode = term.f if method.linear else ODE(term.f)
    found = solve(term, method, start(), 0.0, 1.0, control=Fixed(n=N)).ys
    torch.testing.assert_close(found, solve(ode, twin, start(), 0.0, 1.0, control=Fixed(n=N)).ys, rtol=0, atol=1e-13)


@EACH
def test_order_without_noise_is_as_stated(method):
    counts = (16, 32) if method.order < 5 else (8, 64)  # order 5 shows over more halvings
    truth: Tensor | None = None
    errors = []
    for n in (256, *counts):
        term = silent(term_for(method, path_of(noise_of(method), n=n)))
        ode = ODE(lambda t, y, f=term.f: f.nonlinear(t, y) + f.linear * y) if method.linear else ODE(term.f)
        if truth is None:
            truth = solve(ode, Tsit5(), start(), 0.0, 1.0, control=PID(rtol=1e-12, atol=1e-12)).ys
        else:
            errors.append(float((solve(term, method, start(), 0.0, 1.0, control=Fixed(n=n)).ys - truth).norm()))
    slope = math.log(errors[0] / errors[1]) / math.log(counts[1] / counts[0])
    assert slope == pytest.approx(method.order, abs=0.25)


@EACH
def test_a_sample_does_not_depend_on_its_batch(method):
    whole = solve(term_for(method, path_of(noise_of(method))), method, start(), 0.0, 1.0, control=Fixed(n=N)).ys
    rows = torch.tensor([3, 1])
    few = path_of(noise_of(method)).take(rows)
    alone = solve(term_for(method, few), method, start()[rows], 0.0, 1.0, control=Fixed(n=N)).ys
    torch.testing.assert_close(alone, whole[rows], rtol=0, atol=1e-13)


def gradients(method: Any, term: Any, y0: Tensor, weight: Tensor, gradient: Any) -> tuple[Tensor, ...]:
    y0, weight = y0.clone().requires_grad_(), weight.clone().requires_grad_()
    save = SaveAt(t1=True, every=5)
    params = () if gradient is None else (weight,)
    made = solve(term(weight), method, y0, 0.0, 1.0, control=Fixed(n=N), gradient=gradient, params=params, save=save).ys
    (made["t1"].square().sum() + made["steps"].sin().sum()).backward()
    assert y0.grad is not None and weight.grad is not None
    return made["t1"].detach(), y0.grad, weight.grad


@EACH
def test_checkpoint_gives_the_gradients_of_direct(method):
    path, weight = path_of(noise_of(method)), torch.tensor(0.8)
    term = lambda w: term_for(method, path, w)  # noqa: E731
    direct = gradients(method, term, start(), weight, None)
    for a, b in zip(direct, gradients(method, term, start(), weight, Checkpoint(3)), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-12, atol=1e-12)
    assert direct[2].abs() > 1e-3


@pytest.mark.parametrize("method", [ReversibleHeun(), Reversibly(StochasticHeun())], ids=repr)
def test_reversible_gives_the_gradients_of_direct(method):
    path, weight = path_of((2,)), torch.tensor(0.8)
    term = lambda w: term_for(StochasticHeun(), path, w)  # noqa: E731
    direct = gradients(method, term, start(), weight, None)
    for a, b in zip(direct, gradients(method, term, start(), weight, Reversible()), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-10)


def test_a_nearly_reversible_method_goes_back_and_is_stable():
    path, weight = path_of((2,)), torch.tensor(0.05)
    term = lambda w: term_for(StochasticHeun(), path, w)  # noqa: E731
    direct = gradients(EES25(), term, start(), weight, None)
    for a, b in zip(direct, gradients(EES25(), term, start(), weight, Reversible()), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-7)
    # A mode that decays: ten steps of h x = -2.
    stiff = lambda n: SDE(  # noqa: E731
        lambda t, y: -2.0 * n * y,
        lambda t, y: 0 * y,
        path_of((2,), n=n),
        structure=DiagonalNoise(),
        sense=Stratonovich(),
    )
    calm, wild = (
        solve(stiff(40), method, start(), 0.0, 1.0, control=Fixed(n=40)).ys.abs().max()
        for method in (EES25(), ReversibleHeun())
    )
    assert calm < 1e-3 and wild > 1e3


def test_pathwise_gradients_of_geometric_brownian_motion():
    rows, n = 4000, 128
    path = path_of((1,), rows, n=n)
    mu, sigma = torch.tensor(0.3, requires_grad=True), torch.tensor(0.5, requires_grad=True)
    term = SDE(lambda t, y: mu * y, lambda t, y: sigma * y, path, structure=DiagonalNoise(), sense=Ito())
    y1 = solve(term, SRI2(), torch.ones(rows, 1), 0.0, 1.0, control=Fixed(n=n)).ys
    found = torch.autograd.grad(y1.mean(), (mu, sigma))
    w = path.value(1.0)
    exact = torch.exp(mu - sigma**2 / 2 + sigma * w).detach()
    torch.testing.assert_close(found[0], exact.mean(), rtol=2e-3, atol=0)
    torch.testing.assert_close(found[1], ((w - sigma.detach()) * exact).mean(), rtol=0, atol=5e-3)
    spread = float(exact.std()) / rows**0.5
    assert float(found[0]) == pytest.approx(math.exp(0.3), abs=4 * spread)  # d/dmu E y = T exp(mu T)


def test_pathwise_gradients_of_ornstein_uhlenbeck_moments():
    rows, n = 20000, 8
    path = path_of((1,), rows, n=n)
    rate, sigma = torch.tensor(0.9, requires_grad=True), torch.tensor(0.7, requires_grad=True)
    f = SemiLinear(-rate, lambda t, y: 0 * y)
    g = lambda t, y: sigma.expand_as(y)  # noqa: E731
    term = SDE(f, g, path, structure=AdditiveNoise(diagonal=True), sense=Ito())
    y1 = solve(term, ExponentialEulerMaruyama(), torch.ones(rows, 1), 0.0, 1.0, control=Fixed(n=n)).ys
    found = torch.autograd.grad(y1.square().mean(), (rate, sigma))
    decay = torch.exp(-2 * rate)
    exact = torch.autograd.grad(decay + sigma**2 * (1 - decay) / (2 * rate), (rate, sigma))
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0.02)


@pytest.mark.parametrize("levy", ["with area", "without"])
def test_the_linear_part_is_exact_in_law(levy):
    """Mean and variance after one large step, by quadrature."""
    w, h, weights = nodes_of(2)
    path: Any = NodePath(w, h)
    if levy == "without":
        path.increment = lambda t0, t1: NodePath(w, h).increment(t0, t1)._replace(h=None)
    linear = torch.tensor([-3.0, 0.8])
    g = lambda t, y: torch.tensor([0.5, 0.9]).expand(len(y), 2)  # noqa: E731
    term = SDE(SemiLinear(linear, lambda t, y: 0 * y), g, path, structure=AdditiveNoise(diagonal=True), sense=Ito())
    y0 = torch.tensor([1.0, -2.0])
    y1 = solve(term, ExponentialEulerMaruyama(), y0.expand(len(w), 2), 0.0, 1.0, control=Fixed(n=1)).ys
    mean = weights @ y1
    torch.testing.assert_close(mean, torch.exp(linear) * y0)
    variance = weights @ (y1 - mean).square()
    torch.testing.assert_close(variance, torch.tensor([0.25, 0.81]) * torch.expm1(2 * linear) / (2 * linear))


@pytest.mark.parametrize("structure", ["diagonal", "scalar", "commutative", "general", "additive"])
def test_a_tree_is_what_one_tensor_is(structure):
    f, g, noise = FIELDS[structure]
    whole = lambda y: torch.cat([y["a"], y["b"][..., 0]], dim=1)  # noqa: E731
    parts = lambda v: {"a": v[:, :1], "b": v[:, 1:].unsqueeze(2)}  # noqa: E731

    def term(split: bool) -> SDE:
        pair = (lambda t, y: parts(f(t, whole(y))), lambda t, y: parts(g(t, whole(y)))) if split else (f, g)
        return SDE(*pair, path_of(noise), structure=STRUCTURES[structure], sense=Stratonovich())

    for method in (StochasticHeun(), SlowRK(), ReversibleHeun(), Milstein()):
        if structure == "general" and isinstance(method, Milstein):
            continue
        one = solve(term(False), method, start(), 0.0, 1.0, control=Fixed(n=N)).ys
        tree = solve(term(True), method, parts(start()), 0.0, 1.0, control=Fixed(n=N)).ys
        torch.testing.assert_close(whole(tree), one, rtol=0, atol=1e-13)


def test_additive_noise_takes_large_adaptive_steps():
    path = BrownianMotion.over(Key.rows(3, 8), (3,), 0.0, 1.0, levy=SpaceTime())
    f, g, _ = FIELDS["additive"]
    term = SDE(f, g, path, structure=AdditiveNoise(), sense=Ito())
    truth = solve(term, ShARK(), start(8), 0.0, 1.0, control=Fixed(n=256)).ys
    coarse, fine = (solve(term, ShARK(), start(8), 0.0, 1.0, control=PID(rtol=x, atol=x)).ys for x in (1e-1, 1e-3))
    assert float((fine - truth).norm()) < 0.2 * float((coarse - truth).norm())


def test_states_between_steps_are_linear():
    term = term_for(StochasticHeun(), path_of((2,)))
    control = Clip(PID(rtol=10.0, atol=10.0, dt0=1 / N), stops=torch.arange(1, N) / N)
    for steps in (Fixed(n=N), control):
        made = solve(term, StochasticHeun(), start(), 0.0, 1.0, control=steps, save=SaveAt(dense=True))
        early, late = made(torch.tensor([0.5 / N, 1.0 / N])).unbind(1)
        torch.testing.assert_close(early, (start() + late) / 2)


def test_back_over_the_same_path():
    path = path_of((2,), n=256)
    term = term_for(StochasticHeun(), path)
    end = solve(term, StochasticHeun(), start(), 0.0, 1.0, control=Fixed(n=256)).ys
    back = solve(term, StochasticHeun(), end, 1.0, 0.0, control=Fixed(n=256)).ys
    torch.testing.assert_close(back, start(), rtol=0, atol=5e-2)


@pytest.mark.parametrize("structure", ["diagonal", "scalar", "commutative", "general"])
def test_both_senses_are_one_process(structure):
    f, g, noise = FIELDS[structure]
    n = 128
    term = SDE(f, g, StoredPath(0, 50, noise, n), structure=STRUCTURES[structure], sense=Stratonovich())
    y0 = start(50)
    direct = solve(term, StochasticHeun(), y0, 0.0, 1.0, control=Fixed(n=n)).ys
    there = solve(to_ito(term), EulerMaruyama(), y0, 0.0, 1.0, control=Fixed(n=n)).ys
    unchanged = solve(replace(term, sense=Ito()), EulerMaruyama(), y0, 0.0, 1.0, control=Fixed(n=n)).ys
    assert float((there - direct).norm()) < 0.5 * float((unchanged - direct).norm())
    back = to_stratonovich(to_ito(term))
    few = Fixed(n=16)
    again, before = (solve(each, StochasticHeun(), y0, 0.0, 1.0, control=few).ys for each in (back, term))
    torch.testing.assert_close(again, before, rtol=0, atol=1e-11)
    assert to_ito(to_ito(term)).f is not term.f and to_stratonovich(term) is term


def test_conversion_keeps_what_is_the_same():
    f, g, noise = FIELDS["additive"]
    term = SDE(f, g, path_of(noise), structure=AdditiveNoise(), sense=Ito())
    assert to_stratonovich(term).f is f and isinstance(to_stratonovich(term).sense, Stratonovich)
    linear = SDE(
        SemiLinear(-1.0, f), FIELDS["diagonal"][1], path_of((2,)), structure=DiagonalNoise(), sense=Stratonovich()
    )
    assert to_ito(linear).f.linear == -1.0


# Langevin dynamics


def test_langevin_gradients_agree():
    path, weight = path_of((2,), n=2 * N), torch.tensor(0.8)
    for method in LANGEVIN:
        found = []
        for gradient in (None, Checkpoint(3)):
            w = weight.clone().requires_grad_()
            term = Langevin(lambda t, x, w=w: -w * x, path, friction=1.0)
            params = () if gradient is None else (w,)
            y0 = (start(), torch.zeros(4, 2))
            x, _ = solve(term, method, y0, 0.0, 1.0, control=Fixed(n=N), gradient=gradient, params=params).ys
            x.square().sum().backward()
            found.append(w.grad)
        torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
