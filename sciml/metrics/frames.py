"""What all metrics share: checks of a pair of trajectories and the rule for non-finite predictions.

The rule: the truth must be finite; a prediction that is not has the error inf, never NaN, so that neither a
median nor a NaN-skipping mean can lose it. An exact prediction has the error 0, also where the truth is zero.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_at_least, check_finite, check_increasing, check_positive, check_shape

ROUNDING = 64 * torch.finfo(torch.float64).eps
"""Below this fraction of a field's norm its variation is rounding, of the mean or of the transform."""


def check_pair(prediction: Tensor, truth: Tensor) -> None:
    """Raise unless both have the same shape, at least (batch, time, channel), and the truth is finite."""
    if truth.ndim < 3:
        raise ValueError(
            f"`truth` must have shape (batch, time, channel, *space), got {tuple(truth.shape)}. "
            "For fields without a time axis write u[:, None]."
        )
    check_same(prediction, truth)


def check_same(prediction: Tensor, truth: Tensor) -> None:
    """Raise unless both have the same shape and the truth is finite."""
    check_shape("prediction", prediction, truth.shape, "the shape of `truth`")
    check_finite("truth", truth)


def check_times(times: Tensor, frames: int) -> None:
    """Raise unless there is one lead time per frame, all above 0 and increasing."""
    check_shape("times", times, (frames,), "one lead time per frame")
    check_at_least("frames", frames, 1)
    check_positive("times[0]", times[0].item())
    check_increasing("times", times)


def rows(u: Float[Tensor, "batch time channel *space"]) -> Float[Tensor, "batch time value"]:
    """Each frame as one row of float64 values."""
    return u.double().flatten(2)


def root_mean_square(rows: Float[Tensor, "*axes"]) -> Float[Tensor, "..."]:
    """Over the last axis."""
    return rows.square().mean(-1).sqrt()


def infinite_if_undefined(error: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """NaN becomes inf; with a finite truth only the prediction can have caused it."""
    return torch.nan_to_num(error, nan=float("inf"), posinf=float("inf"), neginf=float("-inf"))


def relative(error: Float[Tensor, "*axes"], scale: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """error / scale, 0 for an error of 0 whatever the scale, inf where undefined."""
    return torch.where(error == 0, error, infinite_if_undefined(error / scale))
