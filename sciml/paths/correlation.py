"""Correlated channels of noise: W = L Z with independent Z."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_shape


def factor_of(covariance: Tensor | None, factor: Tensor | None) -> Tensor | None:
    """The Cholesky factor of a covariance, or the factor itself.

    Raises:
        ValueError: if both are given, or the covariance is not symmetric and positive definite.
    """
    if covariance is None:
        return factor
    if factor is not None:
        raise ValueError(
            f"give `covariance` or `factor`, not both; got shapes {tuple(covariance.shape)} and "
            f"{tuple(factor.shape)}. Drop one of them."
        )
    check_shape("covariance", covariance, (None, None), "channel by channel")
    lower, info = torch.linalg.cholesky_ex(covariance)
    if not torch.allclose(covariance, covariance.mT) or int(info) != 0:
        raise ValueError(
            "`covariance` must be symmetric and positive definite, got smallest eigenvalue "
            f"{float(torch.linalg.eigvalsh(covariance.detach()).min()):g} and asymmetry "
            f"{float((covariance - covariance.mT).detach().abs().max()):g}. Give `factor` for a singular one."
        )
    return lower


def check_factor(factor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless W = L Z has channels along the last axis of `shape`."""
    if factor.ndim != 2 or not shape or factor.shape[0] != shape[-1]:
        raise ValueError(
            f"a `covariance` or `factor` must have one row per channel, the last axis of `shape`={shape}, got shape "
            f"{tuple(factor.shape)}. Give (channel, channel), or (channel, source) for a factor."
        )


def correlated(
    z: Float[Tensor, "*axes batch source"], factor: Tensor | None, shape: tuple[int, ...]
) -> Float[Tensor, "*axes_batch_channels"]:
    """Independent noise as noise of `shape` per sample."""
    if factor is None:
        return z.reshape(*z.shape[:-1], *shape)
    rows = math.prod(shape[:-1])
    return (z.unflatten(-1, (rows, -1)) @ factor.mT).reshape(*z.shape[:-1], *shape)


def correlated_area(area: Float[Tensor, "*axes source source"], factor: Tensor | None) -> Tensor:
    """L A L^T."""
    return area if factor is None else factor @ area @ factor.mT
