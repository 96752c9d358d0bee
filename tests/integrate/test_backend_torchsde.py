"""torchsde as a method of `solve`: on one Brownian path it takes the steps that our methods take."""

from typing import Any

import pytest
import torch
from torch import nn

from sciml.core import Key
from sciml.integrate import (
    ODE,
    PID,
    SDE,
    SRA1,
    SRI2,
    AdditiveNoise,
    Clip,
    CommutativeNoise,
    DiagonalNoise,
    Direct,
    EulerHeun,
    EulerMaruyama,
    Fixed,
    GeneralNoise,
    Ito,
    Milstein,
    ReversibleHeun,
    SaveAt,
    ScalarNoise,
    SemiLinear,
    SolveError,
    StochasticHeun,
    StochasticMidpoint,
    Stratonovich,
    TorchSDE,
    solve,
)
from sciml.paths import BrownianMotion, Foster, SpaceTime

ROWS, SIZE, NOISE = 3, 4, 2
OURS = {
    "euler": (EulerMaruyama(), Ito()),
    "milstein": (Milstein(), Ito()),
    "srk": (SRI2(), Ito()),
    "euler_heun": (EulerHeun(), Stratonovich()),
    "heun": (StochasticHeun(), Stratonovich()),
    "midpoint": (StochasticMidpoint(), Stratonovich()),
    "reversible_heun": (ReversibleHeun(), Stratonovich()),
}
STRUCTURES = {
    "diagonal": DiagonalNoise(),
    "additive": AdditiveNoise(),
    "additive diagonal": AdditiveNoise(diagonal=True),
    "scalar": ScalarNoise(),
    "commutative": CommutativeNoise(),
    "general": GeneralNoise(),
}
CASES = [
    (name, structure)
    for name in OURS
    for structure in STRUCTURES
    if not (name in ("milstein", "srk") and structure in ("general", "commutative"))
]


class Fields(nn.Module):
    """A drift, and a diffusion whose entry i depends on entry i of the state only."""

    def __init__(self, structure) -> None:
        super().__init__()
        self.layer = nn.Linear(SIZE, SIZE)
        self.a = nn.Parameter(torch.linspace(0.2, 0.8, SIZE))
        self.matrix = nn.Parameter(torch.linspace(-0.5, 0.5, SIZE * NOISE).reshape(SIZE, NOISE))
        self.structure = structure

    def f(self, t, y):
        return torch.tanh(self.layer(y)) * torch.cos(t)

    def g(self, t, y):
        if self.structure == AdditiveNoise():
            return (self.matrix * torch.cos(t)).expand(len(y), SIZE, NOISE)
        if self.structure == AdditiveNoise(diagonal=True):
            return (self.a * (1 + t)).expand_as(y)
        if isinstance(self.structure, ScalarNoise):
            return self.a * y  # a derivative that is its own transpose: see the note on torchsde's scalar Milstein
        diagonal = self.a * torch.sin(y + t)
        return diagonal[..., None] * self.matrix if self.structure.is_matrix else diagonal


def outcome(structure, sense, method, *, levy=None, steps=8, control=None, t0=0.0, t1=1.0, **options):
    """States, and gradients of their sum of squares."""
    torch.manual_seed(0)
    fields = Fields(structure)
    shape = {False: (SIZE,), True: (NOISE,)}[structure.is_matrix]
    shape = (1,) if isinstance(structure, ScalarNoise) else shape
    path = BrownianMotion.on_grid(
        Key.rows(3, ROWS), shape, torch.linspace(t0, t1, 2 * steps + 1), levy=levy or SpaceTime(), depth=18
    )
    term = SDE(fields.f, fields.g, path, structure=structure, sense=sense)
    y0 = torch.linspace(-1, 1, ROWS * SIZE).reshape(ROWS, SIZE).requires_grad_()
    solution = solve(term, method, y0, t0, t1, control=control or Fixed(n=steps), **options)
    ys = solution.ys
    values = ys.values() if isinstance(ys, dict) else (ys,)
    loss = torch.cat([value.flatten() for value in values]).square().sum()
    return solution, torch.autograd.grad(loss, [y0, *fields.parameters()], allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize(("name", "structure"), CASES)
def test_equal_to_ours_step_by_step(name, structure):
    method, sense = OURS[name]
    if name == "srk" and structure == "additive":
        method = SRA1()
    save = SaveAt(ts=torch.linspace(0, 1, 9), t1=True)
    noise = STRUCTURES[structure]
    theirs, ours = (outcome(noise, sense, m, save=save) for m in (TorchSDE(name), method))
    # torchsde's SRA1 takes g at the end of the step in its inner stage, ours at the start.
    tolerance = 2e-3 if (name, structure) == ("srk", "additive") else 1e-11
    torch.testing.assert_close(theirs[0].ys, ours[0].ys, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(theirs[1], ours[1], rtol=10 * tolerance, atol=10 * tolerance)
    assert theirs[0].stats.steps.tolist() == [8] * ROWS
    assert theirs[0].ys["ts"].shape == (ROWS, 9, SIZE)


def test_between_steps_linear_as_ours():
    ts = torch.tensor([0.05, 0.3, 0.77])
    theirs = outcome(DiagonalNoise(), Stratonovich(), TorchSDE("heun"), save=SaveAt(t0=True, ts=ts))[0].ys
    ours = outcome(DiagonalNoise(), Stratonovich(), StochasticHeun(), save=SaveAt(t0=True, every=1))[0].ys
    ends = torch.cat([ours["t0"].unsqueeze(1), ours["steps"]], dim=1)
    left, share = (8 * ts).long(), (8 * ts).frac()[:, None]
    torch.testing.assert_close(
        theirs["ts"], torch.lerp(ends[:, left], ends[:, left + 1], share), rtol=1e-11, atol=1e-11
    )


def test_a_shorter_last_step():
    control = Fixed(dt=0.3)
    theirs, ours = (outcome(DiagonalNoise(), Ito(), m, control=control) for m in (TorchSDE("euler"), EulerMaruyama()))
    torch.testing.assert_close(theirs[0].ys, ours[0].ys, rtol=1e-11, atol=1e-11)


def test_adjoint_of_reversible_heun_is_exact():
    theirs, ours = (
        outcome(GeneralNoise(), Stratonovich(), m)[1]
        for m in (TorchSDE("reversible_heun", adjoint=True), ReversibleHeun())
    )
    torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-9)


def test_log_ode_and_adaptive_steps_come_near_to_ours():
    fine = outcome(GeneralNoise(), Stratonovich(), StochasticHeun(), steps=128, levy=Foster())[0].ys
    log_ode = outcome(GeneralNoise(), Stratonovich(), TorchSDE("log_ode"), steps=128, levy=Foster())[0].ys
    torch.testing.assert_close(log_ode, fine, rtol=0.05, atol=0.05)
    control = PID(rtol=1e-3, atol=1e-3, per_sample=False, dt0=0.05, dt_min=1e-4)
    fine = outcome(DiagonalNoise(), Stratonovich(), StochasticHeun(), steps=128)[0].ys
    adaptive = outcome(DiagonalNoise(), Stratonovich(), TorchSDE("heun", adaptive=True), steps=128, control=control)[0]
    torch.testing.assert_close(adaptive.ys, fine, rtol=0.02, atol=0.02)
    assert int(adaptive.stats.attempts[0]) > 8


REFUSED: dict[str, Any] = {
    "per-sample steps": ("heun", True, {"control": PID()}, ValueError, "values of per_sample"),
    "clip": ("heun", True, {"control": Clip(PID(per_sample=False), stops=torch.tensor([0.5]))}, TypeError, "got Clip"),
    "tensors": (
        "heun",
        True,
        {"control": PID(rtol=torch.ones(SIZE), per_sample=False)},
        ValueError,
        "numbers, got tensors",
    ),
    "unequal": ("heun", False, {"control": Fixed(ts=torch.tensor([0.0, 0.1, 1.0]))}, ValueError, "equal steps"),
    "backwards": ("heun", False, {"t0": 1.0, "t1": 0.0}, ValueError, "forwards only"),
    "every": ("heun", False, {"save": SaveAt(every=1)}, ValueError, r"torchsde keeps.*SaveAt\(every="),
    "own ts": ("heun", False, {"save": SaveAt(ts=torch.rand(ROWS, 2))}, ValueError, "got `save.ts` per sample"),
    "times": (
        "heun",
        False,
        {"save": SaveAt(ts=torch.tensor([0.5], requires_grad=True))},
        ValueError,
        "no gradients of the times",
    ),
    "gradient": ("heun", False, {"gradient": Direct()}, ValueError, "itself, got gradient"),
    "sense": ("euler", False, {}, SolveError, "torchsde gave up: SDE is of type stratonovich"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    method, adaptive, options, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        outcome(DiagonalNoise(), Stratonovich(), TorchSDE(method, adaptive=adaptive), **options)


def test_more_is_refused_by_name():
    with pytest.raises(ValueError, match="must be one of euler"):
        TorchSDE("dopri5")
    path = BrownianMotion.on_grid(Key.rows(0, 1), (2,), [0.0, 1.0])
    like: Any = {"structure": DiagonalNoise(), "sense": Ito()}
    one: Any = {"control": Fixed(n=1)}
    with pytest.raises(TypeError, match=r"got ODE\."):
        solve(ODE(lambda t, y: y), TorchSDE(), torch.ones(1, 2), 0.0, 1.0, **one)
    linear = SemiLinear(-torch.ones(2), lambda t, y: y)
    with pytest.raises(TypeError, match=r"got SDE\(SemiLinear"):
        solve(SDE(linear, lambda t, y: y, path, **like), TorchSDE(), torch.ones(1, 2), 0.0, 1.0, **one)
    term = SDE(lambda t, y: y, lambda t, y: y, path, **like)
    with pytest.raises(ValueError, match=r"\(batch, channel\), got shape"):
        solve(term, TorchSDE("euler"), torch.ones(1, 1, 2), 0.0, 1.0, **one)
    w = torch.ones((), requires_grad=True)
    own = SDE(lambda t, y: -w * y, lambda t, y: y, path, **like)
    with pytest.raises(ValueError, match="would lose its gradient"):
        solve(own, TorchSDE("euler", adjoint=True), torch.ones(1, 2), 0.0, 1.0, **one)
    with pytest.raises(ValueError, match="its step must be given"):
        solve(term, TorchSDE("euler"), torch.ones(1, 2), 0.0, 1.0)
