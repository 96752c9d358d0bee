"""One self-contained page from the results of a benchmark: tables, charts, space-time plots and animations.

The page loads nothing from anywhere (its content security policy forbids it), follows the light or dark
theme of the reader, and is written whole or not at all.
"""

import os
from importlib.resources import files
from pathlib import Path

from sciml.bench.report_data import ReportData
from sciml.core import require_extra
from sciml.core.atomic import replacing


def write_report(data: ReportData, path: str | os.PathLike[str]) -> Path:
    """Write the report as one HTML file; folders above it are made, an older report is replaced.

    Equal data gives equal bytes with equal versions of the drawing packages.

    Args:
        data: what to show.
        path: the file to write, e.g. `results/report.html`.

    Returns:
        The path.

    Raises:
        MissingExtraError: if matplotlib or jinja2 is not installed (extra `report`).
        ValueError: if `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"`path` must name a file, got the folder {path}. Give e.g. {path / 'report.html'}.")
    require_extra("matplotlib", "report")
    page = _render(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def _render(data: ReportData) -> str:
    """Fill the page's template."""
    jinja2 = require_extra("jinja2", "report")
    # Only now: these modules import matplotlib, which is an extra and slow.
    from sciml.bench.report_page import page_content

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_resource("report.html"))
    return template.render(
        **page_content(data),
        css=jinja2.filters.Markup(_resource("report.css")),
        js=jinja2.filters.Markup(_resource("report.js")),
    )


def _resource(name: str) -> str:
    return files("sciml.bench").joinpath(name).read_text(encoding="utf-8")
