"""Small stochastic terms on a real path, for tests of what does not depend on the law."""

from typing import Any

import torch
from torch import Tensor

from sciml.core import Key
from sciml.integrate import SDE, AbstractStochastic, DiagonalNoise, SemiLinear
from sciml.paths import BrownianMotion, SpaceTime
from tests.stochastic_orders import FIELDS, STRUCTURES

N = 16
"""Steps and intervals between knots."""


def path_of(shape: tuple[int, ...], rows: int = 4, *, seed: int = 1, n: int = N, **options: Any) -> BrownianMotion:
    options = {"levy": SpaceTime()} | options
    return BrownianMotion.on_grid(Key.rows(seed, rows), shape, torch.linspace(0, 1, n + 1), **options)


def term_for(method: AbstractStochastic, path: Any, weight: Any = 1.0, *, structure: str = "diagonal") -> SDE:
    """A term that the method serves, which depends on a weight."""
    if DiagonalNoise not in method.structures:
        structure = "additive"
    f, g, _ = FIELDS[structure]
    sense = method.senses[0]()
    drift: Any = lambda t, y: weight * f(t, y)  # noqa: E731
    if method.linear:
        drift = SemiLinear(torch.tensor([-1.0, -0.5]), drift)
    return SDE(drift, lambda t, y: weight * g(t, y), path, structure=STRUCTURES[structure], sense=sense)


def noise_of(method: AbstractStochastic) -> tuple[int, ...]:
    return (2,) if DiagonalNoise in method.structures else (3,)


def start(rows: int = 4) -> Tensor:
    return torch.linspace(-0.5, 1.0, 2 * rows).reshape(rows, 2)
