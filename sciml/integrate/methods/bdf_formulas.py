"""Backward differences on steps of any size, and what formulas of order k make of them.

With times x_n, h = x_(n+1) - x_n and divided differences y[...], the differences and their continuation to x_(n+1) are

    delta_j(n) = prod_(i=1..j) (x_n - x_(n-i)) y[x_n, ..., x_(n-j)],    delta*_j = beta_j delta_j(n)
    beta_j = prod_(i<j) (x_(n+1) - x_(n-i)) / (x_n - x_(n-i-1)),    delta_(j+1)(n+1) = delta_j(n+1) - delta*_j

On equal steps delta_j is the j-th backward difference and beta_j = 1. The polynomial through the last k + 1 states
predicts p = y_n + sum_(j<=k) delta*_j; with d = y_(n+1) - p, the slope at x_(n+1) of the one through y_(n+1), too, is

    h y' = sum_(j<=k) alpha_j delta_j(n+1) = A_k d + sum_(j<=k) A_j delta*_j
    alpha_j = h / (x_(n+1) - x_(n+1-j)),    A_j = alpha_1 + ... + alpha_j

and what it leaves out is alpha_(k+1) delta_(k+1)(n+1) to leading order. All coefficients are rows of float64 numbers.

Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, III.5 (the differences, there of
slopes) and III.1, eq. (1.22'); the modified formulas are those of Shampine & Reichelt (1997), section 2.
"""

import functools
from typing import NamedTuple

import torch
from torch import Tensor

KAPPAS = (0.0, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0, 0.0)
"""kappa_k of the NDFs, Shampine & Reichelt (1997), table 1; the formula of order k adds kappa_k A_k d on the right."""


class Coefficients(NamedTuple):
    """Of one step, one row per sample.

    Args:
        beta: beta_1, ..., beta_K.
        alpha: alpha_1, ..., alpha_(K+1).
        sums: A_1, ..., A_(K+1).
    """

    beta: Tensor
    alpha: Tensor
    sums: Tensor


def coefficients(h: Tensor, past: Tensor) -> Coefficients:
    """For steps h, (batch,), after those of `past`, (batch, K), the newest first; 0 where there was none."""
    h = safe(h)
    behind = torch.cumsum(torch.where(past == 0, h[:, None], past), dim=1)
    ahead = h[:, None] + torch.nn.functional.pad(behind, (1, 0))
    alpha = h[:, None] / ahead
    return Coefficients(torch.cumprod(ahead[:, :-1] / behind, dim=1), alpha, torch.cumsum(alpha, dim=1))


def safe(h: Tensor) -> Tensor:
    """A step of no length counts as 1: what is computed from it is finite, and thrown away."""
    return torch.where(h == 0, 1.0, h)


def up_to(degree: Tensor, count: int) -> Tensor:
    """Whether j <= degree for j = 1, ..., count, (batch, count)."""
    return torch.arange(1, count + 1, device=degree.device) <= degree[:, None]


def at(values: Tensor, order: Tensor) -> Tensor:
    """The value number `order`, counted from 1, of each row."""
    return values.gather(1, (order - 1).clamp(0, values.shape[1] - 1)[:, None])[:, 0]


@functools.lru_cache(maxsize=64)
def sums_of_known(most: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Weights of delta*_i in delta_j(n+1) - d for a prediction of degree k, (k, j, i); j runs to most + 1.

    1 for j <= i <= k: what follows in the prediction; -1 for k < i < j: what it did not use.
    """
    with torch.inference_mode(False):
        k = torch.arange(most + 1)[:, None, None]
        j = torch.arange(1, most + 2)[:, None]
        i = torch.arange(1, most + 1)
        table = ((j <= i) & (i <= k)).double() - ((k < i) & (i < j)).double()
        return table.to(device, dtype)


def polynomials(alpha: Tensor, degree: Tensor, powers: int) -> Tensor:
    """Weights of delta_j(n+1) in the polynomial through the last states, as coefficients of theta, theta², ...

    They are prod_(i<j) (x_n + theta h - x_(n+1-i)) / (x_(n+1) - x_(n-i)) for j <= degree, without their values at
    theta = 0, which make y_n of y_(n+1).

    Returns:
        (batch, j, powers), for j = 1, ..., K.
    """
    count = alpha.shape[1] - 1
    row = torch.nn.functional.pad(torch.ones_like(alpha[:, :1]), (0, powers))
    rows = []
    for i in range(count):
        # (theta - 1) h + (x_(n+1) - x_(n+1-i)), over x_(n+1) - x_(n-i); in units of h the distances are 1 / alpha.
        rest = -1.0 if i == 0 else 1.0 / alpha[:, i - 1 : i] - 1.0
        row = (torch.nn.functional.pad(row[:, :-1], (1, 0)) + row * rest) * alpha[:, i : i + 1]
        rows.append(row[:, 1:])
    return torch.stack(rows, dim=1) * up_to(degree, count)[..., None]
