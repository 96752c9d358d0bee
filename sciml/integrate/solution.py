"""What comes out of a solve."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ORDER = ("t0", "t1", "ts", "steps")
"""Of outputs, where several were kept."""


@final
class Result(enum.IntEnum):
    """Why a sample ended."""

    SUCCESS = 0
    NON_FINITE = 1
    STEP_TOO_SMALL = 2
    MAX_STEPS = 3
    NOT_REVERSIBLE = 4
    NOT_CONVERGED = 5
    TOO_MANY_EVENTS = 10
    EVENT_NOT_FINITE = 11
    EVENT_AT_START = 12
    JUMP_NOT_FINITE = 13

    @property
    def text(self) -> str:
        """The reason in words, with what to try, whatever the method."""
        return "; ".join([_TEXTS[self], *(texts[self] for texts in (_IF_EXPLICIT, _IF_IMPLICIT) if self in texts)])

    def text_for(self, *, implicit: bool, fixed: bool) -> str:
        """The same for a method.

        Args:
            implicit: whether it solves equations with the Jacobian of the field.
            fixed: whether its steps were given; with error control, steps of an explicit method that are too large for
                a stiff problem are rejected, and not what makes a state infinite.
        """
        if implicit:
            return "; ".join([_TEXTS[self], *([_IF_IMPLICIT[self]] if self in _IF_IMPLICIT else [])])
        stiff = self in _IF_EXPLICIT and (fixed or self != Result.NON_FINITE)
        return "; ".join([_TEXTS[self], *([_IF_EXPLICIT[self]] if stiff else [])])


_TEXTS = {
    Result.SUCCESS: "reached t1, or was ended by an event",
    Result.NON_FINITE: (
        "the state became NaN or infinite: the step is probably too large for the problem (take a smaller dt or a "
        "method of wider stability), or the field itself is not finite there"
    ),
    Result.STEP_TOO_SMALL: (
        "the step size fell below what the time can resolve, below dt_min, or below the resolution of the path of an "
        "Ito term (give it more intervals or depth, or loosen the tolerance): the solution probably has a singularity, "
        "the "
        "field is discontinuous there (name the times in Clip(jumps=...)), or the tolerance is below the rounding "
        "of this precision"
    ),
    Result.MAX_STEPS: "max_steps attempts were made before t1: raise max_steps or loosen the tolerances",
    Result.NOT_REVERSIBLE: (
        "taking the steps back did not return to y0, so gradients would be wrong: the problem forgets its past faster "
        "than rounding allows (take gradient=Checkpoint()), or the steps are too large (take smaller ones)"
    ),
    Result.NOT_CONVERGED: (
        "Newton's iteration for an implicit step did not converge, or its matrix was singular: the step is too large "
        "for the problem (take a smaller dt, or PID steps), the Jacobian is singular or not finite there, or the field "
        "is not smooth (name the times of jumps in Clip(jumps=...)); a larger Newton(iterations=...) may help"
    ),
    Result.TOO_MANY_EVENTS: (
        "an event came more often than its `at_most`, or again and again at one time, as where a ball comes to rest: "
        "raise `at_most`, end the sample or change its mode before (a terminal event at a small speed), or let `jump` "
        "leave the zero of `fn`"
    ),
    Result.EVENT_NOT_FINITE: (
        "`fn` of an event became NaN: make it finite also where a step may reach beyond the event, or take smaller "
        "steps by PID(dt_max=...)"
    ),
    Result.EVENT_AT_START: (
        "a boolean event held at t0 already, and could only fire after it had ended: begin before it, leave the sample "
        "out, or give a real function, which may be on either side at t0"
    ),
    Result.JUMP_NOT_FINITE: (
        "`jump` of an event gave a state that is NaN or infinite: make it finite for every state in which `fn` is zero"
    ),
}

_IF_EXPLICIT = {
    Result.NON_FINITE: (
        "if the problem is stiff, an explicit method is unstable with steps beyond its fastest decay: take a smaller "
        "dt, or an implicit method, e.g. Rodas5P() or Kvaerno5()"
    ),
    Result.STEP_TOO_SMALL: (
        "if the problem is very stiff, an explicit method needs such steps: take an implicit one, e.g. Kvaerno5()"
    ),
    Result.MAX_STEPS: (
        "if an explicit method takes steps far smaller than the solution changes, the problem is stiff: take an "
        "implicit one, e.g. Rodas5P() or Kvaerno5()"
    ),
}
_IF_IMPLICIT = {
    reason: (
        "if an implicit method takes steps far smaller than the solution changes, its Jacobian is probably not that of "
        "the field, which is cut off from the gradient (detach(), no_grad(), item()) or not smooth, or the tolerances "
        "are too tight"
    )
    for reason in (Result.STEP_TOO_SMALL, Result.MAX_STEPS)
}


class SolveError(RuntimeError):
    """A solve failed for at least one sample; `throw=False` returns the solution with the reasons instead."""


@final
@dataclass(frozen=True)
class Stats:
    """Counts per sample, (batch,).

    Args:
        steps: accepted steps.
        attempts: steps that were tried; as many as `steps` on a fixed grid.
        evaluations: of the field, those that chose the first step included; not those of the dense output.
        last_step: size of the last accepted step, [time]; negative when integrating backwards.
    """

    steps: Int[Tensor, " batch"]
    attempts: Int[Tensor, " batch"]
    evaluations: Int[Tensor, " batch"]
    last_step: Float[Tensor, " batch"]

    @property
    def rejected(self) -> Int[Tensor, " batch"]:
        """Attempts that were not accepted."""
        return self.attempts - self.steps


@final
@dataclass(frozen=True)
class Solution:
    """The outcome of `solve`; with `SaveAt(dense=True)` also a function of time.

    Args:
        ts: the times that were kept, in the layout of `ys`, [time].
        ys: the states that were kept; see `SaveAt`.
        stats: counts per sample.
        result: one `Result` code per sample. A failed sample is frozen at its last state known to be finite; its
            batch-mates are not affected. Where gradients are recorded, states of a sample that became NaN or whose
            equations could not be solved have none (with `throw=False`): the solve is made once more with a good
            sample in its place. So gradients of what all share, e.g. of parameters, are those of the others, unless
            the field fails for any state in that row, as with a row per sample of its own, or there are events.
        dense: the function behind `solution(t)`, or None.
        events: an `Events`: what happened, and which samples an event ended before t1 (a success); None in a solve
            without events.
    """

    ts: Any
    ys: Any
    stats: Stats
    result: Int[Tensor, " batch"]
    dense: Callable[[Tensor], Any] | None = field(default=None, repr=False)
    events: Any = None

    def __call__(self, t: float | Tensor) -> Any:
        """The state at any time between t0 and t1, by the dense output of the method.

        A sample is NaN behind the time at which an event ended it, or where it failed: others may go on, so that this
        is no error.

        Args:
            t: [time]: a number or 0-D for (batch, *state); (time,) or (batch, time) for (batch, time, *state).

        Raises:
            ValueError: without `SaveAt(dense=True)`, for a time that is not between t0 and t1, or if no step was taken.
        """
        if self.dense is None:
            raise ValueError(
                "`solution(t)` needs the dense output, but it was not kept. Solve with SaveAt(dense=True)."
            )
        return self.dense(torch.as_tensor(t, dtype=torch.float64))


def unwrapped(ts: dict[str, Any], ys: dict[str, Any]) -> tuple[Any, Any]:
    """A single output stands for itself; several come in one order, however they were made."""
    names = [name for name in _ORDER if name in ys]
    if not names:
        return None, None
    if len(names) == 1:
        return ts[names[0]], ys[names[0]]
    return {name: ts[name] for name in names}, {name: ys[name] for name in names}
