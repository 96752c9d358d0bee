"""Pointwise errors. For a prediction p of a truth u, with means over what the name says:

    rmse = sqrt <(p - u)²>,    nrmse = rmse / sqrt <u²>,    vrmse = rmse / sqrt <(u - <u>)²>

The zero predictor has nrmse = relative_l2 = 1, the predictor of the mean has vrmse = 1. Lead times are never
averaged here: what to average over is the reader's question. Given frames must be cut off before the call.
"""

from jaxtyping import Float
from torch import Tensor

from sciml.metrics.frames import (
    check_pair,
    check_same,
    infinite_if_undefined,
    relative,
    root_mean_square,
    rows,
)


def rmse(
    prediction: Float[Tensor, "batch time channel *space"], truth: Float[Tensor, "batch time channel *space"]
) -> Float[Tensor, "batch time"]:
    """Root mean square error over channels and space, [field]; inf where the prediction is not finite.

    Raises:
        ValueError: if the shapes differ, an axis is missing, or the truth is not finite.
    """
    check_pair(prediction, truth)
    return infinite_if_undefined(root_mean_square(rows(prediction) - rows(truth)))


def nrmse(
    prediction: Float[Tensor, "batch time channel *space"], truth: Float[Tensor, "batch time channel *space"]
) -> Float[Tensor, "batch time"]:
    """Root mean square error over channels and space divided by the truth's root mean square, [1].

    Channels of unlike magnitude should be normalised first: the largest one decides. Infinite where the
    prediction is not finite, or misses a truth that is zero.

    Raises:
        ValueError: if the shapes differ, an axis is missing, or the truth is not finite.
    """
    return relative(rmse(prediction, truth), root_mean_square(rows(truth)))


def relative_l2(
    prediction: Float[Tensor, "batch *axes"], truth: Float[Tensor, "batch *axes"]
) -> Float[Tensor, " batch"]:
    """|p - u| / |u| with the Euclidean norm over everything but the batch, [1].

    For fields this is `nrmse` of the one frame; for trajectories it weights each frame by its own norm, so
    that it differs from the mean of `nrmse` over time.

    Raises:
        ValueError: if the shapes differ or the truth is not finite.
    """
    check_same(prediction, truth)
    p, u = prediction.double().flatten(1), truth.double().flatten(1)
    return relative((p - u).norm(dim=1), u.norm(dim=1))


def vrmse(
    prediction: Float[Tensor, "batch time channel *space"], truth: Float[Tensor, "batch time channel *space"]
) -> Float[Tensor, "batch time channel"]:
    """Root mean square error over space divided by the truth's standard deviation (ddof 0), per channel, [1].

    Raises:
        ValueError: if the shapes differ, an axis is missing, or the truth is not finite.

    Source: Ohana et al. (2024), "The Well", NeurIPS; without its epsilon, and with the
    variance of a population rather than of a sample (see `variants.thewell_vrmse`).
    """
    check_pair(prediction, truth)
    p, u = prediction.double().flatten(3), truth.double().flatten(3)
    return relative(root_mean_square(p - u), u.std(dim=-1, correction=0))
