"""Every fully implicit Runge-Kutta method: orders, stiff order, stability, invariants, tolerances, batches, gradients.

Orders are measured on problems with exact solutions as those of the explicit methods are.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from sciml.core.transforms import is_transforming
from sciml.integrate import (
    ODE,
    PID,
    AbstractFullyImplicit,
    AbstractMethod,
    Checkpoint,
    Direct,
    Fixed,
    Forward,
    GaussLegendre4,
    GaussLegendre6,
    RadauIIA3,
    RadauIIA5,
    Result,
    SaveAt,
    SemiLinear,
    StepDoubling,
    solve,
)
from sciml.integrate.methods import coupled
from sciml.integrate.methods.collocation import CollocationTableau
from tests.helpers import final_subclasses, order_table
from tests.orders import errors, unequal
from tests.problems import ExactProblem, ode_problems

PROBLEMS = ode_problems()
METHODS: list[AbstractFullyImplicit] = [RadauIIA3(), RadauIIA5(), GaussLegendre4(), GaussLegendre6()]
"""One case per class."""
RADAU, GAUSS = METHODS[:2], METHODS[2:]
ADAPTIVE: list[AbstractMethod] = [*RADAU, StepDoubling(GaussLegendre4())]


def name_of(method: AbstractMethod) -> str:
    return type(method).__name__


METHOD = pytest.mark.parametrize("method", METHODS, ids=name_of)
ON_RADAU = pytest.mark.parametrize("method", RADAU, ids=name_of)
ON_GAUSS = pytest.mark.parametrize("method", GAUSS, ids=name_of)
ON_ADAPTIVE = pytest.mark.parametrize("method", ADAPTIVE, ids=name_of)


def test_every_method_has_a_case():
    assert {type(method) for method in METHODS} == final_subclasses(AbstractFullyImplicit)


# Tableaus


@pytest.mark.parametrize("c", [(0.0, 1.0), (0.5, 1.5), (0.8, 0.2), (0.5, math.nan)])
def test_nodes_out_of_range_are_refused(c):
    with pytest.raises(ValueError, match=r"nodes must rise within \(0, 1\], got"):
        CollocationTableau(c, order=2)


def test_a_wrong_order_is_refused():
    with pytest.raises(ValueError, match=r"B\(4\) must hold for order 4 at the nodes.*Correct the nodes or the order"):
        CollocationTableau((1 / 3, 1.0), order=4)


def test_error_weights_are_those_of_the_book():
    """Hairer & Wanner II, IV.8: gamma_0 / 3 (-13 - 7 sqrt 6, -13 + 7 sqrt 6, -1)."""
    tableau, root = RadauIIA5.tableau, math.sqrt(6)
    wanted = np.array([-13 - 7 * root, -13 + 7 * root, -1]) / 3
    assert tableau.error is not None and tableau.filter_shift is not None
    assert np.abs(tableau.error / tableau.filter_shift - wanted).max() < 1e-13
    assert np.abs(tableau.a[2] - [(16 - root) / 36, (16 + root) / 36, 1 / 9]).max() < 1e-15


# Orders


@pytest.mark.parametrize(
    "problem",
    [pytest.param(name, marks=pytest.mark.slow if name in ("autonomous", "complex") else ()) for name in PROBLEMS],
)
@METHOD
def test_order_is_as_stated(method, problem):
    exact, counts = PROBLEMS[problem], [4, 8, 16, 32, 64][: 4 if method.order > 5 else 5]
    exact = replace(exact, t1=exact.t0 + 0.5 * (exact.t1 - exact.t0))
    grids = {n: torch.linspace(exact.t0, exact.t1, n + 1) for n in counts}
    found = {n: errors(method, exact, grid, dense=False)["end"] for n, grid in grids.items()}
    order = order_table(f"{name_of(method)} on {problem}", found.__getitem__, counts)
    assert order == pytest.approx(method.order, abs=0.2)


@METHOD
def test_orders_of_states_and_dense_output_on_unequal_steps(method):
    exact, counts = PROBLEMS["non_autonomous"], [32, 64, 128, 256][: method.dense_order + 1]
    found = {n: inside(method, exact, unequal(exact, n)) for n in counts}
    order = order_table(f"{name_of(method)}, unequal steps", lambda n: found[n][0], counts)
    assert order == pytest.approx(method.order, abs=0.2)
    order = order_table(f"{name_of(method)}, between", lambda n: found[n][1], counts)
    assert order == pytest.approx(min(method.order, method.dense_order + 1), abs=0.2)


def inside(method: AbstractMethod, problem: ExactProblem, grid: Tensor) -> tuple[float, float]:
    """Error at the end, and the largest one at three places within every step."""
    ts = (grid[:-1, None] + torch.tensor([0.2, 0.45, 0.7]) * grid.diff()[:, None]).flatten()
    y0, save = problem.at(problem.t0), SaveAt(t1=True, ts=ts)
    ys = solve(ODE(problem.f), method, y0, problem.t0, problem.t1, control=Fixed(ts=grid), save=save).ys
    between = (ys["ts"] - problem.exact(ts)).norm(dim=-1).max()
    return float((ys["t1"] - problem.at(problem.t1)).norm()), float(between)


def test_gauss_of_order_4_with_explicit_time():
    """y' = cos(t) y, where nodes that are equal by mistake give order 1 and 1.6e-2 at 128 steps."""
    y0, exact = torch.ones(1, 1), math.exp(math.sin(10.0))

    def error(n: int) -> float:
        ys = solve(ODE(lambda t, y: t.cos() * y), GaussLegendre4(), y0, 0.0, 10.0, control=Fixed(n=n)).ys
        return abs(float(ys) - exact)

    assert order_table("GaussLegendre4 on cos(t) y", error, [16, 32, 64, 128]) == pytest.approx(4, abs=0.2)
    assert error(128) < 1e-6


@ON_RADAU
def test_error_estimate_has_its_order(method):
    problem = PROBLEMS["non_autonomous"]
    term, y0 = ODE(problem.f), problem.at(problem.t0)

    def estimate(n: int) -> float:
        carry = method.init(term, problem.t0, y0)
        return float(method.step(term, problem.t0, problem.t0 + 1.0 / n, y0, carry).error.norm())

    counts = [8 * 2**i for i in range(5)]
    slope = math.log2(estimate(counts[-2]) / estimate(counts[-1]))
    print(f"\n{name_of(method)}: error estimate of order {slope:.2f}, stated {method.error_order}")
    assert slope == pytest.approx(method.error_order, abs=0.2)


STIFF_ORDERS = {RadauIIA3: 2, RadauIIA5: 3, GaussLegendre4: 2, GaussLegendre6: 4}
"""Where h |lambda| is large. Hairer & Wanner II, IV.15, table 15.1: h^(s+1) / (h lambda) for Radau IIA, for Gauss
h^s with an even number of stages and h^(s+1) with an odd one."""


@METHOD
def test_stiff_order(method):
    """Prothero-Robinson, y' = lambda (y - phi) + phi' with lambda = -1e6: from 2 s or 2 s - 1 down to these orders."""
    size = 1e3 if method in RADAU else 1.0  # Radau IIA is divided by lambda

    def phi(t: Tensor) -> Tensor:
        return size * torch.sin(0.5 + 2 * t)

    def field(t: Tensor, y: Tensor) -> Tensor:
        return -1e6 * (y - phi(t)) + 2 * size * torch.cos(0.5 + 2 * t)

    def error(n: int) -> float:
        y0 = phi(torch.zeros(1, 1))
        ys = solve(ODE(field), method, y0, 0.0, 1.0, control=Fixed(n=n)).ys
        return float((ys - phi(torch.ones(1, 1))).abs())

    order = order_table(f"{name_of(method)}, Prothero-Robinson", error, [3, 6, 12, 24])
    assert order == pytest.approx(STIFF_ORDERS[type(method)], abs=0.25)


# Stability


def growth(method: AbstractFullyImplicit, z: np.ndarray) -> np.ndarray:
    """R(z) = 1 + z b^T (I - z A)^-1 1."""
    a, b = method.tableau.a, method.tableau.b
    eye, ones = np.eye(len(b)), np.ones(len(b))
    return np.array([1 + s * b @ np.linalg.solve(eye - s * a, ones) for s in z])


@METHOD
def test_stable_in_the_left_half_plane(method):
    """By the maximum principle: no pole there, and at most 1 on the imaginary axis."""
    assert (np.linalg.eigvals(method.tableau.a).real > 0).all()
    axis = np.abs(growth(method, 1j * np.logspace(-3, 6, 200)))
    assert axis.max() < 1 + 1e-12
    at_infinity = abs(1 - method.tableau.b @ np.linalg.solve(method.tableau.a, np.ones(method.stages)))
    if method in RADAU:
        assert at_infinity < 1e-13
    else:
        assert at_infinity == pytest.approx(1, abs=1e-12) and axis.min() > 1 - 1e-12


@METHOD
def test_a_step_grows_as_the_tableau_says(method):
    rates = torch.tensor([-1e10 + 0j, -3.0 + 2.0j, 1e3j, -0.5 + 40.0j])
    y0 = torch.ones(4, 1, dtype=torch.complex128)
    y1 = solve(ODE(lambda t, y: rates[:, None] * y), method, y0, 0.0, 1.0, control=Fixed(n=1)).ys
    assert np.abs(y1[:, 0].numpy() - growth(method, rates.numpy())).max() < 1e-9


# Invariants


def rigid_body(t: Tensor, y: Tensor) -> Tensor:
    """Euler's equations with moments of inertia 2, 1 and 2/3: |y|² and the energy are quadratic invariants."""
    a, b, c = y.unbind(-1)
    return torch.stack([(1.5 - 1) * b * c, (0.5 - 1.5) * c * a, (1 - 0.5) * a * b], dim=-1)


def drift(method: AbstractMethod) -> float:
    """Largest change of two quadratic invariants of the rigid body in 200 steps of 0.25."""
    y0 = torch.tensor([[math.cos(1.1), 0.0, math.sin(1.1)]])
    ys = solve(ODE(rigid_body), method, y0, 0.0, 50.0, control=Fixed(n=200), save=SaveAt(every=1)).ys
    invariants = torch.stack([ys.square().sum(-1), (ys.square() * torch.tensor([0.5, 1.0, 1.5])).sum(-1)])
    start = torch.stack([y0.square().sum(-1), (y0.square() * torch.tensor([0.5, 1.0, 1.5])).sum(-1)])
    return float((invariants - start[..., None]).abs().max())


@ON_GAUSS
def test_gauss_conserves_quadratic_invariants_to_rounding(method):
    assert drift(method) < 200 * 4 * torch.finfo(torch.float64).eps


def test_radau_does_not():
    assert drift(RadauIIA5()) > 1e-9


def pendulum(t: Tensor, y: Tensor) -> Tensor:
    q, p = y.unbind(-1)
    return torch.stack([p, -q.sin()], dim=-1)


def energy_errors(method: AbstractMethod) -> Tensor:
    """Of the pendulum over 400 steps of 0.25."""
    y0 = torch.tensor([[2.0, 0.0]])
    ys = solve(ODE(pendulum), method, y0, 0.0, 100.0, control=Fixed(n=400), save=SaveAt(every=1)).ys[0]
    return (ys[:, 1] ** 2 / 2 - ys[:, 0].cos() + math.cos(2.0)).abs()


def test_gauss_keeps_the_energy_of_the_pendulum_for_ever():
    error = energy_errors(GaussLegendre4())
    assert error.max() < 1e-4
    assert error[200:].max() < 1.05 * error[:200].max()


def test_radau_loses_energy_steadily():
    error = energy_errors(RadauIIA3())
    assert error[200:].max() > 1.8 * error[:200].max()


# Tolerances


@ON_ADAPTIVE
def test_error_follows_the_tolerance(method):
    problem, found = PROBLEMS["non_autonomous"], []
    tolerances = (1e-3, 1e-5, 1e-7)
    for tolerance in tolerances:
        control = PID(rtol=tolerance, atol=tolerance)
        y1 = solve(ODE(problem.f), method, problem.at(problem.t0), problem.t0, problem.t1, control=control).ys
        found.append(float((y1 - problem.at(problem.t1)).abs().max()))
    slope = math.log(found[0] / found[-1]) / math.log(tolerances[0] / tolerances[-1])
    print(f"\n{name_of(method)}: errors {found} at {tolerances}, power {slope:.2f}")
    assert found[0] > found[1] > found[2]
    power = min(method.order / method.error_order, 1.0)  # Newton stops at a part of the tolerance
    assert 0.7 * power < slope < 1.4 * max(method.order / method.error_order, 1.0)
    assert all(error < 20 * tolerance**power for error, tolerance in zip(found, tolerances, strict=True))


ROBERTSON_END = (0.03898337708549223, 1.6217683159100242e-07, 0.9610164607376791)
"""At t = 4e4, by SciPy's Radau at rtol 1e-13, atol 1e-18."""


def robertson(rates: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Robertson's reactions, with rates (3,) or (batch, 3)."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        (a, b, c), (k1, k2, k3) = y.unbind(-1), rates.unbind(-1)
        decay, meeting, back = k1 * a, k2 * b * b, k3 * b * c
        return torch.stack([back - decay, decay - back - meeting, meeting], dim=-1)

    return field


RATES = torch.tensor([0.04, 3e7, 1e4])
START = torch.tensor([[1.0, 0.0, 0.0]])


@ON_RADAU
def test_tolerances_are_honoured_on_a_stiff_problem(method):
    end = torch.tensor([ROBERTSON_END])
    for tolerance in (1e-4, 1e-6) if method.order > 3 else (1e-3, 1e-5):
        control = PID(rtol=tolerance, atol=1e-6 * tolerance)
        solution = solve(ODE(robertson(RATES)), method, START, 0.0, 4e4, control=control)
        error = float(((solution.ys - end).abs() / end).max())
        print(f"\n{name_of(method)} at {tolerance:g}: {error:.1e}, {int(solution.stats.steps[0])} steps")
        assert error < 20 * tolerance


def test_dense_output_is_as_accurate_as_the_tolerance_on_a_stiff_problem():
    ts = torch.logspace(-3, 4, 15)
    field = ODE(robertson(RATES))
    tight = solve(field, RadauIIA5(), START, 0.0, 1e4, control=PID(rtol=1e-9, atol=1e-15), save=SaveAt(ts=ts)).ys
    loose = solve(field, RadauIIA5(), START, 0.0, 1e4, control=PID(rtol=1e-5, atol=1e-11), save=SaveAt(ts=ts)).ys
    assert float(((loose - tight).abs() / (tight.abs() + 1e-6)).max()) < 1e-4


# Batches


@ON_RADAU
def test_samples_of_different_stiffness_are_as_alone(method):
    rates = RATES * torch.tensor([[1.0, 1.0, 1.0], [1e-2, 1e-5, 1e-3], [10.0, 3.0, 0.1], [1e-3, 1e-8, 1e-6]])
    y0, control = START.expand(4, 3), PID(rtol=1e-5, atol=1e-10)
    together = solve(ODE(robertson(rates)), method, y0, 0.0, 1e3, control=control)
    for i in range(4):
        alone = solve(ODE(robertson(rates[i : i + 1])), method, START, 0.0, 1e3, control=control)
        assert float((together.ys[i] - alone.ys[0]).abs().max()) < 1e-12
        for count in ("steps", "attempts", "evaluations"):
            assert int(getattr(together.stats, count)[i]) == int(getattr(alone.stats, count)[0])
    assert len(set(together.stats.steps.tolist())) == 4


@ON_RADAU
def test_joint_steps_are_those_of_the_sample_alone(method):
    def run(per_sample: bool) -> Any:
        control = PID(rtol=1e-5, atol=1e-10, per_sample=per_sample)
        return solve(ODE(robertson(RATES)), method, START, 0.0, 1e3, control=control)

    own, joint = run(True), run(False)
    assert float((own.ys - joint.ys).abs().max()) < 1e-12
    assert own.stats.evaluations.tolist() == joint.stats.evaluations.tolist()


def test_jacobians_are_kept_while_newton_converges():
    made = 0

    def field(t: Tensor, y: Tensor) -> Tensor:
        nonlocal made
        made += is_transforming()
        return robertson(RATES)(t, y)

    solution = solve(ODE(field), RadauIIA5(), START, 0.0, 1e3, control=PID(rtol=1e-6, atol=1e-12))
    assert 5 < made < 0.7 * int(solution.stats.attempts[0])


def test_a_step_without_a_solution_fails_alone():
    """z = h (1 + z)² has no real solution for the second sample."""
    scale = torch.tensor([[0.01], [1.0]])
    for method in METHODS:
        solution = solve(
            ODE(lambda t, y: scale * y * y), method, torch.ones(2, 1), 0.0, 4.0, control=Fixed(n=2), throw=False
        )
        assert solution.result.tolist() == [Result.SUCCESS, Result.NOT_CONVERGED]
        assert float(solution.ys[0]) == pytest.approx(1 / (1 - 0.04), rel=1e-6)


# Gradients


class Oscillator(torch.nn.Module):
    """Van der Pol with a parameter, and a force with explicit time."""

    def __init__(self) -> None:
        super().__init__()
        self.mu = torch.nn.Parameter(torch.tensor(8.0))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        x, v = y.unbind(-1)
        return torch.stack([v, self.mu * (1 - x * x) * v - x + 0.3 * torch.cos(t.reshape(-1))], dim=-1)


def unrolled(method: AbstractFullyImplicit, field: Any, y: Tensor, t0: Any, t1: Any, steps: int) -> Tensor:
    """Steps whose equations are solved by fifteen full Newton iterations, everything recorded."""
    tableau, size = method.tableau, y.shape[1]
    a, c, d = (torch.tensor(part) for part in (tableau.a, tableau.c, tableau.end))
    h = ((t1 - t0) / steps) * torch.ones(len(y))
    for n in range(steps):
        t = t0 + n * h

        def g(z: Tensor, y: Tensor = y, t: Tensor = t) -> Tensor:
            stages = z.unflatten(1, (-1, size)).unbind(1)
            slopes = [field((t + c[j] * h)[:, None], y + part) for j, part in enumerate(stages)]
            return (h[:, None, None] * (a @ torch.stack(slopes, dim=1))).flatten(1) - z

        z = torch.zeros(len(y), size * len(c))
        for _ in range(15):
            jacobian = torch.autograd.functional.jacobian(lambda x, g=g: g(x).sum(0), z.detach())  # (m, batch, m)
            z = z - torch.linalg.solve(jacobian.movedim(1, 0), g(z))
        y = y + (d @ z.unflatten(1, (-1, size)))
    return y


def gradients_of(run: Callable[[Any, Tensor, Tensor, Tensor], Tensor]) -> list[Tensor]:
    field = Oscillator()
    y0 = torch.tensor([[2.0, 0.0], [0.5, 1.0], [1.2, -0.3]], requires_grad=True)
    t0, t1 = torch.tensor(0.1, requires_grad=True), torch.tensor([0.7, 1.0, 0.4], requires_grad=True)
    weights = torch.tensor([[1.0, 0.3], [-0.5, 0.2], [0.7, 1.0]])
    return list(torch.autograd.grad((run(field, y0, t0, t1) * weights).sum(), [y0, t0, t1, field.mu]))


def relative(found: list[Tensor], wanted: list[Tensor]) -> float:
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("gradient", [Direct(), Checkpoint()], ids=lambda g: type(g).__name__)
@METHOD
def test_gradients_are_those_of_differentiating_through(method, gradient):
    wanted = gradients_of(lambda f, y, t0, t1: unrolled(method, f, y, t0, t1, 4))
    found = gradients_of(
        lambda f, y, t0, t1: solve(ODE(f), method, y, t0, t1, control=Fixed(n=4), gradient=gradient).ys
    )
    assert relative(found, wanted) < 1e-9


@METHOD
def test_gradients_of_large_states_are_the_same(method, monkeypatch):
    """Where the matrix of all stages would be too large, the transposed equations are iterated."""

    def run(field: Any, y: Tensor, t0: Tensor, t1: Tensor) -> Tensor:
        return solve(ODE(field), method, y, t0, t1, control=Fixed(n=4)).ys

    wanted = gradients_of(run)
    monkeypatch.setattr(coupled, "_MATRIX", 0)
    assert relative(gradients_of(run), wanted) < 1e-9


# What torch imports for forward mode warns of its own use of torch.jit.script.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("limit", [0, 512])
def test_forward_derivatives_are_the_same(monkeypatch, limit):
    monkeypatch.setattr(coupled, "_MATRIX", limit)
    y0, direction = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.3, -1.0]])
    field = Oscillator().requires_grad_(False)

    def run(y: Tensor, gradient: Any) -> Tensor:
        return solve(ODE(field), RadauIIA5(), y, 0.0, 0.6, control=Fixed(n=4), gradient=gradient).ys

    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(run(forward_ad.make_dual(y0, direction), Forward())).tangent
    assert tangent is not None
    jacobian = torch.autograd.functional.jacobian(lambda y: run(y, Direct())[0], y0)[:, 0]
    assert float((tangent[0] - jacobian @ direction[0]).norm() / tangent.norm()) < 1e-9


@pytest.mark.parametrize("method", [RadauIIA5(), StepDoubling(GaussLegendre4())], ids=name_of)
def test_gradients_of_adaptive_steps_do_not_depend_on_the_mode(method):
    ts = torch.tensor([0.25, 0.6])

    def run(gradient: Any) -> Callable[..., Tensor]:
        control = PID(rtol=1e-4, atol=1e-6)
        return lambda f, y, t0, t1: (
            solve(
                ODE(f), method, y, t0, t1.detach().max(), control=control, save=SaveAt(ts=ts), gradient=gradient
            ).ys.sum(1)
            + 0 * t1[:, None]
        )

    assert relative(gradients_of(run(Checkpoint()))[:2], gradients_of(run(Direct()))[:2]) < 1e-9


def test_adaptive_gradients_are_those_of_the_solution():
    """Against central differences of a much tighter solve."""

    def end(log_rates: Tensor, tolerance: float) -> Tensor:
        control = PID(rtol=tolerance, atol=1e-6 * tolerance)
        return solve(ODE(robertson(log_rates.exp())), RadauIIA5(), START, 0.0, 40.0, control=control).ys[0, 0]

    log_rates = RATES.log().requires_grad_()
    (found,) = torch.autograd.grad(end(log_rates, 1e-6), log_rates)
    shifts = 1e-3 * torch.cat([torch.eye(3), -torch.eye(3)])
    control = PID(rtol=1e-8, atol=1e-14)
    field = robertson((log_rates.detach() + shifts).exp())
    with torch.no_grad():
        ends = solve(ODE(field), RadauIIA5(), START.expand(6, 3), 0.0, 40.0, control=control).ys[:, 0]
    wanted = (ends[:3] - ends[3:]) / 2e-3
    assert float((found - wanted).norm() / wanted.norm()) < 1e-4


# States


def test_complex_states_are_pairs_of_reals():
    problem = PROBLEMS["complex"]
    y0 = problem.at(0.0)

    def pairs(t: Tensor, y: Tensor) -> Tensor:
        return torch.view_as_real(problem.f(t, torch.view_as_complex(y)))

    for method, control in ((RadauIIA5(), PID(rtol=1e-7, atol=1e-9)), (GaussLegendre6(), Fixed(n=10))):
        ts = torch.tensor([0.3, 1.1])
        save = SaveAt(t1=True, ts=ts)
        one = solve(ODE(problem.f), method, y0, 0.0, 2.0, control=control, save=save).ys
        two = solve(ODE(pairs), method, torch.view_as_real(y0), 0.0, 2.0, control=control, save=save).ys
        for key in ("t1", "ts"):
            # The norms of step control differ: of moduli and of parts.
            assert float((torch.view_as_real(one[key]) - two[key]).abs().max()) < (1e-6 if control is not None else 0)
        if isinstance(control, Fixed):
            assert float((torch.view_as_real(one["t1"]) - two["t1"]).abs().max()) < 1e-13


def test_trees_are_as_their_tensors_in_a_row():
    y0 = {"x": torch.tensor([[2.0], [0.5]]), "v": torch.tensor([[[0.0]], [[1.0]]])}

    def tree(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        x, v = y["x"], y["v"][..., 0]
        return {"v": (5 * (1 - x * x) * v - x)[..., None], "x": v}

    def row(t: Tensor, y: Tensor) -> Tensor:
        x, v = y.unbind(-1)
        return torch.stack([v, 5 * (1 - x * x) * v - x], dim=-1)

    control, save = PID(rtol=1e-6, atol=1e-8), SaveAt(ts=torch.tensor([0.5, 3.0]))
    found = solve(ODE(tree), RadauIIA5(), y0, 0.0, 3.0, control=control, save=save).ys
    plain = torch.tensor([[2.0, 0.0], [0.5, 1.0]])
    wanted = solve(ODE(row), RadauIIA5(), plain, 0.0, 3.0, control=control, save=save).ys
    assert found["v"].shape == (2, 2, 1, 1)
    both = torch.cat([found["x"], found["v"][..., 0]], dim=-1)
    assert float((both - wanted).abs().max()) < 1e-11


@METHOD
def test_float32(method):
    y0 = torch.tensor([[1.0, 0.0]], dtype=torch.float32)
    exact = solve(ODE(pendulum), GaussLegendre6(), y0.double(), 0.0, 2.0, control=Fixed(n=40)).ys
    fixed = solve(ODE(pendulum), method, y0, 0.0, 2.0, control=Fixed(n=40))
    assert fixed.ys.dtype == torch.float32
    assert float((fixed.ys - exact).abs().max()) < 1e-4
    if method.has_error:
        found = solve(ODE(pendulum), method, y0, 0.0, 2.0, control=PID(rtol=1e-4, atol=1e-5)).ys
        assert found.dtype == torch.float32 and float((found - exact).abs().max()) < 1e-3


# Refusals


@METHOD
def test_other_terms_are_refused(method):
    term = SemiLinear(-1.0, lambda t, y: y)
    with pytest.raises(TypeError, match=rf"{name_of(method)} steps ODE\(f\) terms, got SemiLinear. Take a method made"):
        solve(term, method, torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=2))


@ON_GAUSS
def test_gauss_needs_a_grid(method):
    with pytest.raises(ValueError, match=rf"{name_of(method)} has no error estimate, so its step must be given"):
        solve(ODE(pendulum), method, torch.ones(1, 2), 0.0, 1.0)
