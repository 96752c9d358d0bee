"""Powers of a matrix times vectors, by doubling; recurrences with matrices, by halving."""

import torch
from torch import Tensor


def krylov(a: Tensor, b: Tensor, count: int) -> Tensor:
    """a^l b for l = 0 .. count - 1, by doubling.

    Args:
        a: (..., n, n).
        b: (..., n, in).

    Returns:
        (..., n, count, in).
    """
    columns = b.unsqueeze(-2)
    while columns.shape[-2] < count:
        further = (a @ columns.flatten(-2)).unflatten(-1, columns.shape[-2:])
        columns, a = torch.cat([columns, further], dim=-2), a @ a
    return columns[..., :count, :]


def moments(c: Tensor, a: Tensor, b: Tensor, length: int) -> Tensor:
    """c a^l b for l = 0 .. length - 1, as c a^(p m) times a^q b with l = p m + q: memory as the square root of it.

    Args:
        c: (..., out, n).
        a: (..., n, n).
        b: (..., n, in).

    Returns:
        (..., out, in, length).
    """
    size = max(1, round(length**0.5))
    near = krylov(a, b, size)
    far = krylov(torch.linalg.matrix_power(a, size).mT, c.mT, -(-length // size))  # (..., n, p, out)
    product = far.flatten(-2).mT @ near.flatten(-2)  # (..., p out, q in)
    product = product.unflatten(-1, near.shape[-2:]).unflatten(-3, far.shape[-2:])  # (..., p, out, q, in)
    return product.movedim((-3, -1), (-4, -3)).flatten(-2)[..., :length]


def matrix_scan(a: Tensor, b: Tensor) -> Tensor:
    """All states of x_t = a_t x_{t-1} + b_t from 0: neighbours are joined, the half is solved, the rest filled in.

    As many matrix products as steps, and only their logarithm where one matrix serves all times.

    Args:
        a: (batch or 1, time or 1, systems or 1, n, n).
        b: (batch, time, systems, n).

    Source: Blelloch (1990), Prefix sums and their applications, section 1.4.
    """
    time = b.shape[1]
    if time == 1:
        return b
    fixed = a.shape[1] == 1
    early, late = (a, a) if fixed else (a[:, : time - time % 2 : 2], a[:, 1::2])
    joined = apply(late, b[:, : time - time % 2 : 2]) + b[:, 1::2]
    odd = matrix_scan(late @ early, joined)
    behind = odd[:, : (time - 1) // 2]
    even = torch.cat([b[:, :1], apply(a if fixed else a[:, 2::2], behind) + b[:, 2::2]], dim=1)
    if time % 2:
        odd = torch.cat([odd, odd[:, :1]], dim=1)  # a place to be cut off again
    return torch.stack([even, odd], dim=2).flatten(1, 2)[:, :time]


def apply(a: Tensor, x: Tensor) -> Tensor:
    """Matrices (..., n, n) times vectors (..., n)."""
    return (a @ x.unsqueeze(-1)).squeeze(-1)
