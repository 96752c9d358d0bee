"""The continuous adjoint with the state reconstructed, everything in one augmented solve backwards in time:

    y' = f(t, y),    lambda' = -(df/dy)^T lambda,    g' = -(df/dtheta)^T lambda

from y(t1), lambda(t1) = dLoss/dy(t1), g(t1) = 0; then dLoss/dtheta = g(t0). At every output time lambda jumps, y is set
to what the forward solve found, and the solve starts anew.

Source: Chen, Rubanova, Bettencourt & Duvenaud (2018), Neural Ordinary Differential Equations, algorithm 2.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_structure

from sciml.integrate.compiled import eager_of
from sciml.integrate.control import PID, AbstractControl, Clip, Fixed
from sciml.integrate.flat import Flat, beside, first_leaf, leaves_of, map_leaves, restore
from sciml.integrate.gradient.base import AbstractGradient
from sciml.integrate.gradient.continuous import AbstractReverse, Pulled, Task
from sciml.integrate.gradient.slopes import Segment, Slopes
from sciml.integrate.gradient.stochastic_adjoint import (
    Product,
    SegmentPath,
    augmented,
    method_backwards,
    noise_slopes,
    stratonovich,
)
from sciml.integrate.methods.base import AbstractMethod
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Solution
from sciml.integrate.terms import SDE

Norm = Callable[[Any, Any, tuple[Tensor, ...]], Tensor]
"""norm(error of y, error of lambda, errors of g) in units of the tolerance: 0-D."""


@final
@dataclass(frozen=True)
class Backsolve(AbstractGradient):
    """The continuous adjoint as torchdiffeq computes it, for parity with it: memory does not grow with the steps.

    The state is solved backwards, which is unstable where the forward solve is contracting, and the gradient is one of
    the continuous problem: it differs from the derivative of what was computed by about the tolerance. `Checkpoint` is
    exact at little memory; `Quadrature` is the better continuous adjoint.

    Of an `SDE` the adjoint is solved back over the same Brownian path, in the sense of Stratonovich: a term of Ito is
    converted, see `to_stratonovich`. The backward method is a Runge-Kutta method of that sense, `StochasticHeun()` if
    the forward one is none. The gradient is that of `Direct` up to the strong order of both. Times get none.

    The gradient of the parameters is one sum over all samples, so that the backward solve takes joint steps, whatever
    the forward solve took: its error norm sees the whole batch. Not differentiable twice.

    Args:
        method: of the backward solve; by default that of the forward solve.
        control: of the backward solve, likewise. Its `per_sample` and `groups` are not used.
        seminorm: leave the gradient of the parameters out of the error norm. As nothing depends on it, its error does
            not grow, and larger steps do. Source: Kidger, Chen & Lyons (2021), Hey, that's not an ODE, section 3.
        norm: of the error, norm(y, lambda, g); by default the greatest of the norms of the parts: for y and lambda that
            of the forward solve, else root mean squares.

    Raises:
        ValueError: if both `seminorm` and `norm` are given.
    """

    method: AbstractMethod | None = None
    control: AbstractControl | None = None
    seminorm: bool = False
    norm: Norm | None = None

    def __post_init__(self) -> None:
        if self.seminorm and self.norm is not None:
            raise ValueError("`seminorm` is a norm: give it or `norm`, not both. Drop one.")

    def solve(self, problem: Problem) -> Solution:
        """See `AbstractGradient.solve`."""
        task = Task.make("Backsolve", problem, stratonovich)
        if isinstance(problem.term, SDE):
            method_backwards(eager_of(problem.method), self.method)
        with torch.no_grad():
            solution = task.inner.run()
        problem.stopped = task.inner.stopped
        return task.run(_Reverse(self), solution)


@final
@dataclass(frozen=True)
class _Reverse(AbstractReverse):
    """The backward solve."""

    backsolve: Backsolve

    def pull_twice(self, task: Task, cotangents: tuple[Tensor, ...]) -> list[Tensor | None]:
        """Refuse; see `AbstractReverse.pull_twice`."""
        raise RuntimeError(
            "the gradient of Backsolve cannot be differentiated again, but create_graph=True asks for it. "
            "Use gradient=Direct() or Quadrature()."
        )

    def pull(self, task: Task, outputs: list[Flat], cotangents: list[Flat]) -> Pulled:
        """See `AbstractReverse.pull`."""
        inner, params = task.inner, task.slopes.params
        control = self._control(task)
        options = {
            "method": self._method(task),
            "control": control,
            "grid": control.grid(inner.t0, inner.t1) if isinstance(control, Fixed) else None,
            "structure": tree_structure((0,) * (2 * len(leaves_of(inner.y0)) + len(params))),
        }
        adjoint = map_leaves(torch.zeros_like, inner.y0)
        rows = tuple(_flat_row(torch.zeros_like(p)) for p in params)
        for k, segment in task.segments():
            adjoint = map_leaves(torch.add, adjoint, cotangents[k])
            if segment is None:
                continue
            start = (*_one_row(outputs[k]), *_one_row(adjoint), *rows)
            end = task.solve_back(_augmented(task, segment), start, segment, **options).ys
            width = len(leaves_of(adjoint))
            adjoint = _many_rows(end[width : 2 * width], adjoint)
            rows = end[2 * width :]
        return Pulled(adjoint, _unflat(rows, params))

    def _method(self, task: Task) -> AbstractMethod:
        forward, own = eager_of(task.inner.method), self.backsolve.method
        return method_backwards(forward, own) if isinstance(task.term, SDE) else own or forward

    def _control(self, task: Task) -> AbstractControl:
        """The control of joint steps for the augmented state."""
        own, forward = self.backsolve.control, task.inner.control
        control = forward if own is None else own
        if isinstance(control, Fixed):
            return control
        if isinstance(control, Clip):
            return Clip(self._joint(control.inner, task), control.stops, control.jumps)
        assert isinstance(control, PID)
        return self._joint(control, task)

    def _joint(self, control: PID, task: Task) -> PID:
        each = control.tolerances(task.inner.y0, task.inner.structure)
        count = len(task.slopes.params)
        rtol, atol = (
            (*kind, *kind, *[min(float(torch.as_tensor(x).min()) for x in kind)] * count)
            for kind in zip(*each, strict=True)
        )
        norm = self._norm(task, control.norm)
        return replace(control, rtol=rtol, atol=atol, per_sample=False, groups=None, norm=norm)

    def _norm(self, task: Task, state_norm: Callable[[Any], Tensor] | None) -> Callable[[Any], Tensor]:
        structure, like = task.inner.structure, task.inner.y0
        width = len(leaves_of(like))

        def part(leaves: tuple[Tensor, ...]) -> Any:
            return restore(_many_rows(leaves, like), structure)

        def norm(error: tuple[Tensor, ...]) -> Tensor:
            y, adjoint, params = error[:width], error[width : 2 * width], error[2 * width :]
            if self.backsolve.norm is not None:
                return self.backsolve.norm(part(y), part(adjoint), tuple(_unflat(params, task.slopes.params)))
            norms = [_root_mean_square(x) if state_norm is None else state_norm(part(x)) for x in (y, adjoint)]
            if not self.backsolve.seminorm:
                norms.extend(_root_mean_square((p,)) for p in params)
            return torch.stack([n.double() for n in norms]).amax()

        return norm


def _augmented(task: Task, segment: Segment) -> Any:
    """The equation of (y, lambda, g) in s, each with one row."""
    drift = _Augmented(task, task.slopes, segment)
    term = task.term
    if not isinstance(term, SDE):
        return drift

    def diffusion(s: Tensor, state: Flat) -> Product:
        def product(w: Tensor) -> Flat:
            return _Augmented(task, noise_slopes(task.slopes, term, w), replace(segment, length=1.0), segment)(s, state)

        return product

    return augmented(drift, diffusion, SegmentPath(term.path, segment, task.rows))


@final
@dataclass(frozen=True, eq=False)
class _Augmented:
    """The slope of (y, lambda, g) in s, each with one row; or what noise adds to them.

    Args:
        task: what is differentiated.
        slopes: f, or g w.
        segment: by whose length slopes are multiplied.
        clock: that tells the time, if another.
    """

    task: Task
    slopes: Slopes
    segment: Segment
    clock: Segment | None = None

    def __call__(self, s: Tensor, state: Flat) -> Flat:
        segment, like = self.segment, self.task.inner.y0
        width = len(leaves_of(like))
        leaves = leaves_of(state)
        y, adjoint = _many_rows(leaves[:width], like), _many_rows(leaves[width : 2 * width], like)
        t = beside((self.clock or segment).time(s), first_leaf(y))  # s is 0-D: one row, one clock
        slope, in_y, in_params = self.slopes.vjp(t, y, segment.scaled(adjoint, -1.0), params=True)
        return (*_one_row(segment.scaled(slope, 1.0)), *_one_row(in_y), *map(_flat_row, in_params))


def _one_row(y: Flat) -> tuple[Tensor, ...]:
    """A state as one sample."""
    return tuple(leaf[None] for leaf in leaves_of(y))


def _many_rows(leaves: tuple[Tensor, ...], like: Flat) -> Flat:
    """A state of many samples of one."""
    return leaves[0][0] if isinstance(like, Tensor) else tuple(leaf[0] for leaf in leaves)


def _flat_row(p: Tensor) -> Tensor:
    """A parameter as one sample with one state axis, for it may have no axis at all."""
    return p.flatten()[None]


def _unflat(rows: tuple[Tensor, ...], like: tuple[Tensor, ...]) -> list[Tensor]:
    """Parameters of such samples."""
    return [row.reshape(p.shape) for row, p in zip(rows, like, strict=True)]


def _root_mean_square(leaves: tuple[Tensor, ...]) -> Tensor:
    """sqrt of the mean of |x|² over all elements."""
    total = torch.stack([torch.linalg.vector_norm(leaf).square() for leaf in leaves]).sum()
    return (total / max(1, sum(leaf.numel() for leaf in leaves))).sqrt()
