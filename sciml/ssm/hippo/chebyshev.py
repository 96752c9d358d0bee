"""Chebyshev: a window of fixed length, by Chebyshev polynomials."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_positive
from sciml.ssm.hippo.base import AbstractOperator
from sciml.ssm.hippo.legt import LegT, scaled_legendre
from sciml.ssm.hippo.polynomials import chebyshev, gauss_legendre


@final
@dataclass(frozen=True)
class Chebyshev(AbstractOperator):
    """Chebyshev polynomials on a sliding window, tilted so that the whole window has the same weight.

        K_n(s) = rho_n T_n(1 - 2 s/window) / window,    rho_0 = 1, rho_n = sqrt 2
        A = M A_LegT M^-1,    B_n = rho_n / window,    M: rho_n T_n = sum_k M_nk R_k P_k

    rho_n T_n are orthonormal for dx / (pi sqrt(1 - x^2)). With that weight itself the coefficients would follow no
    differential equation, since it is singular at both ends; tilted by its inverse they do. What leaves the window is
    read off the polynomial of degree below `states` that has these coefficients, so that A is exact for polynomials,
    and LegT's in other coordinates.

    Args:
        window: length of the window, [time].

    Raises:
        ValueError: if it is not positive.

    Source: Gu, Dao, Ermon, Rudra & Re (2020), arXiv 2008.07669, appendix D.5, for measure and tilt; that the value that
    leaves is read off the polynomial, as in LegT, is ours.
    """

    window: float = 1.0

    def __post_init__(self) -> None:
        check_positive("window", self.window)

    @property
    def span(self) -> float:
        """The window."""
        return self.window

    def transition(self, states: int) -> tuple[Float[Tensor, "{states} {states}"], Float[Tensor, " {states}"]]:
        """A and B."""
        m = _of_legendre(states)
        a, b = LegT(self.window).transition(states)
        return torch.linalg.solve_triangular(m, m @ a, upper=False, left=False), m @ b

    def kernels(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """rho_n T_n(1 - 2 s/window) / window."""
        return _scaled(states, 1 - 2 * ages / self.window) / self.window

    def duals(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """The polynomials of degree below `states` that are biorthogonal to the kernels."""
        m = _of_legendre(states).to(ages)
        return torch.linalg.solve_triangular(m.mT, scaled_legendre(states, 1 - 2 * ages / self.window), upper=True)


def _scaled(count: int, x: Tensor) -> Tensor:
    """rho_n T_n(x)."""
    values = math.sqrt(2) * chebyshev(count, x)
    values[0] = 1.0
    return values


def _of_legendre(count: int) -> Tensor:
    """M, lower triangular: inner products with orthonormal Legendre polynomials, by an exact rule."""
    nodes, weights = gauss_legendre(count)
    return torch.tril((_scaled(count, nodes) * weights / 2) @ scaled_legendre(count, nodes).mT)
