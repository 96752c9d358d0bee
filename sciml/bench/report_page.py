"""What the page's template is filled with: sections in reading order, figures and their words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from markupsafe import Markup

from sciml.bench import figures
from sciml.bench.report_data import Kind, ReportData
from sciml.bench.report_fields import (
    MAX_MODELS,
    player_json,
    shown_rollouts,
    space_time_panels,
    still_panels,
    time_ticks,
)
from sciml.bench.report_images import difference_scale, field_scale
from sciml.bench.report_style import Style, assign_styles
from sciml.bench.report_tables import make_grid


@final
@dataclass(frozen=True)
class Section:
    """An entry of the navigation."""

    anchor: str
    short: str


@final
@dataclass(frozen=True)
class Chart:
    """A chart with its words; an empty `svg` shows the sentence `empty` instead."""

    anchor: str
    short: str
    title: str
    models: tuple[str, ...]
    svg: Markup
    caption: str
    empty: str


def page_content(data: ReportData) -> dict[str, Any]:
    """Everything the template names."""
    styles = assign_styles(data.models())
    charts = _charts(data, styles)
    tables = [
        {"title": t.title, "text": t.text, "grid": make_grid(t.frame, (*data.columns, *t.columns), styles)}
        for t in data.tables
    ]
    return {
        "data": data,
        "styles": styles,
        "leaderboard": make_grid(data.leaderboard, data.columns, styles),
        "charts": charts,
        "tables": tables,
        "sections": _sections(data, charts),
        **(_rollout_content(data, styles) if data.rollouts else {}),
    }


def _sections(data: ReportData, charts: Sequence[Chart]) -> list[Section]:
    sections = [
        Section("leaderboard", "Leaderboard"),
        *(Section(chart.anchor, chart.short) for chart in charts),
    ]
    sections.append(Section("rollouts", "Rollouts"))
    sections += [Section(f"table-{i}", table.title) for i, table in enumerate(data.tables, start=1)]
    if data.notes:
        sections.append(Section("notes", "Notes"))
    return [*sections, Section("provenance", "Provenance")]


def _charts(data: ReportData, styles: dict[str, Style]) -> tuple[Chart, ...]:
    """Charts in the order a reader asks: what accuracy costs, how long it lasts, how it goes wrong."""
    labels = data.labels
    drawable = tuple(point for point in data.costs if figures.can_draw(point))
    spread = "Bands: 10 to 90 % of the test trajectories, widest over seeds."
    return (
        Chart(
            "accuracy-cost", "Cost", "Accuracy against cost", _models(drawable),
            figures.draw_accuracy_cost(drawable, styles, labels) if drawable else Markup(),
            f"Up is better, left is cheaper: {labels.value} against {labels.cost}. Bars are the spread. "
            + _beyond(drawable) + _not_drawn(data, len(drawable)),
            "No costs were measured, so there is no chart of accuracy against cost.",
        ),
        Chart(
            "correlation", "Correlation", "How long the rollouts stay right", _models(data.correlation),
            figures.draw_correlation(data.correlation, data.threshold, styles, labels)
            if data.correlation else Markup(),
            f"Correlation with the truth. A rollout counts as lost where its curve falls below the dotted "
            f"line at {data.threshold:g}. {spread}{_blown_up(data.correlation)}{_never_lost(data)}",
            "No correlation curves were computed.",
        ),
        Chart(
            "error-growth", "Error growth", "Error growth", _models(data.error_growth),
            figures.draw_error_growth(data.error_growth, styles, labels) if data.error_growth else Markup(),
            f"{labels.error[:1].upper()}{labels.error[1:]} along the rollout, logarithmic: a straight line "
            f"is exponential growth, the plateau is where all memory of the initial state is gone. {spread}"
            + _blown_up(data.error_growth),
            "No error curves were computed.",
        ),
        Chart(
            "spectra", "Spectra", "Spectra", _models(data.spectra),
            figures.draw_spectra(data.spectra, styles, labels) if data.spectra else Markup(),
            "Power at each scale, large scales on the left. The broad line is the truth: a model that leaves "
            "it downwards is too smooth, upwards too rough.",
            "No spectra were computed.",
        ),
    )  # fmt: skip


def _rollout_content(data: ReportData, styles: Mapping[str, Style]) -> dict[str, Any]:
    """Stills or space-time plots, the player's frames, and their captions."""
    truth = data.rollouts[0]
    line = truth.frames.ndim == 2
    cut = len(data.rollouts) - 1 - MAX_MODELS
    limit = f" Only the first {MAX_MODELS} models are shown." if cut > 0 else ""
    domain = " × ".join(f"{length:.4g}" for length in data.extent)
    size = f" The domain is {domain} wide." if domain else ""
    blown = " Hatching marks what blew up." if line else " A hatched field has blown up."
    return {
        "form": "line" if line else "field",
        "per_row": _per_row(len(shown_rollouts(data))),
        "panels": space_time_panels(data, styles) if line else still_panels(data, styles),
        "scale": field_scale(truth.frames),
        "difference": difference_scale(truth.frames),
        "ticks": time_ticks(data),
        "player": player_json(data, styles),
        "captions": {
            "animation": (
                f"One trajectory, every model in step. {'Broad grey line: the truth. ' if line else ''}"
                f"r is the correlation with the truth, red below {data.threshold:g}.{limit}"
            ),
            "stills": (
                f"{'Time' if line else 'x'} runs to the right, {'x' if line else 'y'} upwards; colours are "
                f"the same for all models and saturate at the ends of the scale.{size}{blown}"
            ),
            "reading": (
                "Each model below starts from the same state: on the left its own field, on the right what "
                f"is wrong with it. The dashed line is where its correlation falls below {data.threshold:g}."
            ),
        },
    }


def _per_row(panels: int, most: int = 6) -> int:
    """Columns that fill the rows of the animation evenly, e.g. 4 for seven panels."""
    return -(-panels // -(-panels // most))


def _models(entries: Sequence[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.model for entry in entries))


def _beyond(points: Sequence[Any]) -> str:
    if not any(point.beyond_horizon for point in points):
        return ""
    return "An arrow marks a model that outlasted the horizon (> horizon): its value is a lower bound. "


def _not_drawn(data: ReportData, drawn: int) -> str:
    missing = len(data.costs) - drawn
    return f"Without a finite value and so not drawn: {missing}." if missing else ""


def _blown_up(curves: Sequence[Any]) -> str:
    """Which curves end in values that are not finite, and when."""
    times = [(curve.model, figures.blow_up_time(curve)) for curve in curves]
    parts = [f"{model} (from {time:g})" for model, time in times if time is not None]
    return f" Blown up, last finite at the cross: {', '.join(parts)}." if parts else ""


def _never_lost(data: ReportData) -> str:
    names = [
        curve.model
        for curve in data.correlation
        if curve.kind is not Kind.TRUTH and len(curve.median) and (curve.median >= data.threshold).all()
    ]
    return f" Never below it within the horizon: {', '.join(names)}." if names else ""
