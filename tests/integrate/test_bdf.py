"""BDF and NDF: formulas, orders, stability, tolerances, samples with steps and orders of their own, gradients."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import config

from sciml.integrate import (
    BDF,
    NDF,
    ODE,
    PID,
    AbstractBDF,
    Checkpoint,
    Chunks,
    Clip,
    Direct,
    Eager,
    Event,
    Fixed,
    Kvaerno5,
    Newton,
    RadauIIA5,
    SaveAt,
    SemiLinear,
    SolveError,
    solve,
)
from sciml.integrate.implicit import Banded
from sciml.integrate.methods.bdf_formulas import KAPPAS, coefficients, polynomials, sums_of_known
from tests.helpers import final_subclasses, order_table
from tests.orders import errors, unequal
from tests.problems import ode_problems

PROBLEMS = ode_problems()
METHODS: list[AbstractBDF] = [BDF(), NDF()]
"""One case per class."""
ROBERTSON_END = (1.786592114213012e-02, 7.274751468449035e-08, 9.821340061103540e-01)
"""At t = 1e5, by SciPy's Radau at rtol 1e-12."""
METHOD = pytest.mark.parametrize("method", METHODS, ids=["BDF", "NDF"])


def robertson(t, y):
    a, b, c = y.unbind(-1)
    return torch.stack([-0.04 * a + 1e4 * b * c, 0.04 * a - 1e4 * b * c - 3e7 * b * b, 3e7 * b * b], dim=-1)


def oscillator(t, y):
    """Van der Pol, each sample with a stiffness of its own in the third entry."""
    x, v, mu = y.unbind(-1)
    return torch.stack([v, mu * (1 - x * x) * v - x, 0 * mu], dim=-1)


def test_every_method_has_a_case():
    assert {type(method) for method in METHODS} == final_subclasses(AbstractBDF)


# Formulas


def test_equal_steps_give_backward_differences():
    found = coefficients(torch.tensor([0.5]), torch.full((1, 5), 0.5))
    assert torch.allclose(found.beta, torch.ones(1, 5))
    assert torch.allclose(found.alpha[0], 1 / torch.arange(1, 7).double())
    assert float(found.sums[0, 4]) == pytest.approx(137 / 60, rel=1e-15)


def test_slopes_and_dense_output_are_those_of_the_polynomial():
    """States of a polynomial of degree 4 on unequal steps: prediction, differences, slope and values are its own."""
    x, p = np.array([0.0, 0.3, 0.35, 0.8, 1.0, 1.4]), np.poly1d([0.7, -1.0, 0.4, 2.0, -0.3])

    def deltas(n: int) -> torch.Tensor:
        """delta_1, ..., delta_4 at x_n, by divided differences."""
        values, rows = {n - j: p(x[n - j]) for j in range(5)}, []
        for j in range(1, 5):
            values = {i: (values[i] - values[i - 1]) / (x[i] - x[i - j]) for i in range(n - 4 + j, n + 1)}
            rows.append(values[n] * np.prod([x[n] - x[n - i] for i in range(1, j + 1)]))
        return torch.tensor(rows).reshape(1, 4, 1)

    h, past = torch.tensor([x[5] - x[4]]), torch.tensor(np.diff(x)[3::-1].copy())[None]
    numbers, before = coefficients(h, past), deltas(4)
    known = numbers.beta[..., None] * before
    d = p(x[5]) - p(x[4]) - float(known.sum())
    assert abs(d) < 1e-13
    after = (sums_of_known(4, torch.float64, torch.device("cpu"))[4] @ known)[:, :4] + d
    assert torch.allclose(after, deltas(5), rtol=0, atol=1e-13)
    slope = float((numbers.alpha[0, :4] * after[0, :, 0]).sum() / h)
    assert slope == pytest.approx(p.deriv()(x[5]), abs=1e-12)
    theta = torch.tensor([0.3, 0.8, 1.0])
    weights = polynomials(numbers.alpha, torch.tensor([4]), 4)
    inside = theta[:, None] ** torch.arange(1, 5) @ (weights.mT @ after)[0]
    assert np.allclose(inside[:, 0] + p(x[4]), p(x[4] + theta.numpy() * float(h)), atol=1e-12)


@pytest.mark.parametrize(("kappas", "angles"), [((0.0,) * 6, (90, 90, 86, 73, 51)), (KAPPAS, (90, 90, 80, 66, 51))])
def test_stability_is_as_claimed(kappas, angles):
    """rho(w) = z w^k: the locus of z over |w| = 1 stays outside the sector; rho has stable roots; roots vanish at
    infinity, for they are those of w^k."""
    w = np.exp(1j * np.linspace(1e-3, np.pi, 20000))
    for k, angle in enumerate(angles, start=1):
        rho, gamma = sum((1 - 1 / w) ** j / j for j in range(1, k + 1)), sum(1 / j for j in range(1, k + 1))
        z = rho - kappas[k] * gamma * (1 - 1 / w) ** (k + 1)
        left = z.real < -1e-9
        alpha = 90.0 if not left.any() else np.degrees(np.abs(np.pi - np.abs(np.angle(z[left]))).min())
        assert alpha > angle - 1


# Orders


def exact_start(method: AbstractBDF, problem, h: float, steps: int):
    """States and the carry after exact steps, as the method would have them."""
    term = ODE(problem.f)
    y = problem.at(problem.t0)
    carry = method.init(term, problem.t0, y)
    times = [problem.t0 + i * h for i in range(steps + 1)]
    rows = [problem.at(t) for t in times]
    differences, now = [], rows[::-1]
    for _ in range(method.order):
        now = [a - b for a, b in zip(now, now[1:], strict=False)]
        differences.append(now[0])
    past, count = torch.full_like(carry.past, h), torch.full_like(carry.count, method.order)
    return rows[-1], times[-1], carry._replace(deltas=torch.stack(differences, dim=1), past=past, count=count)


@pytest.mark.parametrize("k", range(1, 6))
@pytest.mark.parametrize("kind", [BDF, NDF])
def test_order_after_an_exact_start(kind, k):
    problem, method = PROBLEMS["non_autonomous"], kind(k, variable_order=False)
    t1 = problem.t0 + (0.1 if k == 1 else 0.3 if k == 2 else 1.0)

    def error(n: int) -> float:
        h = (t1 - problem.t0) / n
        y, t, carry = exact_start(method, problem, h, k)
        term = ODE(problem.f)
        for i in range(k, n):
            step = method.step(term, t, problem.t0 + (i + 1) * h, y, carry)
            y, carry, t = step.y, step.carry, problem.t0 + (i + 1) * h
        return float((y - problem.at(t1)).norm())

    counts = [40, 80, 160, 320] if k < 4 else [80, 160, 320]
    order = order_table(f"{kind.__name__} {k}", error, counts)
    assert abs(order - k) < 0.2


@pytest.mark.parametrize("k", [1, 2, 3, *(pytest.param(k, marks=pytest.mark.slow) for k in (4, 5))])
def test_order_of_solves_and_dense_output_on_unequal_steps(k):
    """From the start, by Rodas5P, on: neighbouring steps differ by factors of up to 1.9."""
    problem = PROBLEMS["complex"]
    problem = replace(problem, t1=problem.t0 + {1: 0.05, 2: 0.5}.get(k, 2.0))
    counts = [32, 64, 128] if k < 4 else [128, 256, 512]
    found = {n: errors(BDF(k), problem, unequal(problem, n), dense=True) for n in counts}
    for name in ("end", "dense"):
        order = order_table(f"BDF({k}), {name}", lambda n, name=name: found[n][name], counts)
        assert abs(order - k) < 0.3


@pytest.mark.parametrize("k", [2, 4, 5])
def test_stiff_order_is_the_order(k):
    """Prothero-Robinson, lambda = -1e6: no order is lost; errors are divided by h lambda."""
    term = ODE(lambda t, y: -1e6 * (y - torch.sin(3 * t + 0.5)) + 3 * torch.cos(3 * t + 0.5))

    def error(n: int) -> float:
        y0 = torch.full((1, 1), math.sin(0.5))
        return 1e6 * abs(float(solve(term, BDF(k), y0, 0.0, 2.0, control=Fixed(n=n)).ys) - math.sin(6.5))

    found = [error(n) for n in (20, 40)]
    print(found)
    assert math.log2(found[0] / found[1]) > k - 0.4 and max(found) < 1e-1 * 1e6


# Error control


@pytest.mark.parametrize("method", [BDF(), NDF(), BDF(3, variable_order=False)], ids=repr)
def test_error_follows_the_tolerance(method):
    problem, found = PROBLEMS["oscillator"], []
    for tolerance in (1e-3, 1e-5, 1e-7):
        control = PID(rtol=tolerance, atol=tolerance)
        y1 = solve(ODE(problem.f), method, problem.at(problem.t0), problem.t0, problem.t1, control=control).ys
        found.append(float((y1 - problem.at(problem.t1)).abs().max()))
    print(found)
    # Errors of steps are held at the tolerance, so that those of the solve fall with its power k / (k + 1).
    assert math.log(found[0] / found[2]) / math.log(1e4) > 0.7
    assert found[2] < (100 * 1e-7 if method.variable_order else 1e-4)


@METHOD
def test_robertson_is_solved_in_as_few_evaluations_as_by_scipy(method):
    rtol = 1e-6
    control = PID(rtol=rtol, atol=1e-10)
    solution = solve(ODE(robertson), method, torch.tensor([[1.0, 0.0, 0.0]]), 0.0, 1e5, control=control)
    wanted = torch.tensor(ROBERTSON_END)
    assert float(((solution.ys[0] - wanted).abs() / (wanted.abs() + 1e-4)).max()) < 30 * rtol
    assert int(solution.stats.evaluations) < 895  # that of SciPy 1.17 for BDF
    assert int(solution.stats.rejected) < 0.1 * int(solution.stats.steps)


@pytest.mark.slow
def test_van_der_pol():
    """mu = 1000 over one period, against the published value of Hairer & Wanner's test set."""
    y0 = torch.tensor([[2.0, 0.0, 1000.0]])
    solution = solve(ODE(oscillator), BDF(), y0, 0.0, 2000.0, control=PID(rtol=1e-6, atol=1e-6))
    assert float(solution.ys[0, 0]) == pytest.approx(1.706167732170469, rel=2e-4)


def test_order_rises_from_1():
    """From 1 to high orders where the solution is smooth, and never above what is allowed."""
    term, y = ODE(lambda t, y: -10 * (y - torch.cos(t))), torch.ones(1, 1)
    for most in (5, 2):
        method = BDF(most).tuned(((1e-6, 1e-8),))
        carry, t, seen, h = method.init(term, 0.0, y), 0.0, [], 0.01
        for _ in range(40):
            step = method.step(term, t, t + h, y, carry)
            y, carry, t = step.y, step.carry, t + h
            seen.append(int(carry.order))
        assert seen[0] == 1 and max(seen) == most


# Samples


@METHOD
def test_batch_mates_do_not_matter(method):
    """A sample alone does what it does in a batch, also while others start, finish or meet jumps."""
    y0 = torch.tensor([[2.0, 0.0, 1.0], [2.0, 0.0, 1000.0], [0.5, -1.0, 30.0]])
    t1, jumps = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([[0.5], [1.0], [torch.nan]])
    for executor in (Eager(), Chunks(4)):
        control = Clip(PID(rtol=1e-4, atol=1e-6), jumps=jumps)
        together = solve(ODE(oscillator), method, y0, 0.0, t1, control=control, executor=executor)
        for i in range(3):
            own = Clip(PID(rtol=1e-4, atol=1e-6), jumps=jumps[i : i + 1])
            ends = t1[i : i + 1]
            alone = solve(ODE(oscillator), method, y0[i : i + 1], 0.0, ends, control=own, executor=executor)
            assert alone.stats.steps[0] == together.stats.steps[i]
            assert torch.allclose(alone.ys[0], together.ys[i], rtol=1e-9, atol=1e-11)


def test_joint_steps_keep_one_order_and_are_controlled_together():
    y0 = torch.tensor([[2.0, 0.0, 1.0], [0.5, -1.0, 30.0]])
    control = PID(rtol=1e-6, atol=1e-8, per_sample=False)
    joint = solve(ODE(oscillator), BDF(), y0, 0.0, 1.0, control=control).ys
    own = solve(ODE(oscillator), BDF(), y0, 0.0, 1.0, control=PID(rtol=1e-8, atol=1e-10)).ys
    assert torch.allclose(joint, own, rtol=0, atol=3e-5)


def test_joint_steps_go_on_when_an_event_ends_a_sample():
    """What stands still has no error, though its past has; the batch-mate goes on as before."""
    y0, event = torch.tensor([[1.0], [2.0]]), Event(lambda t, y: y[:, 0] - 0.5)
    control = PID(rtol=1e-4, atol=1e-6, per_sample=False)
    for method in (BDF(), NDF(2, variable_order=False)):
        solution = solve(ODE(lambda t, y: -y), method, y0, 0.0, 1.0, control=control, event=event)
        assert torch.allclose(solution.events.end, torch.tensor([math.log(2.0), 1.0]), rtol=0, atol=2e-3)
        assert float(solution.ys[1, 0]) == pytest.approx(2 / math.e, abs=2e-3)
        without = solve(ODE(lambda t, y: -y), method, y0, 0.0, 1.0, control=control)
        assert int(solution.stats.steps[1]) < 2 * int(without.stats.steps.max())


@pytest.mark.parametrize("k", [2, 3])
def test_dense_output_of_the_first_steps_has_the_form_of_the_others(k):
    """Those by Rodas5P have polynomials of degree 4; all of one solve lie in one table."""
    method, y0, ts = BDF(k, variable_order=False), torch.ones(2, 1), torch.tensor([0.01, 0.5, 1.0])
    term, control = ODE(lambda t, y: -y), PID(rtol=1e-5, atol=1e-5)
    save = SaveAt(ts=ts, dense=True)
    solution = solve(term, method, y0, 0.0, 1.0, control=control, save=save)
    assert torch.allclose(solution.ys[..., 0], torch.exp(-ts).expand(2, 3), rtol=0, atol=1e-3)
    assert torch.allclose(solution(0.25), torch.full((2, 1), math.exp(-0.25)), rtol=0, atol=1e-3)
    own = torch.tensor([[0.12, 0.5], [0.13, 1.0]])
    ends, save = torch.tensor([1.0, 2.0]), SaveAt(ts=own)
    grid = solve(term, method, y0, torch.zeros(2), ends, control=Fixed(n=40), save=save).ys
    assert torch.allclose(grid[..., 0], torch.exp(-own), rtol=0, atol=1e-3)


def test_trees_complex_states_and_single_precision():
    def whole(t, y):
        time = t if t.ndim == 0 else t.reshape(-1)
        return torch.stack([y[:, 1] - y[:, 0] ** 3, -40 * y[:, 1] + y[:, 0] * torch.cos(time)], dim=1)

    y0, control = torch.tensor([[0.3, 1.0], [0.9, -2.0]]), PID(rtol=1e-6, atol=1e-6)
    wanted = solve(ODE(whole), BDF(), y0, 0.0, 1.0, control=control).ys

    def parts(t, y):
        slope = whole(t, torch.cat([y["a"], y["b"][:, 0]], dim=1))
        return {"a": slope[:, :1], "b": slope[:, 1:, None]}

    found = solve(ODE(parts), BDF(), {"a": y0[:, :1], "b": y0[:, 1:, None]}, 0.0, 1.0, control=control).ys
    assert torch.allclose(torch.cat([found["a"], found["b"][:, 0]], dim=1), wanted, rtol=0, atol=1e-11)

    def joined(t, z):
        return torch.view_as_complex(whole(t, torch.view_as_real(z)[:, 0]))[:, None]

    z = solve(ODE(joined), BDF(), torch.view_as_complex(y0)[:, None], 0.0, 1.0, control=control).ys
    assert torch.allclose(torch.view_as_real(z)[:, 0], wanted, rtol=0, atol=1e-4)
    single = solve(ODE(whole), BDF(), y0.float(), 0.0, 1.0, control=PID(rtol=1e-4, atol=1e-4)).ys
    assert single.dtype == torch.float32 and torch.allclose(single.double(), wanted, rtol=0, atol=1e-2)


# Gradients


def field_of(p):
    def field(t, y):
        turned = torch.stack([y[:, 1], -y[:, 0] * y[:, 1]], dim=1)
        return torch.tanh(turned * p) * torch.cos(t * p) - 5 * p * y**3 + torch.sin(3 * t)

    return field


@pytest.mark.parametrize("method", [BDF(1), BDF(3), NDF(4)], ids=lambda m: f"{type(m).__name__}({m.order})")
def test_gradients_of_a_fixed_grid(method):
    y0 = torch.tensor([[0.5, -0.3], [1.0, 0.2]], requires_grad=True)
    p = torch.tensor(1.3, requires_grad=True)

    def final(y0, p, t0, t1):
        return solve(ODE(field_of(p)), method, y0, t0, t1, control=Fixed(n=6)).ys

    for ends in ((0.1, 0.9), ([0.1, 0.2], [0.9, 1.5])):
        t0, t1 = (torch.tensor(t, requires_grad=True) for t in ends)
        assert torch.autograd.gradcheck(final, (y0, p, t0, t1), rtol=1e-7, atol=1e-7)


@METHOD
def test_checkpoint_gives_the_gradient_of_direct(method):
    y0, p = torch.tensor([[0.5, -0.3], [1.0, 0.2]], requires_grad=True), torch.tensor(1.3, requires_grad=True)
    found = []
    for gradient in (Direct(), Checkpoint(4)):
        save = SaveAt(t1=True, ts=torch.tensor([0.3, 0.7]))
        ys = solve(ODE(field_of(p)), method, y0, 0.0, 1.0, control=PID(), gradient=gradient, params=(p,), save=save).ys
        found.append(torch.autograd.grad(ys["t1"].sin().sum() + ys["ts"].square().sum(), (y0, p)))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


@METHOD
def test_gradients_through_jumps_are_as_accurate_as_the_solution(method):
    """A ball that bounces: steps begin anew, at order 1, at a time with a gradient. Were their errors differentiated by
    that time, the gradient would be exact to 1e-5."""
    control = PID(rtol=1e-10, atol=1e-10)
    h, g = torch.tensor([2.0], requires_grad=True), 9.81
    fall = ODE(lambda t, y: torch.stack([y[:, 1], torch.full_like(y[:, 1], -g)], dim=1))
    bounce = Event(
        lambda t, y: y[:, 0], direction=-1, jump=lambda t, y: torch.stack([0 * y[:, 0], -0.8 * y[:, 1]], dim=1)
    )
    y1 = solve(fall, method, torch.stack([h, 0 * h], dim=1), 0.0, 0.8, control=control, event=bounce).ys[0, 0]
    t = torch.sqrt(2 * h / g)
    exact = 0.8 * g * t * (0.8 - t) - g * (0.8 - t).square() / 2
    found, wanted = (float(torch.autograd.grad(y, h)[0]) for y in (y1, exact))
    assert found == pytest.approx(wanted, rel=1e-8)


def test_gradients_of_times_and_outputs_behind_jumps():
    """y' = -y², set from 1/2 to 1: it passes 1/2 at 2 - 1 / y0, and every 1 later."""
    y0 = torch.tensor([[1.5], [1.2]], requires_grad=True)
    again = Event(lambda t, y: y[:, 0] - 0.5, direction=-1, jump=lambda t, y: y + 0.5)
    term, save = ODE(lambda t, y: -y.square()), SaveAt(t1=True, ts=torch.tensor([1.4, 2.35]))
    solution = solve(term, BDF(), y0, 0.0, 2.4, control=PID(rtol=1e-7, atol=1e-7), event=again, save=save)
    first = 2 - 1 / y0
    exact = 1 / (1 + save.ts - first - torch.floor(save.ts - first).detach())  # type: ignore[operator]
    end = 1 / (1 + 2.4 - first - torch.floor(2.4 - first).detach())
    times = torch.cat([first, first + 1], dim=1)
    pairs = [(solution.events[0].times, times), (solution.ys["ts"][..., 0], exact), (solution.ys["t1"], end)]
    for values, closed in pairs:
        assert torch.allclose(values, closed, rtol=0, atol=1e-5)
        found, wanted = (torch.autograd.grad(y.sum(), y0, retain_graph=True)[0] for y in (values, closed))
        assert torch.allclose(found, wanted, rtol=1e-4, atol=0)  # 1e-3 if errors were differentiated by the time


@METHOD
def test_gradient_of_the_first_time_of_adaptive_steps(method):
    """Times of samples, one of which goes backwards, and one for all."""
    y0, rates, controls = torch.tensor([[0.5], [1.0]]), torch.tensor([[1.0], [-2.0]]), PID(rtol=1e-6, atol=1e-6)
    for start, end in (([0.1, 0.9], [0.9, 0.2]), (0.1, 0.9)):
        found = []
        for gradient in (Direct(), Checkpoint(4)):
            t0 = torch.tensor(start, requires_grad=True)
            t1 = torch.tensor(end)
            term = ODE(lambda t, y: rates * y * torch.cos(t))
            y1 = solve(term, method, y0, t0, t1, control=controls, gradient=gradient).ys
            found.append(torch.autograd.grad(y1.sum(), t0)[0])
        t0 = torch.tensor(start, requires_grad=True)
        turned = (torch.sin(t1) - torch.sin(t0)).reshape(-1, 1)
        (wanted,) = torch.autograd.grad((y0 * torch.exp(rates * turned)).sum(), t0)
        assert torch.allclose(*found, rtol=1e-12, atol=1e-12)
        assert torch.allclose(found[0], wanted, rtol=1e-4, atol=0)  # 1e-3 if errors were differentiated


# Refusals


@pytest.fixture
def untyped():
    """Without the checks of annotations that tests run with, as users call."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("kind", [Kvaerno5, RadauIIA5])
def test_what_implicit_methods_are_built_from(kind, untyped):
    name = kind.__name__
    with pytest.raises(TypeError, match=rf"Write {name}\(Newton\(structure=Banded\(lower=1, upper=1\)\)\)"):
        kind(Banded(1, 1))
    with pytest.raises(TypeError, match=rf"`newton` of {name} must be a Newton, got 'x'. Write {name}\(\), or e.g."):
        kind("x")


def test_what_bdf_is_built_from(untyped):
    with pytest.raises(ValueError, match="`order` of BDF must be at most 5, got 7. Order 6 .* take RadauIIA5"):
        BDF(order=7)
    remedy = r"Write BDF\(newton=Newton\(structure=Banded\(lower=1, upper=1\)\)\)"
    with pytest.raises(TypeError, match="the first argument of BDF is `order`, got a Banded. " + remedy):
        BDF(Banded(1, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the first argument of NDF is `order`, got a Newton. Write NDF.newton=Newton"):
        NDF(Newton())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`newton` of BDF must be a Newton, got Banded.*" + remedy):
        BDF(newton=Banded(1, 1))  # type: ignore[arg-type]


def test_what_is_refused():
    with pytest.raises(ValueError, match="`order` must be a whole number of at least 1, got 0"):
        BDF(0)
    with pytest.raises(ValueError, match="`order` of NDF must be at most 5, got 6. Order 6 is hardly stable"):
        NDF(6)
    with pytest.raises(TypeError, match="BDF steps ODE.f. terms, got SemiLinear. Take a method made"):
        solve(SemiLinear(-1.0, lambda t, y: y), BDF(), torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=2))
    rough = ODE(lambda t, y: torch.where(y > 0.5, -1e4, 1e4) * (1 + y * y))
    with pytest.raises(SolveError, match="Newton's iteration for an implicit step did not converge"):
        method = BDF(1, newton=Newton(iterations=3))
        solve(rough, method, torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=2))
