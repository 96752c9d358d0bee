"""What a solve returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_whole


@final
@dataclass(frozen=True, eq=False)
class SaveAt:
    """Which times to keep. Several at once give a dict with the keys `t0`, `t1`, `ts`, `steps`.

    Args:
        t0: keep a copy of the initial state, (batch, *state).
        t1: keep the final state, (batch, *state).
        ts: keep these times, (batch, time, *state): (time,), or (batch, time) for times of each sample's own, in the
            direction of time; a time that is given twice is kept twice. Between steps the dense output serves; a
            method without one keeps grid points only. With noise states between steps are chords, which lack noise:
            adaptive steps end at these times, and a fixed grid must hold them.
        every: keep every n-th accepted step (1: every step), (batch, time, *state), the initial state excluded. Samples
            with steps of their own are padded to the longest with NaN, times too.
        dense: make the solution callable at any time; with noise, chords between the steps.
        fn: applied as `fn(t, y)` before keeping; it may change shape, e.g. go back to physical space. `t` comes as a
            field gets it: 0-D, or (batch, 1, ..., 1) with per-sample times.

    Raises:
        TypeError: if `ts` is no tensor, or complex.
        ValueError: if nothing is kept or `every` is no whole number of at least 1.
    """

    t0: bool = False
    t1: bool = False
    ts: Float[Tensor, "*batch time"] | None = None
    every: int | None = None
    dense: bool = False
    fn: Callable[[Tensor, Any], Any] | None = None

    def __post_init__(self) -> None:
        if not (self.t0 or self.t1 or self.dense or self.ts is not None or self.every is not None):
            raise ValueError("SaveAt must keep something, got nothing. Set t1=True, ts=..., or every=1.")
        if self.every is not None:
            check_whole("every", self.every, 1)
        if self.ts is not None and not isinstance(self.ts, Tensor):
            raise TypeError(f"`ts` must be a tensor of times, got a {type(self.ts).__name__}. Write torch.tensor(ts).")
        if self.ts is not None and self.ts.is_complex():
            raise TypeError(f"`ts` must be real, got {self.ts.dtype}. Give the times as torch.float64.")
        if self.ts is not None and (self.ts.ndim not in (1, 2) or self.ts.numel() == 0):
            raise ValueError(
                f"`ts` must be times (time,) or (batch, time), at least one, got shape {tuple(self.ts.shape)}."
            )
