"""Adams methods: known coefficients, exactness for polynomials on unequal steps, samples with steps of their own."""

from fractions import Fraction

import pytest
import torch

from sciml.integrate import ODE, PID, Adams, AdamsBashforth, Chunks, Clip, Eager, Fixed, SaveAt, SemiLinear, solve
from sciml.integrate.methods.adams import _coefficients, _polynomials

# Integrals of the backward-difference basis. Hairer, Norsett & Wanner (1993), III.1, table 1.1.
GAMMA = (1, 1 / 2, 5 / 12, 3 / 8, 251 / 720, 95 / 288, 19087 / 60480, 5257 / 17280, 1070017 / 3628800)
# Weights of the slopes, newest first. Table 1.1 and 1.2 of the same section; common denominators last.
BASHFORTH = {2: ((3, -1), 2), 3: ((23, -16, 5), 12), 4: ((55, -59, 37, -9), 24)}
MOULTON = {2: ((1, 1), 2), 3: ((5, 8, -1), 12), 4: ((9, 19, -5, 1), 24), 5: ((251, 646, -264, 106, -19), 720)}


def pendulum(t, y):
    return torch.stack([y[:, 1], -torch.sin(y[:, 0]) + 0.1 * torch.cos(t if t.ndim == 0 else t[:, 0])], dim=1)


def history(order: int, values: list[float], *, h: float):
    """The carry after equal steps with these slopes, newest first, of a state (1, 1)."""
    rows, zero = torch.tensor(values), torch.tensor(0.0)
    phi = [sum((-1) ** i * _binomial(j, i) * rows[i] for i in range(j + 1)) + zero for j in range(len(values))]
    carry = AdamsBashforth(order).init(ODE(lambda t, y: y), 0.0, torch.zeros(1, 1))
    past = torch.full_like(carry.past, h)
    return carry._replace(phi=torch.stack(phi).reshape(1, -1, 1), past=past, pending=0)


def _binomial(n: int, k: int) -> int:
    result = Fraction(1)
    for i in range(k):
        result = result * (n - i) / (i + 1)
    return int(result)


def test_equal_steps_give_the_known_integrals():
    beta, g = _coefficients(torch.tensor([0.5]), torch.full((1, 7), 0.5))
    assert torch.allclose(beta, torch.ones(1, 8), rtol=1e-14, atol=0)
    assert torch.allclose(g[0], torch.tensor(GAMMA), rtol=1e-13, atol=0)


def test_both_recurrences_give_the_same_integrals():
    h, past = torch.tensor([0.3, -1.7]), torch.tensor([[0.1, 0.7, 0.25], [-0.9, -2.0, -0.4]])
    assert torch.allclose(_polynomials(h, past).sum(-1), _coefficients(h, past)[1], rtol=1e-13, atol=0)


@pytest.mark.parametrize("order", BASHFORTH)
def test_bashforth_weights(order):
    weights, common = BASHFORTH[order]
    values = [0.3, -1.2, 2.5, 0.7][:order]
    carry = history(order, values, h=0.1)
    step = AdamsBashforth(order).step(ODE(lambda t, y: 0 * y), 0.0, 0.1, torch.zeros(1, 1), carry)
    expected = 0.1 * sum(w * f for w, f in zip(weights, values, strict=True)) / common
    assert isinstance(step.y, torch.Tensor)
    assert float(step.y) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("order", MOULTON)
def test_moulton_weights(order):
    weights, common = MOULTON[order]
    new, *old = [1.9, 0.3, -1.2, 2.5, 0.7][:order]
    carry = history(order - 1, old, h=0.1)
    step = Adams(order).step(ODE(lambda t, y: new + 0 * y), 0.0, 0.1, torch.zeros(1, 1), carry)
    expected = 0.1 * sum(w * f for w, f in zip(weights, [new, *old], strict=True)) / common
    assert isinstance(step.y, torch.Tensor)
    assert float(step.y) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("method", [*map(AdamsBashforth, range(1, 9)), *map(Adams, range(2, 13))], ids=repr)
def test_polynomials_up_to_the_order_are_exact_on_unequal_steps(method):
    """y' = q t^(q-1) is exact for q up to the order, and for no more."""
    grid = torch.tensor([0.0, 0.1, 0.14, 0.3, 0.35, 0.5, 0.52, 0.6, 0.75, 0.78, 0.9, 1.0, 1.05, 1.2, 1.21, 1.4, 1.5])
    ts = torch.tensor([1.03, 1.11, 1.45])  # behind the start, whose dense output has one order less within a step

    def error(q: int) -> float:
        term = ODE(lambda t, y: q * t ** (q - 1) + 0 * y)
        save = SaveAt(t1=True, ts=ts)
        ys = solve(term, method, torch.zeros(1, 1), 0.0, 1.5, control=Fixed(ts=grid), save=save).ys
        dense = (ys["ts"][0, :, 0] - ts**q).abs().max()
        return max(abs(float(ys["t1"]) - 1.5**q), float(dense)) / 1.5**q

    assert error(method.order) < (1e-12 if method.order < 9 else 1e-10)
    if method.order < 9:
        assert error(method.order + 1) > 1e-12


def test_every_sample_has_steps_of_its_own():
    """A sample alone does what it does in a batch, also while others start, finish or meet jumps."""
    y0 = torch.tensor([[0.1, 0.0], [2.8, 0.3], [1.0, -1.0], [0.5, 2.0]])
    t1 = torch.tensor([1.0, 4.0, 0.02, 2.0])
    jumps = torch.tensor([[0.5], [3.0], [torch.nan], [torch.nan]])
    method, term = Adams(5), ODE(pendulum)
    for executor in (Eager(), Chunks(4)):
        control = Clip(PID(rtol=1e-5, atol=1e-7), jumps=jumps)
        together = solve(term, method, y0, 0.0, t1, control=control, executor=executor)
        for i in range(4):
            control = Clip(PID(rtol=1e-5, atol=1e-7), jumps=jumps[i : i + 1])
            alone = solve(term, method, y0[i : i + 1], 0.0, t1[i : i + 1], control=control, executor=executor)
            assert torch.allclose(alone.ys[0], together.ys[i], rtol=0, atol=1e-12)
            assert alone.stats.steps[0] == together.stats.steps[i]


def test_joint_steps_and_own_times_on_a_fixed_grid_agree():
    y0 = torch.tensor([[0.1, 0.0], [2.8, 0.3]])
    shared = solve(ODE(pendulum), Adams(6), y0, 0.0, 3.0, control=Fixed(n=50)).ys
    own = solve(ODE(pendulum), Adams(6), y0, torch.zeros(2), torch.full((2,), 3.0), control=Fixed(n=50)).ys
    assert torch.allclose(shared, own, rtol=0, atol=1e-12)


def test_backwards_and_for_trees_and_float32():
    y0 = {"a": torch.tensor([[0.3], [0.9]]), "b": torch.tensor([1.0, -2.0])[:, None, None]}
    term = ODE(lambda t, y: {"a": y["b"][:, 0], "b": -y["a"][:, None]})
    there = solve(term, Adams(8), y0, 0.0, 2.0, control=PID(rtol=1e-10, atol=1e-10)).ys
    back = solve(term, Adams(8), there, 2.0, 0.0, control=PID(rtol=1e-10, atol=1e-10)).ys
    assert torch.allclose(back["a"], y0["a"], rtol=0, atol=1e-8)
    single = solve(ODE(pendulum), Adams(4), torch.tensor([[0.1, 0.0]]).float(), 0.0, 1.0)
    assert single.ys.dtype == torch.float32


@pytest.mark.parametrize("method", [Adams(4), AdamsBashforth(3)], ids=repr)
def test_gradients_of_state_and_times(method):
    y0 = torch.tensor([[0.1, 0.0], [2.8, 0.3]], requires_grad=True)
    t1 = torch.tensor(1.0, requires_grad=True)

    def final(y0, t1):
        return solve(ODE(pendulum), method, y0, 0.0, t1, control=Fixed(n=7)).ys

    assert torch.autograd.gradcheck(final, (y0, t1))


def test_evaluations_per_step():
    calls = []
    term = ODE(lambda t, y: calls.append(1) or -y)
    for method, each in ((AdamsBashforth(1), 1), (Adams(2), 2)):
        calls.clear()
        solution = solve(term, method, torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=10))
        assert len(calls) == 10 * each + 1 == int(solution.stats.evaluations[0])
    steps = []
    for n in (20, 30):
        calls.clear()
        solve(term, Adams(6), torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=n))
        steps.append(len(calls))
    assert steps[1] - steps[0] == 20


def test_what_is_refused():
    with pytest.raises(ValueError, match="`order` must be a whole number of at least 2, got 1"):
        Adams(1)
    with pytest.raises(ValueError, match="`order` of AdamsBashforth must be at most 8, got 9"):
        AdamsBashforth(9)
    with pytest.raises(TypeError, match="Adams is an explicit method and steps ODE"):
        solve(SemiLinear(-1.0, lambda t, y: y), Adams(), torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=2))
