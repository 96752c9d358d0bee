"""Files that are there whole or not at all.

A file is written under a temporary name in the same folder, flushed to the disk and renamed, and the folder is flushed
too. So a kill at any moment leaves either the old file or the new one.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temporary: Path, path: Path) -> None:
    """Give a complete temporary file its final name, durably."""
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write; becomes `path` when the block ends well and disappears when it does not."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Make `folder` if needed and prove that files can be written to it.

    Raises:
        OSError: naming the folder, the reason and the remedy.
    """
    probe = folder / f".sciml-write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise type(error)(
            error.errno,
            f"the output folder must be writable, {folder} is not ({error.strerror}). Choose another folder or "
            "change its permissions",
        ) from error
