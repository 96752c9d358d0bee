"""From a matplotlib figure to SVG that lives inside a page: theme colours as CSS variables, text as text in
the page's font, no identifier that could clash with another figure, no style that leaks out, the same bytes
every time.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import matplotlib.style
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sciml.bench.report_style import SENTINELS

SERIES = "series-"  # an artist whose gid starts so carries data-series=... in the page, for the legend's switches
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sciml",
    "figure.dpi": 72,
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": SENTINELS["muted"],
    "axes.labelcolor": SENTINELS["ink"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": SENTINELS["grid"],
    "grid.linewidth": 0.7,
    "text.color": SENTINELS["ink"],
    "text.parse_math": False,
    "xtick.color": SENTINELS["muted"],
    "ytick.color": SENTINELS["muted"],
    "xtick.labelcolor": SENTINELS["ink"],
    "ytick.labelcolor": SENTINELS["ink"],
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "lines.markeredgewidth": 1.4,
}


@final
@dataclass(frozen=True)
class Canvas:
    """A size in which each chart is drawn; the page shows the one that suits its width.

    Args:
        name: class of the SVG in the page.
        width, height: in inches of 72 points; text is 10 points high.
        points: how many markers a curve gets.
    """

    name: str
    width: float
    height: float
    points: int


CANVASES = (Canvas("wide", 11.0, 4.6, 9), Canvas("narrow", 4.4, 4.0, 5))


@contextmanager
def chart(canvas: Canvas) -> Iterator[Axes]:
    """Axes on a fresh figure, with matplotlib's defaults and ours whatever the user has set."""
    with matplotlib.style.context(["default", _SETTINGS]):
        figure = Figure(figsize=(canvas.width, canvas.height))
        axes = figure.add_subplot()
        figure.subplots_adjust(
            left=0.72 / canvas.width,
            right=1 - 0.15 / canvas.width,
            bottom=0.55 / canvas.height,
            top=1 - 0.15 / canvas.height,
        )
        yield axes


def figure_of(axes: Axes) -> Figure:
    """The figure that `chart` made for `axes`."""
    assert isinstance(axes.figure, Figure)
    return axes.figure


def to_svg(axes: Axes, name: str, canvas: Canvas, title: str) -> Markup:
    """The figure of `axes` as an inline SVG; `name` keeps its identifiers apart from those of other figures.

    Must be called inside `chart`, whose settings hold only there.
    """
    buffer = io.StringIO()
    figure_of(axes).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    body = text[text.index("<defs>") : text.rindex("</svg>")]
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    prefix = f"{name}-{canvas.name}"
    body = _separate_identifiers(body, prefix)
    body = re.sub(r' (d|x|y)="[^"]*"', lambda match: _round(match[0]), body)
    for variable, colour in SENTINELS.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r"\n\s*", "\n", body)
    size = f"{canvas.width * 72:g} {canvas.height * 72:g}"
    opening = Markup('<svg class="chart {}" viewBox="0 0 {}" role="img" aria-label="{}">').format(
        canvas.name, size, title
    )
    return opening + Markup(body) + Markup("</svg>")


def _separate_identifiers(body: str, prefix: str) -> str:
    """Prefix the identifiers that are referred to, turn those of series into data attributes, drop others."""
    used = set(re.findall(r"url\(#([^)]+)\)", body)) | set(re.findall(r'href="#([^"]+)"', body))

    def rename(match: re.Match[str]) -> str:
        if match[1] in used:
            return f' id="{prefix}-{match[1]}"'
        if match[1].startswith(SERIES):
            return f' data-series="{match[1].removeprefix(SERIES)}"'
        return ""

    body = re.sub(r'(?<=[a-z]) id="([^"]+)"', rename, body)
    body = body.replace("url(#", f"url(#{prefix}-")
    return re.sub(r'(?:xlink:)?href="#', f'href="#{prefix}-', body)


def _round(attribute: str) -> str:
    """Coordinates to a hundredth of a point."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute)
