"""S4's kernel: the convolution kernel of a diagonal-plus-low-rank system by its generating function.

With x_k = Abar x_{k-1} + Bbar u_k by the rational rule of weight alpha, the first L terms of the series
sum_l C Abar^l Bbar w^l are, at the points w = r exp(2 pi i m/L) with r^L = 1/2,

    d / s  C~ (z - d A)^-1 B,    C~ = C (1 - Abar^L / 2),    s = alpha + (1 - alpha) w,    z = (1 - w) / s,

and A = diag(a) - P P* makes the resolvent one of diag(a), sums over 1/(z - d a_n), by the Woodbury identity. An inverse
transform gives the kernel. Inside the unit circle no point is a pole: not w = -1, where s would be 0 and the limit
d C~ B / 2 had to be taken, and none of undamped modes. Nothing is lost by it but a factor of 2 in rounding errors.
Conjugate pairs are folded: (z - d a)(z - d conj a) is a common denominator with real weights.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from sciml.ssm.pairs import as_real_matrix, complex_dtype

_ENTRIES = 2**21
"""Entries of a Cauchy matrix that are formed at once; memory does not grow with length and state beyond it."""


def kernel(
    a: Complex[Tensor, "*system state"],
    p: Complex[Tensor, "*system rank state"],
    b: Complex[Tensor, "*system state"],
    c: Complex[Tensor, "*system state"],
    step: Float[Tensor, "*system"],
    length: int,
    alpha: float = 0.5,
) -> Float[Tensor, "*system {length}"]:
    """k[l] = C Abar^l Bbar, l = 0 .. length - 1, of A = diag(a) - P P* under the rule of weight alpha (1/2: bilinear).

    O(length * state) and, for Abar^length, O(state^3 log length); the power is in float64. States are one of each
    conjugate pair, and products of rows with them 2 Re(sum).

    Args:
        a: diagonal, [1/time].
        p: columns of P, [1/time^(1/2)].
        b: inputs.
        c: outputs.
        step: d, [time].
        length: number of points.
        alpha: weight of the end of the step, 1/2 to 1: below, rounding errors grow where the steps are unstable.

    Returns:
        k, in the real dtype of a.

    Source: Gu, Goel & Re (2022), arXiv 2111.00396, theorem 3 and appendix C.3, for alpha = 1/2 and r = 1, where
    the published code leaves w = -1 to rounding.
    """
    tilde = _truncated(a, p, c, step, length, alpha)
    z, inverse = _nodes(length, alpha, a)
    d = step[..., None]
    rows = torch.cat([tilde.unsqueeze(-2), p.conj()], dim=-2)  # C~ and P*
    columns = torch.cat([b.unsqueeze(-2), p], dim=-2)  # B and P
    weights = rows.unsqueeze(-2) * columns.unsqueeze(-3)  # (..., 1 + rank, 1 + rank, state)
    poles = d * a
    count = max(1, _ENTRIES // max(1, a.numel()))
    pieces = [_resolvent(weights, poles, piece) for piece in z.split(count)]
    sums = torch.cat(pieces, dim=-1).movedim(-1, -3)  # (..., node, 1 + rank, 1 + rank)
    d = d[..., None, None]
    direct, right, left, inner = sums[..., 0, 0], sums[..., :1, 1:], sums[..., 1:, :1], sums[..., 1:, 1:]
    eye = torch.eye(inner.shape[-1], dtype=inner.dtype, device=inner.device)
    correction = (right @ torch.linalg.solve(eye + d * inner, d * left))[..., 0, 0]
    values = step.unsqueeze(-1) * inverse * (direct - correction)
    growth = 2 ** (torch.arange(length, dtype=torch.float64, device=a.device) / length)
    return torch.fft.irfft(values, length) * growth.to(step.dtype)


def _nodes(length: int, alpha: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """z and 1/s on the lower half of the circle."""
    angle = -2 * torch.pi * torch.arange(length // 2 + 1, dtype=torch.float64, device=like.device) / length
    w = torch.polar(torch.full_like(angle, 0.5 ** (1 / length)), angle)
    s = alpha + (1 - alpha) * w
    return ((1 - w) / s).to(like.dtype), (1 / s).to(like.dtype)


def _resolvent(weights: Tensor, poles: Tensor, z: Tensor) -> Tensor:
    """sum_n v_n / (z - pole_n) + conj(v_n) / (z - conj pole_n), (..., rows, columns, node).

    Both over one denominator q: (2 Re(v) z - 2 Re(v conj pole)) / q, a product of real weights with 1/q.
    """
    pole = poles.unsqueeze(-1)
    inverse = torch.view_as_real(1 / ((z - pole) * (z - pole.conj())))  # (..., state, node, 2)
    constant = -2 * (weights * poles.conj()[..., None, None, :]).real
    real = torch.stack([2 * weights.real, constant], dim=-2).flatten(-4, -2)  # (..., rows columns 2, state)
    product = (real @ inverse.flatten(-2)).unflatten(-1, (-1, 2))
    sums = torch.view_as_complex(product.contiguous()).unflatten(-2, (*weights.shape[-3:-1], 2))
    return z * sums[..., 0, :] + sums[..., 1, :]


def _truncated(a: Tensor, p: Tensor, c: Tensor, step: Tensor, length: int, alpha: float) -> Tensor:
    """C (1 - Abar^length), by the real matrix on (Re x, Im x) in float64."""
    wide = torch.complex128
    a, p, c, d = a.to(wide), p.to(wide), c.to(wide), step.double()[..., None, None]
    columns = torch.cat([p.real, p.imag], dim=-1)
    matrix = d * (as_real_matrix(torch.diag_embed(a)) - 2 * columns.mT @ columns)
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    bar = torch.linalg.solve(eye - alpha * matrix, eye + (1 - alpha) * matrix)
    row = 2 * torch.cat([c.real, -c.imag], dim=-1).unsqueeze(-2)
    row = row - row @ torch.linalg.matrix_power(bar, length) / 2
    re, im = row.squeeze(-2).chunk(2, dim=-1)
    return torch.complex(re / 2, -im / 2).to(complex_dtype(step.dtype))
