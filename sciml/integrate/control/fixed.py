"""Steps of a given grid."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.core.checks import check_finite, check_increasing, check_positive, check_whole
from sciml.integrate.control.base import AbstractControl

Times = list[float] | Tensor
"""A step grid: Python floats when the batch shares it, else a float64 tensor (steps + 1, batch) or (steps + 1,)."""


@final
@dataclass(frozen=True, eq=False)
class Fixed(AbstractControl):
    """A fixed grid of steps, given in exactly one way.

    Nothing watches the error. With steps that are too large for a stiff problem an explicit method multiplies it from
    step to step: what becomes infinite fails, but what stays finite cannot be told from growth of the solution, and is
    returned as a success. Compare with half the step, let PID() choose the steps, or take an implicit method.

    Args:
        dt: step size, [time], positive also when integrating backwards; the last step is shortened to end at t1.
        n: number of equal steps.
        ts: the grid itself from t0 to t1, [time], shape (steps + 1,).

    Raises:
        TypeError: if `ts` is no tensor.
        ValueError: unless exactly one of the three is given, and valid.
    """

    dt: float | None = None
    n: int | None = None
    ts: Tensor | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("dt", "n", "ts") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"Fixed needs exactly one of `dt`, `n`, `ts`, got {given or 'none'}. "
                "Write e.g. Fixed(dt=0.01) or Fixed(n=100)."
            )
        if self.dt is not None:
            check_positive("dt", self.dt)
        if self.n is not None:
            check_whole("n", self.n, 1)
        if self.ts is not None:
            if not isinstance(self.ts, Tensor):
                raise TypeError(f"`ts` must be a tensor, got a {type(self.ts).__name__}. Write torch.tensor(ts).")
            if self.ts.ndim != 1 or len(self.ts) < 2:
                raise ValueError(f"`ts` must be a vector of at least two times, got shape {tuple(self.ts.shape)}.")
            check_finite("ts", self.ts)
            check_increasing("ts", self.ts * math.copysign(1.0, float(self.ts[-1] - self.ts[0])))

    def grid(self, t0: float | Tensor, t1: float | Tensor) -> Times:
        """The step times from `t0` to `t1`, both included.

        Raises:
            ValueError: if the times are not finite or equal, or `ts` does not start at t0 and end at t1.
        """
        if isinstance(t0, Tensor) or isinstance(t1, Tensor):
            return self._tensor_grid(t0, t1)
        if not (math.isfinite(t0) and math.isfinite(t1)) or t0 == t1:
            raise ValueError(f"`t0` and `t1` must be finite and differ, got t0={t0}, t1={t1}.")
        if self.ts is not None:
            times = self.ts.double().tolist()
            rounding = torch.finfo(self.ts.dtype).eps if self.ts.is_floating_point() else 0.0
            tolerance = 1e-9 * abs(t1 - t0) + 4 * rounding * max(abs(t0), abs(t1))
            if abs(times[0] - t0) > tolerance or abs(times[-1] - t1) > tolerance:
                raise ValueError(
                    f"`ts` must run from t0 to t1, got ts[0]={times[0]}, ts[-1]={times[-1]} for t0={t0}, t1={t1}. "
                    "Extend ts or change the interval."
                )
            return [t0, *times[1:-1], t1]
        if self.n is not None:
            return [t0 + (t1 - t0) * (i / self.n) for i in range(self.n)] + [t1]
        assert self.dt is not None
        # A last step shorter than 1e-9 of dt is rounding in t1, not a step that was asked for.
        steps = max(1, math.ceil(abs(t1 - t0) / self.dt - 1e-9))
        signed = math.copysign(self.dt, t1 - t0)
        return [t0 + i * signed for i in range(steps)] + [t1]

    def _tensor_grid(self, t0: float | Tensor, t1: float | Tensor) -> Tensor:
        """A grid that is differentiable in its ends, or has one row of times per sample; needs `n`."""
        if self.n is None:
            raise ValueError(
                f"per-sample or differentiable times need a common number of steps, got {self}. Use Fixed(n=...)."
            )
        start = torch.as_tensor(t0, dtype=torch.float64)
        end = torch.as_tensor(t1, dtype=torch.float64)
        fraction = torch.arange(self.n + 1, dtype=torch.float64, device=end.device) / self.n
        fraction = fraction.reshape(-1, *[1] * max(start.ndim, end.ndim))
        return start + (end - start) * fraction
