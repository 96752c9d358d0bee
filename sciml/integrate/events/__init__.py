"""Events: where a function of time and state crosses zero, samples end or go on from another state."""

from sciml.integrate.events.event import Event
from sciml.integrate.events.log import Events, Occurrences

__all__ = ["Event", "Events", "Occurrences"]
