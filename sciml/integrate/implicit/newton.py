"""Equations z = g(z) of every sample, solved by simplified Newton iterations with a Jacobian that is kept:

    (I - J) dz = g(z) - z,    z <- z + dz

With theta = |dz_k| / |dz_(k-1)| the error left is about eta |dz_k|, eta = theta / (1 - theta), and a row is done when
that is below kappa in units of the tolerance. Every row stops by itself: rows that are done are not touched again.

Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.8.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from sciml.core.checks import check_positive, check_whole
from sciml.integrate.flat import Flat, leaves_of
from sciml.integrate.implicit.dense import Dense
from sciml.integrate.implicit.packing import Packing
from sciml.integrate.implicit.structure import AbstractStructure
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

    structure: AbstractStructure = Dense()
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

    def tuned(self, tolerances: tuple[tuple[Any, Any], ...] | None) -> "Newton":
        """The same with the tolerances of the step control, unless it has some of its own."""
        return self if self.rtol is not None else replace(self, tolerances=tolerances)

    @torch.no_grad()
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

    @torch.no_grad()
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
        eps = torch.finfo(z.dtype).eps
        z, around = z.detach(), around.detach()
        active = torch.ones(len(z), dtype=torch.bool, device=z.device)
        failed, count = torch.zeros_like(active), torch.zeros(len(z), dtype=torch.int64, device=z.device)
        eta = z.new_ones(len(z)) if eta is None else eta.detach().clamp(min=eps).pow(0.8)
        rate, before = torch.zeros_like(eta), torch.zeros_like(eta)
        for k in range(most):
            dz = solve(residual(z))
            z = torch.where(active[:, None], z + dz, z)
            count += active
            size = _norm(dz, weights)
            ulp = eps * _norm(around + z, weights)
            limit = _ROUNDING * ulp if weights is None else (_ROUNDING * ulp).clamp(min=self.kappa)
            if k == 0:
                done = size * eta <= limit
                lost = ~torch.isfinite(size)
            else:
                theta = size / before
                rate = torch.where(active, torch.maximum(rate, theta), rate)
                left = theta / (1 - theta)
                done = (theta < 1) & (size * left <= limit) | (size <= _STAGNATION * ulp) & (theta > 0.5)
                lost = ~(theta < 1)
                if weights is not None:
                    lost = lost | (size * left * theta ** (most - 1 - k) > limit)
                eta = torch.where(active & done & (theta < 1), left, eta)
            done = done | (size <= _ROUNDING * ulp)
            failed = failed | active & lost & ~done
            active = active & ~done & ~lost
            before = size
            if not bool(active.any()):
                break
        failed = failed | active
        status = failed * int(Result.NOT_CONVERGED)
        return Outcome(torch.where(failed[:, None], 0.0, z), status, count, rate, torch.where(failed, 1.0, eta))


def _norm(x: Tensor, weights: Tensor | None) -> Tensor:
    """Root mean square of each row, in units of the tolerance."""
    scaled = x if weights is None else x * weights
    return torch.linalg.vector_norm(scaled, dim=1) / max(x.shape[1], 1) ** 0.5
