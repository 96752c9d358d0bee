"""How the numbers of a table are written: a title, a unit, digits, and which values are good."""

from dataclasses import dataclass
from enum import Enum
from typing import final


class Better(Enum):
    """Which values of a column are good."""

    LOWER = "lower is better"
    HIGHER = "higher is better"
    NONE = ""


class Notation(Enum):
    """What `Column.digits` counts: digits after the point, or significant ones."""

    FIXED = "digits after the point"
    SIGNIFICANT = "significant digits"


@final
@dataclass(frozen=True)
class Column:
    """How one column of a table is titled and its numbers are written.

    Args:
        name: the column of the data frame.
        title: its heading.
        unit: shown behind the heading; empty for none.
        digits: how many, counted as `notation` says; whole numbers are written in full.
        better: which value of the column is set in bold.
        notation: what `digits` counts.
        low, high: columns that hold the ends of the spread, shown small beside the value and not on their
            own.
        beyond: text for infinite values, e.g. `> 128` for a curve that never crosses.
        missing: text for NaN, e.g. `blown up`.
        meaning: one sentence, shown when the reader points at the heading.
    """

    name: str
    title: str
    unit: str = ""
    digits: int = 3
    better: Better = Better.NONE
    notation: Notation = Notation.SIGNIFICANT
    low: str | None = None
    high: str | None = None
    beyond: str = "∞"
    missing: str = "–"
    meaning: str = ""

    def __post_init__(self) -> None:
        if self.digits < (1 if self.notation is Notation.SIGNIFICANT else 0):
            raise ValueError(f"`digits` must be at least 1 (0 if fixed), got {self.digits}. Give e.g. 3.")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"`low` and `high` must come together, got {self.low!r}, {self.high!r}. Name both.")
