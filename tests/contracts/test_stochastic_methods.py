"""Every stochastic method: strong and weak orders as claimed, what it refuses, its limit without noise, gradients.

Strong orders are measured on the same path as the truth, an exact solution or a fine solve, by Monte Carlo in two
stages: slopes of ten independent groups, whose mean has a 95 % interval. Weak orders are measured on linear equations
without any sampling: the mean of a step over W and H is a sum over the nodes of a quadrature that is exact for it.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.integrate import (
    BAOAB,
    EES25,
    RI6,
    SDE,
    SRA1,
    SRI2,
    UBU,
    AbstractLangevin,
    AbstractMethod,
    AbstractNoise,
    AbstractStochastic,
    AdditiveNoise,
    CommutativeNoise,
    DiagonalNoise,
    EulerHeun,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    GeneralNoise,
    GeneralShARK,
    Ito,
    Milstein,
    ReversibleHeun,
    ScalarNoise,
    SemiLinear,
    ShARK,
    SlowRK,
    SPaRK,
    StochasticHeun,
    StochasticMidpoint,
    Stratonovich,
)
from tests.helpers import final_subclasses
from tests.stochastic import Problem, linear_moments_slope, slope_interval, strong_errors

METHODS: list[AbstractStochastic] = [
    EulerMaruyama(),
    EulerHeun(),
    StochasticHeun(),
    StochasticMidpoint(),
    EES25(),
    ReversibleHeun(),
    Milstein(),
    Milstein(derivatives=False),
    SPaRK(),
    GeneralShARK(),
    SlowRK(),
    SRA1(),
    ShARK(),
    SRI2(),
    RI6(),
    ExponentialEulerMaruyama(),
]
"""One case or more per class."""
LANGEVIN: list[AbstractLangevin] = [BAOAB(), UBU()]
STRUCTURES: dict[str, AbstractNoise] = {
    "additive": AdditiveNoise(),
    "diagonal": DiagonalNoise(),
    "scalar": ScalarNoise(),
    "commutative": CommutativeNoise(),
    "general": GeneralNoise(),
}
SENSES = {"ito": Ito(), "stratonovich": Stratonovich()}
QUICK = {
    ("additive", "ito", "SRA1()"),
    ("additive", "stratonovich", "ShARK()"),
    ("diagonal", "ito", "SRI2()"),
    ("diagonal", "stratonovich", "StochasticHeun()"),
    ("scalar", "ito", "Milstein(derivatives=True)"),
    ("scalar", "stratonovich", "SlowRK()"),
    ("commutative", "stratonovich", "SlowRK()"),
    ("commutative", "stratonovich", "ReversibleHeun()"),
    ("general", "ito", "EulerMaruyama()"),
    ("general", "stratonovich", "StochasticMidpoint()"),
}
"""Two cases per structure that run by default; all others are in the slow suite."""
TURN = torch.tensor([[-0.5, 0.3], [-0.2, -0.7]])
COMMUTING = torch.tensor([[[0.4, 0.3], [-0.3, 0.4]], [[-0.2, 0.5], [-0.5, -0.2]]])


def drift(t: Tensor, y: Tensor) -> Tensor:
    return y @ TURN.T + 0.3 * torch.cos(t) + 0.5 * torch.sin(y.flip(-1))


def steep_drift(t: Tensor, y: Tensor) -> Tensor:
    """So nonlinear that with additive noise the errors of order 3/2 rule."""
    return 2 * torch.sin(2 * y) + 0.5 * y.flip(-1)


def constant(t: Tensor, y: Tensor) -> Tensor:
    return torch.tensor([[1.0, 0.2, 0.1], [-0.3, 0.9, 0.5]]).expand(len(y), 2, 3)


def entrywise(t: Tensor, y: Tensor) -> Tensor:
    return 0.6 * (1 + 0.3 * torch.sin(2 * t)) * torch.cos(y)


def mixing(t: Tensor, y: Tensor) -> Tensor:
    return 0.7 * torch.sin(y + y.flip(-1))


def commuting(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([y @ matrix.T for matrix in COMMUTING], dim=-1)


def general(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    rows = [torch.stack([0.7 * torch.cos(b), 0.3 * a], -1), torch.stack([0.4 * a, 0.8 * torch.sin(a + 1)], -1)]
    return torch.stack(rows, dim=1)


FIELDS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "additive": (steep_drift, constant, (3,)),
    "diagonal": (drift, entrywise, (2,)),
    "scalar": (drift, mixing, (1,)),
    "commutative": (drift, commuting, (2,)),
    "general": (drift, general, (2,)),
}


def start(rows: int) -> Tensor:
    return torch.tensor([0.5, -0.2]).expand(rows, 2)


def problem(structure: str, sense: str, *, semilinear: bool = False) -> Problem:
    """The problem on which a structure is measured."""
    f, g, noise = FIELDS[structure]
    if semilinear:
        linear, rest = torch.tensor([-1.0, -3.0]), f
        f = SemiLinear(linear, lambda t, y: rest(t, y) - linear * y)
        if structure == "diagonal":  # little else than what the noise does to itself
            f, g = SemiLinear(torch.tensor([-0.5, -0.2]), lambda t, y: 0 * y), lambda t, y: 1.2 * y
    term = lambda path: SDE(f, g, path, structure=STRUCTURES[structure], sense=SENSES[sense])  # noqa: E731
    return Problem(f"{structure} {sense}", term, start, noise)


def serves(method: AbstractStochastic, structure: str, sense: str) -> bool:
    """Whether the method says that it is made for this."""
    noise = STRUCTURES[structure]
    return isinstance(noise, method.structures) and (
        isinstance(noise, AdditiveNoise) or isinstance(SENSES[sense], method.senses)
    )


def reference(structure: str, sense: str) -> AbstractMethod:
    """A method that is accurate on a fine grid, other than most it is compared with."""
    if structure == "additive":
        return ShARK()
    if sense == "ito":
        return {"general": EulerMaruyama(), "commutative": Milstein()}.get(structure, SRI2())
    return StochasticHeun() if structure == "general" else SlowRK()


CASES = [
    pytest.param(
        method,
        structure,
        sense,
        marks=() if (structure, sense, repr(method)) in QUICK else (pytest.mark.slow,),
        id=f"{method!r}-{structure}-{sense}",
    )
    for structure in STRUCTURES
    for sense in SENSES
    for method in METHODS
    if serves(method, structure, sense)
]


def test_every_method_has_a_case():
    found = final_subclasses(AbstractStochastic) | final_subclasses(AbstractLangevin)
    assert {type(method) for method in (*METHODS, *LANGEVIN)} == found
    assert len(QUICK) == 10 == sum(not case.marks for case in CASES)


@pytest.mark.parametrize(("method", "structure", "sense"), CASES)
def test_strong_order_is_as_claimed(method, structure, sense):
    case = problem(structure, sense, semilinear=method.linear)
    claim = method.strong_order(STRUCTURES[structure])
    steps, fine, samples = (16, 32, 64, 128), 2**10, 80
    if claim > 1:
        fine, samples = 2**11, 200
        if structure == "scalar":
            case = replace(case, t1=0.5)
    elif structure == "additive":
        samples = 200
    elif structure in ("diagonal", "scalar"):
        steps = (8, 16, 32, 64)
    own = method if method.linear else reference(structure, sense)
    errors = strong_errors(method, case, steps, samples=samples, groups=10, fine=fine, reference=own)
    slope, width = slope_interval(errors, steps)
    print(f"\n{method!r} on {case.name}: strong order {slope:.3f} +- {width:.3f}, claimed {claim}")
    assert claim - 0.25 < slope - width and slope + width < claim + 0.25


def linear_case(structure: str, sense: str, *, semilinear: bool) -> tuple[Any, Tensor, Tensor, Tensor]:
    """Term of a path, A, B_k and initial state of a linear equation of a structure."""
    noise = {
        "diagonal": torch.stack([torch.diag(torch.tensor([0.7, 0.0])), torch.diag(torch.tensor([0.0, -0.5]))]),
        "scalar": torch.tensor([[[0.4, 0.3], [-0.2, 0.5]]]),
        "commutative": COMMUTING,
        "general": torch.tensor([[[0.4, 0.3], [0.1, -0.2]], [[0.1, -0.5], [0.4, 0.3]]]),
    }.get(structure)
    a, y0 = TURN, torch.tensor([1.0, -0.5])
    if noise is None:  # additive: the first entry of the state is 1 and stays it
        a, y0 = torch.zeros(3, 3), torch.tensor([1.0, 1.0, -0.5])
        a[1:, 1:] = TURN
        noise = torch.zeros(2, 3, 3)
        noise[:, 1:, 0] = torch.tensor([[0.6, 0.2], [-0.3, 0.5]])

    def g(t: Tensor, y: Tensor) -> Tensor:
        columns = torch.einsum("kij,bj->bik", noise, y)
        return columns.sum(-1) if structure in ("diagonal", "scalar") else columns

    linear = torch.diagonal(a)
    rest = a - torch.diag(linear)
    f = SemiLinear(linear, lambda t, y: y @ rest.T) if semilinear else (lambda t, y: y @ a.T)
    return (
        lambda path: SDE(f, g, path, structure=STRUCTURES[structure], sense=SENSES[sense]),
        a,
        noise,
        y0,
    )


@pytest.mark.parametrize(("method", "structure", "sense"), [pytest.param(*case.values, id=case.id) for case in CASES])
def test_weak_order_is_as_claimed(method, structure, sense):
    term, a, noise, y0 = linear_case(structure, sense, semilinear=method.linear)
    claim = method.weak_order(STRUCTURES[structure])
    steps = (8, 16, 32)
    slope, errors = linear_moments_slope(method, term, a, noise, y0, ito=sense == "ito", steps=steps)
    print(f"\n{method!r} on {structure} {sense}: weak order {slope:.3f}, claimed {claim}, errors {errors}")
    assert claim - 0.25 < slope < claim + 0.25
