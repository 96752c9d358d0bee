"""The training log: a CSV file with one row per logged step, in order and without repeats, whatever was interrupted."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import final

from sciml.core.atomic import replacing


@final
class CsvLog:
    """Rows of numbers appended to a CSV file; new columns may appear later.

    Args:
        path: the file; rows after `step` that an interrupted run left behind are dropped from it.
        step: last step that is kept.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self._columns: list[str] = []
        if path.exists():
            rows = [row for row in _read(path) if int(row["step"]) <= step]
            self._columns = list(rows[0]) if rows else []
            self._rewrite(rows)

    def write(self, row: Mapping[str, float]) -> None:
        """Append `row`; it is in the file when this returns."""
        new = [name for name in row if name not in self._columns]
        if new:
            rows = _read(self.path) if self.path.exists() else []
            self._columns += new
            self._rewrite(rows)
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(row)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with replacing(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            if self._columns:
                writer.writeheader()
            writer.writerows(rows)


def _read(path: Path) -> list[dict[str, str]]:
    """The complete rows of the file; a last line cut off by a kill is dropped."""
    text = path.read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [row for row in csv.DictReader(lines) if None not in row.values() and row["step"]]
