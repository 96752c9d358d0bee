"""What implicit methods share: Jacobians and systems, Newton's iteration per sample, gradients, failures, refusals."""

import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.integrate import (
    BDF,
    ODE,
    PID,
    RK4,
    SDIRK2,
    TRBDF2,
    AbstractStructure,
    Auto,
    BackwardEuler,
    Banded,
    Checkpoint,
    Clip,
    CompileError,
    Dense,
    Diagonal,
    Dopri5,
    Fixed,
    Fourier,
    ImplicitMidpoint,
    KenCarp4,
    Krylov,
    Kvaerno3,
    Kvaerno5,
    Newton,
    Result,
    Reversibly,
    Rodas5P,
    SaveAt,
    SemiLinear,
    SolveError,
    Split,
    StepDoubling,
    solve,
)
from sciml.integrate.implicit import PackedField, Packing

RATES = torch.tensor([1.0, 1e3, 1e6])


def robertson(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(1)
    r1, r3 = -0.04 * a + 1e4 * b * c, 3e7 * b * b
    return torch.stack([r1, -r1 - r3, r3], dim=1)


def chain(t: Tensor, y: Tensor) -> Tensor:
    """Two neighbours on the left and one on the right count."""
    p = torch.nn.functional.pad(y, (2, 1))
    return torch.sin(p[:, 2:-1]) * 3 + p[:, 3:] * p[:, 1:-2] - 0.5 * p[:, :-3] ** 2


def stiff(rates: Tensor):
    """Curves of different stiffness, attracted to (cos t, sin t), rows with rates of their own."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        s = t.reshape(-1)
        goal = torch.stack([torch.cos(s), torch.sin(s)], dim=-1)
        drift = torch.stack([-torch.sin(s), torch.cos(s)], dim=-1)
        return drift - rates[:, None] * (y - goal) * (1 + (y - goal) ** 2)

    return field


# Structures


def wave_symbol(points: int) -> Tensor:
    k = 2 * math.pi * torch.fft.rfftfreq(points, 1 / points)
    symbol = -0.1 * k**2 + 0.003j * k**3
    return torch.cat([symbol[:-1], symbol[-1:].real + 0j])


def structures() -> dict[str, tuple[AbstractStructure, Any, tuple[int, ...]]]:
    symbol = wave_symbol(16)
    return {
        "diagonal": (Diagonal(), lambda t, y: -3 * torch.exp(y) * (1 + t), (7,)),
        "banded": (Banded(2, 1), chain, (50,)),
        "wide banded": (Banded(20, 3), chain, (50,)),
        "one block": (Banded(2, 1), chain, (5,)),
        "fourier": (Fourier(symbol), lambda t, y: torch.fft.irfft(symbol * torch.fft.rfft(y), n=16), (2, 16)),
        "krylov": (Krylov(restart=60, tol=1e-14), chain, (50,)),
        "auto, few": (Auto(above=50), chain, (50,)),
        "auto, many": (Auto(above=49, krylov=Krylov(restart=60, tol=1e-14)), chain, (50,)),
    }


@pytest.mark.parametrize("shift", ["number", "per sample", "complex", "complex per sample"])
@pytest.mark.parametrize("name", structures())
def test_structure_equals_dense(name, shift):
    structure, f, shape = structures()[name]
    y, t = 0.3 * torch.randn(4, *shape), torch.tensor(0.2)
    field = PackedField(f, Packing.of(y))
    v, r = field.packing.pack(y), torch.randn(4, math.prod(shape))
    s = {"number": 0.3, "per sample": torch.rand(4), "complex": 0.2 + 0.3j}.get(shift, torch.rand(4) + 1j)
    if "complex" in shift:
        r = r + 1j * torch.randn_like(r)
    full, own = Dense().jacobian(field, t, v), structure.jacobian(field, t, v)
    wanted, found = Dense().system(field, full, s), structure.system(field, own, s)
    torch.testing.assert_close(found.solve(r), wanted.solve(r), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(found.solve_transposed(r), wanted.solve_transposed(r), rtol=1e-9, atol=1e-11)
    x = r.real.contiguous()
    torch.testing.assert_close(structure.product(field, own, x), Dense().product(field, full, x))
    matrix = torch.eye(v.shape[1]) - torch.as_tensor(s).reshape(-1, 1, 1) * full[0]
    torch.testing.assert_close((matrix @ wanted.solve(r).to(matrix.dtype)[..., None])[..., 0], r)
    torch.testing.assert_close((matrix.mT @ wanted.solve_transposed(r).to(matrix.dtype)[..., None])[..., 0], r)


def test_dense_jacobian_of_many_unknowns_is_that_of_single_samples():
    y = torch.randn(2, 40)
    field = PackedField(chain, Packing.of(y))
    (matrix,) = Dense().jacobian(field, torch.tensor(0.0), y)
    wanted = torch.stack([torch.func.jacrev(lambda x: chain(torch.zeros(()), x[None])[0])(row) for row in y])
    torch.testing.assert_close(matrix, wanted)
    r = torch.randn(2, 40)
    system = Dense().system(field, (matrix,), 0.1)
    torch.testing.assert_close(torch.linalg.solve(torch.eye(40) - 0.1 * matrix, r), system.solve(r))
    torch.testing.assert_close(torch.linalg.solve((torch.eye(40) - 0.1 * matrix).mT, r), system.solve_transposed(r))


def test_structures_solve_a_stiff_problem_alike():
    x = torch.linspace(0, 1, 34)[1:-1]
    y0 = torch.stack([torch.sin(math.pi * x), x * (1 - x)])

    def heat(t: Tensor, y: Tensor) -> Tensor:
        p = torch.nn.functional.pad(y, (1, 1))
        return 33**2 * (p[:, 2:] - 2 * y + p[:, :-2]) - y**3

    found = [
        solve(ODE(heat), Kvaerno5(Newton(structure)), y0, 0.0, 0.1, control=PID(rtol=1e-6, atol=1e-8)).ys
        for structure in (Dense(), Banded(1, 1), Krylov(restart=32), Auto(above=8))
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-5, atol=1e-8)


def test_fourier_serves_the_implicit_part_of_a_split():
    points, symbol = 32, wave_symbol(32)
    x = torch.arange(points) / points
    y0 = torch.exp(torch.cos(2 * math.pi * x))[None, None]

    def linear(t: Tensor, y: Tensor) -> Tensor:
        return torch.fft.irfft(symbol * torch.fft.rfft(y), n=points)

    def nonlinear(t: Tensor, y: Tensor) -> Tensor:
        return torch.sin(y)

    control = PID(rtol=1e-8, atol=1e-10)
    split = solve(Split(nonlinear, linear), KenCarp4(Newton(Fourier(symbol))), y0, 0.0, 0.3, control=control)
    whole = solve(ODE(lambda t, y: linear(t, y) + nonlinear(t, y)), Kvaerno5(), y0, 0.0, 0.3, control=control)
    torch.testing.assert_close(split.ys, whole.ys, rtol=1e-6, atol=1e-8)


# Samples


def test_a_batch_of_different_stiffness_equals_each_sample_alone():
    newton = Newton(rtol=1e-13, atol=1e-14)
    control = PID(rtol=1e-3, atol=1e-5, compact=False)
    y0 = torch.tensor([[1.5, 0.3]]).repeat(len(RATES), 1)
    ts = torch.tensor([0.01, 0.4, 1.0])
    for method in (Kvaerno5(newton), TRBDF2(newton)):
        whole = solve(ODE(stiff(RATES)), method, y0, 0.0, 1.0, control=control, save=SaveAt(ts=ts))
        assert len(set(whole.stats.steps.tolist())) > 2
        for i in range(len(RATES)):
            alone = solve(ODE(stiff(RATES[i : i + 1])), method, y0[:1], 0.0, 1.0, control=control, save=SaveAt(ts=ts))
            torch.testing.assert_close(whole.ys[i : i + 1], alone.ys, rtol=1e-12, atol=1e-12)
            assert int(whole.stats.evaluations[i]) == int(alone.stats.evaluations[0])
            assert int(whole.stats.attempts[i]) == int(alone.stats.attempts[0])


def blowing(t: Tensor, y: Tensor) -> Tensor:
    """y' = y² ends at 1 / y0; negative states are NaN."""
    return torch.where(y < 0, torch.nan, y**2)


ADAPTIVE = PID(rtol=1e-3, atol=1e-3, dt_min=1e-4, compact=False)


@pytest.mark.parametrize("control", [ADAPTIVE, Fixed(n=20)], ids=["adaptive", "fixed"])
def test_samples_that_fail_do_not_touch_their_mates(control):
    y0 = torch.tensor([[0.3], [4.0], [-1.0], [0.5]])
    solution = solve(ODE(blowing), Kvaerno3(), y0, 0.0, 1.0, control=control, throw=False)
    good = torch.tensor([True, False, False, True])
    assert torch.equal(solution.result == Result.SUCCESS, good)
    assert torch.isfinite(solution.ys[[1, 3]]).all()
    exact = y0[good] / (1 - y0[good])
    torch.testing.assert_close(solution.ys[good], exact, rtol=1e-2, atol=1e-3)
    mates = solve(ODE(blowing), Kvaerno3(), y0[good], 0.0, 1.0, control=control)
    torch.testing.assert_close(solution.ys[good], mates.ys, rtol=1e-12, atol=1e-12)


def test_evaluations_are_counted():
    calls = [0]

    def field(t: Tensor, y: Tensor) -> Tensor:
        calls[0] += 1
        return -50 * (y - torch.cos(t))

    jacobians = [0]

    class Counted(Dense.__mro__[1]):  # type: ignore[misc, name-defined]
        def jacobian(self, field, t, v):
            jacobians[0] += 1
            return Dense().jacobian(field, t, v)

        def system(self, field, jacobian, shift):
            return Dense().system(field, jacobian, shift)

        def product(self, field, jacobian, x):
            return Dense().product(field, jacobian, x)

    for control in (PID(), PID(per_sample=False), Fixed(n=10)):
        calls[0] = jacobians[0] = 0
        method = Kvaerno3(Newton(Counted()))
        with torch.no_grad():
            solution = solve(ODE(field), method, torch.ones(1, 1), 0.0, 1.0, control=control)
        assert int(solution.stats.evaluations[0]) == calls[0] - jacobians[0]
        assert jacobians[0] <= int(solution.stats.attempts[0]) + 1


# Gradients


class Stiff(torch.nn.Module):
    """A field with parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = torch.nn.Parameter(torch.tensor([40.0, 3.0]))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        pull = self.rate * (y - torch.cos(t) - 0.2 * y.flip(1))
        return -pull * (1 + 0.3 * y**2)


def by_iterating(field, method, y: Tensor, ts: Tensor) -> Tensor:
    """The same steps, differentiated through many full Newton iterations."""
    tableau = method.tableau
    for t0, t1 in zip(ts[:-1], ts[1:], strict=True):
        h, slopes = t1 - t0, []
        for c, row in zip(tableau.c, tableau.a, strict=True):
            w = y + h * sum((a * k for a, k in zip(row[:-1], slopes, strict=True)), torch.zeros_like(y))
            t, gamma, stage = t0 + c * h, row[-1], w
            for _ in range(12 if gamma else 0):
                residual = w + h * gamma * field(t, stage) - stage
                (jac,) = Dense().jacobian(PackedField(field, Packing.of(stage)), t, stage)
                stage = stage + torch.linalg.solve(torch.eye(y.shape[1]) - h.detach() * gamma * jac, residual)
            slopes.append(field(t, stage))
        y = y + h * sum(b * k for b, k in zip(tableau.b, slopes, strict=True))
    return y


@pytest.mark.parametrize("gradient", [None, Checkpoint(2)], ids=["direct", "checkpoint"])
@pytest.mark.parametrize("method", [Kvaerno5(), SDIRK2(), ImplicitMidpoint()], ids=lambda m: type(m).__name__)
def test_gradients_equal_those_through_the_iterations(method, gradient):
    field, n = Stiff(), 4
    captured = torch.tensor([0.3, -0.1], requires_grad=True)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return field(t, y) + captured

    def inputs() -> list[Tensor]:
        y0 = torch.tensor([[0.5, 1.0], [-0.3, 0.2]], requires_grad=True)
        ends = [torch.tensor(t, requires_grad=True) for t in (0.1, 0.9)]
        return [y0, *ends, field.rate, captured]

    weights = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    ours, theirs = inputs(), inputs()
    solution = solve(
        ODE(f), method, ours[0], ours[1], ours[2], control=Fixed(n=n), gradient=gradient, params=(captured,)
    )
    found = torch.autograd.grad((solution.ys * weights).sum(), ours)
    ts = theirs[1] + (theirs[2] - theirs[1]) * torch.arange(n + 1) / n
    reference = by_iterating(f, method, theirs[0], ts)
    torch.testing.assert_close(solution.ys, reference, rtol=1e-11, atol=1e-11)
    wanted = torch.autograd.grad((reference * weights).sum(), theirs)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", [None, Checkpoint()], ids=["direct", "checkpoint"])
def test_gradients_of_adaptive_robertson_rates(gradient):
    rates = torch.tensor([0.04, 1e4, 3e7])
    y0 = torch.tensor([[1.0, 0.0, 0.0]])

    def final(logs: Tensor) -> Tensor:
        k1, k2, k3 = torch.exp(logs).unbind()

        def field(t: Tensor, y: Tensor) -> Tensor:
            a, b, c = y.unbind(1)
            r1, r3 = -k1 * a + k2 * b * c, k3 * b * b
            return torch.stack([r1, -r1 - r3, r3], dim=1)

        control = PID(rtol=1e-8, atol=1e-12)
        return solve(ODE(field), Kvaerno5(), y0, 0.0, 40.0, control=control, gradient=gradient, params=(k1, k2, k3)).ys[
            0
        ]

    logs = torch.log(rates).requires_grad_()
    (found,) = torch.autograd.grad(final(logs)[0], logs)
    step = 1e-4
    with torch.no_grad():
        for i in range(3):
            moved = step * torch.eye(3)[i]
            wanted = (final(logs + moved)[0] - final(logs - moved)[0]) / (2 * step)
            torch.testing.assert_close(found[i], wanted, rtol=1e-4, atol=1e-7)


NEAR = {
    "diagonal": Diagonal(),
    "upper band": Banded(0, 1),
    "operator": Fourier(-(torch.arange(3.0) ** 2), axes=1),
}
"""Structures that are only near the Jacobian of `coupled`."""


@pytest.mark.parametrize("method", [Kvaerno5, BDF], ids=lambda m: m.__name__)
@pytest.mark.parametrize("near", NEAR)
def test_gradients_are_exact_where_the_structure_is_only_near(near, method):
    def final(structure: AbstractStructure) -> tuple[Tensor, ...]:
        y0, rate = torch.tensor([[0.5, 1.0, -0.3, 0.1]] * 2, requires_grad=True), torch.tensor(0.3, requires_grad=True)

        def coupled(t: Tensor, y: Tensor) -> Tensor:
            waves = -(torch.arange(3.0) ** 2) * torch.fft.rfft(y)
            return torch.fft.irfft(waves, 4) - 0.2 * y**3 + rate * torch.cos(y.roll(1, 1))

        control = PID(rtol=1e-9, atol=1e-9)
        kept = method(newton=Newton(structure=structure))
        y1 = solve(ODE(coupled), kept, y0, 0.0, 0.5, control=control).ys
        return y1.detach(), *torch.autograd.grad((y1 * torch.arange(1.0, 5.0)).sum(), (y0, rate))

    for found, wanted in zip(final(NEAR[near]), final(Dense()), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


def test_the_start_of_bdf_keeps_its_order_where_the_structure_is_only_near():
    """Its first steps are those of a Rosenbrock method, which does not iterate an error of the Jacobian away."""

    def turning(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack([-y[:, 0] - 2 * y[:, 1], 2 * y[:, 0] - y[:, 1]], dim=1)

    def final(structure: AbstractStructure) -> Tensor:
        method = BDF(3, variable_order=False, newton=Newton(structure=structure))
        return solve(ODE(turning), method, torch.ones(2, 2), 0.0, 1.0, control=Fixed(n=10)).ys

    torch.testing.assert_close(final(Diagonal()), final(Dense()), rtol=1e-11, atol=1e-11)


# What torch imports for forward mode warns of its own use of torch.jit.script.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_gradients_in_forward_mode_and_by_transforms():
    field, y0 = Stiff(), torch.tensor([[0.5, 1.0]])
    term = ODE(lambda t, y: torch.func.functional_call(field, {"rate": field.rate.detach()}, (t, y)))

    def final(y: Tensor) -> Tensor:
        return solve(term, Kvaerno3(), y, 0.0, 1.0, control=Fixed(n=5)).ys.sum()

    y = y0.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(final(y), y)
    torch.testing.assert_close(torch.func.grad(final)(y0), wanted, rtol=1e-10, atol=1e-12)
    direction = torch.tensor([[0.3, -1.0]])
    _, tangent, *_ = torch.func.jvp(final, (y0,), (direction,))
    torch.testing.assert_close(tangent, (wanted * direction).sum(), rtol=1e-10, atol=1e-12)


def test_second_derivatives_are_refused():
    y0 = torch.tensor([[0.5, 1.0]], requires_grad=True)
    y1 = solve(ODE(Stiff()), Kvaerno3(), y0, 0.0, 1.0, control=Fixed(n=2)).ys
    (first,) = torch.autograd.grad((y1**2).sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="implicit methods give first derivatives only"):
        torch.autograd.grad(first.sum(), y0)


def test_failed_samples_leave_gradients_of_the_others_finite():
    rate = torch.tensor(1.0, requires_grad=True)
    y0 = torch.tensor([[0.3], [4.0]])
    control = PID(rtol=1e-3, atol=1e-3, dt_min=1e-2, compact=False)
    solution = solve(ODE(lambda t, y: rate * y**2), Kvaerno3(), y0, 0.0, 1.0, control=control, throw=False)
    assert solution.result.tolist()[0] == 0 and solution.result.tolist()[1] != 0
    (found,) = torch.autograd.grad(solution.ys[0].sum(), rate)
    torch.testing.assert_close(found, torch.tensor(0.3**2 / 0.7**2), rtol=1e-2, atol=0.0)


# States


def test_complex_states():
    rates = torch.tensor([-1.0 + 5j, -1e4 + 1e3j])

    def field(t: Tensor, y: Tensor) -> Tensor:
        return rates * (y - torch.exp(1j * t)) + 1j * torch.exp(1j * t) + 0.1 * (y.conj() - torch.exp(-1j * t))

    y0 = torch.ones(3, 2, dtype=torch.complex128)
    y1 = solve(ODE(field), Kvaerno5(), y0, 0.0, 2.0, control=PID(rtol=1e-8, atol=1e-10)).ys
    torch.testing.assert_close(y1, torch.exp(torch.tensor(2j)).expand(3, 2), rtol=1e-6, atol=1e-6)


def test_trees_of_tensors_of_several_shapes():
    def field(t: Tensor, y: dict) -> dict:
        x, z = y["x"], y["z"]
        return {"z": -1e3 * (z - x.mean(dim=(1, 2))[:, None]), "x": -x + 0.1 * z.real[:, :1, None]}

    y0 = {"x": torch.randn(2, 3, 2), "z": torch.randn(2, 1, dtype=torch.complex128)}
    tree = solve(ODE(field), Kvaerno5(), y0, 0.0, 1.0, control=PID(rtol=1e-8, atol=1e-10)).ys

    def flat(t: Tensor, v: Tensor) -> Tensor:
        state = {"x": v[:, :6].reshape(-1, 3, 2), "z": torch.complex(v[:, 6:7], v[:, 7:])}
        slope = field(t, state)
        return torch.cat([slope["x"].flatten(1), slope["z"].real, slope["z"].imag], dim=1)

    v0 = torch.cat([y0["x"].flatten(1), y0["z"].real, y0["z"].imag], dim=1)
    v1 = solve(ODE(flat), Kvaerno5(), v0, 0.0, 1.0, control=PID(rtol=1e-8, atol=1e-10)).ys
    torch.testing.assert_close(tree["x"].flatten(1), v1[:, :6], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(tree["z"], torch.complex(v1[:, 6:7], v1[:, 7:]), rtol=1e-6, atol=1e-8)


def test_single_precision():
    y0 = torch.tensor([[1.0, 0.0, 0.0]])
    fine = solve(ODE(robertson), Kvaerno5(), y0, 0.0, 100.0, control=PID(rtol=1e-9, atol=1e-12)).ys
    coarse = solve(ODE(robertson), Kvaerno5(), y0.float(), 0.0, 100.0, control=PID(rtol=1e-4, atol=1e-8))
    assert coarse.ys.dtype == torch.float32
    torch.testing.assert_close(coarse.ys.double(), fine, rtol=2e-3, atol=1e-6)
    tight = solve(ODE(stiff(RATES[:2].float())), TRBDF2(), torch.ones(2, 2).float(), 0.0, 1.0, control=Fixed(n=50))
    assert torch.isfinite(tight.ys).all()


def test_jumps_start_anew():
    def field(t: Tensor, y: Tensor) -> Tensor:
        return -1e3 * (y - (t >= 0.5).to(y))

    control = Clip(PID(rtol=1e-7, atol=1e-9), jumps=torch.tensor([0.5]))
    y1 = solve(ODE(field), Kvaerno5(), torch.zeros(2, 1), 0.0, 1.0, control=control).ys
    torch.testing.assert_close(y1, torch.ones(2, 1), rtol=1e-7, atol=1e-7)


def test_groups_and_directions():
    y0 = torch.tensor([[1.0, 0.2], [0.5, 0.1], [0.2, 0.9]])
    field = ODE(stiff(torch.tensor([1.0, 1e3, 1e4])))
    control = PID(rtol=1e-6, atol=1e-8)
    wanted = solve(field, Kvaerno5(), y0, 0.0, 1.0, control=control).ys
    groups = PID(rtol=1e-6, atol=1e-8, groups=torch.tensor([0, 1, 0]))
    torch.testing.assert_close(solve(field, Kvaerno5(), y0, 0.0, 1.0, control=groups).ys, wanted, rtol=1e-4, atol=1e-6)
    joint = PID(rtol=1e-6, atol=1e-8, per_sample=False)
    torch.testing.assert_close(solve(field, Kvaerno5(), y0, 0.0, 1.0, control=joint).ys, wanted, rtol=1e-4, atol=1e-6)
    backwards = ODE(lambda t, y: -stiff(torch.tensor([1.0, 1e3, 1e4]))(-t, y))
    turned = solve(backwards, Kvaerno5(), y0, 0.0, -1.0, control=control).ys
    torch.testing.assert_close(turned, wanted, rtol=1e-9, atol=1e-9)


# Failures and refusals


def test_no_convergence_is_a_result():
    def rough(t: Tensor, y: Tensor) -> Tensor:
        return -torch.sign(y) * 1e3 - y

    y0 = torch.tensor([[0.1]])
    solution = solve(ODE(rough), BackwardEuler(), y0, 0.0, 1.0, control=Fixed(n=4), throw=False)
    assert solution.result.tolist() == [Result.NOT_CONVERGED]
    torch.testing.assert_close(solution.ys, y0)
    with pytest.raises(SolveError, match=r"Newton's iteration .* did not converge"):
        solve(ODE(rough), BackwardEuler(), y0, 0.0, 1.0, control=Fixed(n=4))


def test_singular_systems_are_named():
    # I - h gamma J = 0 for J = 4 and h = 1/4.
    y0 = torch.ones(1, 1)
    with pytest.raises(SolveError, match=r"take a smaller dt, or PID steps\), the Jacobian is singular"):
        solve(ODE(lambda t, y: 4 * y), BackwardEuler(), y0, 0.0, 1.0, control=Fixed(n=4))
    # Adaptive steps go around it.
    y1 = solve(ODE(lambda t, y: 4 * y), BackwardEuler(), y0, 0.0, 1.0, control=PID(rtol=1e-3, dt0=0.25)).ys
    torch.testing.assert_close(y1, torch.exp(torch.tensor([[4.0]])), rtol=0.1, atol=0.0)


@pytest.mark.parametrize(
    "method",
    [BackwardEuler(), Kvaerno5(), Kvaerno5(Newton(Diagonal())), Kvaerno5(Newton(Banded(0, 0))), BDF(), Rodas5P()],
    ids=["BackwardEuler", "dense", "diagonal", "banded", "BDF", "Rodas5P"],
)
def test_an_infinite_jacobian_does_not_pass_for_solved(method):
    """A tank that fills, y' = 1 - sqrt(y) from 0: -2 (sqrt(y) + log(1 - sqrt(y))) = t. Few find the way out of 0."""
    control = PID(rtol=1e-4, atol=1e-6)
    filled = solve(ODE(lambda t, y: 1 - y.sqrt()), method, torch.zeros(1, 1), 0.0, 1.0, control=control, throw=False)
    root = filled.ys.sqrt()
    assert filled.result[0] != Result.SUCCESS or float(-2 * (root + torch.log(1 - root))) == pytest.approx(1, abs=2e-3)


def test_failure_of_joint_steps_is_a_result():
    def bad(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(y > 1.5, torch.nan, torch.ones_like(y))

    control = PID(per_sample=False)
    solution = solve(ODE(bad), Kvaerno3(), torch.ones(2, 1), 0.0, 1.0, control=control, throw=False)
    assert (solution.result != Result.SUCCESS).all()
    assert (solution.ys < 1.51).all()


def test_explicit_methods_on_stiff_problems_are_told_so():
    with pytest.raises(SolveError, match=r"the problem is stiff: take an implicit one, e\.g\. Rodas5P"):
        solve(ODE(stiff(torch.tensor([1e6]))), Dopri5(), torch.ones(1, 2), 0.0, 1.0, max_steps=50)


def test_compiling_is_refused_by_name():
    for method in (Kvaerno5(), StepDoubling(BackwardEuler())):
        with pytest.raises(CompileError, match=rf"the same operations, got {type(method).__name__}"):
            solve(ODE(robertson), method, torch.rand(1, 3), 0.0, 1.0, compile=True)


def test_what_cannot_be_done_is_refused():
    y0 = torch.rand(1, 3)
    split = Split(robertson, robertson)
    with pytest.raises(TypeError, match="steps a whole field implicitly, got a Split term"):
        solve(split, Kvaerno5(), y0, 0.0, 1.0)
    with pytest.raises(TypeError, match="RK4 is an explicit method and steps ODE"):
        solve(split, RK4(), y0, 0.0, 1.0, control=Fixed(n=2))
    with pytest.raises(TypeError, match=r"KenCarp4 steps ODE\(f\) terms, got SemiLinear"):
        solve(SemiLinear(-1.0, robertson), KenCarp4(), y0, 0.0, 1.0)
    with pytest.raises(TypeError, match="`implicit` must be a function or a module, got a float"):
        inspect.unwrap(Split.__init__)(object.__new__(Split), robertson, 1.0)  # without the hook
    with pytest.raises(TypeError, match="Reversibly needs a method whose steps are the same operations"):
        Reversibly(Kvaerno5())
    with pytest.raises(ValueError, match="cannot be taken under torch.vmap"):
        torch.func.vmap(lambda y: solve(ODE(robertson), Kvaerno5(), y, 0.0, 1.0).ys)(torch.rand(2, 1, 3))
    with pytest.raises(ValueError, match=r"iterates as long as values ask for .* cannot be taken under torch.vmap"):
        torch.func.vmap(lambda y: solve(ODE(robertson), Kvaerno5(), y, 0.0, 1.0, control=Fixed(n=2)).ys)(
            torch.rand(2, 1, 3)
        )


def test_structures_refuse_what_they_are_not_made_for():
    z = torch.ones(1, 4, dtype=torch.complex128)
    for structure in (Diagonal(), Banded(1, 1)):
        with pytest.raises(TypeError, match=f"{type(structure).__name__} needs a real state"):
            solve(ODE(lambda t, y: -y), BackwardEuler(Newton(structure)), z, 0.0, 1.0, control=Fixed(n=1))
    with pytest.raises(TypeError, match="Fourier needs a state of one tensor with at least 2 axes"):
        newton = Newton(Fourier(torch.zeros(3), axes=2))
        solve(ODE(lambda t, y: -y), BackwardEuler(newton), torch.ones(1, 4), 0.0, 1.0, control=Fixed(n=1))
    with pytest.raises(TypeError, match="Fourier solves complex systems of real states only"):
        Fourier(torch.zeros(4)).system(PackedField(lambda t, y: y, Packing.of(z)), (), 1j)
    with pytest.raises(ValueError, match="`lower` must be"):
        Banded(-1, 1)
    with pytest.raises(ValueError, match=r"`tol` must be below 1, got 2.0: zero would pass for a solution"):
        Krylov(tol=2.0)
    with pytest.raises(TypeError, match=r"`krylov` must be a Krylov, got 3. Give e.g. Krylov"):
        inspect.unwrap(Auto.__init__)(object.__new__(Auto), 256, 3)  # without the hook
    with pytest.raises(TypeError, match=r"`symbol` must be a tensor, got a int. Write torch.tensor"):
        inspect.unwrap(Fourier.__init__)(object.__new__(Fourier), 3)
    with pytest.raises(ValueError, match="`axes` must be a whole number of at least 1, got 0"):
        Fourier(torch.ones(3), axes=0)
    with pytest.raises(ValueError, match=r"symbol must broadcast to the coefficients of the state, \(3,\), got \(4,\)"):
        solve(ODE(lambda t, y: -y), Kvaerno3(Newton(structure=Fourier(torch.ones(4)))), torch.ones(1, 4), 0.0, 1.0)
    with pytest.raises(TypeError, match=r"in single or double precision, got a state in torch.float16.*y0.float"):
        solve(ODE(lambda t, y: -y), Kvaerno3(), torch.ones(1, 4).half(), 0.0, 1.0)
    with pytest.raises(ValueError, match="`restart` must be"):
        Krylov(restart=0)
    with pytest.raises(ValueError, match="`above` must be"):
        Auto(above=-1)


def test_newton_refuses_what_makes_no_sense():
    with pytest.raises(TypeError, match="`structure` must be an object"):
        inspect.unwrap(Newton.__init__)(object.__new__(Newton), Dense)  # without the hook
    with pytest.raises(ValueError, match="`iterations` must be"):
        Newton(iterations=0)
    with pytest.raises(ValueError, match="`kappa` must be"):
        Newton(kappa=0.0)
    with pytest.raises(ValueError, match="Newton needs both tolerances or none"):
        Newton(rtol=1e-3)
    with pytest.raises(ValueError, match="`rtol` must be positive and finite, got -1.0"):
        Newton(rtol=-1.0, atol=1e-6)
    with pytest.raises(ValueError, match="`atol` must be positive and finite, got nan"):
        Newton(rtol=1e-3, atol=math.nan)
