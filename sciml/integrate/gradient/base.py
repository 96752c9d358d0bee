"""The interface of gradients."""

import abc

from sciml.integrate.problem import Problem
from sciml.integrate.solution import Solution


class AbstractGradient(abc.ABC):
    """A way to differentiate a solve. Subclasses are final.

    The gradient belongs to the accepted steps: their times are constants, but for the first and the last; with noise
    all are. The controller and rejected steps are never differentiated.
    """

    @abc.abstractmethod
    def solve(self, problem: Problem) -> Solution:
        """Solve so that this way of differentiating applies to the states that are kept.

        Raises:
            TypeError, ValueError: if it cannot do this problem.
        """
