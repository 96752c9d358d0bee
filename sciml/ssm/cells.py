"""The table of what runs how: structure x rule x intervals x execution x who chooses the system.

Every call looks its cell up before anything runs; a test walks all of them.
"""

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from sciml.ssm.discretise import (
    ZOH,
    AbstractDiscretisation,
    AbstractRational,
    Bilinear,
    Discrete,
    GeneralizedBilinear,
    SimplifiedZOH,
)
from sciml.ssm.executions import AbstractExecution, Chunked, Convolution, Recurrent, Scan
from sciml.ssm.matrices import AbstractMatrix, Companion, Dense, Diagonal, DiagonalPlusLowRank


class RefusedError(ValueError):
    """A combination of structure, rule, intervals and execution that does not exist or would not be worth its name."""


class AbstractStatus(abc.ABC):  # noqa: B024
    """What a cell says. Subclasses are final."""


@final
@dataclass(frozen=True)
class Supported(AbstractStatus):
    """Exact for an input held over each interval."""


@final
@dataclass(frozen=True)
class Approximate(AbstractStatus):
    """Equal to the other executions of the rule, whose error for a held input is of `order` in the interval."""

    order: int


@final
@dataclass(frozen=True)
class Refused(AbstractStatus):
    """Not done, and why, with the remedy."""

    reason: str


@final
@dataclass(frozen=True)
class Cell:
    """One combination.

    Args:
        matrix: the structure.
        rule: the discretisation.
        changing: whether intervals differ between samples or times.
        execution: how it runs.
        selective: whether the input chooses steps, B or C.
    """

    matrix: type[AbstractMatrix]
    rule: AbstractDiscretisation
    changing: bool
    execution: AbstractExecution
    selective: bool

    @property
    def status(self) -> AbstractStatus:
        """Supported, approximate or refused."""
        for refused, reason in self._refusals():
            if refused:
                return Refused(reason)
        return Supported() if self.rule.order is None else Approximate(self.rule.order)

    def check(self) -> None:
        """Raise where it is refused.

        Raises:
            RefusedError: with the reason and the remedy.
        """
        status = self.status
        if isinstance(status, Refused):
            how = "changing intervals" if self.changing else "one interval"
            who = ", chosen by the input" if self.selective else ""
            raise RefusedError(
                f"{self.matrix.__name__} with {self.rule} and {how}{who} does not run as "
                f"{self.execution}: {status.reason}"
            )

    def _refusals(self) -> Iterator[tuple[bool, str]]:
        low_rank = self.matrix is DiagonalPlusLowRank
        within = innermost(self.execution)
        yield (
            low_rank and not isinstance(self.rule, AbstractRational | Discrete),
            "the exponential of a diagonal matrix plus low rank is full. Take Bilinear(), or Dense(matrix.full()).",
        )
        yield (
            isinstance(self.rule, Discrete) and self.matrix in (Diagonal, DiagonalPlusLowRank),
            "the parameters keep it stable as a flow, not as a map. Take ZOH() or Bilinear(), or a Dense map.",
        )
        yield (
            isinstance(self.rule, Discrete) and self.selective,
            "the step of a map is the map itself and cannot be chosen. Take ZOH() with the matrix of a flow.",
        )
        yield (
            isinstance(within, Convolution) and self.selective,
            "a convolution has one kernel for all times. Take Scan() or Recurrent().",
        )
        yield (
            isinstance(within, Convolution) and self.changing,
            "a convolution has one kernel for all intervals. Take Scan() or Recurrent().",
        )
        yield (
            low_rank
            and isinstance(within, Convolution)
            and isinstance(self.rule, AbstractRational)
            and self.rule.alpha < 0.5,
            "the kernel is found on a circle inside the unit one, which steps of this rule may leave: rounding errors "
            "grow. Take Recurrent(), or Bilinear().",
        )
        yield (
            low_rank and isinstance(within, Scan),
            "joined steps of a diagonal matrix plus low rank have a rank that grows. Take Recurrent(), or "
            "Convolution() for one interval.",
        )


def innermost(execution: AbstractExecution) -> AbstractExecution:
    """What runs each piece."""
    while isinstance(execution, Chunked):
        execution = execution.within
    return execution


_JOINED = 2**15
"""Multiplications in joining two dense steps of all samples and systems from which on a scan is slower than a loop.

Measured on one core, with 3 and with all distinct intervals, forward and with gradients: at 2^13 (2 samples, 8 systems
of 8 states) the scan took 0.2 to 0.6 of the loop's time, at 2^16 (16 states) 0.8 to 0.9, at 2^21 (4 samples, 16 systems
of 32 states) 5 to 6 times as much.
"""


def default_execution(
    matrix: type[AbstractMatrix],
    rule: AbstractDiscretisation,
    changing: bool,
    selective: bool,
    inputs: int = 1,
    joined: int = 0,
) -> AbstractExecution:
    """The fastest that is not refused, on long series.

    One diagonal system of many inputs has few states to scan; dense matrices are joined by products of n^3.

    Args:
        matrix: the structure.
        rule: the discretisation.
        changing: whether intervals differ.
        selective: whether the input chooses steps, B or C.
        inputs: per system.
        joined: samples times systems times n^3, on a processor; 0 on an accelerator, where steps cost a call each.
    """
    whole = Cell(matrix, rule, changing, Convolution(), selective)
    if not (matrix is Diagonal and inputs > 1) and not isinstance(whole.status, Refused):
        return Convolution()
    dense = matrix is Dense or matrix is Companion
    return Recurrent() if matrix is DiagonalPlusLowRank or (dense and joined > _JOINED) else Scan()


MATRICES = (Diagonal, DiagonalPlusLowRank, Companion, Dense)
RULES = (
    ZOH(),
    SimplifiedZOH(),
    Bilinear(),
    *(GeneralizedBilinear(alpha) for alpha in (0.0, 0.75, 1.0)),
    Discrete(),
)
EXECUTIONS = (
    Convolution(),
    Scan(),
    Recurrent(),
    Chunked(Convolution(), 5),
    Chunked(Scan(), 5),
    Chunked(Recurrent(), 5),
)


def cells() -> list[Cell]:
    """All combinations."""
    return [
        Cell(matrix, rule, changing, execution, selective)
        for matrix in MATRICES
        for rule in RULES
        for changing in (False, True)
        for execution in EXECUTIONS
        for selective in (False, True)
    ]
