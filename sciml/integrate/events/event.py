"""What an event is."""

import numbers
from dataclasses import dataclass
from typing import Any, final

from sciml.core.checks import check_whole
from sciml.integrate.contract import kind_of


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

    At `t0` nothing fires; the sign of a real `fn` there only says on which side the sample begins:

    - above 0: it fires where `fn` falls to 0, if `direction` is -1 or 0;
    - below 0: it fires where `fn` rises to 0, if `direction` is +1 or 0;
    - exactly 0: its side is that to which the field takes it; then as above. So a ball that is thrown up from the floor
      bounces when it is down again, and one that is on its way down falls through.

    So a sample that is beyond the zero at `t0` already, or goes there from it, is not stopped. Where it should be, look
    at fn(t0, y0) before: leave it out, or begin from what `jump` makes of it. Or give a boolean function as a guard:
    where that is True at `t0`, as y[:, 0] < 0 may be, the sample fails by name. A jump fires no event either: sides are
    taken anew behind it, as at `t0`, and a boolean function that is True there fires after it has been False.

    The gradient of the time follows from the implicit-function rule, and reaches y0, times, parameters of the field, of
    `fn` and of `jump`, also in second order. A boolean function has none, and is refused where one would be recorded.

    Args:
        fn: fn(t, y) -> (batch,), real or boolean. `t` is (batch, 1, ..., 1) of the rank of `y` in its real dtype. It
            must not mix rows, and leaves `t` and `y` as they are. Real: fires where the sign changes; a value of 0
            counts as arrived. Boolean: fires where it becomes True.
        direction: +1 for rising (False to True) only, -1 for falling (True to False) only, 0 for both of a real
            function.
        jump: jump(t, y) -> y, the state that the sample goes on from, of the same structure, shapes and dtypes. It is
            called with all rows, but what it gives is used in those that jump only; it may write into its `y`, which is
            a copy. Without it the sample goes on as it is, or ends.
        terminal: whether the sample ends; by default if there is no jump. It ends behind the jump where there is one.
        at_most: a sample fails when the event comes more often than this: a guard against events that never end. One
            that comes again and again at the same time fails at once.
        probes: times between the ends of a step at which the event is looked for.

    Raises:
        TypeError: if `fn` or `jump` cannot be called, or `terminal` is no truth value.
        ValueError: for a direction that is none of -1, 0, +1, `at_most` below 1 or `probes` below 0.
    """

    fn: Any  # checked below, so that a mistake is answered in words
    direction: int = 0
    jump: Any = None
    terminal: bool | None = None
    at_most: int = 10_000
    probes: int = 3

    def __post_init__(self) -> None:
        check_function("fn", self.fn)
        check_direction(self.direction)
        if self.jump is not None:
            check_function("jump", self.jump)
        if not isinstance(self.terminal, bool | None):
            raise TypeError(
                f"`terminal` must be True, False or None, got {kind_of(self.terminal)}. Leave it out, and the sample "
                "ends if there is no jump."
            )
        check_whole("at_most", self.at_most, 1)
        check_whole("probes", self.probes, 0)

    @property
    def ends(self) -> bool:
        """Whether a sample ends here."""
        return self.jump is None if self.terminal is None else self.terminal


def check_function(name: str, value: Any) -> None:
    """Raise unless `value` is a function of time and state."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"`{name}` must be a function of (t, y), got {kind_of(value)}. Write e.g. lambda t, y: ...")


def check_direction(value: Any) -> None:
    """Raise unless `value` is -1, 0 or +1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value not in (-1, 0, 1):
        raise ValueError(f"`direction` must be +1 (rising), -1 (falling) or 0 (both), got {value!r}. Give one of them.")


def checked_events(event: Any) -> tuple[Event, ...]:
    """The events of a solve, in order.

    Raises:
        TypeError: if one is no `Event`.
    """
    if event is None:
        return ()
    many = isinstance(event, list | tuple)
    events: tuple[Any, ...] = tuple(event) if many else (event,)
    for k, each in enumerate(events):
        if not isinstance(each, Event):
            where = f" at place {k}" if many else ""
            remedy = "Give system.events of a Hybrid" if hasattr(each, "events") else "Write Event(fn)"
            raise TypeError(
                f"`event` must be an Event or a list or tuple of them, got {kind_of(each)}{where}. {remedy}."
            )
    return events
