"""Blocks on disk: the unit of work, of resuming, and of checking, of a long simulation.

`data.nc.parts/` holds `configuration.json`, a lock, and for each finished block `block-00003.nc` with the
SHA-256 of its bytes in `block-00003.sha256`. The checksum is in place before the block, so a block without
one never counts. A block whose bytes do not match its checksum is made again, with a warning.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from sciml.core.atomic import prepare_folder, replacing, sync


@final
class BlockStore:
    """The finished blocks of one configuration. Only one process works on them at a time.

    Args:
        out: the file that the blocks will become.
        configuration: what determines the content, as plain JSON values.
        digest: digest of the configuration.
        overwrite: discard blocks of another configuration.

    Raises:
        FileExistsError: if there are blocks of another configuration and `overwrite` is not set.
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
        lock = self.folder / "lock"
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
        record = self.folder / "configuration.json"
        found = json.loads(record.read_text())["digest"] if record.exists() else None
        started = any(self.folder.glob("block-*.nc"))
        if found == digest:
            return
        if started and not overwrite:
            raise FileExistsError(
                f"{self.folder} must hold blocks of this configuration ({digest[:12]}), but they belong to "
                f"another one ({str(found)[:12]}), see {record}. Finish that one, delete the folder, choose "
                "another name, or set overwrite=True."
            )
        for block in [*self.folder.glob("block-*.nc"), *self.folder.glob("block-*.sha256")]:
            block.unlink()
        with replacing(record) as temporary:
            temporary.write_text(json.dumps({"digest": digest, "configuration": configuration}, indent=1))

    def path(self, number: int) -> Path:
        """Where block `number` is kept."""
        return self.folder / f"block-{number:05d}.nc"

    def finished(self, number: int) -> bool:
        """Whether the block is there and matches its checksum."""
        block = self.path(number)
        checksum = block.with_suffix(".sha256")
        if not (block.exists() and checksum.exists()):
            return False
        if checksum.read_text() == _file_digest(block):
            return True
        warnings.warn(f"{block} does not match its checksum and is made again.", stacklevel=2)
        return False

    def save(self, number: int, write: Callable[[Path], None]) -> None:
        """Write a block through `write(path)`; it counts as finished only when all of it is on the disk."""
        block = self.path(number)
        with replacing(block) as temporary:
            write(temporary)
            with replacing(block.with_suffix(".sha256")) as checksum:
                checksum.write_text(_file_digest(temporary))

    def remove(self) -> None:
        """Delete the folder: the blocks have become the file."""
        # In this order: blocks, configuration, lock. Whatever a kill leaves can be claimed and removed again.
        for entry in sorted(self.folder.iterdir()):
            entry.unlink()
        self.folder.rmdir()
        sync(self.folder.parent)

    def release(self) -> None:
        """Let other processes work on the blocks."""
        os.close(self._lock)


def parts_folder(out: Path) -> Path:
    """Where the blocks of `out` are kept until it is complete."""
    return out.with_name(out.name + ".parts")


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
