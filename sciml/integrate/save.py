"""What a solve returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from jaxtyping import Float
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class SaveAt:
    """Which times to keep. Several at once give a dict with the keys `t0`, `t1`, `ts`, `steps`.

    Args:
        t0: keep the initial state, (batch, *state).
        t1: keep the final state, (batch, *state).
        ts: keep these times, (batch, time, *state). On a fixed grid they must be grid points unless the method has
            dense output. Order as given by the direction of time.
        every: keep every n-th accepted step (1: every step), (batch, time, *state), the initial state excluded.
        fn: applied as `fn(t, y)` before keeping; it may change shape, e.g. go back to physical space. `t` comes as a
            field gets it: 0-D, or (batch, 1, ..., 1) with per-sample times.

    Raises:
        ValueError: if nothing is kept or `every` is below 1.
    """

    t0: bool = False
    t1: bool = False
    ts: Float[Tensor, " time"] | None = None
    every: int | None = None
    fn: Callable[[Tensor, Any], Any] | None = None

    def __post_init__(self) -> None:
        if not (self.t0 or self.t1 or self.ts is not None or self.every is not None):
            raise ValueError("SaveAt must keep something, got nothing. Set t1=True, ts=..., or every=1.")
        if self.every is not None and self.every < 1:
            raise ValueError(f"`every` must be at least 1, got {self.every}. Set every=1 to keep each step.")
        if self.ts is not None and (self.ts.ndim != 1 or len(self.ts) == 0):
            raise ValueError(f"`ts` must be a non-empty vector of times, got shape {tuple(self.ts.shape)}.")
