"""Adaptive steps with noise: errors follow the tolerance, and the path is the same whatever steps are taken."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import pytest
import torch
from scipy import stats
from torch import Tensor

from sciml.core import Key
from sciml.integrate import (
    PID,
    SDE,
    SRA1,
    SRI2,
    AbstractStochastic,
    AdditiveNoise,
    AlongChords,
    Checkpoint,
    Chunks,
    DiagonalNoise,
    Eager,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Fixed,
    GeneralNoise,
    Heun,
    Ito,
    LogODE,
    Milstein,
    ReversibleHeun,
    SaveAt,
    ScalarNoise,
    ShARK,
    SPaRK,
    Step,
    StepDoubling,
    StochasticHeun,
    Stratonovich,
    solve,
)
from sciml.integrate.methods.stochastic import Orders, increment_with_area
from sciml.paths import AbstractPath, BrownianMotion, Foster, Increment, SpaceTime
from tests.stochastic import slope_interval


def growth(path: Any, sense: Any) -> SDE:
    """Geometric Brownian motion."""
    return SDE(lambda t, y: -0.5 * y, lambda t, y: 0.8 * y, path, structure=DiagonalNoise(), sense=sense)


def exact_growth(path: Any, sense: Any) -> Tensor:
    drift = -0.5 - (0.32 if isinstance(sense, Ito) else 0.0)
    return torch.exp(drift + 0.8 * path.value(1.0))


def relaxation(path: Any) -> SDE:
    """An Ornstein-Uhlenbeck process."""
    return SDE(
        lambda t, y: -2.0 * y,
        lambda t, y: torch.ones_like(y),
        path,
        structure=AdditiveNoise(diagonal=True),
        sense=Ito(),
    )


# Errors and tolerances


@pytest.mark.parametrize(
    ("method", "tolerances"),
    [(StochasticHeun(), (3e-2, 3e-3)), (SPaRK(), (1e-3, 1e-4)), (ReversibleHeun(), (3e-2, 3e-3))],
    ids=lambda x: type(x).__name__,
)
def test_adaptive_steps_follow_the_tolerance_on_the_same_path(method, tolerances):
    rows = 24
    path = BrownianMotion.over(Key.rows(3, rows), (1,), 0.0, 1.0, intervals=64, depth=14, levy=SpaceTime())
    exact, errors, steps = exact_growth(path, Stratonovich()), [], []
    for tolerance in tolerances:
        control = PID(rtol=tolerance, atol=tolerance)
        made = solve(growth(path, Stratonovich()), method, torch.ones(rows, 1), 0.0, 1.0, control=control)
        errors.append(float((made.ys - exact).square().mean().sqrt()))
        steps.append(float(made.stats.steps.double().mean()))
        assert int((made.stats.attempts - made.stats.steps).sum()) > 0
    print(f"\n{method!r}: errors {errors} in {steps} steps")
    assert errors[1] < 0.4 * errors[0] and steps[1] > 2 * steps[0]


FALLING = [
    # method, its sense, strong order, whether the process is geometric Brownian motion, tolerances
    (StochasticHeun(), Stratonovich(), 1.0, True, (0.01, 0.003, 0.001)),
    (SPaRK(), Stratonovich(), 1.0, True, (1e-3, 3e-4, 1e-4)),
    (Milstein(), Ito(), 1.0, True, (0.02, 0.006, 0.002)),
    (SRI2(), Ito(), 1.5, True, (5e-3, 1e-3, 2e-4)),
    (StepDoubling(Milstein()), Ito(), 1.0, True, (5e-3, 1e-3, 2e-4)),
    (StepDoubling(EulerMaruyama()), Ito(), 1.0, False, (3e-3, 1e-3, 3e-4)),
    (ShARK(), Ito(), 1.5, False, (0.01, 0.003, 0.001)),
    (SRA1(), Ito(), 1.5, False, (0.01, 0.003, 0.001)),
    (StepDoubling(Heun()), Ito(), 1.0, False, (3e-3, 1e-3, 3e-4)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "sense", "order", "grows", "tolerances"), FALLING, ids=lambda x: repr(x)[:40])
def test_strong_errors_fall_with_the_tolerance_at_the_claimed_order(method, sense, order, grows, tolerances):
    """At least: root mean square errors of ten groups, over the mean number of steps that a tolerance asks for."""
    rows, groups = 300, 10
    path = BrownianMotion.over(Key.rows(5, rows), (1,), 0.0, 1.0, intervals=256, depth=8, levy=SpaceTime())
    if grows:
        term, truth = growth(path, sense), exact_growth(path, sense)
    else:
        term = relaxation(path)
        truth = solve(term, ShARK(), torch.ones(rows, 1), 0.0, 1.0, control=Fixed(n=1024)).ys
    errors, steps = [], []
    for tolerance in tolerances:
        made = solve(term, method, torch.ones(rows, 1), 0.0, 1.0, control=PID(rtol=tolerance, atol=tolerance))
        errors.append((made.ys - truth).square().reshape(groups, -1).mean(1).sqrt())
        steps.append(float(made.stats.steps.double().mean()))
    found = torch.stack(errors, 1)
    slope, width = slope_interval(found, steps)
    by_tolerance, _ = slope_interval(found, [1 / t for t in tolerances])
    rms = found.square().mean(0).sqrt()
    print(f"\n{method!r}: {slope:.2f} +- {width:.2f} over steps {steps}, {by_tolerance:.2f} over tolerances, {rms}")
    assert bool((rms.diff() < 0).all()) and slope > order - 0.25


@pytest.mark.parametrize(("method", "sense"), [(Milstein(), Ito()), (StochasticHeun(), Stratonovich())], ids=repr)
def test_doubling_estimates_the_error_of_its_result(method, sense):
    """Of one step in the mean square: W over the halves and the whole is of one path."""
    rows, h = 4000, 0.05
    path = BrownianMotion.over(Key.rows(1, rows), (1,), 0.0, h, intervals=2)
    term, doubled, y0 = growth(path, sense), StepDoubling(method), torch.ones(rows, 1)
    step = doubled.step(term, 0.0, h, y0, doubled.init(term, 0.0, y0))
    drift = -0.5 - (0.32 if isinstance(sense, Ito) else 0.0)
    assert isinstance(step.y, Tensor) and isinstance(step.error, Tensor)
    error = step.y - torch.exp(drift * h + 0.8 * path.value(h))
    ratio = float(step.error.square().mean().sqrt() / error.square().mean().sqrt())
    print(f"\n{method!r}: estimate / error {ratio:.3f}")
    assert 0.65 < ratio < 1.5
    twice = solve(term, method, y0, 0.0, h, control=Fixed(n=2)).ys
    torch.testing.assert_close(solve(term, doubled, y0, 0.0, h, control=Fixed(n=1)).ys, twice, rtol=0, atol=1e-14)


def test_doubled_states_between_are_linear_in_the_halves():
    path = BrownianMotion.over(Key.rows(1, 3), (1,), 0.0, 1.0, intervals=2)
    term, y0 = growth(path, Ito()), torch.ones(3, 1)
    made = solve(term, StepDoubling(Milstein()), y0, 0.0, 1.0, control=Fixed(n=1), save=SaveAt(dense=True))
    states = made(torch.tensor([0.25, 0.5, 0.75, 1.0]))
    middle = solve(term, Milstein(), y0, 0.0, 1.0, control=Fixed(n=2), save=SaveAt(ts=torch.tensor([0.5]))).ys
    torch.testing.assert_close(states[:, 1], middle[:, 0])
    torch.testing.assert_close(states[:, 0], (y0 + states[:, 1]) / 2)
    torch.testing.assert_close(states[:, 2], (states[:, 1] + states[:, 3]) / 2)


def test_doubling_refuses_what_it_does_not_double():
    with pytest.raises(TypeError, match="SDE terms whose drift is a function, got ExponentialEulerMaruyama.*Fixed"):
        StepDoubling(ExponentialEulerMaruyama())
    path = BrownianMotion.over(Key.rows(1, 3), (1,), 0.0, 1.0)
    with pytest.raises(TypeError, match="Heun is an explicit method and steps ODE|StepDoubling is an explicit method"):
        solve(growth(path, Stratonovich()), StepDoubling(Heun()), torch.ones(3, 1), 0.0, 1.0)
    with pytest.raises(
        TypeError, match="adaptive steps in the sense of Ito need .*EulerMaruyama of order 0.5.*Milstein"
    ):
        solve(growth(path, Ito()), StepDoubling(EulerMaruyama()), torch.ones(3, 1), 0.0, 1.0)
    with pytest.raises(TypeError, match="EulerMaruyama integrates in the sense of Ito"):
        solve(growth(path, Stratonovich()), StepDoubling(EulerMaruyama()), torch.ones(3, 1), 0.0, 1.0)


def test_steps_grow_slowly_where_errors_are_random():
    """Ten times as long a step after an estimate that happens to be small leaves few samples with most of the error."""
    rows = 64
    path = BrownianMotion.over(Key.rows(5, rows), (1,), 0.0, 1.0, intervals=64, depth=10, levy=SpaceTime())
    term, exact, errors = growth(path, Ito()), exact_growth(path, Ito()), []
    for control in (PID(rtol=1e-3, atol=1e-3), PID(rtol=1e-3, atol=1e-3, factor_max=10.0)):
        made = solve(term, SRI2(), torch.ones(rows, 1), 0.0, 1.0, control=control)
        errors.append(float((made.ys - exact).square().mean().sqrt()))
    print(f"\nerrors {errors}")
    assert errors[0] < 0.7 * errors[1]


# The law of the end


@final
@dataclass(frozen=True)
class ByArea(AbstractStochastic):
    """Brownian motion itself, whose steps are accepted by the Levy area H, which tells nothing of W."""

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1
    has_error: ClassVar[bool] = True
    error_order: ClassVar[float] = 0.5
    senses = (Ito,)
    strong = Orders(1.0, 1.0, 1.0)
    weak = Orders(1.0, 1.0, 1.0)

    def step(self, term: SDE, t0: Any, t1: Any, y: Any, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        w, area = increment_with_area(self, term, t0, t1)
        return Step(y + w, area, None, (), None)


@final
class Forgetful(AbstractPath):
    """Independent increments, drawn anew for every question: what a path must not be."""

    def __init__(self, rows: int) -> None:
        self.shape, self.batch, self.dtype, self.rows = (1,), rows, torch.float64, rows
        self.knots = torch.tensor([0.0, 1.0])
        self.generator = torch.Generator().manual_seed(0)

    def value(self, t: Any) -> Tensor:
        """It has none."""
        raise TypeError("only increments")

    def derivative(self, t: Any) -> Tensor:
        """It has none."""
        raise TypeError("only increments")

    def increment(self, t0: Any, t1: Any) -> Increment:
        """A fresh draw."""
        root = (torch.as_tensor(t1) - torch.as_tensor(t0)).clamp(min=0).sqrt().reshape(-1, 1)
        return Increment(root * torch.randn(self.rows, 1, generator=self.generator))


def with_path(path: Any) -> SDE:
    """Geometric Brownian motion beside W itself."""
    return SDE(
        lambda t, y: torch.zeros_like(y),
        lambda t, y: torch.stack([0.8 * y[:, 0], torch.ones_like(y[:, 1])], 1),
        path,
        structure=ScalarNoise(),
        sense=Stratonovich(),
    )


def ends(path: Any, rows: int) -> tuple[Tensor, Tensor]:
    """W(1) as the accepted steps add it up, and how many were rejected for what W does."""
    y0 = torch.tensor([1.0, 0.0]).expand(rows, 2)
    control = PID(rtol=0.02, atol=0.02, dt0=0.2)
    made = solve(with_path(path), StochasticHeun(), y0, 0.0, 1.0, control=control)
    return made.ys[:, 1], made.stats.attempts - made.stats.steps


@pytest.mark.parametrize("rows", [3000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_rejected_steps_leave_the_law_of_the_path_as_it_is(rows):
    """Large increments are rejected; drawn anew they would be smaller, and the end too narrow."""
    path = BrownianMotion.over(Key.rows(2, rows), (1,), 0.0, 1.0, intervals=16, depth=10)
    end, rejected = ends(path, rows)
    torch.testing.assert_close(end, path.value(1.0)[:, 0], rtol=0, atol=1e-12)
    assert float(rejected.double().mean()) > 0.5
    assert stats.kstest(end, "norm").pvalue > 1e-3
    wrong, _ = ends(Forgetful(rows), rows)
    print(f"\nvariance of the end {float(end.var()):.3f}, with increments drawn anew {float(wrong.var()):.3f}")
    assert stats.kstest(wrong, "norm").pvalue < 1e-6


@pytest.mark.parametrize("rows", [6_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_given_the_number_of_rejections_the_end_is_normal(rows):
    """H of any interval is independent of W(1), and so are steps that only H decides on."""
    path = BrownianMotion.over(Key.rows(4, rows), (1,), 0.0, 1.0, intervals=8, depth=8, levy=SpaceTime())
    term = SDE(
        lambda t, y: torch.zeros_like(y), lambda t, y: torch.ones_like(y), path, structure=DiagonalNoise(), sense=Ito()
    )
    made = solve(term, ByArea(), torch.zeros(rows, 1), 0.0, 1.0, control=PID(rtol=0.0, atol=0.15, dt0=0.5))
    rejected = made.stats.attempts - made.stats.steps
    counts = [int(k) for k in rejected.unique() if int((rejected == k).sum()) >= 500]
    values = {k: stats.kstest(made.ys[rejected == k, 0], "norm").pvalue for k in counts}
    print(f"\nKolmogorov-Smirnov by number of rejections: {values}")
    assert len(counts) >= 3 and min(values.values()) > 1e-3 / len(counts)


@pytest.mark.parametrize("rows", [4_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_given_the_rejections_that_one_motion_decides_the_end_of_another_is_normal(rows):
    """Steps are chosen, rejected and tried again by a state that the second Brownian motion does not move."""
    path = BrownianMotion.over(Key.rows(11, rows), (2,), 0.0, 1.0, intervals=4, depth=10)

    def g(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack([0.8 * y[:, 0], torch.ones_like(y[:, 1])], 1)

    term = SDE(lambda t, y: torch.zeros_like(y), g, path, structure=DiagonalNoise(), sense=Stratonovich())
    y0 = torch.tensor([1.0, 0.0]).expand(rows, 2)
    made = solve(term, StochasticHeun(), y0, 0.0, 1.0, control=PID(rtol=0.02, atol=0.02, dt0=0.2))
    torch.testing.assert_close(made.ys[:, 1], path.value(1.0)[:, 1], rtol=0, atol=1e-12)
    rejected = made.stats.attempts - made.stats.steps
    counts = [int(k) for k in rejected.unique() if int((rejected == k).sum()) >= 400]
    values = {k: stats.kstest(made.ys[rejected == k, 1], "norm").pvalue for k in counts}
    print(f"\nKolmogorov-Smirnov by number of rejections: {values}")
    assert len(counts) >= 3 and min(values.values()) > 1e-3 / len(counts)


@final
class Watched(AbstractPath):
    """A path that notes what it was asked.

    Args:
        path: the path.
    """

    def __init__(self, path: BrownianMotion) -> None:
        self.path, self.shape, self.knots, self.dtype, self.batch = path, path.shape, path.knots, path.dtype, path.batch
        self.asked: list[tuple[float, float, float]] = []

    def value(self, t: Any) -> Tensor:
        """Of the path."""
        return self.path.value(t)

    def derivative(self, t: Any) -> Tensor:
        """There is none."""
        return self.path.derivative(t)

    def increment(self, t0: Any, t1: Any) -> Increment:
        """Of the path."""
        made = self.path.increment(t0, t1)
        self.asked.append((float(t0), float(t1), float(made.w)))
        return made


def test_rejected_times_are_visited_again_on_the_same_path():
    path = Watched(BrownianMotion.over(Key.rows(7, 1), (1,), 0.0, 1.0, intervals=4, depth=16))
    control = PID(rtol=1e-3, atol=1e-3, dt0=0.3)
    made = solve(growth(path, Stratonovich()), StochasticHeun(), torch.ones(1, 1), 0.0, 1.0, control=control)
    asked = path.asked
    accepted = [step for step, after in zip(asked, [*asked[1:], (1.0, 1.0, 0.0)], strict=True) if after[0] >= step[1]]
    rejected = [step for step in asked if step not in accepted]
    assert len(rejected) == int((made.stats.attempts - made.stats.steps)[0]) > 0
    for t0, t1, w in rejected:  # what the steps within add up to, with the part up to the rejected end
        inside = [step for step in accepted if t0 <= step[0] and step[1] <= t1]
        last = max([t0, *(step[1] for step in inside)])
        rest = float(path.path.increment(last, t1).w) if last < t1 else 0.0
        assert sum(step[2] for step in inside) + rest == pytest.approx(w, abs=1e-12)
    assert sum(step[2] for step in accepted) == pytest.approx(float(path.value(1.0)), abs=1e-12)


# One path, however it is solved

ROWS = 6


def brownian(path: Any) -> SDE:
    """dy = dW."""
    return SDE(
        lambda t, y: torch.zeros_like(y), lambda t, y: torch.ones_like(y), path, structure=DiagonalNoise(), sense=Ito()
    )


def single_path(rows: Tensor | None = None) -> BrownianMotion:
    ts = torch.linspace(0, 1, 17, dtype=torch.float64)
    path = BrownianMotion.on_grid(Key.rows(9, ROWS), (2,), ts, depth=12, levy=SpaceTime(), dtype=torch.float32)
    return path if rows is None else path.take(rows)


TIMES = torch.tensor([0.25, 0.5, 1.0])
ROUTES: dict[str, Callable[[], Tensor]] = {
    "half the batch": lambda: _kept(single_path(torch.tensor([4, 1])), Fixed(n=16)),
    "after other questions": lambda: _kept(_questioned(single_path()), Fixed(n=16)),
    "every fourth step": lambda: solve(
        brownian(single_path()), EulerMaruyama(), _zero(), 0.0, 1.0, control=Fixed(n=16), save=SaveAt(every=4)
    ).ys[:, [0, 1, 3]],
    "checkpoints": lambda: _kept(single_path(), Fixed(n=16), gradient=Checkpoint(3)),
    "adaptive": lambda: _kept(single_path(), PID(rtol=0.0, atol=0.1, dt0=0.25), method=ByArea()),
    "adaptive, eager": lambda: _kept(
        single_path(), PID(rtol=0.0, atol=0.1, dt0=0.25), method=ByArea(), executor=Eager()
    ),
    "adaptive, in chunks": lambda: _kept(
        single_path(), PID(rtol=0.0, atol=0.1, dt0=0.25), method=ByArea(), executor=Chunks(4)
    ),
    "doubled steps": lambda: _kept(single_path(), Fixed(n=4), method=StepDoubling(Milstein())),
}


def _zero(rows: int = ROWS) -> Tensor:
    return torch.zeros(rows, 2, dtype=torch.float32)


def _questioned(path: BrownianMotion) -> BrownianMotion:
    for t in (0.9, 0.1, 0.30001):
        path.increment(t, t + 0.05)
    return path


def _kept(path: BrownianMotion, control: Any, method: Any = None, **options: Any) -> Tensor:
    """States at TIMES, which are ends of steps."""
    chosen, y, found, before = method or EulerMaruyama(), _zero(path.batch), [], 0.0
    for t in TIMES.tolist():
        y = solve(brownian(path), chosen, y, before, t, control=_between(control, before, t), **options).ys
        found.append(y)
        before = t
    return torch.stack(found, 1)


def _between(control: Any, t0: float, t1: float) -> Any:
    return Fixed(n=round(control.n * (t1 - t0))) if isinstance(control, Fixed) and control.n is not None else control


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_sees_one_path(route):
    path = single_path()
    truth = torch.stack([path.value(t) for t in TIMES.tolist()], 1)
    if route == "half the batch":
        truth = truth[[4, 1]]
    torch.testing.assert_close(ROUTES[route](), truth, rtol=0, atol=1e-6)


# Areas of real paths


@pytest.mark.parametrize(("method", "sense"), [(Milstein(False), Ito()), (LogODE(), Stratonovich())], ids=repr)
def test_areas_of_brownian_motion_give_order_one(method, sense):
    """Areas over coarse steps are made of those between knots, and general noise has order 1 with them."""
    rows, fine, counts = 150, 128, (4, 8, 16)
    path = BrownianMotion.on_grid(Key.rows(6, rows), (2,), torch.linspace(0, 1, fine + 1), levy=Foster())

    def g(t: Tensor, y: Tensor) -> Tensor:
        a, b = y.unbind(-1)
        return torch.stack([torch.stack([torch.cos(b), 0.3 * a], -1), torch.stack([0.4 * a, torch.sin(a + 1)], -1)], 1)

    term = SDE(lambda t, y: -y, g, path, structure=GeneralNoise(), sense=sense)
    y0 = torch.tensor([0.5, -0.2]).expand(rows, 2)
    truth = solve(term, method, y0, 0.0, 1.0, control=Fixed(n=fine)).ys
    errors = []
    for n in counts:
        y1 = solve(term, method, y0, 0.0, 1.0, control=Fixed(n=n)).ys
        errors.append((y1 - truth).square().sum(1).reshape(10, -1).mean(1).sqrt())
    slope, width = slope_interval(torch.stack(errors, 1), counts)
    print(f"\n{method!r}: strong order {slope:.2f} +- {width:.2f}")
    assert slope - width > 0.75


# Correlated noise


def test_correlated_noise_moves_states_together():
    rows = 4000
    covariance = torch.tensor([[1.0, 0.6, 0.0], [0.6, 2.0, -0.5], [0.0, -0.5, 0.5]])
    path = BrownianMotion.on_grid(Key.rows(8, rows), (3,), torch.linspace(0, 1, 65), covariance=covariance)
    rate = torch.tensor([0.5, 0.3, -0.4])
    term = SDE(
        lambda t, y: torch.zeros_like(y), lambda t, y: rate * y, path, structure=DiagonalNoise(), sense=Stratonovich()
    )
    y1 = solve(term, StochasticHeun(), torch.ones(rows, 3), 0.0, 1.0, control=Fixed(n=64)).ys
    torch.testing.assert_close(y1, torch.exp(rate * path.value(1.0)), rtol=2e-2, atol=0)
    expected = covariance * rate[:, None] * rate
    spread = math.sqrt(2 / rows) * float(expected.diagonal().max())
    torch.testing.assert_close(torch.cov(y1.log().T), expected, rtol=0, atol=5 * spread)


# Additive noise along chords


def test_along_chords_is_what_the_stochastic_method_is():
    path = BrownianMotion.on_grid(Key.rows(8, 5), (2,), torch.linspace(0, 1, 17))
    term = SDE(
        lambda t, y: torch.sin(y) + t,
        lambda t, y: (1 + 0 * t) * torch.tensor([0.5, 1.0]).expand(len(y), 2),
        path,
        structure=AdditiveNoise(diagonal=True),
        sense=Ito(),
    )
    y0 = torch.ones(5, 2)
    by_hand = solve(term, AlongChords(Heun()), y0, 0.0, 1.0, control=Fixed(n=16)).ys
    assert torch.equal(solve(term, Heun(), y0, 0.0, 1.0, control=Fixed(n=16)).ys, by_hand)
    heun = solve(term, StochasticHeun(), y0, 0.0, 1.0, control=Fixed(n=16)).ys
    torch.testing.assert_close(by_hand, heun, rtol=0, atol=1e-14)
    doubled = solve(term, StepDoubling(Heun()), y0, 0.0, 1.0, control=Fixed(n=8)).ys
    torch.testing.assert_close(doubled, heun, rtol=0, atol=1e-14)
