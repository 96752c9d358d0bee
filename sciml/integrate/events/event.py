"""What an event is."""

from dataclasses import dataclass
from typing import Any, final

from sciml.core.checks import check_whole


@final
@dataclass(frozen=True, eq=False)
class Event:
    """A zero crossing of `fn` along a sample's solution, in the direction of integration.

    Samples are on their own: each has its own events at its own times. The event of one changes nothing of the others
    (bitwise at equal batch size); with joint steps it may end one of them, no more.

    An event is looked for at the end of each accepted step and at `probes` times between, by the dense output. So none
    is missed whose `fn` keeps its sign for at least 1/(probes + 1) of a step on both sides (limit steps by
    PID(dt_max=...) if need be). It is located by bracketing, to the resolution of the time in float64, on the side
    where it has happened. Of several events the earliest comes first; of those at one time the first in order, and the
    others after its jump if they hold then.

    At `t0` nothing fires. A function that is zero there fires when it comes back to zero: its side is that to which the
    field takes it. A jump fires no event either: sides are taken anew behind it, as at `t0`.

    The gradient of the time follows from the implicit-function rule, and reaches y0, times, parameters of the field, of
    `fn` and of `jump`, also in second order. A boolean function has none, and is refused where one would be recorded.

    Args:
        fn: fn(t, y) -> (batch,), real or boolean. `t` is (batch, 1, ..., 1) of the rank of `y` in its real dtype. It
            must not mix rows and not change `y`. Real: fires where the sign changes; a value of 0 counts as arrived.
            Boolean: fires where it becomes True.
        direction: +1 for rising (False to True) only, -1 for falling (True to False) only, 0 for both of a real
            function.
        jump: jump(t, y) -> y, the state that the sample goes on from, of the same structure, shapes and dtypes. It is
            called with all rows, but what it gives is used in those that jump only. Without it the sample goes on as it
            is, or ends.
        terminal: whether the sample ends; by default if there is no jump. It ends behind the jump where there is one.
        at_most: a sample fails when the event comes more often than this: a guard against events that never end. One
            that comes again and again at the same time fails at once.
        probes: times between the ends of a step at which the event is looked for.

    Raises:
        TypeError: if `fn` or `jump` cannot be called.
        ValueError: for a direction that is none of -1, 0, +1, `at_most` below 1 or `probes` below 0.
    """

    fn: Any  # checked below, so that a mistake is answered in words
    direction: int = 0
    jump: Any = None
    terminal: bool | None = None
    at_most: int = 10_000
    probes: int = 3

    def __post_init__(self) -> None:
        for name, value in (("fn", self.fn), ("jump", self.jump)):
            if value is not None and not callable(value) or name == "fn" and value is None:
                raise TypeError(
                    f"`{name}` must be a function of (t, y), got a {type(value).__name__}. Write lambda t, y: ..."
                )
        if self.direction not in (-1, 0, 1):
            raise ValueError(
                f"`direction` must be +1 (rising), -1 (falling) or 0 (both), got {self.direction!r}. Give one of them."
            )
        check_whole("at_most", self.at_most, 1)
        check_whole("probes", self.probes, 0)

    @property
    def ends(self) -> bool:
        """Whether a sample ends here."""
        return self.jump is None if self.terminal is None else self.terminal


def checked_events(event: Any) -> tuple[Event, ...]:
    """The events of a solve, in order.

    Raises:
        TypeError: if one is no `Event`.
    """
    if event is None:
        return ()
    events: tuple[Any, ...] = tuple(event) if isinstance(event, list | tuple) else (event,)
    for each in events:
        if not isinstance(each, Event):
            raise TypeError(
                f"`event` must be an Event or a sequence of them, got a {type(each).__name__}. Write Event(fn)."
            )
    return events
