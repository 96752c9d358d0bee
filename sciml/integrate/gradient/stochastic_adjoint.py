"""The adjoint of dy = f dt + g o dW, for `Backsolve`: an equation in the sense of Stratonovich, solved back over the
very path of the forward solve,

    d lambda = -(df/dy)^T lambda dt - sum_k (dg_k/dy)^T lambda o dW_k,    and so for the parameters.

Its diffusion has a column per Brownian motion of every sample and a row per parameter. It is never made: g w is one
function of (t, y), and its products with cotangents are those of reverse differentiation.

Source: Li, Wong, Chen & Duvenaud (2020), "Scalable gradients for stochastic differential equations", arXiv 2001.01328,
theorem 3.3 and algorithm 2.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.convert import to_stratonovich
from sciml.integrate.flat import Flat, beside, first_leaf
from sciml.integrate.gradient.slopes import Segment, Slopes
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.euler_maruyama import EulerHeun
from sciml.integrate.methods.stochastic_low_order import StochasticHeun
from sciml.integrate.methods.stochastic_rk import AbstractStochasticRK
from sciml.integrate.noise import AbstractNoise, Stratonovich
from sciml.integrate.problem import Problem
from sciml.integrate.terms import SDE, SemiLinear
from sciml.paths import AbstractPath, Increment

Product = Callable[[Tensor], Flat]
"""g w of an increment w, for a g that is not made."""


def stratonovich(name: str, problem: Problem) -> SDE:
    """The flat term in the sense in which it can be solved backwards.

    Raises:
        TypeError: for a drift in two parts.
        ValueError: if the path requires a gradient, or the term cannot be converted.
    """
    term = problem.term
    assert isinstance(term, SDE)
    if isinstance(term.f, SemiLinear):
        raise TypeError(
            f"{name} differentiates a drift that is one function, got SemiLinear. Write L y + N(t, y) as one function, "
            "or use Direct()."
        )
    if any(isinstance(x, Tensor) and x.requires_grad for x in (getattr(term.path, "factor", None),)):
        raise ValueError(
            f"{name} does not reach the covariance of the path, but it requires a gradient. Leave it out of the path "
            "and multiply g by its factor, or use Direct()."
        )
    made = to_stratonovich(term)
    if made.f is not term.f:  # what cannot be converted is told before the solve, not after it
        with torch.no_grad():
            start = torch.as_tensor(problem.t0, dtype=torch.float64, device=problem.device)
            leaf = first_leaf(problem.y0)
            made.f(beside(start, leaf).to(leaf.dtype), problem.y0)
    return made


def method_backwards(forward: AbstractMethod, own: AbstractMethod | None) -> AbstractMethod:
    """What steps the adjoint: a Stratonovich method that takes g only times increments.

    Raises:
        TypeError: if the method asked for is another.
    """
    serves = (AbstractStochasticRK, EulerHeun)
    if own is not None and not isinstance(own, serves):
        raise TypeError(
            "the backward solve of an SDE needs a Runge-Kutta method in the sense of Stratonovich, got "
            f"{type(own).__name__}. Take StochasticHeun(), or leave it out."
        )
    chosen = own if own is not None else forward if isinstance(forward, serves) else StochasticHeun()
    return _Unchecked(chosen)


@final
@dataclass(frozen=True)
class Products(AbstractNoise):
    """Noise of which only the products g w are known: g is a function of w."""

    commutes = False

    def noise_shape(self, y: Flat, given: tuple[int, ...]) -> None:
        """Any will do; see `AbstractNoise.noise_shape`."""
        return None

    def times(self, g: Any, w: Tensor) -> Any:
        """See `AbstractNoise.times`."""
        return g(w)


@final
@dataclass(frozen=True, eq=False)
class SegmentPath(AbstractPath):
    """A path over a segment, in its s from 0 to 1, the whole batch in one row as the augmented state has it.

    Args:
        path: in t.
        segment: from which t to which.
        rows: samples.
    """

    path: Any
    segment: Segment
    rows: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the noise of the one row."""
        return (self.rows, *getattr(self.path, "shape", ()))

    def increment(self, t0: Time, t1: Time) -> Increment:
        """See `AbstractPath.increment`."""
        start, length = self.segment.start, self.segment.length
        made = self.path.increment(start + t0 * length, start + t1 * length)
        return Increment(*(None if part is None else part[None] for part in made))  # type: ignore[arg-type]

    def value(self, t: Time) -> Tensor:
        """What the path does from the beginning of the segment; see `AbstractPath.value`."""
        return self.increment(0.0, t).w

    def derivative(self, t: Time) -> Tensor:
        """See `AbstractPath.derivative`."""
        return self.path.derivative(t)


def noise_slopes(slopes: Slopes, term: SDE, w: Tensor) -> Slopes:
    """g w as a function of (t, y), with its products, of the increments w of one row."""
    return replace(slopes, field=lambda t, y: term.structure.times(term.g(t, y), w[0]))


def augmented(drift: Any, diffusion: Callable[[Tensor, Flat], Product], path: SegmentPath) -> SDE:
    """The equation of (y, lambda, parameters) over a segment, of its drift and of its diffusion as products."""
    return SDE(drift, diffusion, path, structure=Products(), sense=Stratonovich())


@final
class _Unchecked(AbstractMethod):
    """A method that takes noise of which only products are known, which no method could check."""

    def __init__(self, method: Any) -> None:
        self.method = method
        for name in AbstractMethod.__annotations__:
            setattr(self, name, getattr(method, name))

    def init(self, term: Any, t0: Time, y0: Flat) -> Any:
        """Nothing is carried; see `AbstractMethod.init`."""
        return ()

    def step(self, term: Any, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """See `AbstractMethod.step`."""
        return self.method.step(term, t0, t1, y, carry)
