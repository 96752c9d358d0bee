"""How long a chaotic rollout stays right: correlation with the truth, and the time it stays high.

    correlation = <(p - <p>)(u - <u>)> / sqrt(<(p - <p>)²> <(u - <u>)²>)

with means over channels and space, per trajectory and lead time. The high-correlation time is the first time
at which its mean over trajectories falls below a threshold, interpolated from (0, 1), for the given frames
are known.

A frame that is not finite, or constant in space, has no correlation: it is NaN in `correlation`, visible
there, and counts as 0 (no agreement, below any threshold) in everything derived from it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.metrics.crossing import CrossingTime, crossing_time
from sciml.metrics.frames import ROUNDING, check_pair, rows


def correlation(
    prediction: Float[Tensor, "batch time channel *space"], truth: Float[Tensor, "batch time channel *space"]
) -> Float[Tensor, "batch time"]:
    """Pearson correlation over channels and space, [1]; NaN where a frame is not finite or constant.

    Raises:
        ValueError: if the shapes differ, an axis is missing, or the truth is not finite.
    """
    check_pair(prediction, truth)
    p, u = _centred_direction(prediction), _centred_direction(truth)
    return (p * u).sum(-1).clamp(-1, 1)


def mean_correlation(correlations: Float[Tensor, "batch time"]) -> Float[Tensor, " time"]:
    """Mean over trajectories, an undefined correlation counting as 0, [1]."""
    return torch.nan_to_num(correlations, nan=0.0).mean(0)


def high_correlation_time(
    correlations: Float[Tensor, "batch time"], times: Float[Tensor, " time"], threshold: float = 0.8
) -> CrossingTime:
    """First time at which the mean correlation over trajectories falls below `threshold`, [time].

    Args:
        correlations: as `correlation` returns them; an undefined one counts as 0.
        times: lead times, above 0 and increasing, [time].
        threshold: between 0 and 1.

    Returns:
        One time (0-D). A mean that never falls below is reported as beyond the horizon.

    Raises:
        ValueError: if the threshold is not between 0 and 1, or the times do not fit or do not increase.

    Source: Lippe et al. (2023), "PDE-Refiner", NeurIPS (thresholds 0.8 and 0.9); interpolation is ours.
    """
    _check_threshold(threshold)
    return crossing_time(mean_correlation(correlations), times, threshold)


def high_correlation_time_per_trajectory(
    correlations: Float[Tensor, "batch time"], times: Float[Tensor, " time"], threshold: float = 0.8
) -> CrossingTime:
    """First time at which each trajectory's own correlation falls below `threshold`, (batch,), [time].

    Shows the spread; its median is not `high_correlation_time`, which is the crossing of the mean. Arguments
    and errors as there.
    """
    _check_threshold(threshold)
    return crossing_time(torch.nan_to_num(correlations, nan=0.0), times, threshold)


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold < 1:
        raise ValueError(f"`threshold` must lie between 0 and 1, got {threshold!r}. Usual values are 0.8 and 0.9.")


def _centred_direction(u: Float[Tensor, "batch time channel *space"]) -> Float[Tensor, "batch time value"]:
    """Each frame less its mean, scaled to norm 1; NaN if nothing or no number is left."""
    frames = rows(u)
    centred = frames - frames.mean(-1, keepdim=True)
    norm = centred.norm(dim=-1, keepdim=True)
    varies = norm > ROUNDING * frames.norm(dim=-1, keepdim=True)
    return centred / torch.where(varies, norm, float("nan"))
