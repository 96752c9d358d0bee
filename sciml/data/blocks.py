"""Blocks on disk: the unit of work, of resuming, and of checking, of a long simulation.

`data.nc.parts/` holds `configuration.json`, a lock, the files of finished blocks, and for each finished block a record
`block-00003.sha256` in the form of `sha256sum`: the SHA-256 of its files. The record is written last, so a block
without one never counts. A block whose bytes do not match its record is made again, with a warning.
"""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from sciml.core import FileContentError
from sciml.core.atomic import prepare_folder, publish, replacing, sync

CONFIGURATION = "configuration.json"
_LOCK = "lock"
_UNFINISHED = ("*.tmp", "*.partial")  # our own temporary files, and those of zarr


@final
class BlockStore:
    """The finished blocks of one configuration. Only one process directs the work on them at a time.

    Args:
        out: the file that the blocks will become.
        configuration: what determines the content, as plain JSON values.
        digest: digest of the configuration.
        overwrite: discard blocks of another configuration.

    Raises:
        FileExistsError: if there are blocks of another configuration and `overwrite` is not set.
        FileContentError: if what says whose blocks they are is damaged and `overwrite` is not set.
        BlockingIOError: if another process is at work on them.
        OSError: if the folder is not writable.
    """

    def __init__(self, out: Path, configuration: dict[str, Any], digest: str, *, overwrite: bool) -> None:
        self.out, self.folder = out, parts_folder(out)
        prepare_folder(out.parent)
        self._lock = self._acquire()
        try:
            self._claim(configuration, digest, overwrite)
        except BaseException:
            self.release()
            raise

    def _acquire(self) -> int:
        """Hold the folder for this process; the system lets go when the process ends, however it ends."""
        lock = self.folder / _LOCK
        while True:
            self.folder.mkdir(exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
            try:
                _exclusive(descriptor)
                if lock.exists() and os.fstat(descriptor).st_ino == lock.stat().st_ino:
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                raise BlockingIOError(
                    f"only one process may simulate {self.out} at a time, and another one is doing so. Wait "
                    "for it, or choose another name."
                ) from None
            os.close(descriptor)  # the holder finished and removed the folder in between

    def _claim(self, configuration: dict[str, Any], digest: str, overwrite: bool) -> None:
        record = self.folder / CONFIGURATION
        found = recorded_digest(self.folder, overwrite=overwrite)
        started = any(self.folder.glob("block-*.sha256"))
        if found != digest and started and not overwrite:
            raise FileExistsError(
                f"{self.folder} must hold blocks of this configuration ({digest[:12]}), but they belong to "
                f"another one ({str(found)[:12]}), see {record}. Finish that one, delete the folder, choose "
                "another name, or set overwrite=True."
            )
        for pattern in _UNFINISHED:
            for path in self.folder.rglob(pattern):
                _remove(path)
        if found == digest:
            return
        for path in self.folder.iterdir():
            if path.name not in (_LOCK, CONFIGURATION):
                _remove(path)
        with replacing(record) as temporary:
            temporary.write_text(json.dumps({"digest": digest, "configuration": configuration}, indent=1))

    def finished(self, number: int) -> bool:
        """Whether the files of a block are there and match its record."""
        record = _record(self.folder, number)
        if not record.exists():
            return False
        lines = record.read_text(errors="replace").splitlines()
        if not lines or not all("  " in line for line in lines):
            warnings.warn(f"{record} must list the files of a block and does not, so it is made again.", stacklevel=2)
            return False
        for line in lines:
            expected, name = line.split("  ", 1)
            path = self.folder / name
            if not path.exists() or _file_digest(path) != expected:
                warnings.warn(f"{path} does not match its checksum and is made again.", stacklevel=2)
                return False
        return True

    def remove(self) -> None:
        """Delete the folder: the blocks have become the file."""
        # Configuration and lock last: whatever a kill leaves can be claimed and removed again.
        last = [self.folder / CONFIGURATION, self.folder / _LOCK]
        for path in [*(entry for entry in self.folder.iterdir() if entry not in last), *last]:
            _remove(path)
        with contextlib.suppress(OSError):  # a worker that nobody waits for any more may still have left something
            self.folder.rmdir()
        sync(self.folder.parent)

    def release(self) -> None:
        """Let other processes work on the blocks."""
        os.close(self._lock)


def parts_folder(out: Path) -> Path:
    """Where the blocks of `out` are kept until it is complete."""
    return out.with_name(out.name + ".parts")


def recorded_digest(folder: Path, *, overwrite: bool = False) -> str | None:
    """Digest of the configuration whose blocks a folder holds, or None if there is none.

    Raises:
        FileContentError: if the file that says so is damaged and `overwrite` is not set.
    """
    record = folder / CONFIGURATION
    if not record.exists():
        return None
    try:
        return json.loads(record.read_text())["digest"]
    except (ValueError, TypeError, KeyError) as error:  # ValueError: neither JSON nor text
        if overwrite:
            return None
        raise FileContentError(
            f"{record} must say whose blocks lie beside it, but it is truncated or damaged ({error}). Delete "
            f"{folder}, or set overwrite=True; its blocks are made again."
        ) from error


def records(folder: Path) -> int:
    """How many blocks have a record; their files are not read."""
    return len(list(folder.glob("block-*.sha256")))


def record(folder: Path, number: int, files: Sequence[Path]) -> None:
    """Note that a block is finished: its files are complete on the disk."""
    lines = [f"{_file_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    with written_once(_record(folder, number)) as temporary:
        temporary.write_text("".join(lines))


@contextlib.contextmanager
def written_once(path: Path) -> Iterator[Path]:
    """As `replacing`, with a temporary name that no other process has: two may be at work on one block."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _record(folder: Path, number: int) -> Path:
    return folder / f"block-{number:05d}.sha256"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exclusive(descriptor: int) -> None:
    """Lock without waiting, where the system can."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: two processes would write equal blocks
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
