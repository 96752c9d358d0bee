"""The gallery: a picture and an animation of every equation, on one self-contained page.

Data are made by `produce` into a folder beside the page, so that an interrupted gallery goes on where it stopped, and
are those of `sciml simulate NAME`.
"""

import base64
import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, final

from torch import Tensor

from sciml.bench.formulas import formula_html, plain_name
from sciml.bench.recipes import demonstration_recipe
from sciml.bench.registry import demonstration
from sciml.core import require_extra
from sciml.core.atomic import prepare_folder, replacing
from sciml.data import Recipe, Trajectories, produce
from sciml.pde.showcase import Showcase, showcases

Progress = Callable[[str, int, int], None]


@final
@dataclass(frozen=True, eq=False)
class Exhibit:
    """What the page's template shows of one equation; pictures are data URIs."""

    name: str
    title: str
    formula: str
    shows: str
    facts: dict[str, str]
    still: str
    animation: str


@final
@dataclass(frozen=True)
class Gallery:
    """The files of a gallery."""

    page: Path
    contact_sheet: Path
    pictures: Path


def write_gallery(
    folder: str | os.PathLike[str], names: Sequence[str] | None = None, progress: Progress | None = None
) -> Gallery:
    """Simulate, draw and write `gallery.html`, `contact_sheet.png`, and the pictures one by one in `pictures/`.

    Args:
        folder: where to; data are kept in `data/` and not made again.
        names: of the equations; all by default.
        progress: called as `progress(task, done, total)`.

    Raises:
        ValueError: for an unknown name.
        MissingExtraError: if matplotlib, jinja2 or netCDF4 is not installed.
        OSError: if the folder is not writable.
    """
    require_extra("matplotlib", "report")
    jinja2 = require_extra("jinja2", "report")
    # Only now: it imports matplotlib, which is an extra and slow.
    from sciml.bench.gallery_pictures import Film, animation, contact_sheet, still

    setups = {name: demonstration(name) for name in (showcases() if names is None else names)}
    gallery = Gallery(*(Path(folder) / part for part in ("gallery.html", "contact_sheet.png", "pictures")))
    prepare_folder(gallery.pictures)
    exhibits, films = [], {}
    for count, (name, setup) in enumerate(setups.items()):
        recipe = demonstration_recipe(name, trajectories=1)
        data = produce(recipe, Path(folder) / "data" / f"{name}.nc", overwrite=True)
        times, extent = data.times.numpy(), data.grid.extent
        films[name] = Film(setup.quantity(data.read(0, 0, data.shape[1]))[0].numpy(), times, extent, _quantity(setup))
        pictures = {f"{name}.png": still(films[name]), f"{name}.gif": animation(films[name])}
        for file, content in pictures.items():
            _write(gallery.pictures / file, content)
        exhibits.append(_exhibit(name, setup, recipe, data, *pictures.values()))
        if progress is not None:
            progress("gallery", count + 1, len(setups))
    _write(gallery.contact_sheet, contact_sheet(films))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(files("sciml.bench").joinpath("gallery.html").read_text(encoding="utf-8"))
    _write(gallery.page, template.render(exhibits=exhibits).encode())
    return gallery


def _exhibit(name: str, setup: Showcase, recipe: Recipe, data: Trajectories, still: bytes, animation: bytes) -> Exhibit:
    grid = " x ".join(map(str, setup.grid.points))
    box = " x ".join(f"{length:.4g}" for length in setup.grid.extent)
    facts = {
        "parameters": ", ".join(f"{key} = {value}" for key, value in _parameters(setup.equation)) or "none",
        "grid": f"{grid} points on a periodic box of {box}",
        "starts from": f"{_said(setup.initial)}, seed {recipe.seed}",
        "solved by": f"{type(recipe.method).__name__} in steps of {setup.dt:g}, in float64, to t = {setup.end:g}",
    }
    formula = " ".join((type(setup.equation).__doc__ or "").strip().split("\n\n")[0].split())
    return Exhibit(
        name=name,
        title=plain_name(type(setup.equation).__name__),
        formula=formula_html(formula),
        shows=setup.shows,
        facts=facts,
        still="data:image/png;base64," + base64.b64encode(still).decode(),
        animation="data:image/gif;base64," + base64.b64encode(animation).decode(),
    )


def _quantity(setup: Showcase) -> str:
    """What is drawn, with its unit."""
    name, unit = setup.equation.fields.names[0], setup.equation.fields.units[0]
    shown = "modulus" if setup.modulus else name
    return shown if unit == "1" else f"{shown} [{unit}]"


def _parameters(value: Any) -> list[tuple[str, str]]:
    """Numbers of an equation by name, and its parts in words."""
    shown = []
    for field in dataclasses.fields(value):
        entry = getattr(value, field.name)
        if field.name not in ("dealiasing", "ndim") and entry is not None:
            shown.append((field.name, _said(entry)))
    return shown


def _said(value: Any) -> str:
    """A value in a few words; long tensors by their shape alone."""
    if isinstance(value, Tensor):
        return f"{value.item():.4g}" if value.numel() == 1 else f"{tuple(value.shape)} values"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_said, value))})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = ", ".join(f"{f.name}={_said(getattr(value, f.name))}" for f in dataclasses.fields(value))
        return f"{type(value).__name__}({inside})"
    return str(value)


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
