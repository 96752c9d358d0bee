"""Definitions of other projects, each named after the project whose number it reproduces.

They share names with the canonical metrics and differ in value; use them to compare with published tables
only. They follow the arithmetic of their project, undefined values included; given frames are cut off by the
caller.

    name here                    differs from the canonical metric
    pdearena_correlation_time    counts all frames above the threshold (a recovery counts), no interpolation
    jaxcfd_correlation_time      cosine (mean kept), threshold 0.95, no interpolation
    apebench_correlation         cosine per channel, then the mean over channels
    thewell_pearson              per channel; covariance / N over deviations / (N - 1): at most (N - 1) / N
    pdebench_nrmse, apebench_nrmse    ratio per channel; the former averages channels, the latter adds them
    thewell_vrmse                sample variance plus 1e-7
    pdebench_frmse               absolute; mean of amplitudes, not of energies; a part of the modes
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_at_least
from sciml.grids import Grid
from sciml.metrics.crossing import CrossingTime, first_time
from sciml.metrics.frames import check_pair, rows

Frames = Float[Tensor, "batch time channel *space"]


def _pointwise(u: Tensor) -> Float[Tensor, "batch time channel point"]:
    """Space as one axis, float64."""
    return u.double().flatten(3)


def pdearena_correlation_time(prediction: Frames, truth: Frames, dt: float, threshold: float = 0.8) -> float:
    """dt times the number of frames whose mean correlation over trajectories exceeds the threshold, [time].

    A recovery after the first crossing counts, and one NaN trajectory makes a frame count as below.

    Source: github.com/pdearena/pdearena, modules/loss.py and models/pderefiner.py, which report it in steps.
    """
    check_pair(prediction, truth)
    p, u = rows(prediction), rows(truth)
    covariance = ((p - p.mean(-1, keepdim=True)) * (u - u.mean(-1, keepdim=True))).mean(-1)
    deviations = p.std(-1, correction=0) * u.std(-1, correction=0)
    correlations = covariance / deviations.clamp(min=torch.finfo(torch.float32).tiny)
    return dt * int((correlations.mean(0) > threshold).sum())


def jaxcfd_correlation_time(
    prediction: Frames, truth: Frames, times: Float[Tensor, " time"], threshold: float = 0.95
) -> CrossingTime:
    """First lead time at which the cosine similarity, averaged over trajectories, is below 0.95, [time].

    Meant for vorticity, whose mean is zero. Where it never falls below we report beyond the horizon; an
    idxmin over the comparison, as in the original, would give the first time there.

    Source: Kochkov et al. (2021), PNAS 118, e2101784118; evaluation notebook of github.com/google/jax-cfd.
    """
    check_pair(prediction, truth)
    p, u = rows(prediction), rows(truth)
    cosine = (p * u).sum(-1) / (p.norm(dim=-1) * u.norm(dim=-1))
    return first_time(~(cosine.mean(0) >= threshold), times)


def apebench_correlation(prediction: Frames, truth: Frames) -> Float[Tensor, " time"]:
    """Cosine similarity per channel, averaged over channels and samples, [1].

    Source: github.com/Ceyron/exponax, metrics/_correlation.py, used by APEBench (Koehler et al., 2024).
    """
    check_pair(prediction, truth)
    p, u = _pointwise(prediction), _pointwise(truth)
    return ((p * u).sum(-1) / (p.norm(dim=-1) * u.norm(dim=-1))).mean((0, 2))


def thewell_pearson(prediction: Frames, truth: Frames) -> Float[Tensor, "batch time channel"]:
    """Covariance with 1/N over standard deviations with 1/(N-1), per channel over space, [1].

    A perfect prediction scores (N - 1) / N.

    Source: github.com/PolymathicAI/the_well, benchmark/metrics/spatial.py, PearsonR.
    """
    check_pair(prediction, truth)
    p, u = _pointwise(prediction), _pointwise(truth)
    covariance = ((p - p.mean(-1, keepdim=True)) * (u - u.mean(-1, keepdim=True))).mean(-1)
    return covariance / (p.std(-1) * u.std(-1))


def pdebench_nrmse(prediction: Frames, truth: Frames) -> float:
    """Ratio of error norm to target norm per sample, time and channel, averaged over all three, [1].

    Tables published before October 2024 also averaged over the given frames, whose error is 0.

    Source: Takamoto et al. (2022), "PDEBench"; github.com/pdebench/PDEBench, models/metrics.py.
    """
    return _norm_ratios(prediction, truth).mean().item()


def apebench_nrmse(prediction: Frames, truth: Frames) -> Float[Tensor, " time"]:
    """Ratio of error norm to target norm per channel, added over channels, averaged over samples, [1].

    A zero predictor of C channels scores C.

    Source: github.com/Ceyron/exponax, metrics/_spatial.py, used by APEBench (Koehler et al., 2024).
    """
    return _norm_ratios(prediction, truth).sum(2).mean(0)


def apebench_gmean(errors: Float[Tensor, " time"], frames: int = 100) -> float:
    """Geometric mean of an error over the first `frames` lead times (GMean100), [1].

    Raises:
        ValueError: if there are fewer lead times than that.

    Source: Koehler et al. (2024), "APEBench", NeurIPS datasets and benchmarks.
    """
    check_at_least("len(errors)", len(errors), frames)
    return errors[:frames].log().mean().exp().item()


def pdearena_scaled_l2(prediction: Frames, truth: Frames) -> float:
    """Norm of the error over norm of the target per sample (time included), averaged over samples, [1].

    Source: github.com/pdearena/pdearena, modules/loss.py, ScaledLpLoss.
    """
    check_pair(prediction, truth)
    p, u = rows(prediction).flatten(1), rows(truth).flatten(1)
    return ((p - u).norm(dim=1) / u.norm(dim=1)).mean().item()


def thewell_vrmse(prediction: Frames, truth: Frames) -> Float[Tensor, "batch time channel"]:
    """sqrt(MSE / (sample variance + 1e-7)) per channel over space, [1].

    The mean predictor scores sqrt((N - 1) / N), but for the 1e-7.

    Source: github.com/PolymathicAI/the_well, benchmark/metrics/spatial.py, VRMSE.
    """
    check_pair(prediction, truth)
    p, u = _pointwise(prediction), _pointwise(truth)
    return ((p - u).square().mean(-1) / (u.var(-1) + 1e-7)).sqrt()


def poseidon_relative_l1(prediction: Frames, truth: Frames) -> Float[Tensor, " time"]:
    """Sum of absolute errors over that of targets (channels and space), median over samples, in percent.

    The median of an even number of samples is the mean of the middle two.

    Source: Herde et al. (2024), "Poseidon", NeurIPS; github.com/camlab-ethz/poseidon, scOT/metrics.py.
    """
    check_pair(prediction, truth)
    p, u = rows(prediction), rows(truth)
    return 100 * torch.quantile((p - u).abs().sum(-1) / u.abs().sum(-1), 0.5, dim=0)


def mppde_accumulated_error(prediction: Frames, truth: Frames) -> float:
    """Squared error, averaged over space and samples, added over frames and channels, [field²].

    The original starts after two windows of frames.

    Source: Brandstetter, Worrall & Welling (2022), "Message passing neural PDE solvers", ICLR, section 4.
    """
    check_pair(prediction, truth)
    return (_pointwise(prediction) - _pointwise(truth)).square().mean((0, 3)).sum().item()


def pdebench_frmse(prediction: Frames, truth: Frames, grid: Grid) -> Float[Tensor, " band"]:
    """Absolute spectral error in bands 0-3, 4-11, 12 and up of floor |m|, averaged over time and channels.

    Per wavenumber the square root of the mean over samples of the squared amplitude, times volume / N; then
    the mean over the wavenumbers of the band, [field length^ndim]. In one dimension conjugate partners are
    left out. In two and three, only the modes whose wavenumbers are all at least 0 and below N/2 enter, one
    in four or eight.

    Raises:
        ValueError: if shapes do not fit, or the grid is too coarse to have a third band.

    Source: Takamoto et al. (2022), "PDEBench"; github.com/pdebench/PDEBench, models/metrics.py.
    """
    check_pair(prediction, truth)
    radii = min(grid.points) // 2 + (1 if grid.ndim == 1 else 0)
    check_at_least("points // 2 + 1" if grid.ndim == 1 else "points // 2", radii, 13)
    error_hat = torch.fft.fftn(prediction.double() - truth.double(), dim=grid.space)
    for axis, points in zip(grid.space, grid.points, strict=True):
        error_hat = error_hat.narrow(axis, 0, radii if grid.ndim == 1 else points // 2)
    m = torch.meshgrid(*(torch.arange(n) for n in error_hat.shape[-grid.ndim :]), indexing="ij")
    radius = torch.stack(m).double().square().sum(0).sqrt().floor().long().flatten().to(truth.device)
    inside = radius < radii
    squares = error_hat.abs().square().flatten(3)[..., inside]
    per_radius = squares.new_zeros(*squares.shape[:-1], radii).index_add_(-1, radius[inside], squares)
    volume = torch.tensor(grid.extent, dtype=torch.float64).prod().item()
    amplitude = per_radius.mean(0).sqrt() * (volume / grid.size)
    return torch.stack([band.mean() for band in amplitude.tensor_split((4, 12), dim=-1)])


def _norm_ratios(prediction: Tensor, truth: Tensor) -> Float[Tensor, "batch time channel"]:
    check_pair(prediction, truth)
    p, u = _pointwise(prediction), _pointwise(truth)
    return (p - u).norm(dim=-1) / u.norm(dim=-1)
