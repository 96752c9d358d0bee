"""What lies on the disk, whatever its format: named arrays with named axes, and attributes."""

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import h5py
import numpy as np

from sciml.core import FileContentError, require_extra

HDF5_INTERNAL = {
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "_NCProperties",
    "_Netcdf4Coordinates",
    "_Netcdf4Dimid",
    "_nc3_strict",
}
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@final
@dataclass(frozen=True, eq=False)
class Variable:
    """An array on the disk."""

    values: Any
    """Sliced as a NumPy array; also has `shape`, `dtype`, `ndim` and `chunks`. Failing reads are `OSError`."""
    axes: tuple[str, ...]
    """Names of its dimensions; `?` where there is none."""
    attributes: dict[str, Any]
    """Strings, numbers and lists."""


class AbstractContainer(abc.ABC):
    """Arrays in one file or folder, opened for reading; a context that closes it. Subclasses are final."""

    attributes: dict[str, Any]
    """Of the whole: strings, numbers and lists."""
    names: list[str]
    """Of the variables, sorted."""

    @abc.abstractmethod
    def variable(self, name: str) -> Variable:
        """The variable of that name.

        Raises:
            KeyError: if there is none.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of it."""

    def __enter__(self) -> "AbstractContainer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@final
class HDF5Container(AbstractContainer):
    """A netCDF4 (HDF5) file; see `open_container` for what is raised."""

    def __init__(self, path: Path) -> None:
        self._file = _open_hdf5(path)
        self.attributes = _plain(self._file.attrs)
        self.names = sorted(self._file)

    def variable(self, name: str) -> Variable:
        """See `AbstractContainer.variable`."""
        found = self._file.get(name)
        if not isinstance(found, h5py.Dataset):
            raise KeyError(name)
        axes = tuple(str(axis[0].name).strip("/") if len(axis) else "?" for axis in found.dims)
        return Variable(found, axes, _plain(found.attrs))

    def close(self) -> None:
        """See `AbstractContainer.close`."""
        self._file.close()


@final
class ZarrContainer(AbstractContainer):
    """A folder with a Zarr group; see `open_container` for what is raised."""

    def __init__(self, path: Path) -> None:
        zarr = require_extra("zarr", "data")
        try:
            self._group = zarr.open_group(path, mode="r")
            self.attributes = dict(self._group.attrs)
            self.names = sorted(self._group.array_keys())
        except Exception as error:  # JSON, keys, codecs: whatever zarr stumbles over
            raise FileContentError(
                f"{path}: must be a complete Zarr group, but it cannot be read ({error}). Copy or simulate it again."
            ) from error

    def variable(self, name: str) -> Variable:
        """See `AbstractContainer.variable`."""
        if name not in self.names:
            raise KeyError(name)
        found = self._group[name]
        axes = tuple(axis or "?" for axis in getattr(found.metadata, "dimension_names", None) or ["?"] * found.ndim)
        return Variable(_ZarrValues(found), axes, dict(found.attrs))

    def close(self) -> None:
        """See `AbstractContainer.close`."""
        self._group.store.close()


@final
class _ZarrValues:
    """A Zarr array whose failing reads are `OSError`, as those of HDF5 are."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape, self.dtype, self.ndim, self.chunks = array.shape, array.dtype, array.ndim, array.chunks

    def __getitem__(self, key: Any) -> np.ndarray:
        try:
            return np.asarray(self._array[key])
        except Exception as error:  # zarr's codecs raise many kinds
            raise OSError(f"{type(error).__name__}: {error}") from error


def open_container(path: Path) -> AbstractContainer:
    """Open for reading, by content: a folder with a Zarr group, or a netCDF4 (HDF5) file.

    Raises:
        FileNotFoundError: if there is no such file or group.
        FileContentError: if it is of another kind, truncated or damaged.
        MissingExtraError: for a Zarr group where zarr is not installed.
    """
    if is_zarr(path):
        return ZarrContainer(path)
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "nothing"
        raise FileNotFoundError(
            f"`path` must name an existing file, found {kind} at {path}. Check the name, or make the data "
            "with `sciml simulate`."
        )
    return HDF5Container(path)


def is_zarr(path: Path) -> bool:
    """Whether this is a folder that holds a Zarr group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


def _open_hdf5(path: Path) -> h5py.File:
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
        if start == HDF5_MAGIC:
            state = f"is truncated or damaged ({path.stat().st_size} bytes; {error})"
            remedy = "Delete it and copy or simulate it again"
        else:
            state, remedy = f"is no HDF5 file (it starts with {start!r})", "Open it with the program that wrote it"
        raise FileContentError(f"{path}: must be a complete netCDF4 (HDF5) file, but it {state}. {remedy}.") from error


def _plain(attributes: Any) -> dict[str, Any]:
    """HDF5 attributes as Python strings, numbers and lists, without netCDF's own."""
    plain = {}
    for name in sorted(set(attributes) - HDF5_INTERNAL):
        value = attributes[name]
        if isinstance(value, np.ndarray):
            value = value.item() if value.size == 1 else value.tolist()
        elif isinstance(value, np.generic):
            value = value.item()
        plain[name] = value.decode() if isinstance(value, bytes) else value
    return plain
