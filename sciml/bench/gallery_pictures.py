"""Pictures of one trajectory: stills with axes and a colour bar, an animation, a thumbnail.

Colours diverge symmetrically around 0 where a field has both signs, and run from low to high where it has one. A line
is drawn as a space-time plot and animated as a curve; a plane at three times; a box by its three middle planes. A still
has the range of what it shows, so that what decays is seen to the end; an animation that of all frames.
"""

import functools
import io
import math
from dataclasses import dataclass
from typing import Any, final

import matplotlib.cm
import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

_FRAMES = 48  # of an animation
_SIDE = 160  # points along an axis of an animated plane
_COLOURS = 64  # of an animation
_MILLISECONDS = 90  # per frame
_AXES = ("x", "y", "z")


@final
@dataclass(frozen=True, eq=False)
class Film:
    """One quantity along one trajectory.

    Args:
        values: frames of it.
        times: when they are, [time].
        extent: length of the box per axis, [length].
        name: what it is, with its unit where it has one.
    """

    values: Float[np.ndarray, "time *space"]
    times: Float[np.ndarray, " time"]
    extent: tuple[float, ...]
    name: str

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.extent)

    @property
    def colours(self) -> dict[str, Any]:
        """Colour map and its ends, the same for all frames; they cover 99.8 % of the values, the rest saturates."""
        return self._colours(self.values)

    def colours_at(self, pick: int) -> dict[str, Any]:
        """The same colour map with ends for one frame."""
        return self._colours(self.values[pick])

    def _colours(self, values: np.ndarray) -> dict[str, Any]:
        low, high = (float(q) for q in np.quantile(values, (0.001, 0.999)))
        size = max(abs(low), abs(high)) or 1.0
        if self._signed:
            return {"cmap": "RdBu_r", "norm": Normalize(-size, size)}
        if high - low < 1e-9 * size:
            low, high = low - 0.5 * size, high + 0.5 * size
        return {"cmap": "viridis", "norm": Normalize(low, high)}

    @functools.cached_property
    def _signed(self) -> bool:
        """Whether there are values of both signs worth telling."""
        low, high = (float(q) for q in np.quantile(self.values, (0.001, 0.999)))
        size = max(abs(low), abs(high)) or 1.0
        return low < -0.02 * size and high > 0.02 * size


def still(film: Film) -> bytes:
    """A PNG of the whole trajectory, with axes, times and a colour bar."""
    if film.ndim == 1:
        figure, axes = _figure(7.6, 3.0, 1)
        _space_time(axes[0], film)
        bar = matplotlib.cm.ScalarMappable(**film.colours)
        extend = _extend(film.values, film.colours)
        figure.colorbar(bar, ax=list(axes), label=film.name, fraction=0.05, pad=0.02, extend=extend)
    else:
        last = len(film.times) - 1
        planes = [(0, 2), (round(0.3 * last), 2), (last, 2)] if film.ndim == 2 else [(last, 2), (last, 1), (last, 0)]
        figure, axes = _figure(10.4, 3.0, 3)
        for axis, (pick, across) in zip(axes, planes, strict=True):
            colours = film.colours_at(pick)
            image = _plane(axis, film, pick, across, colours=colours)
            axis.set_title(f"t = {film.times[pick]:.4g}" + _where(film, across), fontsize=9)
            extend = _extend(film.values[pick], colours)
            bar = figure.colorbar(image, ax=axis, fraction=0.05, pad=0.03, extend=extend)
        bar.set_label(film.name)
    return _png(figure, 110)


def animation(film: Film) -> bytes:
    """A GIF that loops, with axes and the time."""
    picks = np.unique(np.rint(np.linspace(0, len(film.times) - 1, _FRAMES)).astype(int))
    figure, axes = _figure(3.7, 3.0 if film.ndim > 1 else 2.6, 1)
    axis = axes[0]
    title = axis.set_title(" ", fontsize=9)
    if film.ndim == 1:
        (line,) = axis.plot(_points(film, 0), film.values[0], color="#0b5cad", linewidth=1.2)
        low, high = float(film.values.min()), float(film.values.max())
        margin = 0.08 * (high - low) or 1.0
        axis.set(xlabel="x", ylabel=film.name, xlim=(0, film.extent[0]), ylim=(low - margin, high + margin))
    else:
        across = 2
        image = _plane(axis, film, int(picks[0]), across, _SIDE)
        extend = _extend(film.values, film.colours)
        figure.colorbar(image, ax=axis, label=film.name, fraction=0.05, pad=0.03, extend=extend)
    pictures = []
    canvas = FigureCanvasAgg(figure)
    for pick in picks:
        title.set_text(f"t = {film.times[pick]:.4g}" + ("" if film.ndim == 1 else _where(film, 2)))
        if film.ndim == 1:
            line.set_ydata(film.values[pick])
        else:
            image.set_data(_slice(film, int(pick), 2, _SIDE).T)
        canvas.draw()
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    return _gif(pictures)


def thumbnail(film: Film, size: int) -> Image.Image:
    """A square picture without axes: time to the right on a line, else the plane of the last frame."""
    last = len(film.times) - 1
    plane = film.values if film.ndim == 1 else _slice(film, last, 2, 4 * size)
    colours = film.colours if film.ndim == 1 else film.colours_at(last)
    shades = matplotlib.colormaps[colours["cmap"]](colours["norm"](plane))[..., :3]
    upright = np.rint(255 * np.swapaxes(shades, 0, 1)[::-1]).astype(np.uint8)
    return Image.fromarray(upright).resize(
        (size, size), Image.Resampling.BOX if film.ndim > 1 else Image.Resampling.BICUBIC
    )


def contact_sheet(films: dict[str, Film], columns: int = 6, size: int = 128) -> bytes:
    """A PNG of all of them, small enough for a README, with the name under each."""
    rows = math.ceil(len(films) / columns)
    figure, axes = _figure(columns * 1.45, rows * 1.62, rows * columns, rows)
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, film) in zip(axes, films.items(), strict=False):
        axis.imshow(np.asarray(thumbnail(film, size)), interpolation="nearest")
        axis.set_title(name.replace("_", " ").replace("kuramoto sivashinsky", "KS"), fontsize=7.5, y=-0.17)
    with Image.open(io.BytesIO(_png(figure, 100))) as drawn:
        small = drawn.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def _extend(values: np.ndarray, colours: dict[str, Any]) -> str:
    """Which ends of the colour bar are pointed, because there are values beyond."""
    norm = colours["norm"]
    beyond = (bool(values.min() < norm.vmin), bool(values.max() > norm.vmax))
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]


def _figure(width: float, height: float, count: int, rows: int = 1) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, np.ravel(np.atleast_1d(figure.subplots(rows, count // rows)))


def _png(figure: Figure, dpi: int) -> bytes:
    out = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def _gif(pictures: list[Image.Image]) -> bytes:
    """One palette for all frames, from three of them, so that colours do not flicker."""
    width, height = pictures[0].size
    sample = Image.new("RGB", (width, 3 * height))
    for place, picture in enumerate((pictures[0], pictures[len(pictures) // 2], pictures[-1])):
        sample.paste(picture, (0, place * height))
    palette = sample.quantize(_COLOURS, dither=Image.Dither.NONE)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=_MILLISECONDS, loop=0, optimize=False)
    return out.getvalue()


def _points(film: Film, axis: int) -> np.ndarray:
    return np.arange(film.values.shape[axis + 1]) * film.extent[axis] / film.values.shape[axis + 1]


def _space_time(axis: Any, film: Film) -> None:
    box = (float(film.times[0]), float(film.times[-1]), 0.0, film.extent[0])
    axis.imshow(film.values.T, origin="lower", aspect="auto", extent=box, interpolation="nearest", **film.colours)
    axis.set(xlabel="t", ylabel="x")


def _plane(
    axis: Any, film: Film, pick: int, across: int, side: int | None = None, colours: dict[str, Any] | None = None
) -> Any:
    first, second = [a for a in range(film.ndim) if film.ndim == 2 or a != across][:2]
    box = (0.0, film.extent[first], 0.0, film.extent[second])
    values = _slice(film, pick, across, side).T
    image = axis.imshow(values, origin="lower", extent=box, interpolation="nearest", **(colours or film.colours))
    axis.set(xlabel=_AXES[first], ylabel=_AXES[second])
    axis.tick_params(labelsize=8)
    return image


def _slice(film: Film, pick: int, across: int, side: int | None = None) -> np.ndarray:
    """A plane, or the middle plane of a box across one axis; at most `side` points along each axis."""
    plane = film.values[pick]
    if film.ndim == 3:
        plane = np.take(plane, plane.shape[across] // 2, across)
    if side is not None:
        every = [max(1, math.ceil(count / side)) for count in plane.shape]
        plane = plane[:: every[0], :: every[1]]
    return plane


def _where(film: Film, across: int) -> str:
    return "" if film.ndim < 3 else f", {_AXES[across]} = {film.extent[across] / 2:.3g}"
