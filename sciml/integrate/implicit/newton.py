"""Equations z = g(z) of every sample, solved by simplified Newton iterations with a Jacobian that is kept:

    (I - J) dz = g(z) - z,    z <- z + dz

With theta = |dz_k| / |dz_(k-1)| the error left is about eta |dz_k|, eta = theta / (1 - theta), and a row is done when
that is below kappa in units of the tolerance. Every row stops by itself: rows that are done are not touched again.

Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.8.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from sciml.core.checks import check_positive, check_whole
from sciml.core.transforms import is_transforming, unrecorded
from sciml.integrate.flat import Flat, leaves_of
from sciml.integrate.implicit.auto import Auto
from sciml.integrate.implicit.packing import Packing
from sciml.integrate.implicit.structure import AbstractStructure, chosen
from sciml.integrate.solution import Result

_MOST, _MOST_TIGHT = 10, 50
"""Iterations at most: with a tolerance a smaller step is better than many; on a fixed grid there is no other step."""
_ROUNDING = 4.0
"""A correction of so many units in the last place of the solution cannot be improved."""
_STAGNATION = 1e3
"""A correction of so many units that no longer becomes smaller is rounding."""


class Outcome(NamedTuple):
    """What came out of `Newton.run`, one row per sample.

    Args:
        z: the solution, 0 in rows that failed.
        status: 0, or `Result.NOT_CONVERGED`.
        evaluations: how often the row needed g.
        rate: largest theta that was measured, 0 where the first correction was small enough.
        eta: what `run` may start with next time.
    """

    z: Tensor
    status: Tensor
    evaluations: Tensor
    rate: Tensor
    eta: Tensor


@final
@dataclass(frozen=True)
class Newton:
    """How implicit methods solve their equations.

    Args:
        structure: how Jacobians are found and solved with.
        iterations: at most so many; by default 10, and 50 on a fixed grid, where no smaller step can be tried.
        kappa: error left at most, in units of the tolerance, [1].
        rtol, atol: the tolerance; by default that of the step control. On a fixed grid, where there is none, iterations
            go on until rounding ends them.
        tolerances: (rtol, atol) per tensor of the state, as the step control has them; set by `tuned`.

    Raises:
        ValueError: for values that are not positive, or one tolerance without the other.
    """

    structure: AbstractStructure = Auto()
    iterations: int | None = None
    kappa: float = 0.01
    rtol: float | None = None
    atol: float | None = None
    tolerances: tuple[tuple[Any, Any], ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.structure, AbstractStructure):
            raise TypeError(
                f"`structure` must be an object, got {self.structure!r}. Give e.g. Dense() or Banded(1, 1)."
            )
        if self.iterations is not None:
            check_whole("iterations", self.iterations, 1)
        check_positive("kappa", self.kappa)
        if (self.rtol is None) != (self.atol is None):
            raise ValueError(
                f"Newton needs both tolerances or none, got rtol={self.rtol} and atol={self.atol}. Give both, or leave "
                "them to the step control."
            )
        for name in ("rtol", "atol"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))

    def tuned(self, tolerances: tuple[tuple[Any, Any], ...] | None) -> "Newton":
        """The same with the tolerances of the step control, unless it has some of its own."""
        return self if self.rtol is not None else replace(self, tolerances=tolerances)

    @unrecorded()
    def weights(self, packing: Packing, y: Flat) -> Tensor | None:
        """1 / (atol + rtol |y|), (batch, size); None where rounding is the tolerance."""
        tolerances: Any = self.tolerances
        if self.rtol is not None:
            tolerances = ((self.rtol, self.atol),) * len(leaves_of(y))
        if tolerances is None:
            return None
        scales = tuple(
            leaf.detach().abs().mul(rtol).add(atol) for leaf, (rtol, atol) in zip(leaves_of(y), tolerances, strict=True)
        )
        return packing.pack_sizes(scales).reciprocal()

    @unrecorded()
    def run(
        self,
        residual: Callable[[Tensor], Tensor],
        solve: Callable[[Tensor], Tensor],
        z: Tensor,
        *,
        around: Tensor,
        weights: Tensor | None,
        eta: Tensor | None = None,
    ) -> Outcome:
        """Solve g(z) = z. Nothing is recorded by autograd.

        Args:
            residual: g(z) - z, of (batch, m).
            solve: x of (I - J) x = r.
            z: the first guess, (batch, m).
            around: (batch, m), what z is added to in the state: rounding is that of `around + z`.
            weights: reciprocal tolerances, (batch, m), or None to go on until rounding.
            eta: `Outcome.eta` of an equation like this one, by which a single iteration may do.
        """
        most = self.iterations or (_MOST if weights is not None else _MOST_TIGHT)
        z, around = z.detach(), around.detach()
        progress = _Progress(self, most, z, weights is not None, eta)
        ulp = np.zeros(len(z))
        with np.errstate(all="ignore"):
            for k in range(most):
                dz = solve(residual(z))
                z = z + dz if progress.all_active else torch.where(progress.mask(z)[:, None], z + dz, z)
                if k in (0, 2):  # rounding of the solution is known well enough by then
                    ulp = torch.finfo(z.dtype).eps * values_of(_norm(around + z, weights))
                if not progress.judge(k, values_of(_norm(dz, weights)), ulp):
                    break
        return progress.outcome(z)


class _Progress:
    """How far each row has come. The numbers of the rows lie on the host: one read per iteration."""

    def __init__(self, newton: Newton, most: int, z: Tensor, tolerant: bool, eta: Tensor | None) -> None:
        rows, eps = len(z), torch.finfo(z.dtype).eps
        self.most, self.tolerant, self.kappa = most, tolerant, newton.kappa
        self.active, self.failed = np.ones(rows, dtype=bool), np.zeros(rows, dtype=bool)
        self.count, self.rate = np.zeros(rows, dtype=np.int64), np.zeros(rows)
        self.eta = np.ones(rows) if eta is None else np.maximum(values_of(eta), eps) ** 0.8
        self.before = self.rate
        self.all_active = True

    def mask(self, z: Tensor) -> Tensor:
        """The rows that are still iterated."""
        return torch.from_numpy(self.active).to(z.device)

    def judge(self, k: int, size: np.ndarray, ulp: np.ndarray) -> bool:
        """Take notice of the corrections of iteration k; whether any row needs another one.

        Args:
            k: number of the iteration.
            size: norms of the corrections.
            ulp: those of a unit in the last place of the solution.
        """
        active, limit = self.active, _ROUNDING * ulp
        if self.tolerant:
            limit = np.maximum(limit, self.kappa)
        self.count += active
        if k == 0:
            done, lost = size * self.eta <= limit, ~np.isfinite(size)
        else:
            theta = size / self.before
            left = theta / (1 - theta)
            self.rate = np.where(active, np.fmax(self.rate, theta), self.rate)
            done = (theta < 1) & (size * left <= limit) | (size <= _STAGNATION * ulp) & (theta > 0.5)
            lost = ~(theta < 1)
            if self.tolerant:
                lost |= size * left * theta ** (self.most - 1 - k) > limit
            self.eta = np.where(active & done & (theta < 1), left, self.eta)
        done |= size <= _ROUNDING * ulp
        self.failed |= active & lost & ~done
        self.active = active & ~done & ~lost
        self.before, self.all_active = size, bool(self.active.all())
        return bool(self.active.any())

    def outcome(self, z: Tensor) -> Outcome:
        """What is known at the end."""
        failed, real = self.failed | self.active, z.dtype.to_real()
        status, count = (
            torch.from_numpy(x).to(z.device) for x in (failed * np.int64(Result.NOT_CONVERGED), self.count)
        )
        eta = np.where(failed, 1.0, self.eta)
        rate, eta = (torch.from_numpy(x).to(z.device, real) for x in (self.rate, eta))
        return Outcome(torch.where(status[:, None] > 0, 0.0, z) if failed.any() else z, status, count, rate, eta)


def merged(rows: Tensor, new: Outcome, old: Outcome) -> Outcome:
    """The new outcome in some rows, with all evaluations."""
    return Outcome(*chosen(rows, new, old))._replace(evaluations=old.evaluations + new.evaluations * rows)


def values_of(x: Tensor) -> np.ndarray:
    """The numbers of a tensor, in double precision, also while `torch.func` differentiates."""
    if is_transforming():  # tensors have no memory of their own then
        return np.array([float(value) for value in x.detach()], dtype=np.float64)
    return x.detach().cpu().numpy().astype(np.float64)


def _norm(x: Tensor, weights: Tensor | None) -> Tensor:
    """Root mean square of each row, in units of the tolerance."""
    scaled = x if weights is None else x * weights
    return torch.linalg.vector_norm(scaled, dim=1) / max(x.shape[1], 1) ** 0.5
