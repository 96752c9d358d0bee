"""Normal plus low rank: A of a HiPPO operator as diagonal plus low rank, with one of each conjugate pair kept.

    A = V (diag(lambda) - P P*) V*,    V unitary

Everything is done in float64: A has condition numbers of 1e6 and more, but A + P P^T is a multiple of the identity
plus a skew matrix S, and -i S is Hermitian, whose eigenvectors are found to rounding.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Complex
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.ssm.hippo.base import AbstractNormalOperator, AbstractOperator


@final
@dataclass(frozen=True, eq=False)
class DPLR:
    """Diagonal plus low rank, in complex128; one of each conjugate pair, sorted by falling frequency.

    A full state is (z, conj z): products of rows with it are 2 Re(row z).

    Args:
        eigenvalues: lambda with positive imaginary parts, [1/time].
        p: V* P, a column per rank.
        b: V* B.
        vectors: the kept columns of V, (states, states / 2).
    """

    eigenvalues: Complex[Tensor, " pair"]
    p: Complex[Tensor, "pair rank"]
    b: Complex[Tensor, " pair"]
    vectors: Complex[Tensor, "states pair"]


def dplr(operator: AbstractOperator, states: int) -> DPLR:
    """Diagonalise the normal part of a HiPPO matrix.

    Args:
        operator: the operator; its matrix is normal plus low rank.
        states: size of the matrix; even, for eigenvalues come in pairs.

    Raises:
        TypeError: if the operator does not say which low rank.
        ValueError: if `states` is odd, or A + P P^T is no multiple of the identity plus a skew matrix.

    Source: Gu, Goel & Re (2022), arXiv 2111.00396, theorem 1 and appendix C; Gu, Gupta, Goel & Re (2022), arXiv
    2206.11893, section 4.1, for the Hermitian problem.
    """
    if not isinstance(operator, AbstractNormalOperator):
        raise TypeError(
            f"`operator` must be one whose matrix is normal plus low rank, got {type(operator).__name__}. Take LegS(), "
            "LegT(), FouT() or LagT(), or lssl, which takes any operator as a dense matrix."
        )
    check_whole("states", states, 2)
    if states % 2:
        raise ValueError(
            f"`states` must be even, for complex eigenvalues come in conjugate pairs; got {states}. Take {states + 1}."
        )
    a, b = operator.transition(states)
    p = operator.low_rank(states)
    normal = a + p @ p.mT
    shift = normal.diagonal().mean()
    skew = normal - shift * torch.eye(states, dtype=a.dtype)
    if not (skew + skew.mT).abs().max() <= 1e-9 * normal.abs().max():
        raise ValueError(
            f"A + P P^T must be a multiple of the identity plus a skew matrix, but that of {operator} is not: its "
            f"symmetric part differs by {(skew + skew.mT).abs().max().item():.1e}. Correct `low_rank`."
        )
    frequencies, vectors = torch.linalg.eigh(-1j * skew)
    # Rising order, in pairs +w, -w: the upper half is kept. Of a frequency 0 there are two, of which it holds one: the
    # two vectors eigh finds are no conjugates then, and are replaced by one combination that has a conjugate.
    keep = slice(states // 2, states)
    kept = _conjugate_free(vectors, frequencies)[:, keep].flip(-1)
    eigenvalues = torch.complex(shift.expand(states // 2), frequencies[keep].flip(-1).clamp(min=0.0))
    to = kept.mH
    return DPLR(eigenvalues, to @ p.to(to), to @ b.to(to), kept)


def _conjugate_free(vectors: Tensor, frequencies: Tensor) -> Tensor:
    """The eigenvectors, with (e + i f)/sqrt 2 in the upper half of each frequency 0, e and f real and orthonormal."""
    still = frequencies.abs() <= 1e-10 * frequencies.abs().max()
    count = int(still.sum())
    if count == 0:
        return vectors
    space = vectors[:, still]
    real, _, _ = torch.linalg.svd(torch.cat([space.real, space.imag], dim=-1), full_matrices=False)
    half = count // 2
    e, f = real[:, :half], real[:, half:count]
    pairs = torch.cat([torch.complex(e, -f), torch.complex(e, f)], dim=-1) / 2**0.5
    vectors = vectors.clone()
    vectors[:, still] = pairs
    return vectors
