"""What is said of a sample that an event made fail: which event, and what of it."""

from sciml.integrate.events.event import Event
from sciml.integrate.solution import Result


def event_failure(result: Result, k: int, event: Event, count: int) -> str:
    """The reason in words, with what to try.

    Args:
        result: why the sample failed.
        k: number of the event.
        event: the event.
        count: how often the sample had had it.
    """
    if result == Result.TOO_MANY_EVENTS:
        return _too_many(k, event, count)
    if result == Result.EVENT_NOT_FINITE:
        return (
            f"`fn` of event {k} became NaN: make it finite also where a step may reach beyond the event, or take "
            "smaller steps by PID(dt_max=...)"
        )
    if result == Result.EVENT_AT_START:
        return (
            f"event {k}, which is boolean, held at t0 already, and could only fire after it had ended: begin before "
            "it, leave the sample out, or give a real function, which may be on either side at t0"
        )
    return (
        f"`jump` of event {k} gave a state that is NaN or infinite, at its occurrence {count + 1}: make it finite for "
        "every state in which `fn` is zero"
    )


def _too_many(k: int, event: Event, count: int) -> str:
    if count >= event.at_most:
        return (
            f"event {k} came more often than its at_most={event.at_most}: raise `at_most`, end the sample or change "
            "its mode before (a terminal event), or let `jump` leave the zero of `fn`"
        )
    return (
        f"event {k} came again and again at one time, as where a ball comes to rest, {count} times up to there: end "
        "the sample or change its mode before (a terminal event at a small speed), or let `jump` leave the zero of `fn`"
    )
