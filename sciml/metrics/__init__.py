"""Pure functions that score rollouts. Each metric has one canonical definition; `variants` holds the others.

Trajectories are (batch, time, channel, *space); results keep batch and time unless the name says otherwise,
and are float64. The truth must be finite; a prediction that is not has the error inf, and a correlation that
counts as 0.
"""

from sciml.metrics import variants
from sciml.metrics.correlation import (
    correlation,
    high_correlation_time,
    high_correlation_time_per_trajectory,
    mean_correlation,
)
from sciml.metrics.crossing import CrossingTime, crossing_time
from sciml.metrics.errors import nrmse, relative_l2, rmse, vrmse
from sciml.metrics.invariants import (
    divergence,
    drift,
    energy,
    energy_ratio,
    enstrophy,
    enstrophy_ratio,
    kinetic_energy,
)
from sciml.metrics.spectra import (
    BANDS,
    energy_spectrum,
    log_spectral_distance,
    log_spectral_distance_per_frame,
    shell_wavenumbers,
    spectral_distance,
    spectral_error,
)
from sciml.metrics.stability import blow_up_time

__all__ = [
    "BANDS",
    "CrossingTime",
    "blow_up_time",
    "correlation",
    "crossing_time",
    "divergence",
    "drift",
    "energy",
    "energy_ratio",
    "energy_spectrum",
    "enstrophy",
    "enstrophy_ratio",
    "high_correlation_time",
    "high_correlation_time_per_trajectory",
    "kinetic_energy",
    "log_spectral_distance",
    "log_spectral_distance_per_frame",
    "mean_correlation",
    "nrmse",
    "relative_l2",
    "rmse",
    "shell_wavenumbers",
    "spectral_distance",
    "spectral_error",
    "variants",
    "vrmse",
]
