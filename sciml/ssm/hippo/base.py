"""What a HiPPO operator is: coefficients of the past that follow a linear differential equation."""

import abc

from jaxtyping import Float
from torch import Tensor


class AbstractOperator(abc.ABC):
    """Projection of the past of f onto functions of age, and the equation its coefficients follow.

        c_n(t) = int f(t - s) K_n(s) ds,    f(t - s) ~ sum_n c_n g_n(s),    dc/dt = A c + B f

    `kernels` are the K_n, `duals` the g_n, biorthogonal to them: int K_n g_m ds = delta_nm. Subclasses are final.
    """

    @property
    @abc.abstractmethod
    def span(self) -> float:
        """The age that is remembered, [time]; infinite where all is, with less and less weight."""

    @abc.abstractmethod
    def transition(self, states: int) -> tuple[Float[Tensor, "{states} {states}"], Float[Tensor, " {states}"]]:
        """A and B in float64, [1/time].

        Args:
            states: how many coefficients.
        """

    @abc.abstractmethod
    def kernels(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """K_n(s), [1/time].

        Args:
            states: how many.
            ages: s, from 0 to the span, [time].
        """

    @abc.abstractmethod
    def duals(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """g_n(s), [1].

        Args:
            states: how many.
            ages: s, from 0 to the span, [time].
        """


class AbstractNormalOperator(AbstractOperator):
    """One whose A is normal but for a low rank: A + P P^T = V diag(lambda) V*, V unitary."""

    @abc.abstractmethod
    def low_rank(self, states: int) -> Float[Tensor, "{states} rank"]:
        """P, float64.

        Args:
            states: how many coefficients.
        """
