"""Adams methods of growing order on any grid, started by the 3/8 rule.

The slopes of the last k steps are extrapolated, and integrated: with the differences Phi*_j of Newton's form,

    p_(n+1) = y_n + h sum_(j<k) g_j Phi*_j(n),    Phi*_j(n) = beta_j Phi_j(n)
    Phi_0(n) = f_n,    Phi_(j+1)(n) = Phi_j(n) - Phi*_j(n-1)
    beta_j = prod_(i<j) (x_(n+1) - x_(n-i)) / (x_n - x_(n-i-1))

The implicit method adds the term of the new slope, h g_k Phi_k(n+1), by functional iteration. On equal steps these are
torchdiffeq's methods, which uses the coefficients of equal steps on every grid.

k is not fixed: the terms are summed as long as they fall. Where high order is unstable, where rounding is all that is
left of the differences, or after a sudden change of the step, they rise, and the order drops by itself. torchdiffeq
goes on: its order 11 loses 2 digits of 12 in t for y' = 2 y / t + ... and steps of 0.01.

Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, III.5, eq. (5.4)-(5.12); for the
order III.7.
"""

import itertools
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from sciml.compat.torchdiffeq.times import as_time
from sciml.integrate import AbstractMethod, Step, ThreeEighths
from sciml.integrate.flat import Flat
from sciml.integrate.methods.base import Time

_FEWEST = 3
"""With fewer slopes than these the 3/8 rule is of higher order."""


class _Past(NamedTuple):
    """What is known of earlier steps.

    Args:
        known: Phi*_0, Phi*_1, ... of the last step, (k, batch, *state).
        sizes: of the steps, the newest first.
    """

    known: Tensor
    sizes: tuple[Any, ...]


@final
@dataclass(frozen=True, eq=False)
class GrowingAdams(AbstractMethod):
    """Adams methods whose order grows with the past; see the module.

    Args:
        implicit: correct the explicit step by functional iteration of Adams-Moulton.
        max_order: one more than the number of slopes that are used.
        max_iters: iterations of the corrector.
        rtol, atol: change of the step, relative and absolute, below which the corrector has converged.
    """

    order: ClassVar[int] = 4
    stages: ClassVar[int] = 1
    implicit: bool
    max_order: int
    max_iters: int
    rtol: float | Tensor
    atol: float | Tensor

    def init(self, term: Any, t0: Time, y0: Flat) -> None:
        """No past; see `AbstractMethod.init`."""

    def step(self, term: Any, t0: Time, t1: Time, y: Any, carry: _Past | None) -> Step:
        """One step; see `AbstractMethod.step`."""
        h, past = t1 - t0, () if carry is None else carry.sizes
        slope = term.f(as_time(t0, y), y)
        phi = _differences(slope, carry)[: self.max_order - 1]
        past = past[: len(phi) - 1]
        betas, gs = _coefficients(h, past)
        known = _beside(betas, phi) * phi
        count = _falling(known.detach(), gs)
        if count < _FEWEST:
            change = ThreeEighths().step(term, t0, t1, y, ()).y - y
        else:
            change = _mixed(gs[:count], known) * h
            if self.implicit:
                change, converged = self._corrected(term, t1, y, change, known[:count].sum(0), gs[count] * h)
                kept = len(known) if converged else count - 1
                known, past = known[:kept], past[:kept]
        return Step(y + change, None, (slope,), _Past(known, (h, *past)), None)

    def _corrected(
        self, term: Any, t1: Time, y: Tensor, predicted: Tensor, expected: Tensor, weight: Any
    ) -> tuple[Tensor, bool]:
        change = predicted
        for _ in range(self.max_iters):
            old, slope = change, term.f(as_time(t1, y), y + change)
            change = predicted + (slope - expected) * weight
            allowed = self.atol + self.rtol * torch.maximum(old.abs(), change.abs())
            if bool(((old - change).abs() < allowed).all()):
                return change, True
        warnings.warn(
            f"the Adams corrector did not converge in {self.max_iters} iterations. Take smaller steps.", stacklevel=2
        )
        return change, False


def _differences(slope: Tensor, past: _Past | None) -> Tensor:
    """Phi_0, Phi_1, ... of now: the slope, less what was expected of it from the slopes before."""
    if past is None:
        return slope[None]
    known = past.known
    sums = torch.ones(len(known), len(known), dtype=known.dtype, device=known.device).tril_()
    return torch.cat([slope[None], slope - torch.tensordot(sums, known, dims=1)])


def _coefficients(h: Any, past: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
    """beta_0, ..., beta_(k-1) and g_0, ..., g_k for k - 1 steps of the past; numbers, or tensors that have gradients.

    g_j = c_j1 with c_0q = 1/q and c_jq = c_(j-1)q - c_(j-1)(q+1) h / (x_(n+1) - x_(n-j+1)).
    """
    behind = list(itertools.accumulate(past))  # x_n - x_(n-1), x_n - x_(n-2), ...
    ahead = [h, *(h + distance for distance in behind)]
    betas = list(itertools.accumulate((a / b for a, b in zip(ahead, behind, strict=False)), _times, initial=1.0))
    row: list[Any] = [1.0 / q for q in range(1, len(ahead) + 2)]
    gs = [row[0]]
    for distance in ahead:
        share = h / distance
        row = [left - right * share for left, right in itertools.pairwise(row)]
        gs.append(row[0])
    return betas, gs


def _times(a: Any, b: Any) -> Any:
    return a * b


def _falling(known: Tensor, gs: list[Any]) -> int:
    """How many terms are smaller than one of the two before; in real problems every other one may vanish."""
    weights = [float(g.detach()) if isinstance(g, Tensor) else g for g in gs[:-1]]
    sizes = [g * size for g, size in zip(weights, known.abs().flatten(1).amax(1).tolist(), strict=True)]
    for j in range(2, len(sizes)):
        if sizes[j] > max(sizes[j - 1], sizes[j - 2]):
            return j
    return len(sizes)


def _mixed(weights: list[Any], terms: Tensor) -> Tensor:
    """sum_j weights[j] terms[j]."""
    return torch.tensordot(_column(weights, terms).to(terms.dtype), terms[: len(weights)], dims=1)


def _beside(weights: list[Any], terms: Tensor) -> Tensor:
    """Weights to multiply (k, batch, *state)."""
    return _column(weights, terms).reshape(-1, *[1] * (terms.ndim - 1))


def _column(weights: list[Any], terms: Tensor) -> Tensor:
    """Weights as a vector in the real dtype of the state."""
    if any(isinstance(weight, Tensor) for weight in weights):
        column = torch.stack([torch.as_tensor(weight, dtype=torch.float64) for weight in weights])
    else:
        column = torch.tensor(weights, dtype=torch.float64)
    return column.to(terms.device, terms.dtype.to_real())
