"""One colour, dash and marker per model, the same in every figure, table and legend, for readers who see
colours
differently too: hue tells the learned models apart, one ramp of green holds the solvers, grey the trivial
    baselines,
and dash and marker repeat the distinction.

Colours are CSS variables of the page (`report.css`), so figures follow the light or dark theme. matplotlib
knows no variables; each has a sentinel colour that is replaced when the SVG is written.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from markupsafe import Markup

from sciml.bench.report_data import Kind

_COLOURS = {Kind.TRUTH: 1, Kind.LEARNED: 6, Kind.SOLVER: 6, Kind.TRIVIAL: 3}
_DASHES: dict[Kind, tuple[tuple[float, ...], ...]] = {
    Kind.TRUTH: ((),),
    Kind.LEARNED: ((), (9.0, 2.0), (9.0, 2.0, 2.0, 2.0)),
    Kind.SOLVER: ((5.0, 2.0), (3.0, 2.0), (6.0, 2.0, 1.0, 2.0), (7.0, 1.5, 3.0, 1.5)),
    Kind.TRIVIAL: ((1.0, 1.8), (1.0, 3.5)),
}
_MARKERS = {Kind.TRUTH: "o", Kind.LEARNED: "oDPph*", Kind.SOLVER: "s^v<>d", Kind.TRIVIAL: "+x1"}
_SHAPES = {  # markers of the legend, in a box from -4 to 4
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "s": "M-3.5 -3.5h7v7h-7z",
    "D": "M0 -4.6L4.6 0L0 4.6L-4.6 0z",
    "d": "M0 -5L3.2 0L0 5L-3.2 0z",
    "^": "M0 -4.5L4.5 4H-4.5z",
    "v": "M0 4.5L4.5 -4H-4.5z",
    "<": "M-4.5 0L4 -4.5V4.5z",
    ">": "M4.5 0L-4 -4.5V4.5z",
    "P": "M-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "1": "M0 0V4.6M0 0L-4 -2.3M0 0L4 -2.3",
    "x": "M-3.6 -3.6L3.6 3.6M-3.6 3.6L3.6 -3.6",
    "+": "M0 -4.5V4.5M-4.5 0H4.5",
    "p": "M0 -4.5L4.3 -1.4L2.6 3.6H-2.6L-4.3 -1.4z",
    "h": "M0 -4.5L3.9 -2.2V2.2L0 4.5L-3.9 2.2V-2.2z",
    "*": "M0 -5L1.3 -1.7L4.8 -1.5L2.1 0.7L3 4.1L0 2.2L-3 4.1L-2.1 0.7L-4.8 -1.5L-1.3 -1.7z",
}
_OTHERS = ("ink", "muted", "grid", "panel")

SENTINELS = {
    name: f"#a1b2{number:02x}"
    for number, name in enumerate(
        (*_OTHERS, *(f"{kind.value}-{i}" for kind, count in _COLOURS.items() for i in range(count))), start=16
    )
}
"""CSS variable (without the two dashes) -> the colour that stands for it while matplotlib draws."""


@final
@dataclass(frozen=True)
class Style:
    """How one model is drawn everywhere.

    Args:
        index: number of the model on the page.
        model: its name.
        kind: what it is.
        variable: its colour, a CSS variable without the two dashes.
        dash: lengths on and off, in units of the line width; empty for a solid line.
        marker: matplotlib's marker.
    """

    index: int
    model: str
    kind: Kind
    variable: str
    dash: tuple[float, ...]
    marker: str

    @property
    def colour(self) -> str:
        """The colour for matplotlib."""
        return SENTINELS[self.variable]

    @property
    def line(self) -> str | tuple[float, tuple[float, ...]]:
        """The line style for matplotlib."""
        return (0, self.dash) if self.dash else "-"

    @property
    def swatch(self) -> Markup:
        """A piece of the line with its marker, for legends and tables."""
        dash = " ".join(f"{2 * length:g}" for length in self.dash) or "none"
        return Markup(
            '<svg class="swatch {}" viewBox="-17 -6 34 12" aria-hidden="true" style="--c: var(--{})">'
            '<path d="M-17 0H17" stroke-dasharray="{}"/><path class="marker" d="{}"/></svg>'
        ).format(self.kind.value, self.variable, dash, _SHAPES[self.marker])


def assign_styles(models: Iterable[tuple[str, Kind]]) -> dict[str, Style]:
    """A style per model, by order of first appearance within its kind; colours repeat if a kind has many."""
    styles: dict[str, Style] = {}
    counts = dict.fromkeys(Kind, 0)
    for model, kind in models:
        if model in styles:
            continue
        i = counts[kind]
        counts[kind] += 1
        styles[model] = Style(
            index=len(styles),
            model=model,
            kind=kind,
            variable=f"{kind.value}-{i % _COLOURS[kind]}",
            dash=_DASHES[kind][i % len(_DASHES[kind])],
            marker=_MARKERS[kind][i % len(_MARKERS[kind])],
        )
    return styles
