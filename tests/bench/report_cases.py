"""Synthetic results for the report's tests: five models in one or two dimensions, one of which blows up."""

import numpy as np
import pandas as pd

from sciml.bench.report_columns import Better, Column
from sciml.bench.report_data import CostPoint, Curve, Kind, Labels, ReportData, Rollout, Table

TRUTH = "reference"
MODELS = {  # name -> kind, growth rate of the error
    "FNO": (Kind.LEARNED, 0.09),
    "dilated ResNet": (Kind.LEARNED, 0.12),
    "ETDRK4, 64 points, dt 0.2": (Kind.SOLVER, 0.05),
    "ETDRK4, 48 points, dt 0.4": (Kind.SOLVER, 0.3),
    "persistence": (Kind.TRIVIAL, 1.0),
}
BLOWN_UP = "ETDRK4, 48 points, dt 0.4"
COLUMNS = (
    Column("model", "Model"),
    Column("kind", "Kind"),
    Column("high_time", "Stays right for", "time", 3, Better.HIGHER, low="low", high="high", beyond="> 128"),
    Column("error", "One-step error", "1", 3, Better.LOWER),
    Column("seconds", "Time per trajectory", "s", 3, Better.LOWER),
    Column("final", "nRMSE at the end", "1", 3, Better.LOWER, missing="blown up"),
    Column("parameters", "Parameters"),
)
CONVERGENCE = (Column("error", "Largest difference", digits=2), Column("step", "Step", digits=2))
_FRAMES = 160


def report_data(dimensions: int) -> ReportData:
    """A full report of made-up numbers."""
    time = 0.8 * np.arange(1, _FRAMES + 1)
    return ReportData(
        title="Kuramoto-Sivashinsky, default" if dimensions == 1 else "Kolmogorov flow, default",
        summary="FNO stays above a correlation of 0.8 for 31.2 time units; the coarse solver to the end.",
        provenance={"version": "0.1.0", "commit": "0123abc", "seeds": "0, 1", "device": "cpu"},
        leaderboard=leaderboard(),
        error_growth=tuple(_error(model, time) for model in MODELS),
        correlation=tuple(_correlation(model, time) for model in MODELS),
        spectra=(_spectrum(TRUTH, Kind.TRUTH, 1.0), *(_spectrum(m, MODELS[m][0], 1.1) for m in MODELS)),
        costs=_costs(),
        rollouts=_rollouts(dimensions, time),
        tables=(Table("Convergence of the truth", "Halved step, doubled grid.", _convergence(), CONVERGENCE),),
        notes=("All errors are relative to the truth's root mean square.",),
        columns=COLUMNS,
        labels=Labels(time="time", field="u" if dimensions == 1 else "vorticity"),
        extent=(64.0,) if dimensions == 1 else (2 * np.pi, 2 * np.pi),
    )


def leaderboard() -> pd.DataFrame:
    """One row per model; the solver never crosses, one blew up."""
    return pd.DataFrame(
        {
            "model": list(MODELS),
            "kind": [kind.value for kind, _ in MODELS.values()],
            "high_time": [31.234, 27.9, np.inf, 8.04, 2.8],
            "low": [29.1, 25.0, np.inf, 8.0, 2.8],
            "high": [33.5, 30.2, np.inf, 8.1, 2.8],
            "error": [1.234e-3, 2.5e-3, 4.4e-5, 8.1e-2, 0.42],
            "seconds": [0.61, 0.44, 1.9, 0.02, 1e-4],
            "final": [1.39, 1.41, 0.2, np.nan, 1.44],
            "parameters": [270_336, 1_185_792, 0, 0, 0],
        }
    )


def _convergence() -> pd.DataFrame:
    return pd.DataFrame({"grid": [128, 256, 512], "step": [0.1, 0.05, 0.025], "error": [3e-5, 2.1e-9, 4e-11]})


def _error(model: str, time: np.ndarray) -> Curve:
    kind, rate = MODELS[model]
    error = 1.4 / (1 + np.exp(-rate * time) * 1.4 / 3e-3)
    if model == BLOWN_UP:
        error = np.where(time > 60, np.nan, 3e-3 * np.exp(rate * time / 2))
    if kind is not Kind.LEARNED:
        return Curve(model, kind, time, error)
    return Curve(model, kind, time, error, error / 1.5, error * 1.5)


def _correlation(model: str, time: np.ndarray) -> Curve:
    error = _error(model, time)
    median = np.clip(1 - error.median**2 / 2, -0.1, 1)
    if error.low is None:
        return Curve(model, error.kind, time, median)
    return Curve(model, error.kind, time, median, median - 0.05 * (1 - median), median + 0.05 * (1 - median))


def _spectrum(model: str, kind: Kind, factor: float) -> Curve:
    k = np.arange(1.0, 129.0)
    power = 1 / (1 + (k / 9) ** 2) * np.exp(-((k / 40) ** 1.5))
    return Curve(model, kind, k, power * factor ** (len(model) % 5 * k / 20))


def _costs() -> tuple[CostPoint, ...]:
    rows = leaderboard()
    return tuple(
        CostPoint(m, MODELS[m][0], s, min(v, 128.0), min(lo, 128.0), min(hi, 128.0), bool(np.isinf(v)))
        for m, s, v, lo, hi in zip(rows.model, rows.seconds, rows.high_time, rows.low, rows.high, strict=True)
    )


def _rollouts(dimensions: int, time: np.ndarray) -> tuple[Rollout, ...]:
    truth = _field(dimensions, time, 0.0)
    rollouts = [Rollout(TRUTH, Kind.TRUTH, time, truth, np.ones(_FRAMES))]
    for i, (model, (kind, rate)) in enumerate(MODELS.items(), start=1):
        drift = np.clip(rate * time * 0.08, 0, 2.0 + i)
        frames = _field(dimensions, time, drift)
        if model == BLOWN_UP:
            frames[time > 60] = np.nan
        a, b = truth.reshape(_FRAMES, -1), frames.reshape(_FRAMES, -1)
        correlation = (a * b).mean(1) / np.sqrt((a**2).mean(1) * (b**2).mean(1))
        rollouts.append(Rollout(model, kind, time, frames, correlation))
    return tuple(rollouts)


def _field(dimensions: int, time: np.ndarray, drift: np.ndarray | float) -> np.ndarray:
    """Travelling waves whose phase drifts; deterministic."""
    t = time[:, None] + 0 * np.asarray(drift).reshape(-1, 1)
    phase = np.asarray(drift).reshape(-1, 1)
    if dimensions == 1:
        x = np.linspace(0, 2 * np.pi, 256, endpoint=False)
        return (np.sin(5 * x + 0.2 * t + phase) + np.cos(8 * x - 0.13 * t + 2 * phase)).astype(np.float32)
    x, y = np.meshgrid(*[np.linspace(0, 2 * np.pi, 64, endpoint=False)] * 2, indexing="ij")
    t, phase = t[..., None], phase[..., None]
    wave = np.sin(4 * y + 0.1 * t + phase) + np.cos(3 * x - 0.2 * t) * np.sin(2 * y + phase)
    return (wave - np.sin(x + y + phase)).astype(np.float32)
