"""Scores of one rollout against the truth, as rows of the long table."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sciml import metrics
from sciml.bench.results import Row
from sciml.core import Fields
from sciml.grids import Grid

_QUANTILES = (("q10", 0.1), ("median", 0.5), ("q90", 0.9))


def score(
    prediction: Float[Tensor, "batch time channel *space"],
    truth: Float[Tensor, "batch time channel *space"],
    *,
    grid: Grid,
    fields: Fields,
    dt: float,
    threshold: float,
) -> list[Row]:
    """All metrics of a rollout. Lead time 0, the given frame, is never scored.

    Args:
        prediction: predicted frames; non-finite where the rollout blew up.
        truth: true frames at the same times.
        grid: where they live.
        fields: what the channels are; a single channel `vorticity` gets flow invariants.
        dt: time between frames, [time].
        threshold: of the high-correlation time, [1].
    """
    times = dt * torch.arange(1, truth.shape[1] + 1, dtype=torch.float64)
    return [
        *_correlation(prediction, truth, times, threshold),
        *_errors(prediction, truth, times),
        *_spectra(prediction, truth, grid),
        *_invariants(prediction, truth, grid, fields),
        *_stability(prediction, truth, times),
    ]


def _correlation(prediction: Tensor, truth: Tensor, times: Tensor, threshold: float) -> Iterator[Row]:
    correlations = metrics.correlation(prediction, truth)
    mean = metrics.mean_correlation(correlations)
    known = torch.nan_to_num(correlations, nan=0.0)
    for i, t in enumerate(times.tolist()):
        yield Row("correlation", "mean", float(mean[i]), lead_time=t)
        for name, q in (("q10", 0.1), ("q90", 0.9)):
            yield Row("correlation", name, float(known[:, i].quantile(q)), lead_time=t)
    crossing = metrics.high_correlation_time(correlations, times, threshold)
    yield Row("high_correlation_time", "mean", float(crossing.time), "time")
    yield Row("high_correlation_time_beyond_horizon", "mean", float(crossing.beyond_horizon))
    each = metrics.high_correlation_time_per_trajectory(correlations, times, threshold)
    for trajectory, t in enumerate(each.time.tolist()):
        yield Row("high_correlation_time", "value", t, "time", trajectory=trajectory)


def _errors(prediction: Tensor, truth: Tensor, times: Tensor) -> Iterator[Row]:
    errors = metrics.nrmse(prediction, truth)
    yield Row("one_step_nrmse", "mean", float(errors[:, 0].mean()))
    yield Row("vrmse", "mean", float(metrics.vrmse(prediction, truth)[:, 0].mean()), lead_time=float(times[0]))
    for i, t in enumerate(times.tolist()):
        for name, q in _QUANTILES:
            yield Row("nrmse", name, _quantile(errors[:, i], q), lead_time=t)


def _quantile(values: Tensor, q: float) -> float:
    """Linearly interpolated quantile; inf once a value it lies next to is inf."""
    low, high = (float(values.quantile(q, interpolation=side)) for side in ("lower", "higher"))
    return float(values.quantile(q)) if math.isfinite(high) else (low if low == high else math.inf)


def _spectra(prediction: Tensor, truth: Tensor, grid: Grid) -> Iterator[Row]:
    half = truth.shape[1] // 2
    late, late_truth = prediction[:, half:], truth[:, half:]
    spectrum = metrics.energy_spectrum(late.double(), grid).sum(2).mean((0, 1))
    for k, value in zip(metrics.shell_wavenumbers(grid).tolist(), spectrum.tolist(), strict=True):
        yield Row("spectrum_last_half", "mean", value, "field²", wavenumber=k)
    distance = metrics.log_spectral_distance(late, late_truth, grid)
    yield Row("log_spectral_distance", "mean", float(distance.mean()))
    for trajectory, value in enumerate(distance.tolist()):
        yield Row("log_spectral_distance", "value", value, trajectory=trajectory)
    first = metrics.spectral_error(prediction[:, :1], truth[:, :1], grid)[:, 0].mean(0)
    for band, value in zip(("low", "mid", "high"), first.tolist(), strict=True):
        yield Row(f"one_step_spectral_error_{band}", "mean", value)


def _invariants(prediction: Tensor, truth: Tensor, grid: Grid, fields: Fields) -> Iterator[Row]:
    half = truth.shape[1] // 2
    late, late_truth = prediction[:, half:], truth[:, half:]
    if fields.names == ("vorticity",):
        ratios = {
            "energy_ratio": metrics.energy_ratio(late, late_truth, grid),
            "enstrophy_ratio": metrics.enstrophy_ratio(late, late_truth),
        }
    else:
        mean = metrics.kinetic_energy(late_truth, grid).mean(1, keepdim=True)
        ratio = metrics.kinetic_energy(late, grid) / mean
        ratios = {"energy_ratio": torch.where(torch.isfinite(ratio), ratio, math.inf)}
    for name, ratio in ratios.items():
        low, high = ratio.min(1).values, ratio.max(1).values
        inside = ((low >= 0.5) & (high <= 2.0)).double().mean()
        yield Row(f"{name}_within_factor_2", "mean", float(inside))
        for trajectory in range(len(low)):
            yield Row(f"{name}_smallest", "value", float(low[trajectory]), trajectory=trajectory)
            yield Row(f"{name}_largest", "value", float(high[trajectory]), trajectory=trajectory)


def _stability(prediction: Tensor, truth: Tensor, times: Tensor) -> Iterator[Row]:
    blow_up = metrics.blow_up_time(prediction, truth, times)
    yield Row("blown_up_fraction", "mean", float((~blow_up.beyond_horizon).double().mean()))
    for trajectory, t in enumerate(blow_up.time.tolist()):
        yield Row("blow_up_time", "value", t, "time", trajectory=trajectory)
