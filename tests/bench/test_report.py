"""The report as a file: self-contained, the same every time, honest about what is missing; and its parts."""

import base64
import dataclasses
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from sciml.bench.figure_labels import place_labels
from sciml.bench.figures import blow_up_time, can_draw
from sciml.bench.report import write_report
from sciml.bench.report_columns import Better, Column, Notation
from sciml.bench.report_data import CostPoint, Curve, Kind, ReportData, Rollout
from sciml.bench.report_fields import MAX_MODELS, blow_up_at, lost_at, player_json
from sciml.bench.report_images import ColourScale, difference_scale, field_scale, to_png
from sciml.bench.report_style import SENTINELS, assign_styles
from sciml.bench.report_svg import CANVASES, chart, figure_of
from sciml.bench.report_tables import make_grid, write_number
from sciml.core import MissingExtraError
from tests.bench.report_cases import BLOWN_UP, COLUMNS, MODELS, TRUTH, leaderboard, report_data

TIME = np.arange(4.0)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    return write_report(report_data(1), tmp_path_factory.mktemp("report") / "report.html").read_text()


def empty_data(**changes) -> ReportData:
    return dataclasses.replace(ReportData("Empty", "Nothing ran.", {}, pd.DataFrame({"model": []})), **changes)


# The file


def test_page_refers_to_nothing_outside(page):
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert not re.findall(r"url\((?!#)|@import|https?://", page)
    assert "default-src 'none'" in page


def test_identifiers_are_unique_and_every_reference_is_met(page):
    identifiers = re.findall(r'\sid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    references = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page))
    assert references and references <= set(identifiers)


def test_no_sentinel_colour_is_left(page):
    assert not [colour for colour in SENTINELS.values() if colour in page]


def test_equal_bytes_whatever_the_user_has_set_in_matplotlib_and_that_is_left_alone(page, tmp_path):
    code = (
        "import sys, matplotlib; matplotlib.rcParams['font.size'] = 33; "
        "before = dict(dict.items(matplotlib.rcParams)); "  # not by key, which would choose a backend
        "from tests.bench.report_cases import report_data; from sciml.bench.report import write_report; "
        f"write_report(report_data(1), {str(tmp_path / 'again.html')!r}); "
        "assert dict(dict.items(matplotlib.rcParams)) == before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert (tmp_path / "again.html").read_text() == page


@pytest.mark.parametrize("dimensions", [1, 2])
def test_page_stays_small_for_many_large_rollouts(tmp_path, dimensions):
    shape = (200, 256) if dimensions == 1 else (200, 128, 128)
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    time, r = np.arange(200.0), np.ones(200)
    models = [Rollout(f"model {i}", Kind.LEARNED, time, noise, r) for i in range(MAX_MODELS + 2)]
    data = empty_data(rollouts=(Rollout(TRUTH, Kind.TRUTH, time, noise, r), *models))
    path = write_report(data, tmp_path / "report.html")
    assert path.stat().st_size < 8e6
    assert f"Only the first {MAX_MODELS} models" in path.read_text()


def test_folders_are_made_and_no_temporary_file_stays(tmp_path):
    path = write_report(empty_data(), tmp_path / "new" / "folder" / "report.html")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_failed_write_leaves_the_older_report(tmp_path, monkeypatch):
    path = write_report(empty_data(), tmp_path / "report.html")
    before = path.read_text()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(empty_data(title="Newer"), path)
    assert path.read_text() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_folder_instead_of_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`path` must name a file, got the folder"):
        write_report(empty_data(), tmp_path)


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_missing_extra_is_named(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"`{package}`.*sciml-torch\[report\]"):
        write_report(empty_data(), tmp_path / "report.html")


# Words


def test_empty_sections_say_so(tmp_path):
    text = write_report(empty_data(), tmp_path / "report.html").read_text()
    for sentence in (
        "No model was scored", "No costs were measured", "No correlation curves", "No error curves", "No spectra",
        "No rollout was kept", "Nothing was recorded",
    ):  # fmt: skip
        assert sentence in text
    assert "data-figure" not in text


def test_blow_ups_and_horizons_are_told(page):
    assert f"Blown up, last finite at the cross: {BLOWN_UP} (from 60.8)" in page
    assert "outlasted the horizon" in page
    assert "blown up at t = 60.8" in page


def test_names_are_escaped_everywhere(tmp_path):
    name = "<b>&</script>$x_1$"
    curve = Curve(name, Kind.LEARNED, TIME + 1, TIME + 1)
    rollout = Rollout(name, Kind.LEARNED, TIME, np.ones((4, 8)), np.ones(4))
    truth = Rollout("truth", Kind.TRUTH, TIME, np.ones((4, 8)), np.ones(4))
    data = empty_data(
        title=name, error_growth=(curve,), spectra=(curve,), rollouts=(truth, rollout),
        costs=(CostPoint(name, Kind.LEARNED, 1.0, 1.0, 1.0, 1.0),),
    )  # fmt: skip
    text = write_report(data, tmp_path / "report.html").read_text()
    assert "<b>" not in text and text.count("</script>") == 2
    assert "$x_1$" in text  # no mathematics is read into names


def test_charts_survive_values_that_are_not_finite(tmp_path):
    nothing = np.full(4, np.nan)
    curves = (
        Curve("gone", Kind.LEARNED, TIME, nothing, nothing, nothing),
        Curve("far", Kind.SOLVER, TIME, np.array([0, 1e30, np.inf, np.nan])),
    )
    costs = (CostPoint("gone", Kind.LEARNED, 1.0, np.nan, np.nan, np.nan),)
    data = empty_data(error_growth=curves, correlation=curves, spectra=curves, costs=costs)
    text = write_report(data, tmp_path / "report.html").read_text()
    assert "gone (from 0), far (from 2)" in text
    assert "No costs were measured" in text


# Parts


def test_blow_up_time_is_the_first_of_the_last_gap():
    assert blow_up_time(Curve("a", Kind.LEARNED, TIME, np.array([1, np.nan, 1, np.nan]))) == 3
    assert blow_up_time(Curve("a", Kind.LEARNED, TIME, np.array([1, np.nan, 1, 1]))) is None
    assert blow_up_time(Curve("a", Kind.LEARNED, TIME, np.full(4, np.inf))) == 0


def test_rollout_is_lost_at_the_first_time_below_or_undefined():
    frames = np.ones((4, 2))
    frames[3, 1] = np.inf
    rollout = Rollout("a", Kind.LEARNED, TIME, frames, np.array([1, 0.9, np.nan, 0.9]))
    assert lost_at(rollout, 0.8) == 2 and blow_up_at(rollout) == 3
    assert lost_at(Rollout("a", Kind.LEARNED, TIME, frames, np.full(4, 0.8)), 0.8) is None


@pytest.mark.parametrize(
    ("seconds", "value", "drawn"), [(1.0, 1.0, True), (0.0, 1.0, False), (np.nan, 1.0, False), (1.0, np.nan, False)]
)
def test_cost_point_needs_a_place_on_the_axes(seconds, value, drawn):
    assert can_draw(CostPoint("a", Kind.LEARNED, seconds, value, value, value)) is drawn


@pytest.mark.parametrize("canvas", CANVASES, ids=lambda canvas: canvas.name)
def test_labels_never_overlap_and_all_find_a_place_in_a_crowd(canvas):
    points = [(1 + 0.06 * i, 5 + (i % 3) * 0.4) for i in range(8)]
    with chart(canvas) as axes:
        axes.set_xlim(0, 3)
        axes.set_ylim(0, 10)
        left_out = place_labels(axes, [f"model {i}" for i in range(8)], points, [(1.0, 4, 6)])
        assert left_out == []
        renderer = FigureCanvasAgg(figure_of(axes)).get_renderer()
        boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]  # the words without their leaders
    assert len(boxes) == 8
    assert all(boxes[i].count_overlaps(boxes[i + 1 :]) == 0 for i in range(8))


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (31.234, Column("a", "A"), "31.2"),
        (0.0, Column("a", "A"), "0.00"),
        (-9.996, Column("a", "A"), "−10.0"),
        (4.4e-5, Column("a", "A", digits=2), "4.4\u2009×\u200910⁻⁵"),
        (9.999e-4, Column("a", "A"), "0.00100"),
        (99999.0, Column("a", "A", digits=2), "1.0\u2009×\u200910⁵"),
        (1185792, Column("a", "A"), "1\u202f185\u202f792"),
        (1185792.0, Column("a", "A", digits=0, notation=Notation.FIXED), "1\u202f185\u202f792"),
        (np.nan, Column("a", "A", missing="blown up"), "blown up"),
        (np.inf, Column("a", "A", beyond="> 128"), "> 128"),
        (-np.inf, Column("a", "A"), "−∞"),
        (True, Column("a", "A"), "yes"),
    ],
)
def test_numbers_are_written_as_the_column_says(value, column, text):
    assert write_number(value, column) == text


def test_table_marks_the_best_and_folds_in_the_spread():
    grid = make_grid(leaderboard(), COLUMNS, assign_styles((m, kind) for m, (kind, _) in MODELS.items()))
    titles = [heading.title for heading in grid.headings]
    assert "low" not in titles and len(titles) == 7
    best = {titles[j]: row[0].text for row in grid.rows for j, cell in enumerate(row) if cell.best}
    assert best["Stays right for"] == best["One-step error"] == "ETDRK4, 64 points, dt 0.2"
    assert best["Time per trajectory"] == "persistence"
    assert "Parameters" not in best  # neither high nor low is better
    assert grid.rows[0][2].spread == "29.1 – 33.5" and grid.rows[4][2].spread == ""
    assert grid.rows[0][0].style is not None


def test_ties_as_written_are_all_best():
    frame = pd.DataFrame({"error": [1.0001, 1.0002, 2.0]})
    grid = make_grid(frame, (Column("error", "Error", better=Better.LOWER),), {})
    assert [row[0].best for row in grid.rows] == [True, True, False]


def test_colour_scale_is_symmetric_or_sequential():
    signed = field_scale(np.linspace(-1.0, 3.0, 1001))
    assert signed.low == -signed.high
    positive = field_scale(np.linspace(1.0, 3.0, 1001))
    assert 1 <= positive.low < positive.high <= 3
    assert difference_scale(np.full((2, 3), 5.0)).high == 1.0  # constant truth: any scale but an empty one


def test_colour_scale_bytes():
    scale = ColourScale(-1.0, 1.0, np.zeros((255, 3), np.uint8))
    assert scale.to_bytes(np.array([-5.0, -1, 0, 1, 5, np.nan, np.inf])).tolist() == [0, 0, 127, 254, 254, 255, 255]


def test_png_is_read_back_by_another_reader():
    table = np.arange(765, dtype=np.uint16).reshape(255, 3).astype(np.uint8)
    pixels = np.array([[0, 7, 255], [254, 1, 2]], np.uint8)
    uri = to_png(pixels, ColourScale(0.0, 1.0, table))
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA"))
    assert read[0, 1, :3].tolist() == table[7].tolist()
    assert read[..., 3].tolist() == [[255, 255, 0], [255, 255, 255]]


def test_player_shows_y_upwards_and_x_to_the_right():
    frames = np.zeros((2, 3, 2))  # x has 3 points, y has 2
    frames[:, 2, 0] = 1.0
    truth = Rollout("truth", Kind.TRUTH, TIME[:2], frames - 0.5, np.ones(2))
    data = empty_data(rollouts=(truth,))
    content = json.loads(player_json(data, assign_styles(data.models())))
    first = np.frombuffer(base64.b64decode(content["models"][0]["frames"]), np.uint8)[:6].reshape(2, 3)
    assert content["shape"] == [3, 2]
    assert np.argwhere(first == 254).tolist() == [[1, 2]]  # bottom row, right column


def test_styles_differ_within_a_kind():
    styles = assign_styles((f"{kind.value} {i}", kind) for kind in Kind for i in range(1 if kind is Kind.TRUTH else 2))
    looks = [(style.variable, style.marker) for style in styles.values()]
    assert len(set(looks)) == len(looks)


# Refusals


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Column("a", "A", digits=0), "`digits` must be at least 1"),
        (lambda: Column("a", "A", low="b"), "`low` and `high` must come together"),
        (lambda: Curve("a", Kind.LEARNED, TIME, TIME[:2]), "`median` of the curve of 'a' must have the shape of `x`"),
        (lambda: Curve("a", Kind.LEARNED, TIME, TIME, low=TIME), "curve of 'a' has one"),
        (lambda: Rollout("a", Kind.TRUTH, TIME, np.ones((4, 2, 2, 2)), TIME), "one or two axes of space"),
        (lambda: Rollout("a", Kind.TRUTH, TIME, np.ones((3, 2)), TIME), "one frame and one correlation per time"),
        (
            lambda: empty_data(
                spectra=(Curve("a", Kind.LEARNED, TIME, TIME),), correlation=(Curve("a", Kind.SOLVER, TIME, TIME),)
            ),
            "'a' is solver and learned",
        ),
        (
            lambda: empty_data(rollouts=(Rollout("a", Kind.LEARNED, TIME, np.ones((4, 2)), TIME),)),
            "first rollout must be the truth, got 'a'",
        ),
        (
            lambda: empty_data(
                rollouts=(
                    Rollout("truth", Kind.TRUTH, TIME, np.ones((4, 2)), TIME),
                    Rollout("a", Kind.LEARNED, TIME, np.ones((4, 3)), TIME),
                )
            ),
            "must share times and grid",
        ),
        (
            lambda: empty_data(rollouts=(Rollout("t", Kind.TRUTH, TIME, np.ones((4, 2)), TIME),), extent=(1.0, 2.0)),
            "`extent` must have one length per axis",
        ),
    ],
)
def test_bad_data_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
