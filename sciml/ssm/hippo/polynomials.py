"""Classical orthogonal polynomials by their three-term recurrences, which are stable inside their intervals."""

import torch
from jaxtyping import Float
from torch import Tensor


def legendre(count: int, x: Float[Tensor, "*points"]) -> Float[Tensor, "{count} *points"]:
    """P_0 .. P_{count-1}: (n + 1) P_{n+1} = (2n + 1) x P_n - n P_{n-1}."""
    rows = [torch.ones_like(x), x]
    for n in range(1, count - 1):
        rows.append(((2 * n + 1) * x * rows[n] - n * rows[n - 1]) / (n + 1))
    return torch.stack(rows[:count])


def laguerre(count: int, x: Float[Tensor, "*points"]) -> Float[Tensor, "{count} *points"]:
    """exp(-x/2) L_0 .. exp(-x/2) L_{count-1}: (n + 1) L_{n+1} = (2n + 1 - x) L_n - n L_{n-1}.

    Polynomials overflow at large x and their weight underflows, though products of both need not: two neighbours are
    kept as numbers around 1, times exp(scale).
    """
    before, now, scale = torch.zeros_like(x), torch.ones_like(x), -x / 2
    rows = []
    for n in range(count):
        rows.append(now * torch.exp(scale))
        before, now = now, ((2 * n + 1 - x) * now - n * before) / (n + 1)
        size = torch.maximum(before.abs(), now.abs()).detach()
        before, now, scale = before / size, now / size, scale + size.log()
    return torch.stack(rows)


def chebyshev(count: int, x: Float[Tensor, "*points"]) -> Float[Tensor, "{count} *points"]:
    """T_0 .. T_{count-1}: T_{n+1} = 2 x T_n - T_{n-1}."""
    rows = [torch.ones_like(x), x]
    for n in range(1, count - 1):
        rows.append(2 * x * rows[n] - rows[n - 1])
    return torch.stack(rows[:count])


def gauss_legendre(count: int) -> tuple[Float[Tensor, " count"], Float[Tensor, " count"]]:
    """Nodes on [-1, 1] and weights of the rule that is exact to degree 2 count - 1, by Jacobi's matrix.

    Source: Golub & Welsch (1969), Calculation of Gauss quadrature rules.
    """
    n = torch.arange(1, count, dtype=torch.float64)
    beta = n / torch.sqrt(4 * n**2 - 1)
    nodes, vectors = torch.linalg.eigh(torch.diag(beta, 1) + torch.diag(beta, -1))
    return nodes, 2 * vectors[0] ** 2
