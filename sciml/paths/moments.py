"""Algebra of what is known of a Brownian motion over an interval: (W, H, K), stacked along the first axis.

In units of the square root of the interval's length, W, sqrt(12) H and sqrt(720) K are independent standard normal
numbers: the coefficients of white noise on the first shifted Legendre polynomials. So putting two intervals together
projects their coefficients onto the polynomials of the whole, and splitting one is the same orthogonal matrix turned
round, with fresh normal numbers on what is orthogonal to them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

Number = float | Tensor
STANDARD_DEVIATIONS = (1.0, 1 / math.sqrt(12), 1 / math.sqrt(720))
"""Of W, H and K over an interval of length 1."""

_S3, _S5, _S15 = math.sqrt(3), math.sqrt(5), math.sqrt(15)


def standard_deviations(like: Tensor) -> Tensor:
    """Of the moments of `like`, with axes to broadcast to it."""
    sigma = torch.tensor(STANDARD_DEVIATIONS[: len(like)], dtype=like.dtype, device=like.device)
    return sigma.reshape(-1, *[1] * (like.ndim - 1))


def joined(
    a: Float[Tensor, "moment *axes"],
    b: Float[Tensor, "moment *axes"],
    length_a: Tensor,
    length_b: Tensor,
    side: Number = 1.0,
) -> Float[Tensor, "moment *axes"]:
    """The moments over [a, b], an interval `a` with `b` put behind it (`side` 1) or before it (`side` -1).

    With p, q the shares of the lengths and D = q W_a - p W_b, for `b` behind `a`

        W = W_a + W_b,   H = p H_a + q H_b + D / 2,   K = p^2 K_a + q^2 K_b + p q (H_a - H_b) / 2 + (q - p) D / 12.

    Intervals of length 0 must have moments 0; joining two of them gives 0.

    Source: Foster, Lyons & Oberhauser (2020), SIAM J. Numer. Anal. 58, 1393-1421, theorem 3.7 is the case p = q.
    """
    w = a[0] + b[0]
    if len(a) == 1:
        return w[None]
    whole = length_a + length_b
    scale = 1 / whole.clamp(min=torch.finfo(whole.dtype).tiny)
    p, q = length_a * scale, length_b * scale
    d = q * a[0] - p * b[0]
    h = p * a[1] + q * b[1] + (side / 2) * d
    if len(a) == 2:
        return torch.stack([w, h])
    k = p**2 * a[2] + q**2 * b[2] + (side / 2) * p * q * (a[1] - b[1]) + (q - p) / 12 * d
    return torch.stack([w, h, k])


def split_matrix(x: Number, moments: int) -> list[list[Number]]:
    """The orthogonal matrix that splits an interval at the share `x` of its length.

    It maps the standardised moments of the whole and as many fresh standard normal numbers to the standardised
    moments of the left part followed by those of the right part.

    Its first columns are `joined`, standardised. The others hold, orthonormalised from the smoothest on, what is left
    of the functions (u - x)_+^2, (u - x)_+ and 1_(u > x) when polynomials are taken out; no entry is singular in x.
    """
    y = 1 - x
    a, b = x**0.5, y**0.5
    if moments == 1:
        return [[a, b], [b, -a]]
    r = 2 * x
    s = 2 * y
    if moments == 2:
        left = [[a, _S3 * a * y, _S3 / 2 * b * (y - x), -b / 2], [0.0, a * x, b * (1 + r) / 2, _S3 / 2 * b]]
        right = [[b, -_S3 * b * x, _S3 / 2 * a * (x - y), a / 2], [0.0, b * y, -a * (1 + s) / 2, _S3 / 2 * a]]
        return left + right
    left = [
        [
            a,
            _S3 * a * y,
            _S5 * a * y * (y - x),
            -_S5 / 3 * b * (1 - 6 * x * y),
            b * (y - x) / _S3,
            -b / 3,
        ],
        [
            0.0,
            a * x,
            _S15 * a * x * y,
            _S5 / (2 * _S3) * b * (6 * x**2 - 3 * x - 1),
            b * (3 * x - 1) / 2,
            b / _S3,
        ],
        [0.0, 0.0, a * x**2, -b * (6 * x**2 + 3 * x + 1) / 6, -_S15 / 6 * b * (1 + x), -_S5 / 3 * b],
    ]
    right = [
        [
            b,
            -_S3 * b * x,
            _S5 * b * x * (x - y),
            _S5 / 3 * a * (1 - 6 * x * y),
            a * (x - y) / _S3,
            a / 3,
        ],
        [
            0.0,
            b * y,
            -_S15 * b * x * y,
            _S5 / (2 * _S3) * a * (6 * y**2 - 3 * y - 1),
            -a * (3 * y - 1) / 2,
            a / _S3,
        ],
        [0.0, 0.0, b * y**2, a * (6 * y**2 + 3 * y + 1) / 6, -_S15 / 6 * a * (1 + y), _S5 / 3 * a],
    ]
    return left + right
