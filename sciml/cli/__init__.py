"""The `sciml` command."""

from sciml.cli.main import main

__all__ = ["main"]
