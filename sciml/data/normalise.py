"""Normalisers fitted on training data, in one pass and float64.

Moments of pieces are merged by

    n = n_a + n_b,   d = mean_b - mean_a,   mean = mean_a + d n_b / n,   M2 = M2_a + M2_b + d² n_a n_b / n

which is stable where the sum of squares is not. Source: Chan, Golub & LeVeque (1983), Am. Stat. 37, 242-247.
"""

import torch
from torch import Tensor

from sciml.core.checks import check_at_least
from sciml.data.trajectories import Trajectories, check_finite_frames
from sciml.nn import Normalizer


def fit_normalizer(trajectories: Trajectories) -> Normalizer:
    """Mean and standard deviation of each channel over all trajectories, times and points.

    Args:
        trajectories: the training trajectories, and only those.

    Raises:
        FileContentError: if a value is not finite.
        ValueError: if a channel is constant.
    """
    count, mean, m2 = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for row, start, frames in trajectories.pieces():
        check_finite_frames(trajectories.metadata, row, start, frames)
        values = _by_channel(frames)
        n, piece_mean = values.shape[1], values.mean(dim=1)
        piece_m2 = ((values - piece_mean[:, None]) ** 2).sum(dim=1)
        total, delta = count + n, piece_mean - mean
        mean = mean + delta * (n / total)
        m2 = m2 + piece_m2 + delta**2 * (count * n / total)
        count = total
    return Normalizer(mean, (m2 / count).sqrt())


def fit_increment_normalizer(trajectories: Trajectories, stride: int = 1) -> Normalizer:
    """Mean 0 and root mean square of the increments u(t + stride dt) - u(t) of each channel.

    The mean is left at 0, so that a network that returns 0 is persistence; increments of a statistically
    steady flow have none.

    Args:
        trajectories: the training trajectories, and only those.
        stride: frames between the two values.

    Raises:
        FileContentError: if a value is not finite.
        ValueError: if there are not more than `stride` frames, or a channel never changes.
    """
    check_at_least("stride", stride, 1)
    if stride >= trajectories.shape[1]:
        raise ValueError(
            f"`stride` must be below the number of frames, {trajectories.shape[1]}, got {stride}. Take a smaller one."
        )
    count, squares = 0, torch.zeros(1, dtype=torch.float64)
    for row, start, frames in trajectories.pieces(overlap=stride):
        check_finite_frames(trajectories.metadata, row, start, frames)
        values = _by_channel(frames[stride:].double() - frames[:-stride].double())
        count, squares = count + values.shape[1], squares + (values**2).sum(dim=1)
    std = (squares / count).sqrt()
    return Normalizer(torch.zeros_like(std), std)


def _by_channel(frames: Tensor) -> Tensor:
    """(time, channel, *space) as float64 (channel, entry)."""
    return frames.double().movedim(1, 0).flatten(1)
