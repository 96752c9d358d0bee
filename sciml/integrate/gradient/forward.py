"""Gradients in forward mode: the solve carries tangents along, and nothing is recorded."""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from sciml.core.transforms import is_mapped
from sciml.integrate.flat import beside, first_leaf, leaves_of, map_leaves
from sciml.integrate.gradient.base import AbstractGradient
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Solution
from sciml.integrate.terms import ODE, Split

_REFUSAL = (
    "the solve was made with gradient=Forward(), which records nothing to go back through, but a reverse gradient was "
    "asked for. Use gradient=Direct() or Checkpoint() for backward() and torch.autograd.grad()."
)


@final
@dataclass(frozen=True)
class Forward(AbstractGradient):
    """Forward-mode differentiation: for few inputs and many outputs, at the memory of a plain solve.

    Give initial state, times, `params`, or the parameters of a module (through `torch.func.functional_call`) as dual
    tensors of `torch.autograd.forward_ad`, or take `torch.func.jvp` or `jacfwd` of a function that solves. Tangents are
    those of the accepted steps, as with `Direct`, which takes duals too but records a graph for reverse gradients where
    something requires them. A reverse gradient through `Forward` is refused.
    """

    def solve(self, problem: Problem) -> Solution:
        """See `AbstractGradient.solve`."""
        with torch.no_grad():
            solution = problem.run()
        if not torch.is_grad_enabled():
            return solution
        inputs = _inputs(problem)
        if not inputs:
            return solution
        leaves, structure = tree_flatten(solution.ys)
        tied = _Refusal.apply(len(leaves), *leaves, *inputs)
        return Solution(
            solution.ts, tree_unflatten(list(tied), structure), solution.stats, solution.result, solution.dense
        )


def _inputs(problem: Problem) -> list[Tensor]:
    """What requires a reverse gradient: initial state, times, params, and the field with all it captures."""
    times = (problem.t0, problem.t1, problem.save.ts)
    given = [*leaves_of(problem.y0), *problem.params, *(t for t in times if isinstance(t, Tensor))]
    if isinstance(problem.term, ODE | Split):
        y = map_leaves(torch.detach, problem.y0)
        leaf = first_leaf(y)
        t0 = torch.as_tensor(problem.t0, device=leaf.device).detach().to(leaf.dtype.to_real())
        given += leaves_of(problem.term.f(beside(t0, leaf), y))
    return [x for x in given if x.requires_grad and not is_mapped(x)]


class _Refusal(torch.autograd.Function):
    """States as they are, with their tangents, and an error for who differentiates them in reverse."""

    generate_vmap_rule = True

    @staticmethod
    def forward(count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The first `count` tensors."""
        return tuple(x.view_as(x) for x in tensors[:count])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Remember how many tensors are states."""
        ctx.count = inputs[0]

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """Refuse."""
        raise RuntimeError(_REFUSAL)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """The tangents of the states."""
        return tuple(t if t is None else t.view_as(t) for t in tangents[1 : ctx.count + 1])
