"""The charts of the report: curves over time with their spread, spectra, and accuracy against cost.

Each is drawn without pyplot or any other state, and returned as inline SVG in every size of `CANVASES`.
Values that are not finite leave a gap; a curve that ends in one gets a cross where it was last finite.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from sciml.bench.figure_labels import place_labels
from sciml.bench.report_data import CostPoint, Curve, Kind, Labels
from sciml.bench.report_style import SENTINELS, Style
from sciml.bench.report_svg import CANVASES, SERIES, Canvas, chart, to_svg
from sciml.bench.report_tables import power_of_ten

Styles = Mapping[str, Style]

_ARROW = 26  # length of the arrow of a lower bound, in points


def draw_error_growth(curves: tuple[Curve, ...], styles: Styles, labels: Labels) -> Markup:
    """Error against lead time, logarithmic error."""

    def draw(axes: Axes, canvas: Canvas) -> None:
        for curve in curves:
            _draw_curve(axes, curve, styles[curve.model], canvas, positive=True)
        _log_axis(axes, "y", *_error_range(curves))
        for curve in curves:
            _mark_blow_up(axes, curve, styles[curve.model], positive=True)
        _set_labels(axes, labels.time, labels.error)
        _span_x(axes, curves)

    return _in_every_size("error-growth", f"Chart of {labels.error} against {labels.time}", draw)


def draw_correlation(curves: tuple[Curve, ...], threshold: float, styles: Styles, labels: Labels) -> Markup:
    """Correlation with the truth against lead time, and the threshold below which a rollout is lost."""

    def draw(axes: Axes, canvas: Canvas) -> None:
        for curve in curves:
            _draw_curve(axes, curve, styles[curve.model], canvas, positive=False)
        axes.axhline(threshold, color=SENTINELS["ink"], linewidth=1, dashes=(2, 3), zorder=1.5)
        lowest = min((np.nanmin(curve.median, initial=0.0) for curve in curves), default=0.0)
        axes.set_ylim(max(-1.04, min(-0.04, float(lowest) - 0.04)), 1.04)
        for curve in curves:
            _mark_blow_up(axes, curve, styles[curve.model], positive=False)
        _set_labels(axes, labels.time, "correlation with the truth")
        _span_x(axes, curves)

    return _in_every_size("correlation", f"Chart of correlation with the truth against {labels.time}", draw)


def draw_spectra(curves: tuple[Curve, ...], styles: Styles, labels: Labels) -> Markup:
    """Power spectra on logarithmic axes; the truth is the broad line underneath."""

    def draw(axes: Axes, canvas: Canvas) -> None:
        for curve in curves:
            _draw_curve(axes, curve, styles[curve.model], canvas, positive=True)
        _log_axis(axes, "y", *_spectrum_range(curves))
        wavenumbers = np.concatenate([_finite(curve.x, positive=True) for curve in curves])
        _log_axis(axes, "x", wavenumbers.min(initial=1.0), wavenumbers.max(initial=2.0))
        _set_labels(axes, labels.wavenumber, labels.spectrum)

    return _in_every_size("spectra", f"Chart of {labels.spectrum} against {labels.wavenumber}", draw)


def draw_accuracy_cost(points: tuple[CostPoint, ...], styles: Styles, labels: Labels) -> Markup:
    """Accuracy against logarithmic cost; one labelled marker per model, an arrow if only a lower bound is
    known.

    Every point must satisfy `can_draw`.
    """

    def draw(axes: Axes, canvas: Canvas) -> None:
        seconds = [point.seconds for point in points]
        _log_axis(axes, "x", min(seconds) / 1.8, max(seconds) * 1.8)
        top = max(max(point.value, np.nan_to_num(point.high)) for point in points)
        axes.set_ylim(-0.04 * top, 1.16 * top if top > 0 else 1)
        for point in points:
            _draw_point(axes, point, styles[point.model])
        _set_labels(axes, labels.cost, labels.value)
        bars = [(p.seconds, low, high) for p in points for low, high in [_reach(axes, p)]]
        place_labels(axes, [p.model for p in points], [(p.seconds, p.value) for p in points], bars)

    return _in_every_size("accuracy-cost", f"Chart of {labels.value} against {labels.cost}", draw)


def can_draw(point: CostPoint) -> bool:
    """Whether the point has a place on logarithmic cost and linear accuracy."""
    return bool(np.isfinite(point.value) and np.isfinite(point.seconds) and point.seconds > 0)


def blow_up_time(curve: Curve) -> float | None:
    """First x from which the median is not finite to the end; None if it ends finite."""
    finite = np.isfinite(curve.median)
    if len(finite) == 0 or finite[-1]:
        return None
    return float(curve.x[len(finite) - int(np.argmax(finite[::-1])) if finite.any() else 0])


def _in_every_size(name: str, title: str, draw: Callable[[Axes, Canvas], None]) -> Markup:
    """Draw once per canvas and join the SVGs."""
    drawn = Markup()
    for canvas in CANVASES:
        with chart(canvas) as axes:
            draw(axes, canvas)
            drawn += to_svg(axes, name, canvas, title)
    return drawn


def _draw_curve(axes: Axes, curve: Curve, style: Style, canvas: Canvas, positive: bool) -> None:
    """Median as a line with spaced markers, spread as a band."""
    median = np.where(np.isfinite(curve.median), curve.median, np.nan)
    median = np.where(median > 0, median, np.nan) if positive else median
    under = curve.kind is Kind.TRUTH
    stride = max(1, -(-len(curve.x) // canvas.points))
    axes.plot(
        curve.x, median, color=style.colour, linestyle=style.line, linewidth=5 if under else 1.8,
        alpha=0.35 if under else 1, marker=None if under else style.marker, zorder=1.8 if under else 3,
        markevery=((style.index * stride) // 5 % stride, stride), gid=f"{SERIES}{style.index}",
    )  # fmt: skip
    if curve.low is not None and curve.high is not None:
        tiny = np.finfo(np.float64).tiny
        low = np.maximum(curve.low, tiny) if positive else curve.low
        shown = np.isfinite(low) & np.isfinite(curve.high)
        axes.fill_between(
            curve.x, low, np.where(shown, curve.high, np.nan), where=shown, color=style.colour, alpha=0.17,
            linewidth=0, zorder=2, gid=f"{SERIES}{style.index}",
        )  # fmt: skip


def _mark_blow_up(axes: Axes, curve: Curve, style: Style, positive: bool) -> None:
    """A cross where the curve was last finite, on the frame if that lies outside."""
    shown = np.flatnonzero(np.isfinite(curve.median) & ((curve.median > 0) | (not positive)))
    if blow_up_time(curve) is None or len(shown) == 0:
        return
    x, y = curve.x[shown[-1]], np.clip(curve.median[shown[-1]], *axes.get_ylim())
    axes.plot(
        [x], [y], marker="X", markersize=11, color=style.colour, markeredgecolor=SENTINELS["ink"],
        linestyle="none", zorder=4, clip_on=False, gid=f"{SERIES}{style.index}",
    )  # fmt: skip


def _spread(point: CostPoint) -> tuple[float, float]:
    """Ends of the spread; the value itself where they are not known."""
    low = point.low if np.isfinite(point.low) else point.value
    high = point.high if np.isfinite(point.high) else point.value
    return min(low, point.value), max(high, point.value)


def _reach(axes: Axes, point: CostPoint) -> tuple[float, float]:
    """Ends of what is drawn above and below the point: its spread and, beyond the horizon, the arrow."""
    low, high = _spread(point)
    if not point.beyond_horizon:
        return low, high
    _, pixel = axes.transData.transform((point.seconds, point.value))
    _, tip = axes.transData.inverted().transform((0, pixel + _ARROW))
    return low, max(high, float(tip))


def _draw_point(axes: Axes, point: CostPoint, style: Style) -> None:
    low, high = _spread(point)
    axes.errorbar(
        [point.seconds], [point.value], yerr=[[point.value - low], [high - point.value]], fmt=style.marker,
        color=style.colour, markersize=9, capsize=3, elinewidth=1.4, zorder=3, gid=f"{SERIES}{style.index}",
    )  # fmt: skip
    if point.beyond_horizon:
        axes.annotate(
            "", (point.seconds, point.value), (0, _ARROW), textcoords="offset points",
            arrowprops={"arrowstyle": "<|-", "color": style.colour, "linewidth": 1.4, "shrinkB": 5},
        )  # fmt: skip


def _finite(values: Float[np.ndarray, " x"], positive: bool) -> Float[np.ndarray, " x2"]:
    return values[np.isfinite(values) & ((values > 0) | (not positive))]


def _error_range(curves: tuple[Curve, ...]) -> tuple[float, float]:
    """Limits of the error axis: all that is finite, but a blow-up may not squeeze the others flat."""
    positive = [values for curve in curves if len(values := _finite(curve.median, positive=True))]
    if not positive:
        return 0.1, 1.0
    top = min(max(v.max() for v in positive), 30 * float(np.median([np.median(v) for v in positive])))
    low = min(v.min() for v in positive)
    return float(min(low, top / 2)) / 1.3, float(top) * 1.5


def _spectrum_range(curves: tuple[Curve, ...]) -> tuple[float, float]:
    """Limits of the spectrum axis: those of the truth with a margin, at most 14 decades (round-off below)."""
    truths = [curve for curve in curves if curve.kind is Kind.TRUTH] or list(curves)
    values = np.concatenate([_finite(curve.median, positive=True) for curve in truths])
    if len(values) == 0:
        return 0.1, 1.0
    return max(values.min() / 10, values.max() * 1e-14), values.max() * 10


def _span_x(axes: Axes, curves: tuple[Curve, ...]) -> None:
    ends = [(curve.x.min(), curve.x.max()) for curve in curves if len(curve.x) > 1]
    if ends:
        axes.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))


def _log_axis(axes: Axes, which: str, low: float, high: float) -> None:
    """A logarithmic axis labelled 0.01, 1, 100, 10⁵, with 2 and 5 between if it spans few decades."""
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    axis: Axis = getattr(axes, f"{which}axis")
    decades = np.log10(high / low)
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if decades < 1.7 else (1.0,), numticks=8))
    axis.set_major_formatter(FuncFormatter(_log_tick))
    axis.set_minor_locator(NullLocator())


def _log_tick(value: float, _position: int | None = None) -> str:
    if 1e-3 <= value <= 1e4:
        return f"{value:.10g}"
    exponent = int(np.floor(np.log10(value) + 1e-9))
    factor = round(value / 10.0**exponent)
    return power_of_ten(exponent) if factor == 1 else f"{factor}·{power_of_ten(exponent)}"


def _set_labels(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
