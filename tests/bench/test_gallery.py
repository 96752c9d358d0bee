"""The gallery: pictures in every dimension, honest colours, formulas as HTML, a page that stands alone."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from sciml.bench import demonstration, demonstration_recipe, write_gallery
from sciml.bench.formulas import formula_html, plain_name
from sciml.bench.gallery_pictures import Film, animation, contact_sheet, still, thumbnail
from sciml.pde.showcase import showcases


def film(points: tuple[int, ...], *, low: float = -1.0, frames: int = 5) -> Film:
    """A wave that moves along x."""
    axes = np.meshgrid(*(np.arange(count) / count for count in points), indexing="ij")
    wave = np.stack([np.sin(2 * np.pi * (axes[0] - 0.1 * n)) for n in range(frames)])
    return Film((1 - low) / 2 * wave + (1 + low) / 2, 0.5 * np.arange(frames), (2.0,) * len(points), "u")


@pytest.mark.parametrize("points", [(32,), (16, 12), (8, 10, 12)], ids=str)
def test_pictures_can_be_opened_and_move(points):
    with Image.open(io.BytesIO(still(film(points)))) as picture:
        assert picture.format == "PNG" and picture.width > 600
    with Image.open(io.BytesIO(animation(film(points)))) as moving:
        assert moving.format == "GIF" and getattr(moving, "n_frames") == 5  # noqa: B009
        first = np.asarray(moving.convert("RGB"))
        moving.seek(2)
        assert (first != np.asarray(moving.convert("RGB"))).mean() > 0.005


def test_colours_diverge_around_zero_only_where_a_field_has_both_signs():
    both, one = film((32, 32), low=-0.5).colours, film((32, 32), low=0.2).colours
    assert both["cmap"] == "RdBu_r" and both["norm"].vmin == -both["norm"].vmax
    assert one["cmap"] == "viridis" and one["norm"].vmin == pytest.approx(0.2, abs=0.01)
    rounding = Film(np.abs(film((32, 32)).values) - 1e-15, np.arange(5.0), (1.0, 1.0), "u")
    assert rounding.colours["cmap"] == "viridis"
    flat = Film(np.ones((3, 8)), np.arange(3.0), (1.0,), "u").colours
    assert flat["norm"].vmin < 1 < flat["norm"].vmax


def test_a_still_has_the_range_of_its_frame_in_the_colours_of_the_film():
    fading = np.linspace(0, 1, 64).reshape(8, 8) * np.array([1.0, 0.1, 0.01]).reshape(3, 1, 1)
    made = Film(fading, np.arange(3.0), (1.0, 1.0), "u")
    first, last = made.colours_at(0), made.colours_at(2)
    assert first["cmap"] == last["cmap"] == "viridis"
    assert first["norm"].vmax == pytest.approx(1, abs=0.02) and last["norm"].vmax == pytest.approx(0.01, rel=0.02)
    assert made.colours["norm"].vmax > 0.9
    assert np.asarray(thumbnail(made, 8)).std() == pytest.approx(
        np.asarray(thumbnail(Film(fading[:1], np.zeros(1), (1.0, 1.0), "u"), 8)).std(), rel=0.02
    )


def test_a_thumbnail_is_upright():
    values = np.zeros((1, 8, 8))
    values[0, 7, 0] = 1.0  # largest x, smallest y: lower right
    picture = np.asarray(thumbnail(Film(values, np.zeros(1), (1.0, 1.0), "u"), 8)).astype(int)
    assert abs(picture[7, 7] - picture[0, 0]).sum() > 200 and abs(picture[0, 7] - picture[0, 0]).sum() < 60


def test_the_contact_sheet_is_small():
    sheet = contact_sheet({f"equation_{n}": film((64, 64)) for n in range(8)})
    with Image.open(io.BytesIO(sheet)) as picture:
        assert picture.width > 700
    assert len(sheet) < 400_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("u_t + u u_x = nu u_xx", "u<sub>t</sub> + u u<sub>x</sub> = ν u<sub>xx</sub>"),
        ("D Laplace(u) < 1", "D Δ(u) &lt; 1"),
        ("(u . grad) u - div(f)", "(u · ∇) u − ∇·(f)"),
        ("the means of menu", "the means of menu"),
    ],
)
def test_formulas_as_html(text, shown):
    assert formula_html(text) == shown


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("KortewegDeVries", "Korteweg-de Vries"),
        ("NavierStokes2D", "Navier-Stokes 2D"),
        ("FisherKPP", "Fisher-KPP"),
        ("Schroedinger", "Schrödinger"),
        ("VectorBurgers", "Vector Burgers"),
    ],
)
def test_names_in_words(name, words):
    assert plain_name(name) == words


def test_a_page_that_stands_alone_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    calls: list[tuple[int, int]] = []
    made = write_gallery(tmp_path, ["dispersion"], lambda task, done, total: calls.append((done, total)))
    page = made.page.read_text()
    assert "dispersion" in page and "<sub>t</sub>" in page and calls == [(1, 1)]
    assert len(re.findall(r'src="data:image/(png|gif);base64,', page)) == 2 and "://" not in page
    assert sorted(path.name for path in made.pictures.iterdir()) == ["dispersion.gif", "dispersion.png"]
    assert made.contact_sheet.stat().st_size > 1000
    before = (tmp_path / "data" / "dispersion.nc").stat().st_mtime_ns
    write_gallery(tmp_path, ["dispersion"])
    assert (tmp_path / "data" / "dispersion.nc").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="`name` must be a known equation, got 'nonsense'. Known: .*burgers"):
        write_gallery(tmp_path, ["nonsense"])


@pytest.mark.parametrize("name", sorted(showcases()))
def test_every_demonstration_is_a_recipe(name):
    recipe = demonstration_recipe(name, trajectories=3)
    setup = demonstration(name)
    assert recipe.times[-1] == pytest.approx(setup.end) and recipe.frames == setup.frames
    assert recipe.configuration["equation"]["type"] == type(setup.equation).__name__


def test_a_demonstration_on_other_points_keeps_its_box():
    recipe = demonstration_recipe("wave", points=64)
    assert recipe.grid.points == (64, 64) and recipe.grid.extent == demonstration("wave").grid.extent
    with pytest.raises(ValueError, match="`points` must be"):
        demonstration_recipe("wave", points=2)
