"""The linear systems of all stages together, (I - h A x J) z = r, with z and r as rows (batch, stages * size).

With one J per sample for all stages, A = V M V^-1 splits them into one system (I - h mu J) of the size of the state per
eigenvalue mu; of a complex pair one is solved. That is the simplified Newton matrix.

With J_j of each stage, as gradients need it, (I - h A x diag(J_j)) is built as a matrix where it is small; else it is
applied by the field's derivatives, and solved by iterations that the simplified one preconditions.

Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.8, eq. (8.7)-(8.9).
"""

import functools
from collections.abc import Callable, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from sciml.integrate.implicit import AbstractStructure, AbstractSystem, Dense, Jacobian, PackedField
from sciml.integrate.methods.collocation import CollocationTableau


@final
class SplitSystem(AbstractSystem):
    """(I - h A x J), one J per sample, solved eigenvalue by eigenvalue.

    Args:
        tableau: A.
        structure: how to solve with J.
        field, jacobian: what J is of, and J.
        h: step size, a number or one per sample, (batch,), in the state's real dtype, [time].
    """

    def __init__(
        self,
        tableau: CollocationTableau,
        structure: AbstractStructure,
        field: PackedField,
        jacobian: Jacobian,
        h: float | Tensor,
    ) -> None:
        self.tableau = tableau
        self.systems = [(mode, structure.system(field, jacobian, mode.shift * h)) for mode in tableau.modes]

    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""
        tableau, stages = self.tableau, self.tableau.stages
        parts = mixed(tableau.to_modes, r.unflatten(1, (stages, -1)))
        return mixed(tableau.from_modes, self._solved(parts, transposed=False)).flatten(1)

    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""
        tableau, stages = self.tableau, self.tableau.stages
        parts = mixed(tableau.from_modes.T, r.unflatten(1, (stages, -1)))
        return mixed(tableau.to_modes.T, self._solved(parts, transposed=True)).flatten(1)

    def real_system(self, shift: float) -> AbstractSystem | None:
        """(I - h shift J), if it is among those made."""
        for mode, system in self.systems:
            if len(mode.rows) == 1 and abs(mode.shift - shift) < 1e-12:
                return system
        return None

    def _solved(self, parts: Tensor, *, transposed: bool) -> Tensor:
        found: list[Tensor] = [parts] * parts.shape[1]
        for mode, system in self.systems:
            if len(mode.rows) == 1:
                row = parts[:, mode.rows[0]]
                found[mode.rows[0]] = system.solve_transposed(row) if transposed else system.solve(row)
                continue
            re, im = mode.rows
            if transposed:  # the real form of K has K^H for a transpose: K^H x = conj(K^T conj(x))
                x = system.solve_transposed(torch.complex(parts[:, re], -parts[:, im]))
                found[re], found[im] = x.real, -x.imag
            else:
                x = system.solve(torch.complex(parts[:, re], parts[:, im]))
                found[re], found[im] = x.real, x.imag
        return torch.stack(found, dim=1)


def mixed(weights: np.ndarray, parts: Tensor) -> Tensor:
    """sum_j w_ij x_j of (batch, stage, ...)."""
    return torch.matmul(table_of(weights, parts.dtype, parts.device), parts)


def table_of(numbers: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers of a tableau as a tensor."""
    return _table(numbers.tobytes(), numbers.shape, dtype, device)


@functools.lru_cache(maxsize=256)
def _table(data: bytes, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(np.frombuffer(data).reshape(shape), dtype=dtype, device=device)


_MATRIX = 512
"""Up to this many unknowns of all stages the exact system is built as a matrix."""
_ITERATIONS = 200
_RESIDUAL = 1e-9
"""Relative residual at which a system that was solved by iterations counts as solved."""


def exact_system(
    tableau: CollocationTableau,
    structure: AbstractStructure,
    field: PackedField,
    times: Sequence[Tensor],
    states: list[Tensor],
    h: float | Tensor,
) -> AbstractSystem:
    """(I - h A x diag(J_j)) with J_j at the times and states of the stages, as the gradient of a step needs it."""
    size = states[0].shape[1]
    if tableau.stages * size > _MATRIX:
        return _AppliedSystem(tableau, structure, field, times, states, h)
    blocks = torch.stack([Dense().jacobian(field, t, y)[0] for t, y in zip(times, states, strict=True)], dim=1)
    whole = torch.einsum("ij,bjnm->binjm", table_of(tableau.a, blocks.dtype, blocks.device), blocks)
    return Dense().system(field, (whole.flatten(1, 2).flatten(2, 3),), h)


@final
class _AppliedSystem(AbstractSystem):
    """The exact system by derivatives of the field, corrected by the system with the Jacobian of the middle stage."""

    def __init__(
        self,
        tableau: CollocationTableau,
        structure: AbstractStructure,
        field: PackedField,
        times: Sequence[Tensor],
        states: list[Tensor],
        h: float | Tensor,
    ) -> None:
        middle = len(states) // 2
        jacobian = structure.jacobian(field, times[middle], states[middle])
        self.tableau, self.h = tableau, h.reshape(-1, 1, 1) if isinstance(h, Tensor) and h.ndim else h
        self.near = SplitSystem(tableau, structure, field, jacobian, h)
        self.fields = [(lambda x, t=t: field(t, x)) for t in times]
        self.states = states

    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""

        # Derivatives along a direction by those of the pullback: forward mode cannot be nested in forward mode.
        pushes = [
            torch.func.vjp(torch.func.vjp(f, y)[1], torch.zeros_like(y))[1]
            for f, y in zip(self.fields, self.states, strict=True)
        ]

        def apply(z: Tensor) -> Tensor:
            parts = z.unflatten(1, (self.tableau.stages, -1))
            moved = [push((parts[:, j],))[0] for j, push in enumerate(pushes)]
            return (parts - self.h * mixed(self.tableau.a, torch.stack(moved, dim=1))).flatten(1)

        return _corrected(apply, self.near.solve, r)

    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""
        pullbacks = [torch.func.vjp(f, y)[1] for f, y in zip(self.fields, self.states, strict=True)]

        def apply(w: Tensor) -> Tensor:
            parts = w.unflatten(1, (self.tableau.stages, -1))
            sums = mixed(self.tableau.a.T, parts)
            moved = [pullback(sums[:, j])[0] for j, pullback in enumerate(pullbacks)]
            return (parts - self.h * torch.stack(moved, dim=1)).flatten(1)

        return _corrected(apply, self.near.solve_transposed, r)


def _corrected(apply: Callable[[Tensor], Tensor], near: Callable[[Tensor], Tensor], r: Tensor) -> Tensor:
    """x of apply(x) = r by corrections of a system that is near; NaN in rows where they do not lead there."""
    x = near(r)
    size = torch.linalg.vector_norm(r, dim=1)
    least = torch.full_like(size, torch.inf)
    best = x
    for _ in range(_ITERATIONS):
        rest = r - apply(x)
        left = torch.linalg.vector_norm(rest, dim=1)
        better = left < least
        best = torch.where(better[:, None], x, best)
        still = better & (left < 0.9 * least) & (left > 0)
        least = torch.where(better, left, least)
        if not bool(still.any()):
            break
        x = best + near(rest)
    return torch.where((least <= _RESIDUAL * size)[:, None], best, torch.nan)
