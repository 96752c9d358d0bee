"""Tables of the report: numbers written by column metadata, the best of a column marked, keys to sort by."""

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd

from sciml.bench.report_columns import Better, Column, Notation
from sciml.bench.report_style import Style

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN = (1e-3, 1e5)  # outside, significant digits are written with a power of ten


@final
@dataclass(frozen=True)
class Cell:
    """One entry: its text, the spread shown small beside it, what it sorts by, and how it is set."""

    text: str
    spread: str
    key: str
    best: bool
    style: Style | None


@final
@dataclass(frozen=True)
class Heading:
    """One column's heading; the first click on it sorts downwards if `descending`."""

    title: str
    unit: str
    meaning: str
    numeric: bool
    descending: bool


@final
@dataclass(frozen=True)
class Grid:
    """A table ready for the template."""

    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]


def power_of_ten(exponent: int) -> str:
    """10 to a whole power in typographic form, e.g. `10⁻⁵`."""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def write_number(value: Any, column: Column) -> str:
    """A number as `column` wants it: NaN and infinity in words, minus sign and powers of ten set properly."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}".replace(",", "\u202f").replace("-", "−")
    if math.isnan(value):
        return column.missing
    if math.isinf(value):
        return column.beyond if value > 0 else "−∞"
    if column.notation is Notation.FIXED:
        return f"{value:,.{column.digits}f}".replace(",", "\u202f").replace("-", "−")
    rounded = float(f"{value:.{column.digits - 1}e}")
    if rounded == 0 or _PLAIN[0] <= abs(rounded) < _PLAIN[1]:
        magnitude = math.floor(math.log10(abs(rounded))) if rounded else 0
        return f"{rounded:.{max(0, column.digits - 1 - magnitude)}f}".replace("-", "−")
    mantissa, exponent = f"{value:.{column.digits - 1}e}".split("e")
    return f"{mantissa}\u2009×\u2009{power_of_ten(int(exponent))}".replace("-", "−")


def make_grid(frame: pd.DataFrame, columns: tuple[Column, ...], styles: dict[str, Style]) -> Grid:
    """Write a data frame; columns without metadata are titled by their name, ends of a spread folded in."""
    known = {column.name: column for column in columns}
    shown = [known.get(str(name)) or Column(str(name), str(name).replace("_", " ")) for name in frame.columns]
    folded = {end for column in shown for end in (column.low, column.high) if end in frame.columns}
    shown = [column for column in shown if column.name not in folded]
    named = frame.set_axis([str(name) for name in frame.columns], axis=1)
    cells = [_column_cells(named, column, styles) for column in shown]
    return Grid(
        headings=tuple(_heading(pd.Series(named[column.name]), column) for column in shown),
        rows=tuple(zip(*cells, strict=True)),
    )


def _is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values)


def _heading(values: pd.Series, column: Column) -> Heading:
    meaning = ". ".join(part.rstrip(".") for part in (column.meaning, column.better.value) if part)
    numeric = _is_numeric(values)
    return Heading(column.title, column.unit, meaning, numeric, column.better is Better.HIGHER)


def _column_cells(frame: pd.DataFrame, column: Column, styles: dict[str, Style]) -> list[Cell]:
    values = pd.Series(frame[column.name])
    if not _is_numeric(values):
        texts = ["" if value is None or value is pd.NA else str(value) for value in values]
        by_model = styles if column.name == "model" else {}
        return [Cell(text, "", text.casefold(), False, by_model.get(text)) for text in texts]
    entries = [math.nan if pd.isna(value) else value for value in values.tolist()]
    texts = [write_number(value, column) for value in entries]
    best = _best_text(entries, texts, column.better)
    spreads = _spreads(frame, column, len(entries))
    keys = ["" if math.isnan(value) else repr(float(value)) for value in entries]
    return [Cell(t, s, k, t == best, None) for t, s, k in zip(texts, spreads, keys, strict=True)]


def _spreads(frame: pd.DataFrame, column: Column, count: int) -> list[str]:
    if column.low not in frame.columns or column.high not in frame.columns:
        return [""] * count
    ends = zip(frame[column.low].tolist(), frame[column.high].tolist(), strict=True)
    return [_spread(low, high, column) for low, high in ends]


def _spread(low: float, high: float, column: Column) -> str:
    """`low – high`, or nothing for one seed."""
    texts = (write_number(low, column), write_number(high, column))
    return "" if math.isnan(low) or math.isnan(high) or texts[0] == texts[1] else f"{texts[0]} – {texts[1]}"


def _best_text(values: list[Any], texts: list[str], better: Better) -> str | None:
    """How the best value is written; ties as written are all best. None if nothing can be compared."""
    comparable = [i for i, value in enumerate(values) if not math.isnan(value)]
    if better is Better.NONE or len(comparable) < 2:
        return None
    choose = min if better is Better.LOWER else max
    return texts[choose(comparable, key=lambda i: values[i])]
