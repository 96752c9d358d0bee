"""`solve` on a fixed grid: output layouts, times, isolation of samples, gradients, and what is refused."""

import math
from typing import Any, ClassVar, final

import pytest
import torch

from sciml.core import Key
from sciml.integrate import (
    ETD1,
    ETD2RK,
    ETDRK4,
    ODE,
    SDIRK2,
    AbstractControl,
    AbstractMethod,
    Backsolve,
    Checkpoint,
    Direct,
    Fixed,
    Heun,
    Quadrature,
    RadauIIA5,
    Result,
    Reversible,
    Reversibly,
    SaveAt,
    SemiLinear,
    SolveError,
    solve,
)
from sciml.integrate.fixed_grid import finite_frames, finite_rows
from sciml.integrate.flat import leaves_of
from sciml.integrate.methods.base import Step


class OtherControl(AbstractControl):
    """A control that fixed-step methods do not know."""


DECAY = SemiLinear(-2.0, lambda t, y: torch.sin(t) + 0 * y)


def decay_exact(y0: torch.Tensor, t: float) -> torch.Tensor:
    """Solution of y' = -2 y + sin t."""
    particular = (2 * math.sin(t) - math.cos(t)) / 5
    return (y0 + 1 / 5) * math.exp(-2 * t) + particular


def start(batch: int = 3) -> torch.Tensor:
    return Key.rows(0, batch).normal(2)


def test_final_state_forward_and_backward():
    y0 = start()
    y1 = solve(DECAY, ETDRK4(), y0, 0.0, 2.0, control=Fixed(n=200)).ys
    assert torch.allclose(y1, decay_exact(y0, 2.0), rtol=0, atol=1e-9)
    back = solve(DECAY, ETDRK4(), y1, 2.0, 0.0, control=Fixed(dt=0.01)).ys
    assert torch.allclose(back, y0, rtol=0, atol=1e-7)


def test_last_step_is_shortened_to_end_at_t1():
    y0 = start()
    solution = solve(DECAY, ETDRK4(), y0, 0.0, 1.0, control=Fixed(dt=0.03), save=SaveAt(every=1))
    assert solution.ts[-1] == 1.0 and len(solution.ts) == 34
    assert torch.allclose(solution.ys[:, -1], decay_exact(y0, 1.0), rtol=0, atol=1e-7)


def test_several_outputs_give_a_dict():
    y0 = start()
    ts = torch.tensor([0.0, 0.5, 1.0])
    save = SaveAt(t0=True, t1=True, ts=ts, every=5, fn=lambda t, y: y.sum(dim=1) + t)
    solution = solve(DECAY, ETDRK4(), y0, 0.0, 1.0, control=Fixed(n=20), save=save)
    assert set(solution.ys) == {"t0", "t1", "ts", "steps"}
    assert torch.equal(solution.ys["t0"], y0.sum(1))
    assert torch.equal(solution.ys["ts"][:, 0], y0.sum(1))
    assert torch.equal(solution.ys["ts"][:, -1], solution.ys["t1"])
    assert torch.equal(solution.ys["steps"][:, -1], solution.ys["t1"])
    assert solution.ts["steps"].tolist() == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_statistics_count_steps_and_evaluations():
    calls = []
    term = SemiLinear(-1.0, lambda t, y: calls.append(1) or -0.1 * y)
    stats = solve(term, ETDRK4(), start(), 0.0, 1.0, control=Fixed(n=7)).stats
    assert stats.steps.tolist() == [7, 7, 7] and stats.evaluations.tolist() == [28] * 3 and len(calls) == 28


def test_time_arrives_in_the_real_dtype_of_the_state():
    seen = []
    term = SemiLinear(-1.0, lambda t, y: seen.append((t.dtype, t.ndim)) or y)
    solve(term, ETD1(), start().to(torch.complex64), 0.0, 1.0, control=Fixed(n=2))
    assert set(seen) == {(torch.float32, 0)}


def test_per_sample_times():
    y0, t1 = start(), torch.tensor([0.5, 1.0, 2.0])
    solution = solve(DECAY, ETDRK4(), y0, torch.zeros(3), t1, control=Fixed(n=200), save=SaveAt(every=200))
    for i in range(3):
        assert torch.allclose(solution.ys[i, 0], decay_exact(y0[i], float(t1[i])), rtol=0, atol=1e-9)
    assert torch.equal(solution.ts[:, 0], t1)


def test_gradients_of_state_parameters_linear_part_and_times():
    y0 = start().requires_grad_()
    linear = torch.tensor([-2.0, -0.5], requires_grad=True)
    strength = torch.tensor(0.3, requires_grad=True)
    t1 = torch.tensor(1.0, requires_grad=True)

    def final(y0, linear, strength, t1):
        term = SemiLinear(linear, lambda t, y: torch.sin(t) + strength * y**2)
        return solve(term, ETDRK4(), y0, 0.0, t1, control=Fixed(n=4)).ys

    assert torch.autograd.gradcheck(final, (y0, linear, strength, t1))
    assert torch.autograd.gradgradcheck(final, (y0, linear, strength, t1))


def test_gradient_through_complex_linear_part():
    linear = torch.tensor([-0.1 + 3j, -2j], dtype=torch.complex128, requires_grad=True)
    y0 = start().to(torch.complex128).requires_grad_()

    def final(y0, linear):
        term = SemiLinear(linear, lambda t, y: 0.1 * y * y.conj())
        return torch.view_as_real(solve(term, ETDRK4(), y0, 0.0, 1.0, control=Fixed(n=3)).ys)

    assert torch.autograd.gradcheck(final, (y0, linear))


def test_tables_are_shared_between_solves_but_not_with_gradients():
    linear = torch.tensor([-1.0, -2.0])
    term = SemiLinear(linear, lambda t, y: y)
    for _ in range(2):
        solve(term, ETD2RK(), start(), 0.0, 1.0, control=Fixed(n=3))
    assert len(term.tables) == 1
    linear *= 2  # in place: the old table must not be used
    changed = solve(term, ETD2RK(), start(), 0.0, 1.0, control=Fixed(n=3)).ys
    fresh = solve(SemiLinear(linear.clone(), term.nonlinear), ETD2RK(), start(), 0.0, 1.0, control=Fixed(n=3)).ys
    assert torch.equal(changed, fresh)
    learned = SemiLinear(torch.tensor([-1.0, -2.0], requires_grad=True), lambda t, y: y)
    solve(learned, ETD2RK(), start(), 0.0, 1.0, control=Fixed(n=3))
    assert not learned.tables


def test_a_failing_sample_leaves_the_others_bitwise_unchanged():
    y0 = torch.tensor([[1.0], [2.0], [3.0]])
    term = SemiLinear(-1.0, lambda t, y: y * torch.exp(y.clamp_max(800.0)) * (y > 2.5))
    good = solve(term, ETDRK4(), torch.tensor([[1.0], [2.0], [1.5]]), 0.0, 5.0, control=Fixed(n=50)).ys
    solution = solve(term, ETDRK4(), y0, 0.0, 5.0, control=Fixed(n=50), throw=False)
    assert solution.result.tolist() == [Result.SUCCESS, Result.SUCCESS, Result.NON_FINITE]
    assert torch.equal(solution.ys[:2], good[:2])
    assert torch.isfinite(solution.ys).all(), "a failed sample is frozen where it was last finite"
    with pytest.raises(SolveError, match=r"1 of 3 samples failed \(samples \[2\]\).*smaller dt"):
        solve(term, ETDRK4(), y0, 0.0, 5.0, control=Fixed(n=50))


@pytest.mark.parametrize("every", [1, 3, 7, 16, 20, 50])
@pytest.mark.parametrize("structure", ["tensor", "tuple"])
def test_states_that_are_checked_together_equal_those_checked_one_by_one(every, structure):
    y0 = torch.linspace(0.15, 3.2, 20, dtype=torch.float64)[:, None]
    ts = torch.tensor([0.0, 0.3, 1.3, 1.3, 3.0, 5.0], dtype=torch.float64)

    def final(fn, throw=False):
        def f(t, y):
            return y * y

        if structure == "tensor":
            term, start = ODE(f), y0
        else:
            term, start = ODE(lambda t, y: (f(t, y[0]), -y[1])), (y0, y0.expand(-1, 2).clone())
        save = SaveAt(t1=True, ts=ts, every=every, fn=fn)
        return solve(term, Heun(), start, 0.0, 5.0, control=Fixed(n=50), save=save, throw=throw)

    together, alone = final(None), final(lambda t, y: y)
    assert set(together.result.tolist()) == {int(Result.SUCCESS), int(Result.NON_FINITE)}
    assert together.result.tolist() == alone.result.tolist()
    assert len(set(together.stats.steps.tolist())) > 2
    assert together.stats.steps.tolist() == alone.stats.steps.tolist()
    for name, want in alone.ys.items():
        for a, b in zip(leaves_of(together.ys[name]), leaves_of(want), strict=True):
            assert torch.isfinite(a).all() and torch.equal(a, b), name
    with pytest.raises(SolveError, match="samples failed"):
        final(None, throw=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_every_kind_of_frame_that_is_not_finite_is_found(dtype):
    states = torch.randn(4, 5, 3, 2).to(dtype)
    states[3] = torch.finfo(dtype).max  # large is finite, and so is its sum
    bad = [math.nan, math.inf, -math.inf, complex(0, -math.inf), complex(0, math.nan)]
    for i, value in enumerate(bad[: 5 if dtype.is_complex else 3]):
        states[i % 3, i, 2, 1] = value
    want = torch.isfinite(states).flatten(2).all(dim=2)
    assert torch.equal(finite_frames(states), want) and not want.all()
    assert torch.equal(finite_frames((states, torch.zeros(4, 5, 0))), want)
    assert finite_frames(torch.zeros(4, 5, 0)).all()
    assert torch.equal(torch.stack([finite_rows(states[:, i]) for i in range(5)], dim=1), want)


@pytest.mark.parametrize("method", [SDIRK2(), RadauIIA5()], ids=lambda method: type(method).__name__)
def test_a_step_that_reports_its_failure_is_frozen_there_whatever_is_kept(method):
    y0, ends = torch.tensor([[0.9], [0.1]], dtype=torch.float64), []
    for save in (SaveAt(t1=True), SaveAt(t1=True, every=3)):
        for gradient in (Direct(), Checkpoint()):
            rate = torch.ones((), dtype=torch.float64, requires_grad=True)
            field = ODE(lambda t, y, rate=rate: rate * y * y)
            control = Fixed(n=13)
            solution = solve(
                field, method, y0, 0.0, 1.3, control=control, save=save, throw=False, gradient=gradient, params=(rate,)
            )
            assert solution.result.tolist() == [int(Result.NOT_CONVERGED), 0]
            y1 = solution.ys if save.every is None else solution.ys["t1"]
            ends.append(torch.cat([y1.flatten(), torch.autograd.grad(y1.sum(), rate)[0][None]]).detach())
            if save.every is not None:
                assert torch.equal(solution.ys["steps"][0, -1], y1[0])
    assert all(torch.allclose(end, ends[0], rtol=1e-9, atol=0) for end in ends), ends


@pytest.mark.parametrize(
    ("gradient", "method"),
    [
        (Direct(), Heun()),
        (Checkpoint(), Heun()),
        (Reversible(), Reversibly(Heun())),
        (Quadrature(), Heun()),
        (Backsolve(), Heun()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_views_are_given_finite_states_before_a_failure_is_raised(gradient, method):
    rate = torch.ones((), dtype=torch.float64, requires_grad=True)
    y0 = torch.tensor([[0.1, 0.2], [0.9, 2.0]], dtype=torch.float64)

    def view(t: Any, y: torch.Tensor) -> torch.Tensor:
        assert torch.isfinite(y).all()
        return y.square()

    for save in (
        SaveAt(ts=torch.linspace(0, 5, 11, dtype=torch.float64), fn=view),
        *([] if isinstance(gradient, Quadrature | Backsolve) else [SaveAt(every=7, fn=view)]),
    ):
        with pytest.raises(SolveError, match=r"1 of 2 samples failed \(samples \[1\]\)"):
            solve(
                ODE(lambda t, y: rate * y * y),
                method, y0, 0.0, 5.0, control=Fixed(n=50), save=save, gradient=gradient, params=(rate,),
            )  # fmt: skip


@final
class Pole(AbstractMethod):
    """A "method" whose state is 1 / (t - 0.5): not finite at one step, finite again at the next."""

    order: ClassVar[int] = 0
    stages: ClassVar[int] = 0

    def init(self, term: Any, t0: Any, y0: Any) -> None:
        return None

    def step(self, term: Any, t0: Any, t1: Any, y: Any, carry: Any) -> Step:
        state = torch.ones_like(y) / torch.tensor(t1 - 0.5)
        return Step(y=state, error=None, dense=None, carry=None, status=None)


def test_a_kept_state_that_is_not_finite_is_a_failure_even_if_later_ones_are():
    save = SaveAt(every=1, t1=True)
    solution = solve(DECAY, Pole(), start(2), 0.0, 1.0, control=Fixed(n=4), save=save, throw=False)
    assert solution.result.tolist() == [int(Result.NON_FINITE)] * 2
    assert solution.stats.steps.tolist() == [2, 2]
    assert torch.equal(solution.ys["steps"], torch.full((2, 4, 2), -4.0)), "where it was last finite"
    assert torch.equal(solution.ys["t1"], torch.full((2, 2), -4.0))


def test_a_sample_that_starts_non_finite_keeps_its_initial_state():
    y0 = start()
    y0[1, 0] = torch.nan
    save = SaveAt(every=2, ts=torch.tensor([0.0, 1.0]), t1=True)
    solution = solve(DECAY, ETDRK4(), y0, 0.0, 1.0, control=Fixed(n=4), save=save, throw=False)
    assert solution.result.tolist() == [0, Result.NON_FINITE, 0]
    for name, kept in solution.ys.items():
        rows = kept[1] if name == "t1" else kept[1, -1]
        assert torch.equal(rows.nan_to_num(7.0), y0[1].nan_to_num(7.0)), name
    assert solution.stats.steps.tolist() == [4, 2, 4]


def test_manual_stepping_equals_solve():
    y0, method = start(), ETDRK4()
    carry = method.init(DECAY, 0.0, y0)
    y: Any = y0
    for i in range(4):
        step = method.step(DECAY, i * 0.25, (i + 1) * 0.25, y, carry)
        y, carry = step.y, step.carry
    assert torch.equal(y, solve(DECAY, method, y0, 0.0, 1.0, control=Fixed(n=4)).ys)


def test_no_host_reads_inside_a_fixed_grid():
    from torch.utils._python_dispatch import TorchDispatchMode

    reads = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "local_scalar_dense" in str(func):
                reads.append(func)
            return func(*args, **(kwargs or {}))

    term = SemiLinear(torch.tensor([-1.0, -2.0]), lambda t, y: y * t)
    with Count():
        solve(term, ETDRK4(), start(), 0.0, 1.0, control=Fixed(n=100), throw=False)
        assert not reads
        solve(term, ETDRK4(), start(), 0.0, 1.0, control=Fixed(n=100))
    assert len(reads) <= 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y0": torch.zeros(2)}, ValueError, r"y0\[:, None\]"),
        ({"control": None}, ValueError, r"ETDRK4 has no error estimate.*Fixed\(dt=...\)"),
        ({"control": OtherControl()}, TypeError, "`control` must be Fixed"),
        ({"t1": 0.0}, ValueError, "must be finite and differ"),
        ({"t1": math.nan}, ValueError, "must be finite and differ"),
        ({"t1": torch.ones(2)}, ValueError, r"one per sample \(3,\), got shape \(2,\)"),
        ({"t1": torch.ones(3), "control": Fixed(dt=0.1)}, ValueError, r"Use Fixed\(n=...\)"),
        ({"max_steps": 5}, ValueError, "10 steps, more than max_steps=5"),
        ({"save": SaveAt(ts=torch.tensor([0.1, 0.25]))}, ValueError, r"ts\[1\]=0.25 is not \(nearest"),
        ({"control": Fixed(ts=torch.tensor([0.0, 0.5]))}, ValueError, "`ts` must run from t0 to t1"),
        ({"term": SemiLinear(-1j * torch.ones(2), lambda t, y: y)}, TypeError, "lose its imaginary part"),
        (
            {"term": SemiLinear(torch.ones(5), lambda t, y: y)},
            (ValueError, RuntimeError),
            "broadcast|must match",
        ),
        (
            {"term": SemiLinear(-1.0, lambda t, y: y[:, :1])},
            ValueError,
            r"`nonlinear` must return shape \(3, 2\)",
        ),
        ({"term": SemiLinear(-1.0, lambda t, y: y.float())}, ValueError, "and torch.float32"),
        ({"y0": {"a": torch.zeros(3, 1)}}, TypeError, "steps a single tensor"),
    ],
)
def test_bad_input_is_answered(change, error, message):
    arguments = {"term": DECAY, "y0": start(), "t1": 1.0, "control": Fixed(n=10)} | change
    with pytest.raises(error, match=message):
        term, y0, t1 = arguments.pop("term"), arguments.pop("y0"), arguments.pop("t1")
        solve(term, ETDRK4(), y0, 0.0, t1, **arguments)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Fixed(), "exactly one of `dt`, `n`, `ts`, got none"),
        (lambda: Fixed(dt=0.1, n=3), r"got \['dt', 'n'\]"),
        (lambda: Fixed(dt=0.0), "`dt` must be positive and finite, got 0.0"),
        (lambda: Fixed(n=0), "`n` must be a whole number of at least 1"),
        (lambda: Fixed(ts=torch.tensor([0.0, 1.0, 1.0])), "must increase strictly"),
        (lambda: Fixed(ts=torch.tensor([0.0])), "at least two times"),
        (lambda: SaveAt(), "must keep something"),
        (lambda: SaveAt(every=0), "`every` must be a whole number of at least 1, got 0"),
        (lambda: SaveAt(ts=torch.zeros(0)), "at least one"),
    ],
)
def test_bad_control_and_output_are_answered(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_term_of_another_kind_is_refused():
    from sciml.integrate import AbstractTerm

    class Other(AbstractTerm):
        pass

    with pytest.raises(TypeError, match="steps SemiLinear.* terms, got Other"):
        solve(Other(), ETDRK4(), start(), 0.0, 1.0, control=Fixed(n=2))


def test_a_python_number_as_linear_part_keeps_double_precision():
    zero = torch.zeros(1, 1)
    for linear, y0 in ((-1 / 3, zero + 1), (100.1j, (zero + 1).to(torch.complex128))):
        y1 = solve(SemiLinear(linear, lambda t, y: 0 * y), ETDRK4(), y0, 0.0, 1.0, control=Fixed(n=10)).ys
        exact = torch.exp(torch.tensor(linear, dtype=y0.dtype))
        assert float((y1 - exact).abs()) < 1e-14
    with pytest.raises(TypeError, match="lose its imaginary part"):
        solve(SemiLinear(1j, lambda t, y: y), ETDRK4(), start(), 0.0, 1.0, control=Fixed(n=2))


def test_kept_functions_get_per_sample_times_that_broadcast():
    term = SemiLinear(torch.zeros(1), lambda t, y: 0 * y)
    save = SaveAt(t1=True, every=4, fn=lambda t, y: t * y)
    ys = solve(term, ETDRK4(), torch.ones(3, 3), 0.0, torch.tensor([1.0, 2.0, 3.0]), control=Fixed(n=4), save=save).ys
    assert ys["t1"].tolist() == [[1.0] * 3, [2.0] * 3, [3.0] * 3] and torch.equal(ys["steps"][:, 0], ys["t1"])


def test_inference_mode_and_training_share_a_term():
    linear = torch.tensor([-1.0, -2.0])
    term = SemiLinear(linear, lambda t, y: y**2)
    with torch.inference_mode():
        y1 = solve(term, ETDRK4(), start(), 0.0, 1.0, control=Fixed(n=4)).ys
    y0 = start().requires_grad_()
    again = solve(term, ETDRK4(), y0, 0.0, 1.0, control=Fixed(n=4)).ys
    again.sum().backward()
    assert torch.equal(again, y1) and y0.grad is not None and bool((y0.grad != 0).all())


def test_output_times_fall_on_a_falling_grid():
    ts = torch.tensor([1.0, 0.5, 0.25, 0.0])
    solution = solve(DECAY, ETDRK4(), start(), 1.0, 0.0, control=Fixed(n=4), save=SaveAt(ts=ts))
    assert torch.equal(solution.ts, ts)
    with pytest.raises(ValueError, match="`ts` must be sorted in the direction of time"):
        solve(DECAY, ETDRK4(), start(), 1.0, 0.0, control=Fixed(n=4), save=SaveAt(ts=ts.flip(0)))


def test_a_grid_in_float32_is_taken_to_its_rounding():
    grid = torch.linspace(0, 0.3, 11, dtype=torch.float32)
    assert solve(DECAY, ETDRK4(), start(), 0.0, 0.3, control=Fixed(ts=grid), save=SaveAt(t1=True)).ts == 0.3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y0": torch.full((1, 1), 100)}, TypeError, "must be floating point or complex, got torch.int64"),
        ({"y0": torch.zeros(0, 2)}, ValueError, "at least one sample, got a batch of 0"),
        ({"control": Fixed(dt=1e-12)}, ValueError, "more than max_steps"),
        ({"control": Fixed(ts=torch.linspace(0, 1, 9)), "max_steps": 7}, ValueError, "8 steps, more than max_steps=7"),
        ({"save": SaveAt(every=50)}, ValueError, "`every` must be at most the number of steps, 10, got 50"),
    ],
)
def test_more_bad_input_is_answered(change, error, message):
    arguments = {"y0": start(), "control": Fixed(n=10)} | change
    with pytest.raises(error, match=message):
        solve(DECAY, ETDRK4(), arguments.pop("y0"), 0.0, 1.0, **arguments)
