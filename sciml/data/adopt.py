"""Any xarray dataset as trajectories: dimensions are told by their names, never guessed from positions."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray

from sciml.core import Fields
from sciml.data.metadata import Metadata, uniform_start_and_spacing
from sciml.data.sources import TORCH_DTYPES, XarraySource
from sciml.grids import Grid
from sciml.grids.grid import AXIS_NAMES


def adopt(
    dataset: xarray.Dataset,
    fields: Sequence[str] | None,
    trajectory: str,
    time: str,
    space: Sequence[str] | None,
    extent: Sequence[float] | None,
) -> tuple[XarraySource, Metadata]:
    """Source and description of a dataset; see `Trajectories.from_xarray`."""
    names = _field_names(dataset, fields, time)
    first = dataset[names[0]]
    if time not in first.dims:
        raise ValueError(
            f"field {names[0]!r} must have the time dimension {time!r}, got dimensions {first.dims}. "
            "Name the right one with time=..."
        )
    rows = trajectory if trajectory in first.dims else None
    space = _space(first, [axis for axis in first.dims if axis not in (rows, time)], space)
    axes = (rows, time, *space)
    _check_dimensions(dataset, names, {axis for axis in axes if axis})
    t0, dt = _times(dataset, time)
    count = dataset.sizes[rows] if rows else 1
    source = XarraySource([dataset[name].variable for name in names], axes)
    metadata = Metadata(
        fields=Fields(
            tuple(names),
            tuple(str(dataset[name].attrs.get("units", "1")) for name in names),
            str(dataset.attrs.get("location", "centre")),
        ),
        grid=_grid(dataset, space, extent),
        dt=dt,
        ids=_ids(dataset, rows, count),
        t0=t0,
        parameters={
            str(name): torch.from_numpy(array.values.astype(np.float64))
            for name, array in dataset.data_vars.items()
            if rows and array.dims == (rows,) and array.dtype.kind in "fiu"
        },
        provenance=_provenance(dataset, space),
    )
    return source, metadata


def _field_names(dataset: xarray.Dataset, fields: Sequence[str] | None, time: str) -> list[str]:
    if fields is None and "fields" in dataset.attrs:
        fields = json.loads(dataset.attrs["fields"])
    if fields is None:
        fields = [str(name) for name, a in dataset.data_vars.items() if time in a.dims and a.ndim > 1]
    missing = [name for name in fields if name not in dataset.data_vars]
    if missing or not fields:
        raise ValueError(
            f"`fields` must name variables of the dataset, got {list(fields)}; the dataset has "
            f"{sorted(map(str, dataset.data_vars))}. Name the fields with fields=... and the time axis with "
            "time=..."
        )
    for name in fields:
        if dataset[name].dtype.newbyteorder("=") not in TORCH_DTYPES:
            raise ValueError(
                f"field {name!r} must be float32 or float64, got {dataset[name].dtype}. Cast it with "
                ".astype('float32')."
            )
    return list(fields)


def _space(first: xarray.DataArray, left: list[Any], space: Sequence[str] | None) -> tuple[str, ...]:
    if space is None and left and set(left) <= set(AXIS_NAMES):
        return tuple(axis for axis in AXIS_NAMES if axis in left)
    if space is None or sorted(space) != sorted(left):
        raise ValueError(
            f"every dimension of field {first.name!r} must have a role, got space={space} and left over "
            f"{left}. Name them in the order x, y, z with space=(...), name the trajectories with "
            "trajectory=..., or drop one with dataset.isel(name=0)."
        )
    return tuple(space)


def _check_dimensions(dataset: xarray.Dataset, names: list[str], wanted: set[str]) -> None:
    for name in names:
        if set(dataset[name].dims) != wanted:
            raise ValueError(
                f"all fields must have the dimensions {sorted(wanted)}, but {name!r} has "
                f"{dataset[name].dims}. Leave it out with fields=..., or broadcast it."
            )


def _times(dataset: xarray.Dataset, time: str) -> tuple[float, float]:
    """First time and spacing; dates count in seconds from the first one."""
    if time not in dataset.coords:
        raise ValueError(
            f"the time dimension {time!r} must have a coordinate. Add one: "
            f"dataset.assign_coords({time}=dt * numpy.arange(dataset.sizes[{time!r}]))."
        )
    values = dataset.coords[time].values
    if values.dtype.kind in "mM":
        values = (values - values[0]) / np.timedelta64(1, "s")
    if len(values) == 1 and "dt" in dataset.attrs:
        return float(values[0]), float(dataset.attrs["dt"])
    return uniform_start_and_spacing(time, values)


def _grid(dataset: xarray.Dataset, space: tuple[str, ...], extent: Sequence[float] | None) -> Grid:
    points = tuple(dataset.sizes[axis] for axis in space)
    if extent is None and all(f"extent_{axis}" in dataset.attrs for axis in space):
        extent = [float(dataset.attrs[f"extent_{axis}"]) for axis in space]
    if extent is None:
        missing = [axis for axis in space if axis not in dataset.coords]
        if missing:
            raise ValueError(
                f"the extent of every spatial axis must be known, but {missing} have no coordinate. Give "
                "extent=(...), the lengths of the periodic box."
            )
        spacings = (uniform_start_and_spacing(axis, dataset.coords[axis].values)[1] for axis in space)
        extent = [count * h for count, h in zip(points, spacings, strict=True)]
    return Grid(points, tuple(float(length) for length in extent))


def _ids(dataset: xarray.Dataset, rows: str | None, count: int) -> torch.Tensor:
    if rows in dataset.coords and dataset.coords[rows].dtype.kind in "iu":
        return torch.from_numpy(dataset.coords[rows].values.astype(np.int64))
    return torch.arange(count)


def _provenance(dataset: xarray.Dataset, space: tuple[str, ...]) -> dict[str, str | int | float]:
    described = {"Conventions", "sciml_layout", "fields", "location", "parameters", "dt", "content_sha256"}
    described |= {f"{kind}_{axis}" for kind in ("extent", "boundary") for axis in space}
    plain = {str(n): v.item() if isinstance(v, np.generic) else v for n, v in dataset.attrs.items()}
    return {n: v for n, v in plain.items() if n not in described and isinstance(v, str | int | float)}
