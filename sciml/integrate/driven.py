"""What drives the steps of an SDE: increments made beforehand, handed to compiled code as tensors; and Brownian motion
that adaptive steps follow, so that the end of one step, where the next begins, is drawn once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, leaves_of
from sciml.integrate.methods.base import Time
from sciml.integrate.methods.stochastic import increment
from sciml.integrate.terms import SDE, AbstractTerm
from sciml.paths import BrownianMotion, Increment, Point, TensorTimes, map_increment


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


@final
class FollowedPath:
    """A Brownian motion as one attempt meets it: what is known at its times is kept. Equal times are the same object.

    Args:
        path: the Brownian motion.
        t0: where the attempt starts.
        start: what is known there.
    """

    def __init__(self, path: TensorTimes, t0: Time, start: Point) -> None:
        self.path, self.shape, self.knots, self.factor = path, path.shape, path.knots, path.factor
        self.known = [(t0, start)]

    def at(self, t: Time) -> Point:
        """What is known at a time."""
        for time, point in self.known:
            if time is t:
                return point
        self.known.append((t, self.path.at("t", t)))
        return self.known[-1][1]

    def increment(self, t0: Time, t1: Time) -> Increment:
        """What the path does from one time to another."""
        return self.path.between(self.at(t0), self.at(t1))


def followed(term: AbstractTerm) -> TensorTimes | None:
    """The Brownian motion that adaptive steps of a term follow; None where there is none."""
    path = term.path if isinstance(term, SDE) else None
    if isinstance(path, BrownianMotion):
        return path.on_tensors
    return path if isinstance(path, TensorTimes) else None


def on_tensors(term: AbstractTerm) -> AbstractTerm:
    """The term as a compiled loop takes it: its path without anything but tensors and shapes, its table drawn."""
    path = followed(term)
    return term if path is None else replace(term, path=path.drawn())  # type: ignore[type-var]


def is_tensors_only(term: AbstractTerm) -> bool:
    """Whether a compiled loop may ask the path of the term. Gradients of a factor are made outside, and so are H and K:
    the code that torch 2.13 makes of them in a loop fails when it runs.
    """
    path = followed(term)
    if path is None or path.table.levy.moments > 1:
        return False
    return path.factor is None or not path.factor.requires_grad


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
        return path.along(times, compiled=True)
    steps = [path.increment(t0, t1) for t0, t1 in zip(times, times[1:], strict=False)]
    return map_increment(lambda *parts: torch.stack(parts), *steps)


def slopes_of(term: AbstractTerm, t: Tensor, y: Flat) -> list[Tensor]:
    """Values of the fields of a term."""
    fields = [term.f, *([term.g] if isinstance(term, SDE) else [])]  # type: ignore[attr-defined]
    return [leaf for field in fields for leaf in leaves_of(field(t, y))]
