"""Stochastic terms and methods: what is refused, limits, gradients, batches, trees, adaptive steps, conversion."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.core import Key
from sciml.integrate import (
    BAOAB,
    EES25,
    ETD1,
    ODE,
    PID,
    RI6,
    SDE,
    SRA1,
    SRI2,
    AbstractStochastic,
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
    GeneralNoise,
    GeneralShARK,
    Heun,
    Ito,
    Langevin,
    Midpoint,
    Milstein,
    Reversible,
    ReversibleHeun,
    Reversibly,
    SaveAt,
    ScalarNoise,
    SemiLinear,
    ShARK,
    SlowRK,
    SPaRK,
    StochasticHeun,
    StochasticMidpoint,
    StochasticTableau,
    Stratonovich,
    Tsit5,
    solve,
    to_ito,
    to_stratonovich,
)
from sciml.integrate.methods.additive_noise import check_additive
from sciml.integrate.methods.sri import SRITableau
from sciml.paths import BrownianMotion, SpaceTime
from tests.stochastic import NodePath, StoredPath, nodes_of
from tests.stochastic_orders import FIELDS, LANGEVIN, METHODS, SENSES, STRUCTURES, serves

N = 16
REFUSED = [
    pytest.param(method, structure, sense, id=f"{method!r}-{structure}-{sense}")
    for structure in STRUCTURES
    for sense in SENSES
    for method in METHODS
    if not serves(method, structure, sense)
]
EACH = pytest.mark.parametrize("method", [m for m in METHODS if m != AlongChords(Tsit5())], ids=repr)


def path_of(shape: tuple[int, ...], rows: int = 4, *, seed: int = 1, n: int = N, **options: Any) -> BrownianMotion:
    options = {"levy": SpaceTime()} | options
    return BrownianMotion.on_grid(Key.rows(seed, rows), shape, torch.linspace(0, 1, n + 1), **options)


def term_for(method: AbstractStochastic, path: Any, weight: Any = 1.0, *, structure: str = "diagonal") -> SDE:
    """A term that the method serves, which depends on a weight."""
    if DiagonalNoise not in method.structures:
        structure = "additive"
    f, g, _ = FIELDS[structure]
    sense = method.senses[0]()
    drift: Any = lambda t, y: weight * f(t, y)  # noqa: E731
    if method.linear:
        drift = SemiLinear(torch.tensor([-1.0, -0.5]), drift)
    return SDE(drift, lambda t, y: weight * g(t, y), path, structure=STRUCTURES[structure], sense=sense)


def noise_of(method: AbstractStochastic) -> tuple[int, ...]:
    return (2,) if DiagonalNoise in method.structures else (3,)


def start(rows: int = 4) -> Tensor:
    return torch.linspace(-0.5, 1.0, 2 * rows).reshape(rows, 2)


@pytest.mark.parametrize(("method", "structure", "sense"), REFUSED)
def test_what_a_method_is_not_made_for_is_refused(method, structure, sense):
    f, g, noise = FIELDS[structure]
    drift = SemiLinear(torch.tensor([-1.0, -0.5]), f) if method.linear else f
    term = SDE(drift, g, path_of(noise), structure=STRUCTURES[structure], sense=SENSES[sense])
    wrong_sense = not isinstance(SENSES[sense], method.senses) and structure != "additive"
    name = type(method).__name__
    match = (
        f"{name} integrates in the sense of .* Convert it with" if wrong_sense else f"{name} is made for .* noise, got"
    )
    with pytest.raises(TypeError, match=match):
        solve(term, method, start(), 0.0, 1.0, control=Fixed(n=N))


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
    (ExponentialEulerMaruyama(), ETD1()),
]


@pytest.mark.parametrize(("method", "twin"), TWINS, ids=lambda m: type(m).__name__)
def test_without_noise_it_is_the_ode_method(method, twin):
    term = silent(term_for(method, path_of((2,))))
    ode = term.f if method.linear else ODE(term.f)
    found = solve(term, method, start(), 0.0, 1.0, control=Fixed(n=N)).ys
    torch.testing.assert_close(found, solve(ode, twin, start(), 0.0, 1.0, control=Fixed(n=N)).ys, rtol=0, atol=1e-13)


@EACH
def test_order_without_noise_is_as_stated(method):
    truth: Tensor | None = None
    errors = []
    for n in (256, 16, 32):
        term = silent(term_for(method, path_of(noise_of(method), n=n)))
        ode = ODE(lambda t, y, f=term.f: f.nonlinear(t, y) + f.linear * y) if method.linear else ODE(term.f)
        if truth is None:
            truth = solve(ode, Tsit5(), start(), 0.0, 1.0, control=PID(rtol=1e-11, atol=1e-11)).ys
        else:
            errors.append(float((solve(term, method, start(), 0.0, 1.0, control=Fixed(n=n)).ys - truth).norm()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(method.order, abs=0.25)


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


@pytest.mark.parametrize(
    ("method", "tolerances"),
    [(StochasticHeun(), (3e-2, 3e-3)), (SPaRK(), (1e-3, 1e-4)), (ReversibleHeun(), (3e-2, 3e-3))],
    ids=lambda x: type(x).__name__,
)
def test_adaptive_steps_follow_the_tolerance_on_the_same_path(method, tolerances):
    rows = 24
    path = BrownianMotion.over(Key.rows(3, rows), (1,), 0.0, 1.0, intervals=64, depth=14, levy=SpaceTime())
    term = SDE(lambda t, y: -0.5 * y, lambda t, y: 0.8 * y, path, structure=DiagonalNoise(), sense=Stratonovich())
    exact = torch.exp(-0.5 + 0.8 * path.value(1.0))
    errors, steps = [], []
    for tolerance in tolerances:
        made = solve(term, method, torch.ones(rows, 1), 0.0, 1.0, control=PID(rtol=tolerance, atol=tolerance))
        errors.append(float((made.ys - exact).square().mean().sqrt()))
        steps.append(float(made.stats.steps.double().mean()))
        assert int((made.stats.attempts - made.stats.steps).sum()) > 0
    print(f"\n{method!r}: errors {errors} in {steps} steps")
    assert errors[1] < 0.4 * errors[0] and steps[1] > 2 * steps[0]


def test_additive_noise_takes_large_adaptive_steps():
    path = BrownianMotion.over(Key.rows(3, 8), (3,), 0.0, 1.0, levy=SpaceTime())
    f, g, _ = FIELDS["additive"]
    term = SDE(f, g, path, structure=AdditiveNoise(), sense=Ito())
    truth = solve(term, ShARK(), start(8), 0.0, 1.0, control=Fixed(n=256)).ys
    coarse, fine = (solve(term, ShARK(), start(8), 0.0, 1.0, control=PID(rtol=x, atol=x)).ys for x in (1e-1, 1e-3))
    assert float((fine - truth).norm()) < 0.2 * float((coarse - truth).norm())


def test_states_between_steps_are_linear():
    term = term_for(StochasticHeun(), path_of((2,)))
    save = SaveAt(ts=torch.tensor([0.5 / N, 1.0 / N]), t0=True)
    control = Clip(PID(rtol=10.0, atol=10.0, dt0=1 / N), stops=torch.arange(1, N) / N)
    for steps in (Fixed(n=N), control):
        made = solve(term, StochasticHeun(), start(), 0.0, 1.0, control=steps, save=save).ys
        torch.testing.assert_close(made["ts"][:, 0], (made["t0"] + made["ts"][:, 1]) / 2)


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


def test_what_cannot_be_converted_is_refused():
    f, g, _ = FIELDS["scalar"]
    mixed = SDE(f, g, path_of((2,)), structure=DiagonalNoise(), sense=Stratonovich())
    with pytest.raises(ValueError, match="entry i of g depends on entry i of y alone.*torch.diag_embed"):
        solve(to_ito(mixed), EulerMaruyama(), start(), 0.0, 1.0, control=Fixed(n=N))
    correlated = path_of((2,), covariance=torch.tensor([[1.0, 0.5], [0.5, 2.0]]))
    with pytest.raises(ValueError, match="only terms with independent Brownian motions.*multiply g by its factor"):
        to_ito(replace(mixed, path=correlated))
    with pytest.raises(ValueError, match="SRI2 counts on independent Brownian motions.*multiply g"):
        solve(replace(mixed, path=correlated, sense=Ito()), SRI2(), start(), 0.0, 1.0, control=Fixed(n=N))


# Langevin dynamics


def swing(path: Any, temperature: float = 0.7) -> Langevin:
    return Langevin(lambda t, x: -x - torch.sin(3 * x), path, friction=1.5, temperature=temperature)


def test_langevin_dynamics_refuse_what_they_cannot_do():
    path = path_of((2,))
    with pytest.raises(TypeError, match="BAOAB steps Langevin.*got SDE"):
        solve(term_for(StochasticHeun(), path), BAOAB(), start(), 0.0, 1.0, control=Fixed(n=N))
    with pytest.raises(TypeError, match=r"must be a pair \(x, v\).*Give y0"):
        solve(swing(path), BAOAB(), (start(), start(), start()), 0.0, 1.0, control=Fixed(n=N))
    with pytest.raises(TypeError, match="`force` must be a function"):
        Langevin(1.0, path, friction=1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`friction` must be positive.*ODE"):
        Langevin(lambda t, x: x, path, friction=0.0)
    with pytest.raises(ValueError, match="needs a path of shape"):
        solve(swing(path_of((3,))), BAOAB(), (start(), start()), 0.0, 1.0, control=Fixed(n=N))


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


# Bad input


def wrong(**changes: Any) -> SDE:
    return replace(term_for(StochasticHeun(), path_of((2,))), **changes)


BAD: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "matrix for diagonal": (
        lambda: wrong(g=FIELDS["general"][1]),
        StochasticHeun(),
        ValueError,
        r"DiagonalNoise\(\) must have the shape of the state, .*got \(4, 2, 2\).*Drop the further axis",
    ),
    "vector for general": (
        lambda: wrong(structure=GeneralNoise()),
        StochasticHeun(),
        ValueError,
        r"GeneralNoise\(\) must have the shape of the state and one more axis for the 2 Brownian.*got \(4, 2\)",
    ),
    "wrong rank": (lambda: wrong(g=lambda t, y: y[:, 0]), StochasticHeun(), ValueError, r"got \(4,\)"),
    "wrong dtype": (lambda: wrong(g=lambda t, y: y.float()), StochasticHeun(), ValueError, "to one dtype"),
    "no tensor": (lambda: wrong(g=lambda t, y: 1.0), StochasticHeun(), TypeError, "diffusion must return tensors"),
    "wrong sense": (
        lambda: wrong(),
        EulerMaruyama(),
        TypeError,
        r"EulerMaruyama integrates in the sense of Ito, got a Stratonovich term. Convert it with to_ito\(term\)",
    ),
    "short path": (
        lambda: wrong(path=BrownianMotion.over(Key.rows(0, 4), (2,), 0.0, 0.5)),
        StochasticHeun(),
        ValueError,
        "`path` must cover the whole interval from 0 to 1, got knots from 0 to 0.5",
    ),
    "path of another shape": (
        lambda: wrong(path=path_of((3,))),
        StochasticHeun(),
        ValueError,
        r"needs a path of shape \(2,\) per sample, got \(3,\)",
    ),
    "path of another batch": (
        lambda: wrong(path=path_of((2,), 3)),
        StochasticHeun(),
        ValueError,
        "one row per sample, 4, got 3",
    ),
    "path of another precision": (
        lambda: wrong(path=path_of((2,), dtype=torch.float32)),
        StochasticHeun(),
        TypeError,
        "precision of the state",
    ),
    "no area": (
        lambda: wrong(path=BrownianMotion.over(Key.rows(0, 4), (2,), 0.0, 1.0)),
        SPaRK(),
        ValueError,
        r"SPaRK needs the space-time Levy area H.*levy=SpaceTime\(\)",
    ),
    "a linear part": (
        lambda: wrong(f=SemiLinear(-1.0, FIELDS["diagonal"][0])),
        StochasticHeun(),
        TypeError,
        "StochasticHeun takes a drift that is a function, got a SemiLinear.*ExponentialEulerMaruyama",
    ),
    "no linear part": (
        lambda: wrong(sense=Ito()),
        ExponentialEulerMaruyama(),
        TypeError,
        r"takes a drift that is SemiLinear\(L, N\)",
    ),
    "an ODE": (lambda: ODE(lambda t, y: y), StochasticHeun(), TypeError, "StochasticHeun steps SDE.*got ODE"),
    "an ODE method": (lambda: wrong(), Heun(), TypeError, "Heun is an explicit method and steps ODE.*got SDE"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered(name):
    term, method, kind, match = BAD[name]
    with pytest.raises(kind, match=match):
        solve(term(), method, start(), 0.0, 1.0, control=Fixed(n=N))


def test_terms_refuse_what_they_are_not_made_of():
    f, g, noise = FIELDS["diagonal"]
    with pytest.raises(TypeError, match="`g` must be a function or a module, got a float"):
        SDE(f, 1.0, path_of(noise), structure=DiagonalNoise(), sense=Ito())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`path` must be a path with increments, got a Key"):
        SDE(f, g, Key.rows(0, 4), structure=DiagonalNoise(), sense=Ito())
    with pytest.raises(TypeError, match="`structure` must be an object, got 'diagonal'"):
        SDE(f, g, path_of(noise), structure="diagonal", sense=Ito())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`sense` must be an object.*Give Ito"):
        SDE(f, g, path_of(noise), structure=DiagonalNoise(), sense=Ito)  # type: ignore[arg-type]


def test_ito_terms_run_forwards():
    with pytest.raises(ValueError, match=r"an Ito term runs forwards only.*to_stratonovich\(term\)"):
        solve(wrong(sense=Ito()), EulerMaruyama(), start(), 1.0, 0.0, control=Fixed(n=N))


def test_trees_and_complex_states_are_refused_where_they_must_be():
    path = path_of((2,))
    with pytest.raises(TypeError, match="diffusion must return the structure of the state"):
        term = wrong(f=lambda t, y: y, g=lambda t, y: y["a"], path=path)
        solve(term, StochasticHeun(), {"a": start()}, 0.0, 1.0, control=Fixed(n=N))
    spectral = SDE(SemiLinear(-1.0, lambda t, y: 0 * y), lambda t, y: y, path, structure=DiagonalNoise(), sense=Ito())
    with pytest.raises(TypeError, match="ExponentialEulerMaruyama takes a real state.*two channels"):
        solve(spectral, ExponentialEulerMaruyama(), start() + 0j, 0.0, 1.0, control=Fixed(n=N))


def test_tableaus_are_checked():
    with pytest.raises(ValueError, match="stochastic tableau: b c must be 0.5, got 0.25"):
        StochasticTableau(c=(0.0, 0.5), a=((0.5,),), b=(0.5, 0.5))
    with pytest.raises(ValueError, match="weights for additive noise: b_2 c must be 0.5"):
        check_additive((0.5, 0.5, 0.5, 1.0, 1.0, 1.0))
    good = SRI2.tableau
    with pytest.raises(ValueError, match="SRI tableau: beta1 1 must be 1, got .*"):
        SRITableau(good.a0, good.b0, good.a1, good.b1, good.alpha, ((-2.0, 4 / 3, 2 / 3, 0.0), *good.beta[1:]))
    assert GeneralShARK.tableau.additive == 1.5 and SRA1.weights[0] == 0.75 and ScalarNoise().commutes
