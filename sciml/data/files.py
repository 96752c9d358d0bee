"""Files as wholes: opened with clear errors, identified by content, verified."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from sciml.core import FileContentError, require_extra
from sciml.data.layout import dimensions, plain_attributes, read_metadata, stored

NOT_CONTENT = {"created", "host", "content_sha256"}
"""Attributes that do not belong to a file's identity."""
_SLAB_BYTES = 1 << 25


def open_hdf5(path: Path) -> h5py.File:
    """Open for reading.

    Raises:
        FileNotFoundError: if there is no such file.
        FileContentError: if it is no HDF5 file, or a truncated or damaged one.
    """
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "nothing"
        raise FileNotFoundError(
            f"`path` must name an existing file, found {kind} at {path}. Check the name, or make the data "
            "with `sciml simulate`."
        )
    with path.open("rb") as file:
        start = file.read(8)
    if start[:3] == b"CDF":
        raise FileContentError(
            f"{path}: must be netCDF4 (HDF5), got a classic netCDF file. Convert it with `nccopy -k nc4`, or "
            "open it with xarray and hand it to Trajectories.from_xarray."
        )
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if start == b"\x89HDF\r\n\x1a\n":
            state = f"is truncated or damaged ({path.stat().st_size} bytes; {error})"
            remedy = "Delete it and copy or simulate it again"
        else:
            state, remedy = (
                f"is no HDF5 file (it starts with {start!r})",
                "Open it with the program that wrote it",
            )
        raise FileContentError(f"{path}: must be a complete netCDF4 (HDF5) file, but it {state}. {remedy}.") from error


def content_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the decoded variables, their axes and all attributes, except date and host.

    Equal for files with equal content, whatever their chunks, compression or byte order.

    Raises:
        FileNotFoundError, FileContentError: if the file cannot be read.
    """
    path = Path(path)
    result = hashlib.sha256()
    with open_hdf5(path) as file, _reading(path):
        attributes = {k: v for k, v in plain_attributes(file.attrs).items() if k not in NOT_CONTENT}
        result.update(json.dumps(attributes, sort_keys=True).encode())
        for name in sorted(file):
            variable = stored(file, name)
            kind = variable.dtype.newbyteorder("<")
            head = [name, dimensions(variable), variable.shape, kind.str, plain_attributes(variable.attrs)]
            result.update(json.dumps(head, sort_keys=True).encode())
            for _, slab in _slabs(variable):
                result.update(np.ascontiguousarray(slab, dtype=kind).tobytes())
    return result.hexdigest()


def seal(path: Path) -> None:
    """Record the content digest in the file itself, for `verify`."""
    digest = content_digest(path)
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
    with open_hdf5(path) as file, _reading(path):
        metadata, frames, _ = read_metadata(file, path)
        for name in metadata.fields.names:
            for (row, start), slab in _slabs(stored(file, name)):
                bad = np.argwhere(~np.isfinite(slab))
                if len(bad):
                    row, frame = row + bad[0][0], start + bad[0][1]
                    raise FileContentError(
                        f"{path}: every value must be finite, but {name!r} is {slab[tuple(bad[0])]} in "
                        f"trajectory {int(metadata.ids[row])} (number {row}) at time "
                        f"{float(metadata.times(frames)[frame]):g}. Leave that trajectory out with `subset`, "
                        "or simulate it with a smaller step."
                    )
        recorded = plain_attributes(file.attrs).get("content_sha256")
    found = content_digest(path)
    if recorded != found:
        raise FileContentError(
            f"{path}: the content must match its recorded checksum, recorded {recorded}, found {found}. "
            "The file was changed after writing: make or copy it again."
        )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors of the HDF5 library while reading, in our words."""
    try:
        yield
    except OSError as error:
        raise FileContentError(
            f"{path}: must be readable to its end, but reading failed ({error}). The file is damaged: delete "
            "it and copy or simulate it again."
        ) from error


def _slabs(variable: h5py.Dataset) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    """A variable in C order, in pieces of bounded size, each with the first two indices of its origin."""
    if variable.ndim < 2:
        yield (0, 0), variable[()]
        return
    row_bytes = max(1, variable.dtype.itemsize * int(np.prod(variable.shape[1:])))
    rows = max(1, _SLAB_BYTES // row_bytes)
    frames = variable.shape[1] if row_bytes <= _SLAB_BYTES else max(1, _SLAB_BYTES * variable.shape[1] // row_bytes)
    for row in range(0, variable.shape[0], rows):
        for frame in range(0, variable.shape[1], frames):
            yield (row, frame), variable[row : row + rows, frame : frame + frames]
