"""What `solve(compile=True)` gives; run by `test_compile.py` in a process of its own, because functions that the
jaxtyping hook decorates cannot be compiled."""

import functools
import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor import config
from torch._inductor.utils import fresh_cache

from sciml.core import Key
from sciml.integrate import (
    BAOAB,
    BDF,
    ETD1,
    ODE,
    PID,
    RK4,
    SDE,
    SRI2,
    Adams,
    Backsolve,
    Bosh3,
    Checkpoint,
    Clip,
    CompileError,
    DiagonalNoise,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Fixed,
    Forward,
    GeneralNoise,
    Ito,
    Kvaerno5,
    Langevin,
    Milstein,
    Quadrature,
    RadauIIA5,
    Result,
    Reversible,
    ReversibleHeun,
    Reversibly,
    Rodas5P,
    SaveAt,
    SemiLinear,
    SPaRK,
    StepDoubling,
    StochasticHeun,
    StochasticMidpoint,
    Stratonovich,
    Tsit5,
    solve,
)
from sciml.integrate.compiled import _kept
from sciml.paths import BrownianMotion, NoArea, SpaceTime, SpaceTimeTime

JOINT, OWN = PID(rtol=1e-6, atol=1e-6, per_sample=False), PID(rtol=1e-6, atol=1e-6)
SMALL = Fixed(n=2)
TS = torch.linspace(0.25, 1.0, 5, dtype=torch.float64)


class Net(nn.Module):
    """A field with a layer and a buffer."""

    scale: torch.Tensor

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.register_buffer("scale", torch.tensor(0.7))

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.tanh(self.layer(y)) * torch.cos(t)


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().double()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def start(rows: int = 4, width: int = 3) -> torch.Tensor:
    return torch.linspace(-1, 1, rows * width).reshape(rows, width) ** 3 + 0.1


def outcome(f, method, y0, tensors=(), *, requires_grad=False, compile=True, t1=1.0, **options):
    """The states, and the gradients of their sum of squares by `tensors` and, if it requires one, y0."""
    y0 = y0.clone().requires_grad_(requires_grad)
    states = solve(ODE(f), method, y0, 0.0, t1, compile=compile, **options).ys
    wanted = [*tensors, *([y0] if requires_grad else [])]
    return [states, *(torch.autograd.grad(states.square().sum(), wanted) if wanted else [])]


def check_equal(f, method, y0, tensors=(), *, within=1e-10, **options) -> None:
    eager, compiled = (outcome(f, method, y0, tensors, compile=c, **options) for c in (False, True))
    assert len(eager) == len(compiled)
    for a, b in zip(eager, compiled, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(b, a, rtol=within, atol=within)


# Values, gradients, recompilation


def test_loop_equals_eager_and_is_compiled_once(net):
    with torch.no_grad():
        check_equal(net, Bosh3(), start(), control=JOINT, save=SaveAt(ts=TS))
        before = graphs()
        check_equal(net, Bosh3(), start() + 0.3, control=JOINT, save=SaveAt(ts=TS * 0.9), t1=2.0)
        loose = PID(rtol=1e-3, atol=1e-5, per_sample=False)
        check_equal(net, Bosh3(), 2 * start(), control=loose, save=SaveAt(ts=TS + 0.01), t1=1.3, max_steps=500)
        assert graphs() == before


def test_gradients_equal_eager_for_any_number_of_steps_with_one_graph(net):
    before = graphs()
    for n in (1, 2, 20):
        for requires_grad in (False, True):
            options = {"control": Fixed(n=n), "requires_grad": requires_grad}
            check_equal(net, Bosh3(), start(), tuple(net.parameters()), **options)
    assert graphs() == before + 1


def test_gradients_of_a_loop_equal_eager_for_any_number_of_steps_with_one_graph(net):
    before = graphs()
    for t1, requires_grad in ((1e-3, False), (1e-2, True), (1.5, False), (4.0, True)):
        options = {"control": JOINT, "save": SaveAt(ts=TS * t1), "t1": t1, "requires_grad": requires_grad}
        check_equal(net, Bosh3(), start(), tuple(net.parameters()), **options)
    assert graphs() == before + 1


def test_a_bad_sample_leaves_the_others_bitwise_as_they_were(net):
    def alone(compile, bad):
        y0 = start()
        y0[1] = torch.nan if bad else 0.0
        with torch.no_grad():
            return solve(ODE(net), Bosh3(), y0, 0.0, 1.0, control=OWN, throw=False, compile=compile)

    good, bad, eager = alone(True, False), alone(True, True), alone(False, True)
    others = torch.tensor([0, 2, 3])
    assert torch.equal(good.ys[others], bad.ys[others])
    assert bad.result.tolist() == eager.result.tolist() == [0, int(Result.NON_FINITE), 0, 0]
    torch.testing.assert_close(bad.ys[others], eager.ys[others], rtol=1e-10, atol=1e-10)
    assert bad.stats.attempts.tolist() == eager.stats.attempts.tolist()


def test_factors_of_matrix_products_are_kept():
    """torch 2.13 drops alpha of torch.add(x, a @ b, alpha=alpha), here or in the field, also around a solve."""
    w = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        check_equal(lambda t, y: torch.add(y, y @ w, alpha=0.5) @ w, Bosh3(), start(), control=SMALL)

        def end(y0):
            return solve(ODE(lambda t, y: y @ w), Euler(), y0, 0.0, 1.0, control=SMALL).ys

        torch.testing.assert_close(torch.compile(end)(start()), end(start()), rtol=1e-12, atol=1e-12)


def test_same_code_with_other_captured_values_is_told_apart():
    def field(a):
        return lambda t, y: a * y

    with torch.no_grad():
        for a in (-1.0, -2.0, -1.0):
            check_equal(field(a), Euler(), start(), control=SMALL)


def test_fields_are_let_go():
    field = Net()
    with torch.no_grad():
        solve(ODE(field), Euler(), start(), 0.0, 1.0, control=SMALL, compile=True)
    gone, count = weakref.ref(field), len(_kept)
    del field
    gc.collect()
    assert gone() is None
    assert len(_kept) == count - 1


# Refused before anything is compiled


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.nfe = 0

    def forward(self, t, y):
        self.nfe += 1
        return -y


class Averaging(nn.Module):
    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, t, y):
        self.mean.mul_(0.9).add_(y.mean(0))
        return -y


def appending():
    seen = []

    def field(t, y):
        seen.append(1)
        return -y

    return field


def printing(t, y):
    print("here")
    return -y


def branching(t, y):
    return -y if y.sum() > 0 else y


def reading(t, y):
    return -y * y.abs().max().item()


def selecting(t, y):
    return -y * len(y[y > 0])


REFUSED = {
    "attribute": (Counting(), "changes `f.f.nfe`|changes `.*nfe`"),
    "buffer": (Averaging(), "changes `.*mean`"),
    "norm in train mode": (nn.BatchNorm1d(3), "changes `.*running_mean`|changes `.*num_batches_tracked`"),
    "append": (appending(), "changes `seen`"),
    "print": (printing, "prints 'here"),
    "branch": (branching, "reads values of tensors .*if y.sum"),
    "item": (reading, r"reads values of tensors .*item\(\)"),
    "shape of values": (selecting, r"reads values of tensors .*len\(y\[y > 0\]\)"),
    "dropout": (nn.Dropout(0.5), "draws random numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    field, message = REFUSED[name]
    f = (lambda t, y: field(y)) if isinstance(field, nn.BatchNorm1d | nn.Dropout) else field
    before = graphs()
    with pytest.raises(CompileError, match=message):
        solve(ODE(f), Euler(), start(), 0.0, 1.0, control=SMALL, compile=True)
    assert graphs() == before


def test_other_terms_states_and_transforms_are_refused(net):
    with pytest.raises(CompileError, match="got SemiLinear"):
        term = SemiLinear(torch.zeros(3), lambda t, y: -y)
        solve(term, ETD1(), start(), 0.0, 1.0, control=SMALL, compile=True)
    with pytest.raises(CompileError, match="complex states"):
        solve(ODE(lambda t, y: 1j * y), Euler(), start() + 0j, 0.0, 1.0, control=SMALL, compile=True)

    def end(y0, **options):
        return solve(ODE(net), Euler(), y0, 0.0, 1.0, control=SMALL, compile=True, **options).ys

    for options in ({}, {"gradient": Forward()}):
        with pytest.raises(CompileError, match="not by torch.func, vmap or forward mode"):
            torch.func.jvp(functools.partial(end, **options), (start(),), (start(),))
    with pytest.raises(CompileError, match="not by torch.func, vmap or forward mode"):
        torch.func.vmap(end)(start()[:, None])


@pytest.mark.parametrize(("method", "control"), [(Tsit5(), PID()), (RK4(), Fixed(n=10))])
def test_a_field_of_another_precision_is_named(method, control):
    layer = nn.Linear(3, 3, dtype=torch.float32)
    before = graphs()
    with pytest.raises(TypeError, match=r"must have one precision, got torch.float32 in the field"):
        solve(ODE(lambda t, y: layer(y)), method, start(), 0.0, 1.0, control=control, compile=True)
    assert graphs() == before


def test_missing_compiler_is_named():
    with (
        fresh_cache(),
        config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(CompileError, match=r"needs a C\+\+ compiler.*Install one"),
    ):
        solve(ODE(lambda t, y: -3 * y), Euler(), start(), 0.0, 1.0, control=SMALL, compile=True)


def test_what_cannot_be_traced_is_named():
    class Odd:
        def __call__(self, t, y):
            return -torch.from_numpy(y.numpy().copy()) + len(gc.get_stats())

    with pytest.raises(CompileError, match="cannot be compiled as one graph"), torch.no_grad():
        solve(ODE(Odd()), Euler(), start(), 0.0, 1.0, control=SMALL, compile=True)


# Noise: increments are made before the steps and handed to the code


def noisy(net, path, *, structure=None, sense=None):
    """Drift and diffusion of one network; with general noise a matrix of two columns."""
    structure = structure or DiagonalNoise()

    def g(t, y):
        flat = 0.5 + 0.3 * torch.sin(net(t, y) + y)
        return torch.stack([flat, 0.2 * y], dim=-1) if structure.is_matrix else flat

    return SDE(net, g, path, structure=structure, sense=sense or Stratonovich())


def moving(net, compile, method, path, *, y0=None, gradient=None, t1=1.0, kind=None, **options):
    """States, and the gradients of their sum of squares by the network and y0, if autograd is on."""
    y0 = (start() if y0 is None else y0).clone().requires_grad_(torch.is_grad_enabled())
    term = noisy(net, path, **(kind or {}))
    states = solve(term, method, y0, 0.0, t1, gradient=gradient, compile=compile, **options).ys
    leaves = states if isinstance(states, dict) else {"": states}
    total = torch.stack([leaf.square().sum() for leaf in leaves.values()]).sum()
    return [*leaves.values(), *(torch.autograd.grad(total, [y0, *net.parameters()]) if y0.requires_grad else [])]


def check_moving(net, method, path, within=1e-10, **options) -> None:
    eager, compiled = (moving(net, compile, method, path, **options) for compile in (False, True))
    for a, b in zip(eager, compiled, strict=True):
        torch.testing.assert_close(b, a, rtol=within, atol=within)


def path_of(seed=0, intervals=20, t1=1.0, shape=(3,), **options):
    return BrownianMotion.over(Key.rows(seed, 4), shape, 0.0, t1, intervals=intervals, **options)


def test_noise_on_a_grid_equals_eager_with_gradients_and_one_graph(net):
    before = graphs()
    ends = SaveAt(t1=True, ts=torch.tensor([0.25, 0.75], dtype=torch.float64))
    cases = [(path_of(), 20, 1.0, ends), (path_of(1), 20, 1.0, SaveAt(every=3)), (path_of(2, 1), 1, 1.0, None)]
    cases += [(path_of(3, 2, 2.0), 2, 2.0, None), (path_of(4, 40), 40, 1.0, None)]
    cases += [(path_of(5, 7), 20, 1.0, ends)]  # steps that are not the knots
    for path, n, t1, save in cases:
        check_moving(net, StochasticHeun(), path, control=Fixed(n=n), t1=t1, save=save, y0=start() + 0.1 * n)
    assert graphs() == before + 1


def test_adaptive_noise_equals_eager_with_one_graph(net):
    """Of sizes that the limits choose, not the errors."""
    with torch.no_grad():
        before = graphs()
        largest = PID(rtol=1.0, atol=1.0, per_sample=False, dt0=0.05, dt_max=0.07)
        for seed in (0, 1):
            control = replace(largest, rtol=1.0 + seed)
            check_moving(net, StochasticMidpoint(), path_of(seed, 16), control=control, save=SaveAt(ts=TS))
        assert graphs() == before + 1


@pytest.mark.slow
def test_noise_with_steps_that_errors_choose_equals_eager(net):
    """Such sizes feel the last digit, and the path at other times is another: equality fades."""
    with torch.no_grad():
        before, chosen = graphs(), replace(JOINT, rtol=1e-2, atol=1e-2)
        check_moving(net, StochasticMidpoint(), path_of(intervals=16), control=chosen, t1=0.2, within=1e-6)
        assert graphs() == before + 1


@pytest.mark.parametrize("levy, channels", [(NoArea(), 7), (NoArea(), 29), (SpaceTimeTime(), 7)], ids=repr)
def test_many_draws_are_made_in_compiled_code(levy, channels):
    """Of any number of steps in one graph, and the same numbers, whole vectors of a processor and remainders."""
    before = graphs()
    for steps in (300, 301):
        ts = torch.linspace(0, 1, steps + 1).tolist()
        eager, compiled = (BrownianMotion.on_grid(Key.rows(3, 60), (channels,), ts, levy=levy) for _ in range(2))
        for a, b in zip(eager.along(ts), compiled.along(ts, compiled=True), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-14)
    assert graphs() == before + 1


@pytest.mark.slow
@pytest.mark.parametrize("levy", [NoArea(), SpaceTimeTime()], ids=repr)
def test_the_path_in_a_compiled_loop_is_the_path(levy):
    """W itself, with steps of each sample's own; new keys and ends are no new code. With areas, step by step."""
    factor = torch.eye(3) + 0.1

    def zero(t, y):
        return 0 * y

    def one(t, y):
        return 1 + 0 * y

    with torch.no_grad():
        before = graphs()
        for seed, ends in ((0, (0.1, 0.9)), (1, (0.3, 1.0))):
            path = path_of(seed, 4, levy=levy, factor=factor)
            control = PID(dt0=0.03, dt_max=0.07)
            term = SDE(zero, one, path, structure=DiagonalNoise(), sense=Stratonovich())
            made = solve(term, StochasticHeun(), 0 * start(), *ends, control=control, compile=True)
            torch.testing.assert_close(made.ys, path.increment(*ends).w, rtol=0, atol=1e-13)
        assert graphs() == before + 1


def test_refused_with_noise(net):
    path = path_of()
    kinds = {"structure": DiagonalNoise(), "sense": Ito()}
    with pytest.raises(CompileError, match="got Langevin"):
        term = Langevin(lambda t, x: -x, path, friction=1.0)
        solve(term, BAOAB(), (start(), start()), 0.0, 1.0, control=SMALL, compile=True)
    with pytest.raises(CompileError, match="got SemiLinear"):
        term = SDE(SemiLinear(torch.zeros(3), net), lambda t, y: 0.1 * y, path, **kinds)
        solve(term, ExponentialEulerMaruyama(), start(), 0.0, 1.0, control=SMALL, compile=True)
    with pytest.raises(CompileError, match="prints 'here"):
        term = SDE(net, printing, path, **kinds)
        solve(term, EulerMaruyama(), start(), 0.0, 1.0, control=SMALL, compile=True)


GENERAL, ITO = {"structure": GeneralNoise()}, {"sense": Ito()}
NOISY = {
    "reversible Heun": (ReversibleHeun(), {}, {}, {}),
    "Euler-Maruyama, general": (EulerMaruyama(), GENERAL | ITO, {"shape": (2,)}, {}),
    "areas, general": (SPaRK(), GENERAL, {"shape": (2,), "levy": SpaceTime()}, {}),
    "areas, Ito": (SRI2(), ITO, {"levy": SpaceTime()}, {}),
    "Milstein by differences": (Milstein(derivatives=False), ITO, {}, {}),
    "steps back": (ReversibleHeun(), {}, {}, {"gradient": Reversible()}),
    "checkpoints": (StochasticHeun(), {}, {}, {"gradient": Checkpoint()}),
    "correlated": (StochasticHeun(), {}, {"factor": torch.eye(3) + 0.1}, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOISY)
def test_noise_of_all_kinds_equals_eager(name, net):
    method, kind, of_path, options = NOISY[name]
    check_moving(net, method, path_of(**of_path), kind=kind, control=Fixed(n=20), save=SaveAt(every=5), **options)
    with torch.no_grad():
        check_moving(net, method, path_of(**of_path), kind=kind, control=Fixed(n=20))


@pytest.mark.slow
def test_noise_backwards_per_sample_and_with_a_factor_that_learns(net):
    with torch.no_grad():
        largest = PID(rtol=1.0, atol=1.0, dt0=0.05, dt_max=0.07)
        check_moving(net, StochasticHeun(), path_of(), control=largest)
        ends = torch.tensor([0.5, 0.6, 0.7, 1.0], dtype=torch.float64)
        check_moving(net, StochasticHeun(), path_of(), control=Fixed(n=8), t1=ends)
    factor = (torch.eye(3) + 0.1).requires_grad_()
    gradients = []
    for compile in (False, True):
        term = noisy(net, path_of(factor=factor))
        states = solve(term, StochasticHeun(), start(), 1.0, 0.0, control=Fixed(n=20), compile=compile).ys
        gradients.append(torch.autograd.grad(states.square().sum(), factor)[0])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_a_sample_that_noise_makes_fail_is_frozen_where_it_is_without_compiling(net):
    y0 = start()
    y0[1] = 1e300

    def run(compile):
        term = SDE(net, lambda t, y: y * y, path_of(intervals=40), structure=DiagonalNoise(), sense=Stratonovich())
        return solve(term, StochasticHeun(), y0, 0.0, 1.0, control=Fixed(n=40), throw=False, compile=compile)

    with torch.no_grad():
        eager, compiled = run(False), run(True)
    torch.testing.assert_close(compiled.ys, eager.ys, rtol=1e-10, atol=1e-10)
    assert compiled.result.tolist() == eager.result.tolist() == [0, int(Result.NON_FINITE), 0, 0]
    assert compiled.stats.steps.tolist() == eager.stats.steps.tolist() == [40, 16, 40, 40]


# More of the same, at more seconds each

a_float = 0.5


def vjp_inside(net):
    return lambda t, y: torch.func.vjp(lambda x: torch.tanh(net.layer(x)), y)[1](y)[0]


def grad_inside(net):
    return lambda t, y: -torch.func.grad(lambda x: (net.layer(x) ** 2).sum())(y)


def fourier(net):
    return lambda t, y: torch.fft.irfft(1j * torch.fft.rfft(net.layer(y)), n=3)


WORKS = {
    "closure over a module": lambda net: lambda t, y: net(t, y),
    "bound method": lambda net: net.forward,
    "module in eval mode": lambda net: (lambda drop: lambda t, y: drop(net.layer(y)))(nn.Dropout(0.5).eval()),
    "torch.where": lambda net: lambda t, y: torch.where(y > 0, -y, net.layer(y)),
    "global float": lambda net: lambda t, y: a_float * net.layer(y),
    "vjp": vjp_inside,
    "grad": grad_inside,
    "complex numbers inside": fourier,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_works_in_steps_and_in_the_loop(name, net):
    f = WORKS[name](net)
    check_equal(f, Bosh3(), start(), tuple(net.layer.parameters()), control=Fixed(n=3), requires_grad=True)
    with torch.no_grad():
        check_equal(f, Bosh3(), start(), control=JOINT)


@pytest.mark.slow
def test_derivatives_inside_are_right_where_a_loop_would_be_recorded(net):
    """`torch.while_loop` makes zeros of them then: the steps are compiled one by one."""
    check_equal(vjp_inside(net), Bosh3(), start(), tuple(net.layer.parameters()), control=JOINT, within=1e-8)


@pytest.mark.slow
def test_forward_mode_inside_works_without_gradients(net):
    def f(t, y):
        return torch.func.jvp(lambda x: torch.tanh(net.layer(x)), (y,), (y,))[1]

    with torch.no_grad():
        check_equal(f, Euler(), start(), control=Fixed(n=3))
    with pytest.raises(CompileError, match="forward-mode derivatives"):
        check_equal(f, Euler(), start(), tuple(net.layer.parameters()), control=Fixed(n=3))


@pytest.mark.slow
def test_gradients_of_captured_tensors():
    w, fixed = torch.randn(3, 3, requires_grad=True), torch.randn(3)
    for requires_grad in (False, True):
        for n in (1, 2, 9):
            options = {"control": Fixed(n=n), "requires_grad": requires_grad}
            check_equal(lambda t, y: torch.tanh(y @ w) + fixed, RK4(), start(), (w,), **options)


@pytest.mark.slow
def test_per_sample_steps_with_gradients_and_outputs(net):
    parameters = tuple(net.parameters())
    check_equal(net, Bosh3(), start(), parameters, control=OWN, save=SaveAt(ts=TS))
    before = graphs()
    check_equal(net, Bosh3(), start() + 1, parameters, control=PID(rtol=1e-4), save=SaveAt(ts=TS / 2), t1=1.4)
    assert graphs() == before
    with torch.no_grad():
        check_equal(net, Bosh3(), start(), control=OWN, save=SaveAt(ts=TS))
        check_equal(net, Bosh3(), start(), control=OWN, save=SaveAt(ts=TS[None] * torch.rand(4, 1)))


@pytest.mark.slow
def test_gradients_of_a_loop_without_outputs(net):
    before = graphs()
    for control in (JOINT, OWN):
        for t1, requires_grad in ((1e-3, False), (1.5, True)):
            options = {"control": control, "t1": t1, "requires_grad": requires_grad}
            check_equal(net, Bosh3(), start(), tuple(net.parameters()), **options)
    assert graphs() == before + 2


@pytest.mark.slow
@pytest.mark.parametrize("control", [JOINT, OWN], ids=["joint", "own"])
def test_gradients_survive_rejected_steps_that_are_not_finite(control):
    w = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)

    def field(t, y):  # infinite where the first, far too large step would go
        return -w * y / (y > 0.001)

    control = replace(control, dt0=3.0)
    check_equal(field, Bosh3(), start().abs() + 1, (w,), control=control, requires_grad=True, t1=4.0)


@pytest.mark.slow
def test_one_graph_serves_many_numbers_of_kept_times_and_first_steps(net):
    with torch.no_grad():
        check_equal(net, Bosh3(), start(), control=JOINT, save=SaveAt(ts=torch.linspace(0.1, 1.0, 8)))
        before = graphs()
        for n in (5, 6, 7):
            check_equal(net, Bosh3(), start(), control=JOINT, save=SaveAt(ts=torch.linspace(0.1, 1.0, n)))
        assert graphs() == before
        check_equal(net, Bosh3(), start(), control=replace(JOINT, dt0=0.1))
        before = graphs()
        for dt0 in torch.linspace(0.01, 0.2, 10).tolist():
            check_equal(net, Bosh3(), start(), control=replace(JOINT, dt0=dt0))
        assert graphs() == before


@pytest.mark.slow
@pytest.mark.parametrize("times", [{"stops": TS[:2]}, {"jumps": TS[:2]}], ids=["stops", "jumps"])
@pytest.mark.parametrize("control", [JOINT, OWN], ids=["joint", "own"])
def test_times_that_must_be_hit(control, times, net):
    with torch.no_grad():
        check_equal(net, Bosh3(), start(), control=Clip(control, **times))


@pytest.mark.slow
def test_doubled_steps_with_outputs(net):
    with torch.no_grad():
        check_equal(net, StepDoubling(RK4()), start(), control=JOINT, save=SaveAt(ts=TS))


@pytest.mark.slow
def test_a_sample_that_fails_on_a_grid_is_frozen_where_it_is_without_compiling():
    def run(compile):
        return solve(ODE(lambda t, y: y * y), RK4(), y0, 0.0, 1.5, control=Fixed(n=40), throw=False, compile=compile)

    y0 = torch.tensor([[1.0], [-1.0], [0.5]])
    with torch.no_grad():
        eager, compiled = run(False), run(True)
    torch.testing.assert_close(compiled.ys, eager.ys, rtol=1e-12, atol=0)
    assert compiled.result.tolist() == eager.result.tolist() == [int(Result.NON_FINITE), 0, 0]
    assert compiled.stats.steps.tolist() == eager.stats.steps.tolist() == [32, 40, 40]


@pytest.mark.parametrize("method", [Adams(4), Rodas5P(), BDF(), Kvaerno5(), RadauIIA5()], ids=lambda m: repr(m)[:9])
def test_methods_whose_steps_depend_on_values_are_refused(method):
    with pytest.raises(CompileError, match=f"always the same operations, got {type(method).__name__}"):
        solve(ODE(lambda t, y: -y), method, start(), 0.0, 1.0, compile=True)


@pytest.mark.slow
def test_single_precision():
    torch.manual_seed(0)
    net, control = Net().float(), PID(rtol=1e-4, atol=1e-4, per_sample=False)
    check_equal(net, Bosh3(), start().float(), tuple(net.parameters()), within=1e-5, control=Fixed(n=20))
    with torch.no_grad():
        check_equal(net, Bosh3(), start().float(), within=1e-5, control=control)


@pytest.mark.slow
def test_groups_are_as_alone(net):
    def run(y0, compile, groups):
        return solve(ODE(net), Bosh3(), y0, 0.0, 1.0, control=PID(rtol=1e-6, groups=groups), compile=compile).ys

    y0 = start(6) * torch.arange(1, 7)[:, None]
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    with torch.no_grad():
        both = run(y0, True, groups)
        torch.testing.assert_close(both, run(y0, False, groups), rtol=1e-10, atol=1e-10)
        for part in (slice(0, 3), slice(3, 6)):
            alone = run(y0[part], True, torch.zeros(3, dtype=torch.int64))
            torch.testing.assert_close(both[part], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_tree_states(net):
    def f(t, y):
        return {"a": net(t, y["b"]), "b": -y["a"]}

    def run(compile):
        y0 = {"a": start(), "b": start() ** 2}
        return solve(ODE(f), Bosh3(), y0, 0.0, 1.0, control=JOINT, compile=compile).ys

    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(run(True), run(False), rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", [Checkpoint(), Backsolve(), Quadrature(), Reversible()], ids=lambda g: repr(g))
def test_other_gradients(gradient, net):
    reversible = isinstance(gradient, Reversible)
    method = Reversibly(Bosh3()) if reversible else Bosh3()
    for control in (Fixed(n=12), JOINT):
        options = {"control": control, "gradient": gradient, "requires_grad": True}
        check_equal(net, method, start(), tuple(net.parameters()), **options)


@pytest.mark.slow
def test_floats_that_change_for_ever_are_refused_by_name():
    field = Net()
    field.factor = 1.0  # type: ignore[assignment]

    def f(t, y):
        return field.factor * y

    with pytest.raises(CompileError, match="factor"), torch.no_grad():
        for i in range(20):
            field.factor = 1.0 + i  # type: ignore[assignment]
            check_equal(f, Euler(), start(), control=SMALL)
