"""Every Rosenbrock method: tableaus, orders, stiff order, stability, tolerances, batches, gradients, refusals.

Orders are measured on problems with exact solutions as those of the explicit methods are.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import config

from sciml.integrate import (
    ODE,
    PID,
    AbstractRosenbrock,
    Checkpoint,
    Direct,
    Event,
    Fixed,
    Forward,
    Newton,
    Result,
    Rodas5P,
    Rosenbrock23,
    RosenbrockTableau,
    SaveAt,
    SemiLinear,
    SolveError,
    solve,
)
from sciml.integrate.implicit import Banded, Dense, Diagonal, Fourier, Krylov
from tests.helpers import final_subclasses, order_table
from tests.orders import errors, unequal
from tests.problems import ode_problems

PROBLEMS = ode_problems()
METHODS: list[AbstractRosenbrock] = [Rosenbrock23(), Rodas5P()]
"""One case per class."""


def name_of(method: AbstractRosenbrock) -> str:
    return type(method).__name__


METHOD = pytest.mark.parametrize("method", METHODS, ids=name_of)


def test_every_method_has_a_case():
    assert {type(method) for method in METHODS} == final_subclasses(AbstractRosenbrock)


# Tableaus


@METHOD
def test_l_stable(method):
    """R(z) = 1 + z b (I - z (alpha + Gamma))^-1 1: at most 1 left of the imaginary axis, 0 at infinity."""
    tableau = method.tableau
    _, beta, gammas = tableau.matrices()
    b, one = np.array(tableau.m) @ gammas, np.ones(tableau.stages)
    assert abs(1 - b @ np.linalg.solve(beta, one)) < 1e-9

    def grown(z: complex) -> float:
        return abs(1 + z * b @ np.linalg.solve(np.eye(tableau.stages) - z * beta, one))

    assert max(grown(1j * w) for w in np.logspace(-2, 4, 200)) < 1 + 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": 3}, r"the sum of m over the tree .* of order 3 must be"),
        ({"nodes": (0.0, 0.4, 1.0)}, "the node of stage 1, the row sum of alpha, must be 0.4, got 0.5"),
        ({"drifts": (0.3, 0.0, -0.3)}, "the drift of stage 0, the row sum of Gamma"),
        ({"error_order": 2}, "the error estimate must not vanish at error_order=2"),
        ({"gamma": 0.3}, r"must be"),
        ({"error": (1.0,)}, "the length of error must be 3, got 1"),
        ({"dense": ((1.0, 2.0), (0.0, 0.0), (0.0, 0.0))}, "in dense on the tree"),
    ],
)
def test_wrong_tableaus_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(Rosenbrock23.tableau, **change)
    assert isinstance(Rosenbrock23.tableau, RosenbrockTableau)


def test_error_that_vanishes_is_refused():
    with pytest.raises(ValueError, match="must not vanish at error_order=2"):
        replace(Rosenbrock23.tableau, error_order=2)


# Orders


@pytest.mark.parametrize("problem", PROBLEMS)
@METHOD
def test_order_is_as_stated(method, problem):
    exact = PROBLEMS[problem]
    counts = [16, 32, 64, 128]
    share = 1.0 if method.order > 2 else 0.2
    exact = replace(exact, t1=exact.t0 + share * (exact.t1 - exact.t0))
    found = {n: errors(method, exact, torch.linspace(exact.t0, exact.t1, n + 1), dense=False) for n in counts}
    order = order_table(f"{name_of(method)} on {problem}", lambda n: found[n]["end"], counts)
    # On linear problems the leading error of Rodas5P is small.
    assert method.order - 0.3 < order < method.order + (1.2 if problem == "oscillator" and method.order == 5 else 0.2)


@METHOD
def test_orders_of_states_and_dense_output_on_unequal_steps(method):
    exact, counts = PROBLEMS["non_autonomous"], [64, 128, 256]
    found = {n: errors(method, exact, unequal(exact, n), dense=True) for n in counts}
    for name, expected in (("end", method.order), ("dense", min(method.order, method.dense_order + 1))):
        order = order_table(f"{name_of(method)}, {name}", lambda n, name=name: found[n][name], counts)
        assert abs(order - expected) < 0.3


@METHOD
def test_error_estimate_has_its_order(method):
    problem = PROBLEMS["non_autonomous"]
    term, y = ODE(problem.f), problem.at(problem.t0)
    found = [float(method.step(term, 0.0, h, y, ()).error.norm()) for h in (0.02, 0.01, 0.005)]
    assert math.log2(found[1] / found[2]) == pytest.approx(method.error_order, abs=0.25)


@pytest.mark.parametrize(("method", "least"), [(Rosenbrock23(), 1.8), (Rodas5P(), 3.8)], ids=["23", "5P"])
def test_stiff_order_of_prothero_and_robinson(method, least):
    """y' = lambda (y - g) + g', lambda = -1e6: order 2 and order 4, as Rodas5P was made for."""
    term = ODE(lambda t, y: -1e6 * (y - torch.sin(t + 0.5)) + torch.cos(t + 0.5))

    def error(n: int) -> float:
        y0 = torch.full((1, 1), math.sin(0.5))
        return abs(float(solve(term, method, y0, 0.0, 1.0, control=Fixed(n=n)).ys) - math.sin(1.5))

    found = [error(n) for n in (4, 8, 16)]
    print(found)
    # Errors of Rodas5P are so small that rounding, times lambda, comes soon.
    assert math.log2(found[0] / found[1]) > least or found[1] < 1e-10
    assert found[2] < (1e-3 if method.order == 2 else 1e-8)


# Problems


def test_tolerances_are_honoured_on_van_der_pol_and_robertson():
    """End states of SciPy's Radau at rtol 1e-12."""
    robertson = (1.786592114213012e-02, 7.274751468449035e-08, 9.821340061103540e-01)

    def field(t, y):
        a, b, c = y.unbind(-1)
        return torch.stack([-0.04 * a + 1e4 * b * c, 0.04 * a - 1e4 * b * c - 3e7 * b * b, 3e7 * b * b], dim=-1)

    for method, rtol, factor in ((Rosenbrock23(), 1e-4, 50), (Rodas5P(), 1e-6, 50)):
        control = PID(rtol=rtol, atol=1e-4 * rtol)
        y1 = solve(ODE(field), method, torch.tensor([[1.0, 0.0, 0.0]]), 0.0, 1e5, control=control).ys[0]
        wanted = torch.tensor(robertson)
        assert float(((y1 - wanted).abs() / (wanted.abs() + 1e-4)).max()) < factor * rtol


def oscillator(t, y):
    """Van der Pol, each sample with a stiffness of its own in the third entry."""
    x, v, mu = y.unbind(-1)
    return torch.stack([v, mu * (1 - x * x) * v - x, 0 * mu], dim=-1)


@METHOD
def test_batch_mates_do_not_matter(method):
    y0 = torch.tensor([[2.0, 0.0, 1.0], [2.0, 0.0, 1000.0], [0.5, -1.0, 30.0]])
    control = PID(rtol=1e-4, atol=1e-6)
    together = solve(ODE(oscillator), method, y0, 0.0, 2.0, control=control)
    for i in range(3):
        alone = solve(ODE(oscillator), method, y0[i : i + 1], 0.0, 2.0, control=control)
        assert alone.stats.steps[0] == together.stats.steps[i]
        assert torch.allclose(alone.ys[0], together.ys[i], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("structure", [Banded(1, 1), Krylov()], ids=["Banded", "Krylov"])
def test_structures_agree_with_the_full_matrix(structure):
    def field(t, y):
        left, right = torch.roll(y, 1, -1), torch.roll(y, -1, -1)
        mask = torch.ones(6)
        mask[0] = 0.0
        return 50 * (left * mask - 2 * y + right * mask.flip(0)) - y**3

    y0 = torch.linspace(0, 1, 12).reshape(2, 6)
    full, other = (
        solve(ODE(field), Rodas5P(structure=s), y0, 0.0, 0.1, control=Fixed(n=4)).ys for s in (Dense(), structure)
    )
    assert torch.allclose(full, other, rtol=0, atol=1e-9)


def test_trees_and_complex_states_are_those_of_their_parts():
    def whole(t, y):
        return torch.stack([y[:, 1] - y[:, 0] ** 3, -40 * y[:, 1] + y[:, 0] * torch.cos(t)], dim=1)

    y0 = torch.tensor([[0.3, 1.0], [0.9, -2.0]])
    wanted = solve(ODE(whole), Rodas5P(), y0, 0.0, 1.0, control=Fixed(n=8)).ys
    tree = {"a": y0[:, :1], "b": y0[:, 1:, None]}

    def parts(t, y):
        slope = whole(t, torch.cat([y["a"], y["b"][:, 0]], dim=1))
        return {"a": slope[:, :1], "b": slope[:, 1:, None]}

    found = solve(ODE(parts), Rodas5P(), tree, 0.0, 1.0, control=Fixed(n=8)).ys
    assert torch.allclose(torch.cat([found["a"], found["b"][:, 0]], dim=1), wanted, rtol=0, atol=1e-13)

    def joined(t, z):
        return torch.view_as_complex(whole(t, torch.view_as_real(z)[:, 0]))[:, None]

    z = solve(ODE(joined), Rodas5P(), torch.view_as_complex(y0)[:, None], 0.0, 1.0, control=Fixed(n=8)).ys
    assert torch.allclose(torch.view_as_real(z)[:, 0], wanted, rtol=0, atol=1e-13)


# Times that a batch shares


SHARED = {
    "t1 of each sample": lambda: ((0.0, torch.tensor([1.0, 2.0])), PID(rtol=1e-4, atol=1e-6), None),
    "t0 with a gradient": lambda: ((torch.tensor(0.0, requires_grad=True), 1.0), PID(rtol=1e-4, atol=1e-6), None),
    "event on a grid": lambda: ((0.0, 1.0), Fixed(n=16), Event(lambda t, y: y[:, 0] - 0.5)),
    "event of joint steps": lambda: (
        (0.0, 1.0),
        PID(rtol=1e-4, atol=1e-6, per_sample=False),
        Event(lambda t, y: y[:, 0] - 0.5),
    ),
}


@pytest.mark.parametrize("case", SHARED)
@METHOD
def test_times_that_a_batch_shares(method, case):
    """They are one number in memory, of which forward mode wants as many as there are samples; so with the state."""
    (t0, t1), control, event = SHARED[case]()
    y0 = torch.tensor([[0.8]]).expand(2, 1)
    solution = solve(ODE(lambda t, y: -2 * t * y), method, y0, t0, t1, control=control, event=event)
    end = torch.as_tensor(t1).expand(2)
    if event is not None:
        end = torch.full((2,), math.sqrt(math.log(1.6)))
        assert torch.allclose(solution.events.end, end, rtol=0, atol=2e-3)
    assert torch.allclose(solution.ys[:, 0], 0.8 * torch.exp(-(end**2)), rtol=0, atol=2e-3)


# Matrices that cannot be solved with

STRUCTURES = [Dense(), Diagonal(), Banded(0, 0), Krylov()]
STRUCTURE = pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: type(s).__name__)


@STRUCTURE
@pytest.mark.parametrize("kind", [Rosenbrock23, Rodas5P])
def test_singular_matrices_fail_at_their_step(kind, structure):
    """1 - h gamma J = 0 exactly, by an h for which 1 / (h gamma) is not rounded away; in a batch-mate it is 2."""
    gamma = kind.tableau.gamma
    h = next(float(h) for h in np.arange(32, 64) / 256 if h * gamma * (1 / (h * gamma)) == 1.0)
    slope = 1 / (h * gamma)
    y0, slopes, method = torch.ones(2, 1), torch.tensor([[slope], [-slope]]), kind(structure)
    term = ODE(lambda t, y: slopes * y)
    assert method.step(term, 0.0, h, y0, ()).status.tolist() == [Result.NOT_CONVERGED, 0]
    with pytest.raises(SolveError, match=r"sample 0, at or shortly before t=.* .step 1.: .* its matrix was singular"):
        solve(term, method, y0, 0.0, 2 * h, control=Fixed(n=2))
    kept = solve(term, method, y0, 0.0, 2 * h, control=Fixed(n=2), throw=False)
    assert kept.result.tolist() == [Result.NOT_CONVERGED, 0] and kept.ys[0] == 1.0
    control = PID(rtol=1e-2, atol=1e-2, dt0=h, compact=False)
    tried = solve(term, method, y0, 0.0, h, control=control)  # with smaller steps it is regular
    assert tried.stats.rejected[0] > 0
    assert torch.allclose(tried.ys, torch.exp(h * slopes), rtol=0.2)


@STRUCTURE
@pytest.mark.parametrize("kind", [Rosenbrock23, Rodas5P])
def test_infinite_jacobians_are_no_success(kind, structure):
    """A tank that is filled and leaks, y' = 1 - sqrt(y), at first empty: 0 solves a system with an infinite matrix."""
    term = ODE(lambda t, y: 1 - torch.sqrt(y))
    for control in (PID(), Fixed(n=4)):
        solution = solve(term, kind(structure), torch.zeros(1, 1), 0.0, 1.0, control=control, throw=False)
        assert solution.result.tolist() == [Result.NOT_CONVERGED]


def test_fields_that_are_not_finite_are_named_as_such():
    term = ODE(lambda t, y: torch.log(y))
    found = solve(term, Rodas5P(), -torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=2), throw=False)
    assert found.result.tolist() == [Result.NON_FINITE]


# Gradients


def field_of(p):
    def field(t, y):
        turned = torch.stack([y[:, 1], -y[:, 0] * y[:, 1]], dim=1)
        return torch.tanh(turned * p) * torch.cos(t * p) - 5 * p * y**3 + torch.sin(3 * t)

    return field


@METHOD
def test_gradients_are_those_of_the_step(method):
    """Central differences of the fixed-grid solve, for state, parameter and times, shared and of each sample."""
    y0 = torch.tensor([[0.5, -0.3], [1.0, 0.2]], requires_grad=True)
    p = torch.tensor(1.3, requires_grad=True)

    def final(y0, p, t0, t1):
        return solve(ODE(field_of(p)), method, y0, t0, t1, control=Fixed(n=4)).ys

    for ends in ((0.1, 0.9), ([0.1, 0.2], [0.9, 1.5])):
        t0, t1 = (torch.tensor(t, requires_grad=True) for t in ends)
        assert torch.autograd.gradcheck(final, (y0, p, t0, t1), rtol=1e-7, atol=1e-7)


@METHOD
def test_all_modes_give_one_gradient(method):
    y0, p = torch.tensor([[0.5, -0.3], [1.0, 0.2]], requires_grad=True), torch.tensor(1.3, requires_grad=True)
    found = []
    for gradient in (Direct(), Checkpoint(3)):
        y1 = solve(ODE(field_of(p)), method, y0, 0.0, 1.0, control=PID(), gradient=gradient, params=(p,)).ys
        found.append(torch.autograd.grad(y1.sin().sum(), (y0, p)))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)

    def total(y):
        term = ODE(field_of(p.detach()))
        return solve(term, method, y, 0.0, 1.0, control=Fixed(n=4), gradient=Forward()).ys.sum()

    v = torch.tensor([[1.0, 2.0], [-0.5, 0.3]])
    tangent = torch.func.jvp(total, (y0.detach(),), (v,))[1]
    y1 = solve(ODE(field_of(p.detach())), method, y0, 0.0, 1.0, control=Fixed(n=4)).ys.sum()
    (g,) = torch.autograd.grad(y1, y0)
    assert float(tangent) == pytest.approx(float((g * v).sum()), rel=1e-10)


# Refusals


@pytest.fixture
def untyped():
    """Without the checks of annotations that tests run with, as users call."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def test_what_is_refused():
    term, y0 = ODE(lambda t, y: -y), torch.ones(1, 4)
    with pytest.raises(TypeError, match="Rodas5P steps ODE.f. terms, got SemiLinear. Take a method made"):
        solve(SemiLinear(-1.0, lambda t, y: y), Rodas5P(), y0, 0.0, 1.0, control=Fixed(n=2))
    fourier = Fourier(-(torch.fft.fftfreq(4) ** 2))
    with pytest.raises(TypeError, match="Rosenbrock23 needs the exact Jacobian, got structure=Fourier"):
        solve(term, Rosenbrock23(structure=fourier), y0, 0.0, 1.0, control=Fixed(n=2))
    y0 = torch.ones(1, 4, requires_grad=True)
    y1 = solve(term, Rodas5P(), y0, 0.0, 1.0, control=Fixed(n=2), save=SaveAt(t1=True)).ys
    (g,) = torch.autograd.grad(y1.square().sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="implicit methods give first derivatives only"):
        torch.autograd.grad(g.sum(), y0)


def test_what_is_built_wrongly_is_refused(untyped):
    with pytest.raises(TypeError, match=r"`structure` of Rodas5P must be .*, got a Newton. It .* write Rodas5P\(\)"):
        Rodas5P(Newton())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write Rosenbrock23\(Banded\(lower=1, upper=2\)\)"):
        Rosenbrock23(Newton(structure=Banded(1, 2)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"got 'x'. Write Rodas5P\(\), or e.g. Rodas5P\(Banded\(1, 1\)\)"):
        Rodas5P(structure="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("structure", [Diagonal(), Banded(1, 0)], ids=repr)
def test_structures_that_do_not_hold_are_refused(structure, dtype):
    """The order rests on the exact Jacobian; one entry of one sample beside the structure is enough."""
    y0 = torch.tensor([[1.0, 2.0, 0.5], [0.3, 0.7, 2.0]], dtype=dtype)

    def field(weight):
        return ODE(lambda t, y: torch.cos(t) - y**3 + weight * torch.roll(y, -1, 1).square())

    def run(weight):
        return solve(field(weight), Rodas5P(structure), y0, 0.0, 0.1, control=Fixed(n=2))

    run(torch.zeros(2, 1, dtype=dtype))
    with pytest.raises(TypeError, match=r"but that of the field is not of structure=.*, which iterates"):
        run(torch.tensor([[0.0], [0.02]], dtype=dtype))
    if isinstance(structure, Banded):
        below = ODE(lambda t, y: -y + 0.1 * torch.roll(y, 1, 1) * torch.tensor([0.0, 1.0, 1.0], dtype=dtype))
        solve(below, Rodas5P(structure), y0, 0.0, 0.1, control=Fixed(n=2))
