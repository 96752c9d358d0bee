"""Exponential pairs, and steps on a ladder."""

import math
from typing import Any

import pytest
import torch

from sciml.integrate import (
    ETD32,
    ETD43,
    ODE,
    PID,
    Checkpoint,
    Chunks,
    Event,
    Fixed,
    Ladder,
    SaveAt,
    SemiLinear,
    SolveError,
    Tsit5,
    solve,
)
from sciml.integrate.control.ladder import Rungs
from sciml.integrate.methods.etd import first, half, half_middle, last
from sciml.integrate.methods.exponential_rk import ExponentialTableau
from sciml.integrate.phi import phi

LINEAR = torch.tensor([[-1.0, -30.0, 2.0j, -0.5 + 5.0j]], dtype=torch.complex128)
Y0 = torch.tensor([[1.0, 0.5, 0.3j, 0.2], [0.2, 1.0, 0.5, 0.7]], dtype=torch.complex128)


def pull(t, y):
    """Couples the entries, and depends on time."""
    return torch.cos(2 * t) * y.roll(1, -1) * y.conj() + 0.3 * torch.sin(t)


def term():
    return SemiLinear(LINEAR, pull)


def slope(errors):
    """Between the two finest."""
    return math.log2(errors[-2] / errors[-1])


@pytest.mark.parametrize(("method", "order", "embedded"), [(ETD32(), 3, 2), (ETD43(), 4, 3)])
def test_both_results_of_a_pair_have_their_orders(method, order, embedded):
    steps, same = [10, 20, 40, 80, 160], term()
    exact = solve(same, ETD43(), Y0, 0.0, 1.0, control=Fixed(n=2560)).ys
    full = [float((solve(same, method, Y0, 0.0, 1.0, control=Fixed(n=n)).ys - exact).norm()) for n in steps]

    def lower(n):
        """Steps that go on with the embedded result, whose N(t1, y1) is not that of the next step then."""
        y = Y0
        for i in range(n):
            t0, t1 = i / n, (i + 1) / n
            made = method.step(same, t0, t1, y, method.init(same, t0, y))
            y = made.y - made.error
        return y

    low = [float((lower(n) - exact).norm()) for n in (*steps, 320, 640)]
    print(f"\n{method}: {full} slope {slope(full):.2f}; embedded {low} slope {slope(low):.2f}")
    assert full[-1] > 1e-11 and full[-2] < 1e-3
    assert slope(full) == pytest.approx(order, abs=0.2)
    assert slope(low) == pytest.approx(embedded, abs=0.2)
    local = []
    for h in (0.01, 0.005, 0.0025):
        made = method.step(same, 0.0, h, Y0, method.init(same, 0.0, Y0))
        local.append(float(made.error.norm()))
    assert slope(local) == pytest.approx(method.error_order, abs=0.2)


def test_a_tableau_with_wrong_weights_is_refused():
    rows = (
        {0: half},
        {0: lambda z: phi(1, z / 2) / 2 - phi(2, z / 2), 1: lambda z: phi(2, z / 2)},
        {0: lambda z: phi(1, z) - 2 * phi(2, z), 2: lambda z: 2 * phi(2, z)},
    )
    b = {0: first, 1: half_middle, 2: half_middle, 3: last}
    good: Any = {"c": (0.0, 0.5, 0.5, 1.0), "a": rows, "b": b, "order": 4}
    ExponentialTableau(**good, error={3: last, 4: lambda z: -last(z)}, embedded_order=3)
    with pytest.raises(ValueError, match="sum of embedded b must be"):
        ExponentialTableau(**good, error={3: last}, embedded_order=3)
    with pytest.raises(ValueError, match=r"sum of embedded b c\^1"):
        ExponentialTableau(**good, error={0: last, 3: lambda z: -last(z)}, embedded_order=2)
    with pytest.raises(ValueError, match="sum b a c = 1/6"):
        # The third stage frozen like the second.
        ExponentialTableau(**(good | {"a": (rows[0], rows[0], rows[2])}), error=None)


@pytest.mark.parametrize("method", [ETD32(), ETD43()])
def test_the_ladder_reaches_its_tolerance_and_hits_the_times(method):
    ts = torch.tensor([0.0, 0.1, 0.37, 1.0, 2.0], dtype=torch.float64)
    exact = solve(term(), ETD43(), Y0, 0.0, 2.0, control=Fixed(dt=1e-3), save=SaveAt(ts=ts)).ys
    errors, counts = [], []
    for tolerance in (1e-3, 1e-5, 1e-7):
        equation = term()
        made = solve(equation, method, Y0, 0.0, 2.0, control=Ladder(tolerance, tolerance), save=SaveAt(ts=ts))
        assert bool((made.ys[:, 0] == Y0).all())
        errors.append(float((made.ys - exact).norm(dim=-1).max()))
        steps = int(made.stats.steps[0])
        counts.append(steps)
        evaluations = int(made.stats.evaluations[0])
        assert evaluations == 1 + int(made.stats.attempts[0]) * (method.stages - method.reuses_last)
        if tolerance == 1e-7:  # few sizes, though there are many steps
            assert len(equation.tables) <= 20 < steps
    print(f"\n{method}: errors {errors}, steps {counts}")
    assert all(error < 20 * tol for error, tol in zip(errors, (1e-3, 1e-5, 1e-7), strict=True))
    assert counts[2] > counts[1] > counts[0]


def test_rungs_are_powers_of_the_ratio():
    rungs = Rungs(Ladder(ratio=2**0.5), 0.3)
    assert rungs.at_most(0.3) == pytest.approx(0.3)
    assert rungs.at_most(0.299) == pytest.approx(0.3 / 2**0.5)
    assert rungs.at_most(1.0) == pytest.approx(0.3 * 2**1.5)
    lowered = rungs.at_most(0.9 * rungs.at_most(0.299))
    assert lowered == pytest.approx(0.15)


def test_the_ladder_steps_other_pairs_and_backwards():
    made = solve(ODE(lambda t, y: -y), Tsit5(), torch.ones(2, 3).double(), 1.0, 0.0, control=Ladder(1e-8, 1e-10))
    assert float((made.ys - math.e).abs().max()) < 1e-6


def test_gradients_are_those_of_the_steps_taken():
    linear = LINEAR.clone().requires_grad_()

    def final(linear, y0):
        return torch.view_as_real(solve(SemiLinear(linear, pull), ETD43(), y0, 0.0, 0.5, control=Ladder(1e-3, 1e-3)).ys)

    assert torch.autograd.gradcheck(final, (linear, Y0.clone().requires_grad_()), atol=1e-6)


def test_kept_tables_are_bounded():
    equation = term()
    for n in range(1, 80):
        solve(equation, ETD32(), Y0, 0.0, 1.0, control=Fixed(n=n))
    assert len(equation.tables) == 64


def test_a_blow_up_ends_the_ladder():
    explosive = SemiLinear(torch.zeros(1, 1, dtype=torch.float64), lambda t, y: y**2)
    one = torch.ones(1, 1, dtype=torch.float64)
    with pytest.raises(SolveError, match="1 of 1 samples failed"):
        solve(explosive, ETD43(), one, 0.0, 2.0, control=Ladder())
    made = solve(
        explosive, ETD43(), one, 0.0, 2.0, control=Ladder(), save=SaveAt(ts=torch.tensor([0.5, 2.0])), throw=False
    )
    assert float(made.ys[0, 0, 0]) == pytest.approx(2.0, rel=1e-3) and bool(made.ys[0, 1].isnan())


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: Ladder(ratio=1.0), ValueError, "`ratio` of neighbouring step sizes must be above 1"),
        (lambda: Ladder(rtol=-1.0), ValueError, "`rtol`"),
        (lambda: Ladder(rtol=0.0, atol=0.0), ValueError, "must not both be 0"),
        (lambda: Ladder(dt0=0.0), ValueError, "`dt0` must be positive"),
        (
            lambda: solve(term(), ETD43(), Y0, torch.zeros(2), 1.0, control=Ladder()),
            ValueError,
            "Ladder takes joint steps whose sizes are numbers",
        ),
        (
            lambda: solve(term(), ETD43(), Y0, 0.0, 1.0, control=Ladder(), executor=Chunks()),
            ValueError,
            "Ladder chooses each step in Python",
        ),
        (
            lambda: solve(term(), ETD43(), Y0, 0.0, 1.0, control=Ladder(), gradient=Checkpoint()),
            ValueError,
            "steps on a ladder are differentiated as they were taken",
        ),
        (
            lambda: solve(term(), ETD43(), Y0, 0.0, 1.0, control=Ladder(), event=Event(lambda t, y: t - 0.5)),
            ValueError,
            "steps on a ladder are not cut off",
        ),
    ],
)
def test_bad_input_is_answered(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_pid_steps_a_pair_too():
    made = solve(term(), ETD43(), Y0, 0.0, 1.0, control=PID(1e-6, 1e-8, per_sample=False, dt0=0.05))
    exact = solve(term(), ETD43(), Y0, 0.0, 1.0, control=Fixed(n=1000)).ys
    assert float((made.ys - exact).abs().max()) < 1e-5
