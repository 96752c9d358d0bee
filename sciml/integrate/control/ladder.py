"""Step sizes from an estimate of the local error, out of a geometric sequence.

Methods that compute coefficients for a step size, as exponential ones do, spend on a new size as much as on a step or
more. Here sizes are unit * ratio^j with a whole j, so that few occur and each has its coefficients kept.
"""

import math
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sciml.core.checks import check_at_least, check_positive
from sciml.integrate.control.base import AbstractControl
from sciml.integrate.control.pid import PID
from sciml.integrate.flat import Flat, leaves_of


@final
@dataclass(frozen=True)
class Ladder(AbstractControl):
    """Adaptive joint steps whose sizes are rungs of a ladder; made for exponential pairs such as `ETD43`.

    All samples take the same steps, and a step is accepted if

        |error| <= atol + rtol max(|y0|, |y1|)

    for every sample and every entry of the axis behind the batch (the channel). |.| is the root mean square over the
    other axes; of complex states the root of the sum, which for Fourier coefficients is that of the field. So modes
    that have decayed do not limit the step.

    Times that are to be kept are hit by a shorter step. The unit of the ladder is the distance to the first of them
    (or the end), so that with the default ratio every fourth rung divides equal distances.

    Args:
        rtol: relative tolerance, [1].
        atol: absolute tolerance, [state].
        ratio: of neighbouring rungs, [1]. Smaller ones fit the error better and need more coefficients.
        safety: part of the step size the error estimate allows that is taken, before it is lowered to a rung, [1].
        factor_min, factor_max: least and greatest change of the step size from one attempt to the next, [1].
        dt0: first step size, [time]; by default chosen from the nonlinear part at the start.
        dt_min: fail when steps become smaller, [time]; by default 1e-9 of the unit, so that solutions that blow up end.
        dt_max: take no larger steps, [time].

    Raises:
        ValueError: for parameters out of range.
    """

    rtol: float = 1e-5
    atol: float = 1e-8
    ratio: float = 2**0.25
    safety: float = 0.9
    factor_min: float = 0.2
    factor_max: float = 4.0
    dt0: float | None = None
    dt_min: float | None = None
    dt_max: float = math.inf

    def __post_init__(self) -> None:
        check_at_least("rtol", self.rtol, 0.0)
        check_at_least("atol", self.atol, 0.0)
        if not 1.0 < self.ratio <= 4.0:
            raise ValueError(
                f"`ratio` of neighbouring step sizes must be above 1 and at most 4, got {self.ratio}. Take 2**0.25."
            )
        if self.dt0 is not None:
            check_positive("dt0", self.dt0)
        self.pid(self.dt0)  # refuses what is left

    def pid(self, dt0: float | None) -> PID:
        """The controller that chooses what is lowered to a rung."""
        return PID(
            self.rtol,
            self.atol,
            per_sample=False,
            safety=self.safety,
            factor_min=self.factor_min,
            factor_max=self.factor_max,
            dt0=dt0,
            dt_min=self.dt_min or 0.0,
            dt_max=self.dt_max,
            compact=False,
        )


@final
@dataclass(frozen=True)
class Rungs:
    """The ladder of one solve.

    Args:
        ladder: its control.
        unit: size of rung 0, [time].
    """

    ladder: Ladder
    unit: float
    _log: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_log", math.log(self.ladder.ratio))

    @property
    def floor(self) -> float:
        """The size below which steps have failed, [time]."""
        return 1e-9 * self.unit if self.ladder.dt_min is None else self.ladder.dt_min

    def at_most(self, h: float) -> float:
        """The largest rung that is not above `h`."""
        if not (0 < h < math.inf):
            return h
        return self.unit * self.ladder.ratio ** math.floor(math.log(h / self.unit) / self._log + 1e-9)

    def ratio(self, error: Flat, y0: Flat, y1: Flat) -> Tensor:
        """The error in units of the tolerance, 0-D: the largest of all samples and channels."""
        return torch.stack(
            [self._worst(*leaves) for leaves in zip(*map(leaves_of, (error, y0, y1)), strict=True)]
        ).max()

    def _worst(self, error: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
        dims = tuple(range(min(2, error.ndim - 1), error.ndim))
        count = 1 if error.is_complex() else math.prod(error.shape[dim] for dim in dims)
        e, a, b = (torch.linalg.vector_norm(x.detach(), dim=dims) / count**0.5 for x in (error, y0, y1))
        return (e / (self.ladder.atol + self.ladder.rtol * torch.maximum(a, b))).max()

    def first(self, y0: Flat, slope: Flat) -> float:
        """A first step from the size of the state and its slope, [time], at most the unit."""
        guesses = [self._first(*leaves) for leaves in zip(leaves_of(y0), leaves_of(slope), strict=True)]
        guess = min(min(guesses), self.unit, self.ladder.dt_max)
        return self.at_most(guess if guess > 0 else 1e-3 * self.unit)

    def _first(self, y0: Tensor, slope: Tensor) -> float:
        dims = tuple(range(1, y0.ndim))
        size, speed = (torch.linalg.vector_norm(x.detach(), dim=dims) for x in (y0, slope))
        # From rest the tolerance is the size; where nothing moves, any step will do.
        guess = 0.05 * size.clamp(min=self.ladder.atol) / speed
        return float(guess.nan_to_num(nan=self.unit, posinf=self.unit).min())
