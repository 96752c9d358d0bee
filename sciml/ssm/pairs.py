"""Complex parameters, and states of which one of each conjugate pair is stored.

A real system with complex eigenvalues has them in conjugate pairs, with conjugate states and weights, so that half of
them tell all: products of a row with the state are 2 Re(sum), and real numbers enter once.

Complex parameters are stored as real ones with a last axis of two, so that dtypes, optimisers and checkpoints treat
them as any other.
"""

import torch
from torch import Tensor, nn

_REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}


def stored(value: Tensor) -> nn.Parameter:
    """A parameter for a real or complex tensor."""
    return nn.Parameter(torch.view_as_real(value.resolve_conj()).clone() if value.is_complex() else value.clone())


def restored(parameter: Tensor, is_complex: bool) -> Tensor:
    """The tensor of such a parameter."""
    return torch.view_as_complex(parameter.contiguous()) if is_complex else parameter


def row_times_state(row: Tensor, x: Tensor) -> Tensor:
    """sum_n row_n x_n, real: 2 Re of it for pairs. Axes in front broadcast.

    Args:
        row: (..., state).
        x: (..., state), of the same kind.
    """
    if not x.is_complex():
        return (row * x).sum(-1)
    # 2 Re(r x) = 2 (Re r Re x - Im r Im x): one real product, half the work of the complex one.
    flat = torch.view_as_real(x.resolve_conj()).flatten(-2)
    return (_as_real_row(row) * flat).sum(-1)


def rows_times_states(rows: Tensor, x: Tensor) -> Tensor:
    """All of several rows, by one real matrix product.

    Args:
        rows: (out, state).
        x: (..., state).

    Returns:
        (..., out).
    """
    if not x.is_complex():
        return x @ rows.mT
    return torch.view_as_real(x.resolve_conj()).flatten(-2) @ _as_real_row(rows).mT


def _as_real_row(row: Tensor) -> Tensor:
    """(2 Re r, -2 Im r) interleaved, what multiplies (Re x, Im x)."""
    return 2 * torch.view_as_real(row.conj().resolve_conj()).flatten(-2)


def columns_times_input(columns: Tensor, u: Tensor) -> Tensor:
    """sum_i b_ni u_i for real inputs, by one real matrix product.

    Args:
        columns: (state, in), real or complex.
        u: (..., in), real.

    Returns:
        (..., state).
    """
    if not columns.is_complex():
        return u @ columns.mT
    flat = torch.view_as_real(columns.resolve_conj()).movedim(-1, 1).flatten(0, 1)
    return torch.view_as_complex((u @ flat.mT).unflatten(-1, (-1, 2)))


def as_real_matrix(a: Tensor) -> Tensor:
    """What a complex matrix does to (Re x, Im x); a real one is itself."""
    if not a.is_complex():
        return a
    return torch.cat([torch.cat([a.real, -a.imag], dim=-1), torch.cat([a.imag, a.real], dim=-1)], dim=-2)


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """That of real parts. `dtype.to_real()` cannot be compiled."""
    return _REAL.get(dtype, dtype)


def complex_dtype(dtype: torch.dtype) -> torch.dtype:
    """That of complex numbers with such parts."""
    return torch.promote_types(dtype, torch.complex64)


def wide(value: Tensor) -> Tensor:
    """In double precision."""
    return value.to(torch.complex128 if value.is_complex() else torch.float64)
