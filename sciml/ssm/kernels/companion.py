"""SpaceTime's kernel: that of a companion matrix, by Fourier transforms alone.

A = S + a e^T, S the shift down and e the last unit vector. At w on a circle, (1 - w A)^-1 is that of the shift, whose
powers are correlations, corrected by one rank.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.ssm.pairs import wide


def kernel(
    a: Float[Tensor, "*system state"],
    b: Float[Tensor, "*system state"],
    c: Float[Tensor, "*system state"],
    length: int,
) -> Float[Tensor, "*system {length}"]:
    """k[l] = c A^l b, l = 0 .. length - 1, A with ones below its diagonal and a in its last column.

        sum_l k[l] w^l = q(c~, b) + q(c~, a) w q(e, b) / (1 - w q(e, a)),    q(x, y) = sum_j w^j x^T S^j y

    at w = r exp(2 pi i m/length), r^length = 1/2, with c~ = c (1 - A^length / 2): a circle inside the unit one, so that
    eigenvalues of modulus 1 (differences, seasons) are no poles. O(state^2 log length + length log length). In float64
    and rounded once: powers of w carry the error of r a length times over.

    Args:
        a: last columns.
        b: inputs.
        c: outputs.
        length: number of points.

    Returns:
        k, in the dtype of a, b and c.

    Source: Zhang et al. (2023), arXiv 2303.09489, section 4.3 and appendix A.3, on the unit circle.
    """
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), c.dtype)
    a, b, c = wide(a), wide(b), wide(c)
    tilde = c - row_times_power(c, a, length) / 2
    last = torch.zeros_like(a)
    last[..., -1] = 1.0
    radius = 0.5 ** (1 / length)
    w = radius * torch.polar(
        torch.ones(length // 2 + 1, dtype=a.dtype, device=a.device),
        -2 * torch.pi * torch.arange(length // 2 + 1, dtype=a.dtype, device=a.device) / length,
    )

    def q(x: Tensor, y: Tensor) -> Tensor:
        return _series(_correlation(x, y), length, radius)

    values = q(tilde, b) + q(tilde, a) * w * q(last, b) / (1 - w * q(last, a))
    decay = radius ** torch.arange(length, dtype=a.dtype, device=a.device)
    return (torch.fft.irfft(values, length) / decay).to(dtype)


def row_times_power(c: Tensor, a: Tensor, length: int) -> Tensor:
    """c A^length without a power of A, in O(state^2 log length).

    A^l e_0 are the coefficients of x^l modulo the characteristic polynomial x^n - sum_i a_i x^i: with v those of
    x^length, A^length = sum_j v_j A^j, and (c A^j)_i = c A^(i + j) e_0.
    """
    state = a.shape[-1]
    columns = [a]  # x^n, ..., x^(2n - 2)
    for _ in range(state - 2):
        columns.append(torch.nn.functional.pad(columns[-1][..., :-1], (1, 0)) + columns[-1][..., -1:] * a)
    reduced = torch.stack(columns, dim=-1)[..., : state - 1]
    v = torch.nn.functional.pad(torch.ones_like(a[..., :1]), (0, state - 1))
    for bit in bin(length)[2:]:
        spectrum = torch.fft.rfft(v, 2 * state)
        low, high, _ = torch.fft.irfft(spectrum * spectrum, 2 * state).split([state, state - 1, 1], dim=-1)
        v = low + (reduced @ high.unsqueeze(-1)).squeeze(-1)
        if bit == "1":
            v = torch.nn.functional.pad(v[..., :-1], (1, 0)) + v[..., -1:] * a
    moments = torch.cat([c, (c.unsqueeze(-2) @ reduced).squeeze(-2)], dim=-1)  # c A^l e_0, l = 0 .. 2n - 2
    places = torch.arange(state, device=a.device)
    return (moments[..., places[:, None] + places] @ v.unsqueeze(-1)).squeeze(-1)


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    """x^T S^j y = sum_i x_{i+j} y_i, j = 0 .. state - 1."""
    n = 2 * x.shape[-1]
    return torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(y, n).conj(), n)[..., : x.shape[-1]]


def _series(coefficients: Tensor, length: int, radius: float) -> Tensor:
    """sum_j coefficients_j w^j at the points; terms beyond the length wrap round with r^length = 1/2 each time."""
    count = coefficients.shape[-1]
    scaled = coefficients * radius ** torch.arange(count, dtype=coefficients.dtype, device=coefficients.device)
    wrapped = torch.nn.functional.pad(scaled, (0, -count % length)).unflatten(-1, (-1, length)).sum(-2)
    return torch.fft.rfft(wrapped, length)
