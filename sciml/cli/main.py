"""Entry point of the `sciml` command: turns errors into one readable line and an exit code.

Exit codes: 0 done, 1 the computation failed, 2 wrong arguments or bad input, 130 interrupted (run again to resume).
"""

import sys
from typing import Any

from sciml.core import MissingExtraError, require_extra


def main(arguments: list[str] | None = None) -> None:
    """Run the command with `arguments` (by default those of the process) and exit."""
    try:
        require_extra("typer", "cli")
        require_extra("rich", "cli")
    except MissingExtraError as error:
        sys.exit(_say(str(error), 2))
    # Only now: the application is built with typer, which is an extra.
    from sciml.cli.application import application

    sys.exit(_run(application, arguments))


def _run(application: Any, arguments: list[str] | None) -> int:
    import typer

    from sciml.data import LostWorkersError
    from sciml.integrate import SolveError
    from sciml.training import DivergedError

    # typer may carry its own copy of click, whose exceptions are not those of the package click.
    usage_error: Any = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")
    try:
        result = application(arguments, prog_name="sciml", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        return _say("interrupted; run the same command again to continue", 130)
    except usage_error as error:
        error.show()
        return 2
    except (SolveError, DivergedError, LostWorkersError) as error:
        return _say(str(error), 1)
    except (ValueError, TypeError, IndexError, OSError, MemoryError, MissingExtraError) as error:
        return _say(_as_options(str(error)), 2)


def _as_options(message: str) -> str:
    """The advice of the library, as one gives it here."""
    return message.replace("set overwrite=True", "give --overwrite")


def _say(message: str, code: int) -> int:
    print(f"sciml: {message}", file=sys.stderr)
    return code
