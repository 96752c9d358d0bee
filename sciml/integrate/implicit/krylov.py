"""Systems solved by GMRES, from products with J alone.

With Q an orthonormal basis of r, A r, A² r, ... and A Q_m = Q_(m+1) H, the vector x = Q_m y with the least |r - A x| is
that of the least |beta e_1 - H y|. Every sample has its own basis and stops by itself.

Source: Saad & Schultz (1986), SIAM J. Sci. Stat. Comput. 7, 856-869, algorithm 4.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from sciml.core.checks import check_positive, check_whole
from sciml.core.transforms import unrecorded
from sciml.integrate.implicit.packing import PackedField
from sciml.integrate.implicit.structure import (
    AbstractStructure,
    AbstractSystem,
    Jacobian,
    Shift,
    beside_rows,
    is_complex,
)

_Linear = Callable[[Tensor], Tensor]
_EXACT = 1e-13
"""Residual left where a gradient depends on it."""
_LEFT, _FAR, _FAR_ROUNDING = 0.1, 1e5, 1e4
"""What may be left at most: a tenth, and this many times `tol` or the rounding."""


@final
@dataclass(frozen=True)
class Krylov(AbstractStructure):
    """Nothing is known of J: products with it are derivatives of the field along a direction. For many unknowns.

    Args:
        restart: size of the basis, after which it is begun anew.
        iterations: products with J at most.
        tol: residual left, in units of the right-hand side, [1].

    Raises:
        ValueError: for values that are not positive, or a `tol` of 1 and more.
    """

    restart: int = 30
    iterations: int = 120
    tol: float = 1e-3

    def __post_init__(self) -> None:
        check_whole("restart", self.restart, 1)
        check_whole("iterations", self.iterations, 1)
        check_positive("tol", self.tol)
        if self.tol >= 1:
            raise ValueError(f"`tol` must be below 1, got {self.tol}: zero would pass for a solution. Take e.g. 1e-3.")

    def jacobian(self, field: PackedField, t: Tensor, v: Tensor) -> Jacobian:
        """Where J is taken: times (batch,) and states; see `AbstractStructure.jacobian`."""
        return t.detach().reshape(-1).expand(len(v)), v.detach()

    def system(self, field: PackedField, jacobian: Jacobian, shift: Shift) -> AbstractSystem:
        """See `AbstractStructure.system`."""
        return Iterated(self, field, jacobian, shift)

    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """See `AbstractStructure.product`."""
        with unrecorded():
            return _Products(_at(field, jacobian), jacobian[1]).pushed(x)

    def exact(self) -> "Krylov":
        """See `AbstractStructure.exact`."""
        least = min(self.tol, _EXACT)
        return replace(self, tol=least, restart=max(self.restart, 100), iterations=max(self.iterations, 1000))


@final
class Iterated(AbstractSystem):
    """A = I - s J by its products. With a system M near it: A M^-1 u = r, x = M^-1 u."""

    def __init__(
        self,
        structure: Krylov,
        field: PackedField,
        jacobian: Jacobian,
        shift: Shift,
        near: AbstractSystem | None = None,
    ) -> None:
        self.structure, self.shift, self.complex = structure, beside_rows(shift, 2), is_complex(shift)
        self.near = near
        with unrecorded():
            self.products = _Products(_at(field, jacobian), jacobian[1])

    @unrecorded()
    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""
        near = _same if self.near is None else self.near.solve
        return self._solved(self.products.pushed, near, r, self.structure)

    @unrecorded()
    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""
        near = _same if self.near is None else self.near.solve_transposed
        return self._solved(self.products.pulled, near, r, self.structure.exact())

    def _solved(self, product: _Linear, near: _Linear, r: Tensor, structure: Krylov) -> Tensor:
        def apply(u: Tensor) -> Tensor:
            x = near(u)
            return x - self.shift * product(x)

        return near(_gmres(apply, r.to(r.dtype.to_complex()) if self.complex else r, structure))


def _same(x: Tensor) -> Tensor:
    return x


def _at(field: PackedField, jacobian: Jacobian) -> Callable[[Tensor], Tensor]:
    """The field at the times where J is taken."""
    t = jacobian[0].reshape(-1, *[1] * len(field.packing.shapes[0]))
    return lambda x: field(t, x)


class _Products:
    """J x, the derivative of the linear u -> J^T u, and J^T x at a state: no forward mode is asked of the field."""

    def __init__(self, field: Callable[[Tensor], Tensor], v: Tensor) -> None:
        value, pullback, *_ = torch.func.vjp(field, v)
        _, pushforward, *_ = torch.func.vjp(lambda u: pullback(u)[0], torch.zeros_like(value))
        self._pull, self._push = pullback, pushforward

    def pushed(self, x: Tensor) -> Tensor:
        """J x."""
        return _of_parts(self._push, x)

    def pulled(self, x: Tensor) -> Tensor:
        """J^T x."""
        return _of_parts(self._pull, x)


@unrecorded()
def _of_parts(product: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor) -> Tensor:
    """A real product of real and imaginary part."""
    if x.is_complex():
        return torch.complex(product(x.real.contiguous())[0], product(x.imag.contiguous())[0])
    return product(x)[0].detach()


def _gmres(apply: Callable[[Tensor], Tensor], r: Tensor, structure: Krylov) -> Tensor:
    """x of A x = r in each row; NaN in rows whose residual stays far above `tol`, or a tenth of r."""
    x, residual, left = torch.zeros_like(r), r, structure.iterations
    goal = structure.tol * _norms(r)
    while True:
        size = _norms(residual)
        active = size > goal
        if left <= 0 or not active.any():
            break
        steps = min(structure.restart, left, r.shape[1])
        change = _cycle(apply, residual, active, goal, steps)
        # Rows that are done keep what they have.
        x = torch.where(torch.from_numpy(active).to(r.device)[:, None], x + change, x)
        left -= steps
        before, residual = size, r - apply(x)
        if not (_norms(residual)[active] < 0.99 * before[active]).any():
            break  # as far as rounding lets it
    most = min(_LEFT, max(_FAR * structure.tol, _FAR_ROUNDING * torch.finfo(r.dtype).eps))
    good = _norms(residual) <= most * _norms(r)
    return x if good.all() else torch.where(torch.from_numpy(good).to(r.device)[:, None], x, torch.nan)


def _cycle(
    apply: Callable[[Tensor], Tensor], residual: Tensor, active: np.ndarray, goal: np.ndarray, steps: int
) -> Tensor:
    """The correction from one basis of at most so many vectors."""
    rows, beta = len(residual), _norms(residual)
    safe = np.where(beta > 0, beta, 1.0)
    basis = [residual / torch.from_numpy(safe).to(residual.device, residual.dtype)[:, None]]
    table = np.zeros((rows, steps + 1, steps), dtype=np.complex128 if residual.is_complex() else np.float64)
    chosen, active = np.zeros((rows, steps), dtype=table.dtype), active.copy()
    for j in range(steps):
        w, column = _orthogonalised(apply(basis[j]), basis)
        table[:, : j + 2, j] = column
        weights, size = _least(table[:, : j + 2, : j + 1], beta)
        chosen[active, : j + 1] = weights[active]
        active &= np.isfinite(size) & (size > goal)
        if not active.any():
            break
        basis.append(w)
    parts = torch.from_numpy(chosen[:, : len(basis)]).to(residual.device, residual.dtype)
    return torch.einsum("bj,jbn->bn", parts, torch.stack(basis[:steps]))


def _orthogonalised(w: Tensor, basis: list[Tensor]) -> tuple[Tensor, np.ndarray]:
    """w without its parts along the basis, of length 1, and those parts and the length, (batch, j + 2)."""
    stacked = torch.stack(basis, dim=1)
    total = torch.zeros_like(stacked[:, :, 0])
    for _ in range(2):  # the second pass removes what rounding left
        along = (stacked.conj() @ w.unsqueeze(-1)).squeeze(-1)
        w = w - (along.unsqueeze(1) @ stacked).squeeze(1)
        total = total + along
    size = torch.linalg.vector_norm(w, dim=1, keepdim=True)
    column = torch.cat([total, size.to(total.dtype)], dim=1).cpu().numpy()
    return w / torch.where(size > 0, size, 1.0), column


def _least(table: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y of the least |beta e_1 - H y| in each row, and that length."""
    count = table.shape[2]
    table = np.where(np.isfinite(table).all(axis=(1, 2), keepdims=True), table, 0.0)
    q, r = np.linalg.qr(table)
    target = beta[:, None] * q[:, 0, :].conj()
    dead = np.abs(np.einsum("bii->bi", r)) <= 1e-300
    r[dead[:, :, None] & np.eye(count, dtype=bool)] = 1.0
    weights = np.linalg.solve(r, np.where(dead, 0.0, target)[..., None])[..., 0]
    wanted = np.zeros(table.shape[:2], dtype=table.dtype)
    wanted[:, 0] = beta
    return weights, np.linalg.norm(wanted - (table @ weights[..., None])[..., 0], axis=1)


def _norms(x: Tensor) -> np.ndarray:
    """Length of each row."""
    return torch.linalg.vector_norm(x, dim=1).cpu().numpy().astype(np.float64)
