"""Step sizes from an estimate of the local error.

With r_n the norm of error / (atol + rtol max(|y_n|, |y_(n+1)|)) of attempt n and k the power of the step size that the
error is proportional to, a step is accepted if r_n <= 1, and

    h_(n+1) = h_n * clip(safety * r_n^(-(p + i + d)/k) * r_(n-1)^((p + 2 d)/k) * r_(n-2)^(-d/k), factor_min, factor_max)

where r_(n-1), r_(n-2) belong to the accepted steps before. After a rejection the factor is at most `safety`.

Source: Hairer, Norsett & Wanner (1993), "Solving Ordinary Differential Equations I", II.4; Soderlind (2003), ACM Trans.
Math. Softw. 29, 1-26, section 4 (there the exponents are written beta).
"""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils._pytree import tree_flatten

from sciml.core.checks import check_at_least, check_positive
from sciml.integrate.control.base import AbstractControl
from sciml.integrate.flat import Flat, leaves_of

Gains = tuple[float, float, float]
CLASSICAL: Gains = (0.0, 1.0, 0.0)
_GROWTH = 10.0
"""Most that steps grow by at once, unless `factor_max` is given."""
Tolerance = Any
"""A number, a tensor that broadcasts to the state, or a tree of these like the state."""


@final
@dataclass(frozen=True, eq=False)
class PID(AbstractControl):
    """Adaptive steps that keep the estimated local error below a tolerance.

    Args:
        rtol: relative tolerance, [1]: a number, or a tree of numbers or tensors like the state. For SDE terms take 1e-2
            or so: the work grows with its inverse, or the square of it.
        atol: absolute tolerance, [state], likewise.
        per_sample: every sample has steps of its own. Otherwise the whole batch takes joint steps.
        groups: group of each row, (batch,), from 0 on without gaps: rows of one group, such as the nodes of a graph,
            take joint steps; `t0` and `t1` must be equal within a group.
        gains: (p, i, d) of the controller. By default those of the method: (0, 1, 0), the classical one, for most, and
            (0.3, 0.4, 0) for methods that solve equations, where every rejected step is dear.
        safety: part of the step size the error estimate allows that is taken, [1].
        factor_min, factor_max: least and greatest change of the step size from one attempt to the next, [1]. By
            default it grows by at most 10, for SDE terms 1.5: an estimate of random size is near 0 now and then.
        dt0: first step size, [time]; by default chosen from the field at `t0`.
        dt_min: fail below this step size, [time].
        dt_max: take no larger steps, [time].
        accept_at_dt_min: accept whatever comes out at `dt_min` instead of failing.
        norm: a norm of the scaled error instead of the root mean square: called with the error in units of the
            tolerance, in the structure of the state, it gives a 0-D tensor (joint steps only).
        compact: once half of the samples are finished, go on with the others only, if the field gives the same for
            them alone and holds nothing for each sample: it reaches no tensor or array with an axis of the length of
            the batch or more, but for the weights of torch's own layers. Switch off for results that are bitwise
            independent of when batch-mates finish.

    Raises:
        TypeError: if `groups` is no tensor of integers, or a tolerance is no number.
        ValueError: for parameters out of range, or that do not fit each other.
    """

    rtol: Tolerance = 1e-5
    atol: Tolerance = 1e-8
    per_sample: bool = True
    groups: Int[Tensor, " batch"] | None = None
    gains: Gains | None = None
    safety: float = 0.9
    factor_min: float = 0.2
    factor_max: float | None = None
    dt0: float | None = None
    dt_min: float = 0.0
    dt_max: float = math.inf
    accept_at_dt_min: bool = False
    norm: Callable[[Any], Tensor] | None = None
    compact: bool = True

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            for value in tree_flatten(getattr(self, name))[0]:
                if not isinstance(value, Tensor) and (isinstance(value, bool) or not isinstance(value, numbers.Real)):
                    raise TypeError(
                        f"`{name}` must be a number or a tensor, or a tree of these, got {value!r}. Give e.g. "
                        f"{name}=1e-6."
                    )
                if not _all_hold(value >= 0):  # type: ignore[operator]
                    raise ValueError(f"`{name}` must not be negative or NaN, got {value}. Give e.g. {name}=1e-6.")
        if _always_zero(self.rtol) and _always_zero(self.atol):
            raise ValueError("`rtol` and `atol` must not both be 0, got 0 and 0: no step could be accepted. Raise one.")
        groups = self.groups
        if groups is not None and not isinstance(groups, Tensor):
            raise TypeError(f"`groups` must be a tensor, got a {type(groups).__name__}. Write torch.tensor(groups).")
        if groups is not None and (groups.is_floating_point() or groups.is_complex() or groups.dtype == torch.bool):
            raise TypeError(f"`groups` must hold whole numbers, got {groups.dtype}. Convert it with groups.long().")
        self._check_gains()
        check_positive("safety", self.safety)
        if not (0 < self.factor_min < 1 < self.most and self.safety <= 1):
            raise ValueError(
                "a controller needs 0 < factor_min < 1 < factor_max and safety <= 1, got "
                f"{self.factor_min}, {self.most} and {self.safety}."
            )
        if self.dt0 is not None:
            check_positive("dt0", self.dt0)
        check_at_least("dt_min", self.dt_min, 0.0)
        if not self.dt_max > self.dt_min:
            raise ValueError(f"`dt_max` must be above `dt_min`, got {self.dt_max} and {self.dt_min}.")
        if self.norm is not None and (self.per_sample and self.groups is None or self.groups is not None):
            raise ValueError("`norm` judges the whole batch: it needs joint steps. Pass per_sample=False, or no norm.")

    def _check_gains(self) -> None:
        """Raise unless errors below the tolerance lead to larger steps, at once and in the long run."""
        if self.gains is None:
            return
        if not isinstance(self.gains, tuple) or len(self.gains) != 3:
            raise TypeError(f"`gains` must be three numbers (p, i, d), got {self.gains!r}. Take e.g. (0.3, 0.4, 0).")
        p, i, d = self.gains
        if not (all(map(math.isfinite, self.gains)) and i > 0 and p + i + d > 0):
            raise ValueError(
                "the gains (p, i, d) of a controller must be finite, with i > 0 and p + i + d > 0, got "
                f"({p}, {i}, {d}). Take (0, 1, 0), or (0.3, 0.4, 0) for stiff problems."
            )

    @property
    def most(self) -> float:
        """The greatest change of the step size."""
        return _GROWTH if self.factor_max is None else self.factor_max

    @property
    def remembers(self) -> bool:
        """Whether the factor depends on earlier errors."""
        p, _, d = self.gains or CLASSICAL
        return p != 0.0 or d != 0.0

    def tolerances(self, y: Flat, structure: Any) -> tuple[tuple[Any, Any], ...]:
        """(rtol, atol) per tensor of the state.

        Raises:
            ValueError: if they do not fit the state, or lie so far below its rounding that steps would shrink for ever.
        """
        rtol, atol = (_per_leaf(name, getattr(self, name), leaves_of(y), structure) for name in ("rtol", "atol"))
        for leaf, r, a in zip(leaves_of(y), rtol, atol, strict=True):
            _check_reachable(leaf, r, a)
        # An entry that is and stays 0 has no error: 0 / tiny, where 0 / 0 would pass for a failure.
        tiny = torch.finfo(leaves_of(y)[0].dtype).tiny
        atol = [a.clamp(min=tiny) if isinstance(a, Tensor) else max(a, tiny) for a in atol]
        return tuple(zip(rtol, atol, strict=True))

    def factor(self, ratio: Tensor, memory: tuple[Tensor, ...], accepted: Tensor, order: float) -> Tensor:
        """Change of the step size after an attempt; see the module.

        Args:
            ratio: error norm of the attempt, infinite where not finite.
            memory: error norms of the last two accepted steps, if the controller remembers.
            accepted: whether the attempt was.
            order: power of the step size that the error is proportional to.
        """
        p, i, d = self.gains or CLASSICAL
        factor = ratio.pow(-(p + i + d) / order).mul(self.safety)
        if not self.remembers:
            return factor.clamp(self.factor_min, self.most)
        factor = factor * memory[0].pow((p + 2 * d) / order) * memory[1].pow(-d / order)
        factor = factor.clamp(self.factor_min, self.most)
        return torch.where(accepted, factor, factor.clamp(max=self.safety))

    def factor_of(self, ratio: float, memory: tuple[float, float], accepted: bool, order: float) -> float:
        """`factor` for numbers."""
        if ratio == 0.0:
            return self.most
        p, i, d = self.gains or CLASSICAL
        factor = self.safety * ratio ** (-(p + i + d) / order)
        if self.remembers:
            factor *= memory[0] ** ((p + 2 * d) / order) * memory[1] ** (-d / order)
        factor = min(max(factor, self.factor_min), self.most)
        return factor if accepted or not self.remembers else min(factor, self.safety)


def _fits(value: Tensor, leaf: Tensor) -> bool:
    """Whether `value` broadcasts to `leaf` without enlarging it."""
    pairs = zip(reversed(value.shape), reversed(leaf.shape), strict=False)
    return value.ndim <= leaf.ndim and all(size in (1, wanted) for size, wanted in pairs)


def _always_zero(tolerance: Tolerance) -> bool:
    return all(_all_hold(value == 0) for value in tree_flatten(tolerance)[0])


def _all_hold(condition: bool | Tensor) -> bool:
    return bool(condition.all()) if isinstance(condition, Tensor) else bool(condition)


def _check_reachable(leaf: Tensor, rtol: Any, atol: Any) -> None:
    """Raise if a step could only be accepted where rounding makes its error estimate meaningless."""
    least = torch.finfo(leaf.dtype).eps / 100
    if isinstance(rtol, Tensor) or isinstance(atol, Tensor) or rtol >= least:
        return
    size = float(leaf.detach().abs().max()) if leaf.numel() else 0.0
    if atol < least * size:
        raise ValueError(
            f"tolerances must not lie below a hundredth of the state's rounding, got rtol={rtol} and atol={atol} for "
            f"{leaf.dtype} of size {size:g}. Take rtol >= {least:.0e}, or a state in float64."
        )


def _per_leaf(name: str, tolerance: Tolerance, leaves: tuple[Tensor, ...], structure: Any) -> list[Any]:
    if isinstance(tolerance, (int, float)):
        return [tolerance] * len(leaves)
    values, given = ([tolerance] * len(leaves), structure) if isinstance(tolerance, Tensor) else tree_flatten(tolerance)
    for value, leaf in zip(values, leaves, strict=False):
        if isinstance(value, Tensor) and not _fits(value, leaf):
            raise ValueError(
                f"`{name}` must broadcast to the state {tuple(leaf.shape)}, got {tuple(value.shape)}. "
                "Give one tolerance per entry of the state, with leading axes of 1 or the batch."
            )
    if given != structure:
        raise ValueError(
            f"`{name}` must be a number, a tensor or a tree like the state, {structure}, got {given}. "
            "Give one tolerance per leaf."
        )
    return values
