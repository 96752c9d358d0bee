"""Gradients by autograd through the steps."""

from dataclasses import dataclass
from typing import final

from sciml.integrate.gradient.base import AbstractGradient
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Solution


@final
@dataclass(frozen=True)
class Direct(AbstractGradient):
    """Autograd through the steps: exact gradients of what was computed, memory linear in the number of steps."""

    def solve(self, problem: Problem) -> Solution:
        """See `AbstractGradient.solve`."""
        return problem.run()
