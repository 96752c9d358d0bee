"""Any netCDF4 file or Zarr group as trajectories: ours by our own reader, others through xarray."""

import hashlib
import os
from pathlib import Path

import xarray

from sciml.core import FileContentError, require_extra
from sciml.data.containers import is_zarr, open_container
from sciml.data.files import content_digest
from sciml.data.trajectories import Trajectories


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether the file says that it has our layout.

    Raises:
        FileNotFoundError: if there is no such file.
        FileContentError: if it is neither HDF5 nor Zarr, or a truncated one.
    """
    with open_container(Path(path)) as file:
        return "sciml_layout" in file.attributes


def open_trajectories(path: str | os.PathLike[str]) -> Trajectories:
    """Our files as `Trajectories.open` does, other netCDF4 files and Zarr groups as `Trajectories.from_xarray` does.

    Raises:
        FileNotFoundError: if there is no such file.
        FileContentError: if it is damaged, or its content cannot be taken for trajectories; names what is missing.
        MissingExtraError: if another's file is opened without the package of its format.
    """
    if is_ours(path):
        return Trajectories.open(path)
    if is_zarr(Path(path)):
        require_extra("zarr", "data")
        dataset = xarray.open_dataset(path, engine="zarr", consolidated=False)
    else:
        require_extra("netCDF4", "data")
        dataset = xarray.open_dataset(path, engine="netcdf4")
    try:
        trajectories = Trajectories.from_xarray(dataset)
    except (ValueError, TypeError) as error:
        raise FileContentError(f"{path}: {error}") from error
    if len(trajectories) == 0:
        raise FileContentError(f"{path}: must hold at least one trajectory, got none. Write the data again.")
    return trajectories


def file_digest(path: str | os.PathLike[str]) -> str:
    """Identity of a data file: `content_digest` of ours and of Zarr groups, SHA-256 of the bytes of any other."""
    if is_ours(path) or is_zarr(Path(path)):
        return content_digest(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
