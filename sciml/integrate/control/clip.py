"""Times that adaptive steps must hit."""

from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_finite
from sciml.integrate.control.base import AbstractControl
from sciml.integrate.control.pid import PID


@final
@dataclass(frozen=True, eq=False)
class Clip(AbstractControl):
    """Adaptive steps that end at given times.

    Args:
        inner: chooses the steps in between.
        stops: times a step must end at, [time], (count,) or one row per sample, (batch, count), padded with NaN.
        jumps: times at which the field is discontinuous, likewise. A step ends just before each, the field is
            evaluated anew behind it, and no method carries values over it.

    Raises:
        TypeError: if `inner` is no PID, or the times are no tensor.
        ValueError: if neither is given, or a time is infinite.
    """

    inner: PID = field(default_factory=PID)
    stops: Float[Tensor, "*stop_batch stop"] | None = None
    jumps: Float[Tensor, "*jump_batch jump"] | None = None

    def __post_init__(self) -> None:
        if self.stops is None and self.jumps is None:
            raise ValueError("Clip must be given `stops` or `jumps`, got neither. Use the inner control alone.")
        if not isinstance(self.inner, PID):
            raise TypeError(
                f"`inner` must be PID, which chooses the steps in between, got a {type(self.inner).__name__}. "
                "For a fixed grid put the times into Fixed(ts=...)."
            )
        for name in ("stops", "jumps"):
            times = getattr(self, name)
            if times is not None:
                if not isinstance(times, Tensor):
                    raise TypeError(
                        f"`{name}` must be a tensor, got a {type(times).__name__}. Write torch.tensor(...)."
                    )
                if times.ndim not in (1, 2):
                    raise ValueError(f"`{name}` must have shape (count,) or (batch, count), got {tuple(times.shape)}.")
                check_finite(name, times.where(~torch.isnan(times), 0.0) if times.ndim == 2 else times)
