"""Errors of training that a caller may want to catch."""


class DivergedError(RuntimeError):
    """The loss is no longer finite. The last checkpoint is from before that."""
