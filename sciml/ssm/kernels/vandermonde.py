"""Sums of exponentials on a regular grid: the convolution kernels of diagonal state-space models."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from sciml.ssm.pairs import real_dtype


def exponential_sum(
    c: Complex[Tensor, "*batch state"], z: Complex[Tensor, "*batch state"], length: int
) -> Float[Tensor, "*batch {length}"]:
    """Sum of exponentials at l = 0 .. length - 1:

        k[l] = 2 Re sum_n c_n exp(z_n l)

    The product with a Vandermonde matrix, without the matrix: with l = p m + q and m about sqrt(length), the sum is one
    product of real matrices, (p, 2 state) times (2 state, q), of exp(z p m) and exp(z q). So state * 2 sqrt(length)
    exponentials are formed instead of state * length, and memory beyond the result is as little; gradients are two such
    products. Exponentials are computed in float64 and rounded once, so that float32 is right to about 1e-6 of
    sum_n |c_n| at any length (measured to 2^20); their gradients too.

    Args:
        c: weights; one of each conjugate pair.
        z: exponents per step, z_n = dt a_n.
        length: number of points.

    Returns:
        k, in the real dtype of c and z.

    Source: Gu, Gupta, Goel & Re (2022), On the parameterization and initialization of diagonal state space models,
    section 3.3, for the kernel; the factorisation is the baby-step giant-step evaluation of powers.
    """
    dtype = real_dtype(torch.promote_types(c.dtype, z.dtype))
    size = 2 ** math.ceil(math.log2(max(length, 1)) / 2)
    blocks = -(-length // size)
    near_re, near_im = _powers(z, torch.arange(size, device=z.device))
    far_re, far_im = _powers(z, torch.arange(blocks, device=z.device) * size)
    c_re, c_im = (part.unsqueeze(-1).double() for part in (c.real, c.imag))
    left = torch.cat([c_re * far_re - c_im * far_im, -(c_re * far_im + c_im * far_re)], dim=-2).to(dtype)
    right = torch.cat([near_re, near_im], dim=-2).to(dtype)
    return 2 * (left.transpose(-1, -2) @ right).flatten(-2)[..., :length]


def _powers(z: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of exp(z l), (..., state, l), in float64: angles of 1e8 keep eight digits."""
    z, steps = z.unsqueeze(-1), steps.double()
    decay, angle = torch.exp(z.real.double() * steps), z.imag.double() * steps
    return decay * torch.cos(angle), decay * torch.sin(angle)
