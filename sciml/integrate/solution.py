"""What comes out of a solve."""

import enum
from dataclasses import dataclass
from typing import Any, final

from jaxtyping import Int
from torch import Tensor


@final
class Result(enum.IntEnum):
    """Why a sample ended."""

    SUCCESS = 0
    NON_FINITE = 1

    @property
    def text(self) -> str:
        """The reason in words, with what to try."""
        return _TEXTS[self]


_TEXTS = {
    Result.SUCCESS: "reached t1",
    Result.NON_FINITE: (
        "the state became NaN or infinite: the step is probably too large for the problem (take a smaller dt or a "
        "method of wider stability), or the field itself is not finite there"
    ),
}


class SolveError(RuntimeError):
    """A solve failed for at least one sample; `throw=False` returns the solution with the reasons instead."""


@final
@dataclass(frozen=True)
class Stats:
    """Counts per sample."""

    steps: Int[Tensor, " batch"]
    evaluations: Int[Tensor, " batch"]


@final
@dataclass(frozen=True)
class Solution:
    """The outcome of `solve`.

    Args:
        ts: the times that were kept, in the layout of `ys`, [time].
        ys: the states that were kept; see `SaveAt`.
        stats: counts per sample.
        result: one `Result` code per sample. A failed sample is frozen at its last state known to be finite; its
            batch-mates are not affected. Only gradients of what all samples share, e.g. of parameters, become NaN.
    """

    ts: Any
    ys: Any
    stats: Stats
    result: Int[Tensor, " batch"]
