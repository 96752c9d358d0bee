"""What drives the steps of an SDE that are compiled: increments made beforehand, handed to the code as tensors."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, leaves_of
from sciml.integrate.methods.base import Time
from sciml.integrate.methods.stochastic import increment
from sciml.integrate.terms import SDE, AbstractTerm
from sciml.paths import BrownianMotion, Increment, map_increment


@final
class GivenPath:
    """A path of which only the increment over the step that is taken is known.

    Args:
        given: the increment, or None before it is made.
    """

    def __init__(self, given: Increment | None) -> None:
        self.given = given

    def increment(self, t0: Time, t1: Time) -> Increment:
        """The one that is known."""
        assert self.given is not None
        return self.given


def without_path(term: AbstractTerm) -> AbstractTerm:
    """The term as compiled code takes it: without the path, on which it must not depend."""
    return replace(term, path=GivenPath(None)) if isinstance(term, SDE) else term


def driven_by(term: Any, given: Increment | None) -> Any:
    """The term with a path that makes this step's increment."""
    return term if given is None else replace(term, path=GivenPath(given))


def increment_of(term: AbstractTerm, t0: Time, t1: Time) -> Increment | None:
    """What drives a step, None for an ODE."""
    return increment(term, t0, t1) if isinstance(term, SDE) else None


def increments_along(term: AbstractTerm, times: Sequence[float]) -> Increment | None:
    """What drives the steps along a grid, with an axis (step,) before the others; None for an ODE."""
    if not isinstance(term, SDE):
        return None
    path = term.path
    if isinstance(path, BrownianMotion):
        return path.along(times)
    steps = [path.increment(t0, t1) for t0, t1 in zip(times, times[1:], strict=False)]
    return map_increment(lambda *parts: torch.stack(parts), *steps)


def slopes_of(term: AbstractTerm, t: Tensor, y: Flat) -> list[Tensor]:
    """Values of the fields of a term."""
    fields = [term.f, *([term.g] if isinstance(term, SDE) else [])]  # type: ignore[attr-defined]
    return [leaf for field in fields for leaf in leaves_of(field(t, y))]
