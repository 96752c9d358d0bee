"""Errors a caller may want to catch, and the message for a missing extra."""

import importlib
from types import ModuleType


class FileContentError(ValueError):
    """A file exists and can be opened, but does not hold what it should."""


class MissingExtraError(ImportError):
    """A package of an optional extra is not installed."""


def require_extra(module: str, extra: str) -> ModuleType:
    """Import `module`, or name the extra that installs it.

    Raises:
        MissingExtraError: if `module` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise MissingExtraError(
            f"This needs the package `{module.split('.')[0]}`, which is not installed. "
            f"It comes with the extra `{extra}`: pip install 'sciml-torch[{extra}]'."
        ) from error
