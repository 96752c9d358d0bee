"""The interface of step control."""

import abc


class AbstractControl(abc.ABC):  # noqa: B024
    """Chooses steps. Subclasses are final."""
