"""Files as wholes: opened with clear errors, identified by content, verified."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sciml.core import FileContentError, require_extra
from sciml.data.containers import Variable, is_zarr, open_container
from sciml.data.layout import read_metadata

NOT_CONTENT = {"created", "host", "content_sha256"}
"""Attributes that do not belong to a file's identity."""
_SLAB_BYTES = 1 << 25


def content_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the decoded variables, their axes and all attributes, except date and host.

    Equal for files with equal content, whatever their format, chunks, compression or byte order.

    Raises:
        FileNotFoundError, FileContentError: if the file cannot be read.
    """
    path = Path(path)
    result = hashlib.sha256()
    with open_container(path) as file, _reading(path):
        attributes = {k: v for k, v in file.attributes.items() if k not in NOT_CONTENT}
        result.update(json.dumps(attributes, sort_keys=True).encode())
        for name in file.names:
            variable = file.variable(name)
            kind = variable.values.dtype.newbyteorder("<")
            # A coordinate's own axis has no name in HDF5.
            axes = ["?"] if variable.axes == (name,) else variable.axes
            head = [name, axes, variable.values.shape, kind.str, variable.attributes]
            result.update(json.dumps(head, sort_keys=True).encode())
            for _, slab in _slabs(variable):
                result.update(np.ascontiguousarray(slab, dtype=kind).tobytes())
    return result.hexdigest()


def seal(path: Path) -> None:
    """Record the content digest in the file itself, for `verify`."""
    digest = content_digest(path)
    if is_zarr(path):
        require_extra("zarr", "data").open_group(path, mode="r+").attrs["content_sha256"] = digest
        return
    with require_extra("netCDF4", "data").Dataset(path, "a") as file:
        file.setncattr("content_sha256", digest)


def verify(path: str | os.PathLike[str]) -> None:
    """Read everything: layout, finiteness of every value, and the recorded checksum.

    Raises:
        FileNotFoundError: if there is no such file.
        FileContentError: naming variable, trajectory and time of the first non-finite value, or the checksums
            that differ, or what is wrong with the file as such.
    """
    path = Path(path)
    with open_container(path) as file, _reading(path):
        metadata, frames, _ = read_metadata(file, path)
        for name in metadata.fields.names:
            for (row, start), slab in _slabs(file.variable(name)):
                bad = np.argwhere(~np.isfinite(slab))
                if len(bad):
                    row, frame = row + bad[0][0], start + bad[0][1]
                    raise FileContentError(
                        f"{path}: every value must be finite, but {name!r} is {slab[tuple(bad[0])]} in "
                        f"trajectory {int(metadata.ids[row])} (number {row}) at time "
                        f"{float(metadata.times(frames)[frame]):g}. Leave that trajectory out with `subset`, "
                        "or simulate it with a smaller step."
                    )
        recorded = file.attributes.get("content_sha256")
    found = content_digest(path)
    if recorded != found:
        raise FileContentError(
            f"{path}: the content must match its recorded checksum, recorded {recorded}, found {found}. "
            "The file was changed after writing: make or copy it again."
        )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors of the format's library while reading, in our words."""
    try:
        yield
    except OSError as error:
        raise FileContentError(
            f"{path}: must be readable to its end, but reading failed ({error}). The file is damaged: delete "
            "it and copy or simulate it again."
        ) from error


def _slabs(variable: Variable) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """A variable in C order, in pieces of bounded size, each with the first two indices of its origin."""
    values = variable.values
    if values.ndim < 2:
        yield (0, 0), values[()]
        return
    row_bytes = max(1, values.dtype.itemsize * int(np.prod(values.shape[1:])))
    rows = max(1, _SLAB_BYTES // row_bytes)
    frames = values.shape[1] if row_bytes <= _SLAB_BYTES else max(1, _SLAB_BYTES * values.shape[1] // row_bytes)
    for row in range(0, values.shape[0], rows):
        for frame in range(0, values.shape[1], frames):
            yield (row, frame), values[row : row + rows, frame : frame + frames]
