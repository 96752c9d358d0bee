"""Places labels beside points so that no label covers a marker, an error bar, the frame or another label.

Greedy: points in order of increasing x take the first free place among those around them, nearer places
    first. A
label that finds none is left out; the legend still names its point.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from sciml.bench.report_style import SENTINELS
from sciml.bench.report_svg import figure_of

_MARKER = 7.0  # half side of the box a marker takes, in points
_GAP = 3.0
_LEADER = 18.0  # a label farther away than this gets a line to its point
_DISTANCES = (9.0, 16.0, 28.0, 42.0)
_DIRECTIONS = (
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (0.7, 0.7, "left", "bottom"),
    (-0.7, 0.7, "right", "bottom"),
    (0.7, -0.7, "left", "top"),
    (-0.7, -0.7, "right", "top"),
)


def place_labels(
    axes: Axes,
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    bars: Sequence[tuple[float, float, float]],
) -> list[str]:
    """Label `points` (in data coordinates) with `names`; `bars` are (x, low, high) of error bars to keep
    clear of.

    Returns:
        Names that found no free place.
    """
    canvas = FigureCanvasAgg(figure_of(axes))
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer).frozen()
    pixels = [tuple(axes.transData.transform(point)) for point in points]
    taken = [Bbox.from_extents(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER) for x, y in pixels]
    for x, low, high in bars:
        (left, bottom), (_, top) = axes.transData.transform([(x, low), (x, high)])
        taken.append(Bbox.from_extents(left - 4, bottom, left + 4, top + 1))
    left_out = []
    for i in sorted(range(len(names)), key=lambda i: pixels[i]):
        box = _place(axes, renderer, names[i], points[i], frame, taken)
        if box is None:
            left_out.append(names[i])
        else:
            taken.append(box)
    return left_out


def _place(
    axes: Axes, renderer: RendererBase, name: str, point: tuple[float, float], frame: Bbox, taken: list[Bbox]
) -> Bbox | None:
    """Draw the label at its first free place and return the box it takes, or None."""
    for distance in _DISTANCES:
        for dx, dy, horizontal, vertical in _DIRECTIONS:
            leader = {"arrowstyle": "-", "linewidth": 0.7, "color": SENTINELS["muted"], "shrinkB": 5}
            text = axes.annotate(
                name, point, (dx * distance, dy * distance), textcoords="offset points",
                ha=horizontal, va=vertical, zorder=5, arrowprops=leader if distance > _LEADER else None,
            )  # fmt: skip
            box = _text_box(text, renderer)
            inside = frame.containsx(box.x0) and frame.containsx(box.x1) and frame.y0 < box.y0 and box.y1 < frame.y1
            if inside and not box.count_overlaps(taken):
                return box
            text.remove()
    return None


def _text_box(text: Annotation, renderer: RendererBase) -> Bbox:
    """The box of the words alone, without the leader, with a little air."""
    text.update_positions(renderer)
    box = Text.get_window_extent(text, renderer)
    return Bbox.from_extents(box.x0 - _GAP, box.y0 - 1, box.x1 + _GAP, box.y1 + 1)
