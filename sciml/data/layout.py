"""Our layout: netCDF4 (HDF5), readable with h5py, xarray and ncdump, or Zarr with the same names and attributes.

Variables
    one per field, named as the field, (trajectory, time, x[, y[, z]]), float32 or float64, in chunks of whole
    frames of one trajectory, about 64 kB along time; `units` attribute. In Zarr a file is a shard of one block
    `trajectory` int64 (data-set identity), `time`, `x`, `y`, `z` float64: the coordinates
    one per PDE parameter on (trajectory,), float64
Attributes of the file
    `Conventions` CF-1.11 · `sciml_layout` 1 · `fields`, `parameters` (JSON lists of variable names) ·
    `location` `dt` [time] · `extent_x` ... [length] · `boundary_x` ... `periodic` · `content_sha256` (see
    `files.content_digest`) provenance, where it applies: `sciml_version`, `equation`, `initial`, `method`
    (JSON), `solver_dt`, `solver_points`, `spin_up`, `seed`, `configuration_digest`, `created`, `host`
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from sciml.core import Fields, FileContentError, require_extra
from sciml.data.containers import AbstractContainer
from sciml.data.metadata import Metadata, uniform_start_and_spacing
from sciml.grids import Grid

CONVENTIONS = "CF-1.11"
LAYOUT = 1
CHUNK_BYTES = 65536
DTYPES = {torch.float32: "f4", torch.float64: "f8"}


def file_attributes(metadata: Metadata) -> dict[str, str | int | float]:
    """The attributes that describe trajectories, as written to files and xarray datasets."""
    fixed: dict[str, str | int | float] = {
        "Conventions": CONVENTIONS,
        "sciml_layout": LAYOUT,
        "fields": json.dumps(metadata.fields.names),
        "location": metadata.fields.location,
        "parameters": json.dumps(list(metadata.parameters)),
        "dt": metadata.dt,
    }
    for axis, extent in zip(metadata.grid.axis_names, metadata.grid.extent, strict=True):
        fixed[f"extent_{axis}"] = extent
        fixed[f"boundary_{axis}"] = "periodic"
    return {**fixed, **metadata.provenance}


def frames_per_chunk(frame_bytes: int, frames: int | None) -> int:
    """Whole frames per chunk: about 64 kB, at least 1, at most what there is."""
    wanted = max(1, CHUNK_BYTES // frame_bytes)
    return wanted if frames is None else min(wanted, frames)


@final
@dataclass(frozen=True, eq=False)
class Column:
    """A small variable on one axis: a coordinate, or a parameter of the equation."""

    name: str
    axis: str
    values: np.ndarray
    attributes: dict[str, str]


def columns(metadata: Metadata, frames: int | None) -> list[Column]:
    """Coordinates and parameters, in the order in which they are written; no times where `frames` is None."""
    grid = metadata.grid
    times = np.empty(0) if frames is None else metadata.times(frames).numpy()
    space = zip(grid.axis_names, grid.axes(), strict=True)
    return [
        Column("trajectory", "trajectory", metadata.ids.numpy(), {}),
        Column("time", "time", times, {"units": "1", "axis": "T"}),
        *(Column(name, name, x.numpy(), {"units": "1", "axis": name.upper()}) for name, x in space),
        *(Column(name, "trajectory", values.numpy(), {}) for name, values in metadata.parameters.items()),
    ]


def create(path: Path, metadata: Metadata, frames: int | None, dtype: torch.dtype) -> Any:
    """A new netCDF4 dataset with everything but the values; `frames=None` lets the time axis grow.

    Raises:
        MissingExtraError: if netCDF4 is not installed.
        ValueError: if `dtype` is neither float32 nor float64.
    """
    if dtype not in DTYPES:
        raise ValueError(f"`dtype` must be torch.float32 or torch.float64, got {dtype}. Choose one of them.")
    netcdf4 = require_extra("netCDF4", "data")
    file = netcdf4.Dataset(path, "w", format="NETCDF4")
    try:
        file.setncatts(file_attributes(metadata))
        grid = metadata.grid
        axes = ("trajectory", "time", *grid.axis_names)
        for axis, size in zip(axes, (len(metadata.ids), frames, *grid.points), strict=True):
            file.createDimension(axis, size)
        for column in columns(metadata, frames):
            variable = file.createVariable(column.name, column.values.dtype.str[1:], (column.axis,), fill_value=False)
            variable.setncatts(column.attributes)
            if len(column.values):
                variable[:] = column.values
        chunks = (1, frames_per_chunk(dtype.itemsize * grid.size, frames), *grid.points)
        for name, unit in zip(metadata.fields.names, metadata.fields.units, strict=True):
            variable = file.createVariable(name, DTYPES[dtype], axes, chunksizes=chunks, fill_value=False)
            variable.units = unit
    except BaseException:
        file.close()
        raise
    return file


def create_zarr(path: Path, metadata: Metadata, frames: int, dtype: torch.dtype, block: int) -> Any:
    """A new Zarr group with everything but the values; a shard, so a file, holds `block` trajectories of a field.

    Values that are never written read as NaN.

    Raises:
        MissingExtraError: if zarr is not installed.
    """
    group = require_extra("zarr", "data").open_group(path, mode="w", zarr_format=3)
    group.attrs.update(file_attributes(metadata))
    for column in columns(metadata, frames):
        group.create_array(
            column.name, data=column.values, dimension_names=(column.axis,), chunks=column.values.shape,
            compressors=None, attributes=column.attributes,
        )  # fmt: skip
    points = metadata.grid.points
    length = frames_per_chunk(dtype.itemsize * metadata.grid.size, frames)
    for name, unit in zip(metadata.fields.names, metadata.fields.units, strict=True):
        group.create_array(
            name, shape=(len(metadata.ids), frames, *points), dtype=DTYPES[dtype], fill_value=math.nan,
            dimension_names=("trajectory", "time", *metadata.grid.axis_names), chunks=(1, length, *points),
            # A shard is a whole number of chunks, so it may reach beyond the last frame.
            shards=(block, -(-frames // length) * length, *points), compressors=None, attributes={"units": unit},
        )  # fmt: skip
    return group


def read_metadata(file: AbstractContainer, path: Path) -> tuple[Metadata, int, torch.dtype]:
    """Description, number of frames and dtype of a file of our layout.

    Raises:
        FileContentError: if the file is of another layout, incomplete, or inconsistent.
    """
    attributes = file.attributes
    if attributes.get("sciml_layout") != LAYOUT:
        raise FileContentError(
            f"{path}: must be a trajectory file of layout {LAYOUT}, got sciml_layout="
            f"{attributes.get('sciml_layout')!r}. Open other files with xarray and hand them to "
            "Trajectories.from_xarray(dataset, fields=...)."
        )
    try:
        return _described(file)
    except KeyError as error:
        raise FileContentError(
            f"{path}: must hold every variable and attribute of the layout, {error.args[0]!r} is missing. "
            "Write the file again."
        ) from error
    except ValueError as error:
        raise FileContentError(f"{path}: {error}") from error


def _described(file: AbstractContainer) -> tuple[Metadata, int, torch.dtype]:
    attributes = file.attributes
    names = tuple(json.loads(attributes["fields"]))
    axes = tuple(name.removeprefix("extent_") for name in sorted(attributes) if name.startswith("extent_"))
    for axis in axes:
        if attributes[f"boundary_{axis}"] != "periodic":
            raise ValueError(
                f"`boundary_{axis}` must be 'periodic', got {attributes[f'boundary_{axis}']!r}. "
                "Read such data with xarray."
            )
    rows, frames, points, dtype = _common_shape(file, names, ("trajectory", "time", *axes))
    units = tuple(file.variable(name).attributes.get("units", "1") for name in names)
    ids, time = file.variable("trajectory").values[:], file.variable("time").values[:frames]
    if len(ids) != rows or len(time) != frames:  # a longer time coordinate is cut to the fields' time axis
        raise ValueError(
            f"the coordinates must be as long as the fields, got {len(ids)} ids for {rows} trajectories and "
            f"{len(time)} times for {frames} frames. Complete them."
        )
    t0, dt = uniform_start_and_spacing("time", time) if frames > 1 else (float(time[0]), attributes["dt"])
    if not math.isclose(dt, attributes["dt"], rel_tol=1e-4):
        raise ValueError(
            f"attribute `dt` must agree with the time coordinate, got {attributes['dt']:g} and {dt:g}. "
            "Correct one of them."
        )
    numbers = {name: file.variable(name).values[:] for name in json.loads(attributes["parameters"])}
    metadata = Metadata(
        fields=Fields(names, units, attributes["location"]),
        grid=Grid(points, tuple(attributes[f"extent_{axis}"] for axis in axes)),
        dt=attributes["dt"],
        ids=torch.from_numpy(ids.astype(np.int64)),
        t0=t0,
        parameters={name: torch.from_numpy(values.astype(np.float64)) for name, values in numbers.items()},
        provenance=_provenance(attributes, axes),
    )
    return metadata, frames, dtype


def _common_shape(
    file: AbstractContainer, names: tuple[str, ...], axes: tuple[str, ...]
) -> tuple[int, int, tuple[int, ...], torch.dtype]:
    """Trajectories, frames, points and dtype that all fields share."""
    first = file.variable(names[0]).values
    for name in names:
        found, variable = file.variable(name).axes, file.variable(name).values
        known = tuple(axis for axis in found if axis != "?")
        if variable.ndim != len(axes) or (known and found != axes):
            raise ValueError(
                f"field {name!r} must have dimensions {axes}, got {found} of shape "
                f"{variable.shape}. Transpose it, or open the file with xarray and Trajectories.from_xarray."
            )
        if variable.shape != first.shape or variable.dtype != first.dtype:
            raise ValueError(
                f"all fields must have one shape and dtype, got {names[0]!r} {first.shape} {first.dtype} and "
                f"{name!r} {variable.shape} {variable.dtype}. Resample and cast them to a common one."
            )
    if first.dtype not in (np.float32, np.float64):
        raise ValueError(f"fields must be float32 or float64, got {first.dtype}. Cast them and write the file again.")
    rows, frames, *points = first.shape
    return rows, frames, tuple(points), torch.float32 if first.dtype == np.float32 else torch.float64


def _provenance(attributes: dict[str, Any], axes: tuple[str, ...]) -> dict[str, str | int | float]:
    fixed = {"Conventions", "sciml_layout", "fields", "location", "parameters", "dt", "content_sha256"}
    fixed |= {f"{kind}_{axis}" for kind in ("extent", "boundary") for axis in axes}
    return {name: value for name, value in attributes.items() if name not in fixed}
