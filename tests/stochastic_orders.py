"""Every stochastic method with the structures and senses it is made for, and the measurement of its orders.

Strong orders are measured on the same path as the truth, an exact solution or a fine solve, by Monte Carlo in two
stages: slopes of independent groups of samples, whose mean has a 95 % interval. Weak orders are measured without any
sampling: the mean of a step over W and H is a sum over the nodes of a quadrature that is exact for it, on linear
equations and on a nonlinear one on a circle.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sciml.integrate import (
    BAOAB,
    EES25,
    RI6,
    RK4,
    SDE,
    SRA1,
    SRI2,
    UBU,
    AbstractLangevin,
    AbstractMethod,
    AbstractNoise,
    AbstractStochastic,
    AdditiveNoise,
    AlongChords,
    CommutativeNoise,
    DiagonalNoise,
    Euler,
    EulerHeun,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Fixed,
    GeneralNoise,
    GeneralShARK,
    Ito,
    Langevin,
    LogODE,
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
    Tsit5,
    solve,
    to_stratonovich,
)
from tests.stochastic import (
    HalvedPath,
    StoredPath,
    linear_moments_slope,
    nodes_of,
    periodic_slope,
    slope_interval,
    strong_errors,
    whole,
)

METHODS: list[AbstractStochastic] = [
    EulerMaruyama(),
    EulerHeun(),
    StochasticHeun(),
    StochasticMidpoint(),
    EES25(),
    ReversibleHeun(),
    Milstein(),
    Milstein(derivatives=False),
    LogODE(),
    SPaRK(),
    GeneralShARK(),
    SlowRK(),
    SRA1(),
    ShARK(),
    SRI2(),
    RI6(),
    ExponentialEulerMaruyama(),
    AlongChords(Euler()),
    AlongChords(RK4()),
    AlongChords(Tsit5()),
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
TURN = torch.tensor([[-0.5, 0.3], [-0.2, -0.7]])
COMMUTING = torch.tensor([[[0.4, 0.3], [-0.3, 0.4]], [[-0.2, 0.5], [-0.5, -0.2]]])


def drift(t: Tensor, y: Tensor) -> Tensor:
    return y @ TURN.T + 0.3 * torch.cos(t) + 0.5 * torch.sin(y.flip(-1))


def steep_drift(t: Tensor, y: Tensor) -> Tensor:
    """So nonlinear that with additive noise the errors of order 3/2 rule."""
    return 1.4 * torch.sin(2 * y) + 0.5 * y.flip(-1)


def constant(t: Tensor, y: Tensor) -> Tensor:
    return torch.tensor([[1.0, 0.2, 0.1], [-0.3, 0.9, 0.5]]).expand(len(y), 2, 3)


def entrywise(t: Tensor, y: Tensor) -> Tensor:
    return 0.6 * (1 + 0.3 * torch.sin(2 * t)) * torch.cos(y)


def mixing(t: Tensor, y: Tensor) -> Tensor:
    """Bounded derivatives, and not so steep that a hundredth of the samples has half of the mean square error."""
    a, b = y.unbind(-1)
    return torch.stack([0.5 * torch.cos(b), 0.3 + 0.5 * torch.sin(a - 0.5 * b)], -1)


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
GROUPS = 20
"""Of samples: each has a slope, and the spread of the slopes tells the interval of their mean."""
GROWTH, VOLATILITY = torch.tensor([0.5, -0.4]), torch.tensor([0.6, 0.4])


class Case(NamedTuple):
    """What is measured."""

    method: Any
    structure: str
    sense: str

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.method!r}-{self.structure}-{self.sense}"


def serves(method: AbstractStochastic, structure: str, sense: str) -> bool:
    """Whether the method says that it is made for this."""
    noise = STRUCTURES[structure]
    return isinstance(noise, method.structures) and (
        isinstance(noise, AdditiveNoise) or isinstance(SENSES[sense], method.senses)
    )


CASES = [
    Case(method, structure, sense)
    for structure in STRUCTURES
    for sense in SENSES
    for method in METHODS
    if serves(method, structure, sense)
]
"""Every (method, structure, sense) that is served."""


@dataclass(frozen=True)
class Measured:
    """An order and what is claimed.

    Args:
        claim: the order stated by the method.
        slope: measured.
        width: half width of the 95 % interval; 0 where nothing is sampled.
        errors: by number of steps.
    """

    claim: float
    slope: float
    width: float
    errors: dict[int, float]

    @property
    def holds(self) -> bool:
        """Whether the whole interval is within 1/4 of the claim."""
        return self.claim - 0.25 < self.slope - self.width and self.slope + self.width < self.claim + 0.25

    def __str__(self) -> str:
        errors = ", ".join(f"{n}: {error:.2e}" for n, error in self.errors.items())
        return f"{self.slope:.3f} +- {self.width:.3f}, claimed {self.claim:g} ({errors})"


# Strong orders


class Solved(NamedTuple):
    """A problem and the solution on its path."""

    path: StoredPath
    y0: Tensor
    truth: Tensor


def term_of(structure: str, sense: str, path: Any, *, semilinear: bool = False) -> SDE:
    """The equation on which a structure is measured."""
    f, g, _ = FIELDS[structure]
    if semilinear:
        linear, rest = torch.tensor([-0.5, -0.2]), f
        f = SemiLinear(linear, lambda t, y: rest(t, y) - linear * y)
    return SDE(f, g, path, structure=STRUCTURES[structure], sense=SENSES[sense])


@functools.lru_cache(maxsize=2)
def solved(structure: str, sense: str, samples: int, fine: int) -> Solved:
    """The truth by a fine solve with a method of higher order than most, or one that is made for the areas."""
    noise = FIELDS[structure][2]
    path = StoredPath(0, samples, noise, fine, areas=structure == "general")
    y0 = torch.tensor([0.5, -0.2]).expand(samples, 2)
    term = term_of(structure, sense, path)
    method: AbstractMethod = SlowRK()
    made = term
    if structure == "additive":
        method = ShARK()
    elif structure == "general":
        method = Milstein(derivatives=False) if sense == "ito" else StochasticHeun()
    elif sense == "ito":
        method, made = (SlowRK(), to_stratonovich(term)) if structure != "diagonal" else (SRI2(), term)
    return Solved(path, y0, solve(made, method, y0, 0.0, 1.0, control=Fixed(n=fine)).ys)


def strong_order(case: Case, samples: int = 2000) -> Measured:
    """Of a case, on its structure's equation."""
    method, structure, sense = case
    claim = method.strong_order(STRUCTURES[structure])
    steps = (8, 16, 32, 64) if structure == "general" else (16, 32, 64, 128)
    made = solved(structure, "ito" if structure == "additive" else sense, samples, 2**11 if samples > 1000 else 2**10)
    term = term_of(structure, sense, made.path, semilinear=method.linear)
    return measured(claim, strong_errors(method, made.path, term, made.truth, made.y0, steps, GROUPS), steps)


def exact_strong_order(method: AbstractStochastic, sense: str, samples: int = 4000) -> Measured:
    """On geometric Brownian motion, whose solution is known."""
    steps = (16, 32, 64, 128)
    path = StoredPath(1, samples, (2,), 128)
    y0 = torch.ones(samples, 2)
    f: Any = SemiLinear(GROWTH, lambda t, y: 0 * y) if method.linear else lambda t, y: GROWTH * y
    term = SDE(f, lambda t, y: VOLATILITY * y, path, structure=DiagonalNoise(), sense=SENSES[sense])
    shift = 0.5 * VOLATILITY**2 if sense == "ito" else 0.0
    truth = torch.exp(GROWTH - shift + VOLATILITY * path.value(1.0))
    claim = method.strong_order(DiagonalNoise())
    return measured(claim, strong_errors(method, path, term, truth, y0, steps, GROUPS), steps)


def langevin_strong_order(method: AbstractLangevin) -> Measured:
    """On a particle in a potential with two wells on each axis."""
    rows, steps = 400, (4, 8, 16, 32)
    path = StoredPath(3, rows, (2,), 2**9)
    term = Langevin(lambda t, x: -x - torch.sin(3 * x), path, friction=1.5, temperature=0.7)
    y0 = (torch.ones(rows, 2), torch.zeros(rows, 2))
    truth = whole(solve(term, UBU(), y0, 0.0, 1.0, control=Fixed(n=2**8)).ys)
    return measured(method.strong, strong_errors(method, path, term, truth, y0, steps, GROUPS), steps)


def measured(claim: float, errors: Tensor, steps: tuple[int, ...]) -> Measured:
    """The slope and its interval."""
    rms = errors.square().mean(0).sqrt().tolist()
    return Measured(claim, *slope_interval(errors, steps), dict(zip(steps, rms, strict=True)))


# Weak orders


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


def linear_weak_order(case: Case) -> Measured:
    """Of second moments of a linear equation."""
    method, structure, sense = case
    term, a, noise, y0 = linear_case(structure, sense, semilinear=method.linear)
    steps = (8, 16, 32)
    slope, errors = linear_moments_slope(method, term, a, noise, y0, ito=sense == "ito", steps=steps)
    claim = method.weak_order(STRUCTURES[structure])
    return Measured(claim, slope, 0.0, dict(zip(steps, errors, strict=True)))


SPREADS: dict[str, Callable[[Tensor], Tensor]] = {
    "additive": lambda y: torch.full((len(y), 1), 0.8),
    "diagonal": lambda y: 0.5 + 0.3 * torch.cos(y),
    "scalar": lambda y: 0.5 + 0.3 * torch.cos(y),
    "commutative": lambda y: (0.5 + 0.3 * torch.cos(y)) * torch.tensor([1.0, -0.6]),
    "general": lambda y: torch.cat([0.5 + 0.3 * torch.cos(y), 0.4 * torch.sin(y + 1)], 1),
}
"""All g_k of a state on a circle, (point, m), with the structure they have."""


def nonlinear_weak_order(case: Case) -> Measured:
    """Of a function of a state on a circle."""
    method, structure, sense = case
    spread = SPREADS[structure]

    def f(y: Tensor) -> Tensor:
        return 0.4 + 0.7 * torch.sin(y)

    def g(t: Tensor, y: Tensor) -> Tensor:
        return spread(y) if structure in ("diagonal", "scalar") else spread(y)[:, None, :]

    def term(path: Any) -> SDE:
        return SDE(lambda t, y: f(y), g, path, structure=STRUCTURES[structure], sense=SENSES[sense])

    steps = (8, 16, 32)
    slope, errors = periodic_slope(method, term, f, spread, ito=sense == "ito", steps=steps)
    claim = method.weak_order(STRUCTURES[structure])
    return Measured(claim, slope, 0.0, dict(zip(steps, errors, strict=True)))


def langevin_weak_order(method: AbstractLangevin) -> Measured:
    """Of second moments of a harmonic oscillator at t = 1, by quadrature over the noise of a step."""
    friction, temperature = 1.5, 0.7
    a = torch.tensor([[0.0, 1.0], [-1.0, -friction]])
    spread = torch.diag(torch.tensor([0.0, 2 * friction * temperature]))
    one = torch.eye(2)
    generator = torch.zeros(5, 5)  # of the moments and 1
    generator[:4, :4], generator[:4, 4] = torch.kron(a, one) + torch.kron(one, a), spread.flatten()
    start = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0])
    truth = torch.linalg.matrix_exp(generator)[:4] @ start
    w, h, weights = nodes_of(2)
    errors: dict[int, float] = {}
    for n in (4, 8, 16):
        term = Langevin(lambda t, x: -x, HalvedPath(w, h, 1.0 / n), friction=friction, temperature=temperature)
        ends = []
        for x0, v0 in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
            y0 = (torch.full((len(w), 1), x0), torch.full((len(w), 1), v0))
            ends.append(whole(solve(term, method, y0, 0.0, 1.0 / n, control=Fixed(n=1)).ys))
        matrix, noise = torch.stack([ends[0] - ends[2], ends[1] - ends[2]], -1), ends[2]
        mean = torch.zeros(5, 5)
        mean[:4, :4] = torch.kron(matrix[0], matrix[0])
        mean[:4, 4] = torch.einsum("q,qa,qb->ab", weights, noise, noise).flatten()
        mean[4, 4] = 1.0
        errors[n] = float((torch.linalg.matrix_power(mean, n)[:4] @ start - truth).norm())
    return Measured(method.weak, math.log2(errors[8] / errors[16]), 0.0, errors)


def weak_orders(case: Case) -> list[Measured]:
    """On the linear and the nonlinear equation; the lowest is the order of the method."""
    return [linear_weak_order(case), *(() if case.method.linear else (nonlinear_weak_order(case),))]
