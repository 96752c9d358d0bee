"""What a report shows, as plain frozen dataclasses: curves, costs, rollouts, tables and how their numbers
are written.

Nothing here draws. Non-finite numbers are data, not mistakes: a rollout that blew up is NaN from then on and
is shown so; `inf` in a table is a value beyond what was measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import final

import numpy as np
import pandas as pd
from jaxtyping import Float

from sciml.bench.report_columns import Column


class Kind(Enum):
    """What a model is; the value is the word shown to the reader."""

    TRUTH = "truth"
    LEARNED = "learned"
    SOLVER = "solver"
    TRIVIAL = "trivial"


@final
@dataclass(frozen=True, eq=False)
class Curve:
    """Median over seeds (or trajectories) along an axis, and the spread drawn as a band (None: one seed)."""

    model: str
    kind: Kind
    x: Float[np.ndarray, " x"]
    median: Float[np.ndarray, " _"]  # as many as x; checked below, with a message
    low: Float[np.ndarray, " _"] | None = None
    high: Float[np.ndarray, " _"] | None = None

    def __post_init__(self) -> None:
        for name in ("median", "low", "high"):
            values = getattr(self, name)
            if values is not None and values.shape != self.x.shape:
                raise ValueError(
                    f"`{name}` of the curve of {self.model!r} must have the shape of `x`, {self.x.shape}; "
                    f"got {values.shape}. Give one value per point."
                )
        if (self.low is None) != (self.high is None):
            raise ValueError(f"`low` and `high` must come together, curve of {self.model!r} has one. Give both.")


@final
@dataclass(frozen=True)
class CostPoint:
    """Accuracy of a model against what it costs.

    Args:
        model: its name.
        kind: what it is.
        seconds: computing time, [s].
        value: accuracy (median), higher is better; the horizon itself if the curve never crosses.
        low, high: ends of the spread of `value`; equal to it for a single seed.
        beyond_horizon: whether `value` is only a lower bound.
    """

    model: str
    kind: Kind
    seconds: float
    value: float
    low: float
    high: float
    beyond_horizon: bool = False


@final
@dataclass(frozen=True, eq=False)
class Rollout:
    """One trajectory of one channel and its correlation with the truth at each time.

    Args:
        model: its name.
        kind: what it is.
        time: times of the frames, [time].
        frames: the field, axes in order x, y; NaN where it blew up.
        correlation: Pearson correlation with the truth, [1].
    """

    model: str
    kind: Kind
    time: Float[np.ndarray, " time"]
    frames: Float[np.ndarray, "_ *space"]  # one per time; checked below, with a message
    correlation: Float[np.ndarray, " _"]

    def __post_init__(self) -> None:
        if not 2 <= self.frames.ndim <= 3:
            raise ValueError(
                f"`frames` must have one or two axes of space behind time, got shape {self.frames.shape} for "
                f"{self.model!r}. Show a slice of a field in three dimensions."
            )
        if not len(self.time) == len(self.frames) == len(self.correlation):
            raise ValueError(
                f"a rollout must have one frame and one correlation per time; {self.model!r} has "
                f"{len(self.time)} times, {len(self.frames)} frames, {len(self.correlation)} correlations. "
                "Cut them to one length."
            )


@final
@dataclass(frozen=True, eq=False)
class Table:
    """A table below the figures, with a sentence on how to read it; its own `columns` go first."""

    title: str
    text: str
    frame: pd.DataFrame
    columns: tuple[Column, ...] = ()


@final
@dataclass(frozen=True)
class Labels:
    """Words on the axes."""

    time: str = "time"
    error: str = "normalised RMSE"
    cost: str = "computing time per trajectory [s]"
    value: str = "high-correlation time"
    wavenumber: str = "wavenumber k"
    spectrum: str = "energy E(k)"
    field: str = "u"


@final
@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything one report shows. Empty parts are left out of the page with a sentence.

    Args:
        title: heading of the page.
        summary: the result in a sentence or two, in words.
        provenance: name and value of whatever identifies the run (version, commit, seed, device).
        leaderboard: one row per model, best first; a column `model` gets the colour and marker of the
            figures.
        error_growth, correlation, spectra: curves, one per model; spectra may hold the truth.
        threshold: correlation below which a rollout counts as lost, [1].
        costs: accuracy against cost, one point per model.
        rollouts: one trajectory of every model; the first is the truth.
        tables: further tables.
        notes: remarks, one paragraph each.
        columns: how columns are written, in any table; others are written plainly.
        labels: words on the axes.
        extent: side lengths of the domain in order x, y, [length]; empty if unknown.

    Raises:
        ValueError: if a model has two kinds, or the rollouts do not fit together.
    """

    title: str
    summary: str
    provenance: Mapping[str, str]
    leaderboard: pd.DataFrame
    error_growth: tuple[Curve, ...] = ()
    correlation: tuple[Curve, ...] = ()
    threshold: float = 0.8
    spectra: tuple[Curve, ...] = ()
    costs: tuple[CostPoint, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    labels: Labels = Labels()
    extent: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self._check_kinds()
        self._check_rollouts()

    def models(self) -> Iterator[tuple[str, Kind]]:
        """Every model drawn anywhere, with repeats, in order of appearance."""
        for part in (self.correlation, self.error_growth, self.costs, self.spectra, self.rollouts):
            yield from ((entry.model, entry.kind) for entry in part)

    def _check_kinds(self) -> None:
        kinds: dict[str, Kind] = {}
        for model, kind in self.models():
            if kinds.setdefault(model, kind) is not kind:
                raise ValueError(
                    f"a model must have one kind throughout, {model!r} is {kinds[model].value} and "
                    f"{kind.value}. Give the two different names."
                )

    def _check_rollouts(self) -> None:
        if not self.rollouts:
            return
        truth = self.rollouts[0]
        if truth.kind is not Kind.TRUTH:
            raise ValueError(f"the first rollout must be the truth, got {truth.model!r}. Put the truth in front.")
        for other in self.rollouts[1:]:
            if other.frames.shape != truth.frames.shape or not np.array_equal(other.time, truth.time):
                raise ValueError(
                    f"rollouts must share times and grid with the truth, {truth.frames.shape}; "
                    f"{other.model!r} has {other.frames.shape}. Interpolate it; NaN where it blew up."
                )
        if self.extent and len(self.extent) != truth.frames.ndim - 1:
            raise ValueError(
                f"`extent` must have one length per axis of space, {truth.frames.ndim - 1}; got "
                f"{self.extent}. Leave it empty if unknown."
            )
