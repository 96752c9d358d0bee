"""What a set of trajectories is, without its values: fields, grid, times, identities, parameters, origin."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from sciml.core import Fields
from sciml.core.checks import check_positive
from sciml.grids import Grid

Provenance = Mapping[str, str | int | float]


@final
@dataclass(frozen=True, eq=False)
class Metadata:
    """Describes trajectories (trajectory, time, channel, *space) on a uniform grid at uniform times.

    Args:
        fields: names and units of the channels.
        grid: the periodic grid.
        dt: time between frames, [time].
        ids: data-set identity of each trajectory, int64; keys its random numbers.
        t0: time of the first frame, [time].
        parameters: one number per trajectory for each named PDE parameter.
        provenance: how the values came about; written as attributes of the file.

    Raises:
        ValueError: if dt is not positive, an array does not fit the trajectories, or a name is used twice.
        TypeError: if `ids` are not integers.
    """

    fields: Fields
    grid: Grid
    dt: float
    ids: Shaped[Tensor, " trajectory"]
    t0: float = 0.0
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_positive("dt", self.dt)
        if self.ids.is_floating_point() or self.ids.is_complex():
            raise TypeError(f"`ids` must be integers, got {self.ids.dtype}. Convert with ids.long().")
        object.__setattr__(self, "ids", self.ids.long())
        taken = {"trajectory", "member", "time", *self.grid.axis_names}
        for name in (*self.fields.names, *self.parameters):
            if name in taken:
                raise ValueError(
                    f"names of axes, fields and parameters must be distinct, but {name!r} is used twice. "
                    "Rename the field or parameter."
                )
            taken.add(name)
        for name, values in self.parameters.items():
            if values.shape != self.ids.shape:
                raise ValueError(
                    f"`parameters` must hold one number per trajectory ({len(self.ids)}), got {name!r} of "
                    f"shape {tuple(values.shape)}. Give a tensor of shape ({len(self.ids)},)."
                )

    def select(self, rows: Int[Tensor, " row"]) -> "Metadata":
        """The same for some of the trajectories."""
        parameters = {name: values[rows] for name, values in self.parameters.items()}
        return replace(self, ids=self.ids[rows], parameters=parameters)

    def at(self, first: int, every: int = 1) -> "Metadata":
        """The same for frames `first, first + every, ...`."""
        return replace(self, t0=self.t0 + first * self.dt, dt=self.dt * every)

    def times(self, frames: int) -> Float[Tensor, " time"]:
        """Times of the first `frames` frames, float64, [time]."""
        return self.t0 + self.dt * torch.arange(frames, dtype=torch.float64)

    def stacked_parameters(self, dtype: torch.dtype) -> Float[Tensor, "trajectory parameter"] | None:
        """All parameters side by side in the order of their names' mapping, or None if there are none."""
        if not self.parameters:
            return None
        return torch.stack([values.to(dtype) for values in self.parameters.values()], dim=1)


def uniform_start_and_spacing(name: str, values: np.ndarray) -> tuple[float, float]:
    """First value and spacing of a uniform coordinate; rounding of the coordinate's own dtype is allowed for.

    Raises:
        ValueError: if there are fewer than two values, or they are not uniform and increasing.
    """
    if len(values) < 2:
        raise ValueError(
            f"`{name}` must have at least 2 values to have a spacing, got {len(values)}. Give the spacing by hand."
        )
    precision = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    exact = values.astype(np.float64)
    spacing = (exact[-1] - exact[0]) / (len(exact) - 1)
    expected = exact[0] + spacing * np.arange(len(exact))
    tolerance = 1e-3 * abs(spacing) + 4 * precision * np.abs(exact).max()
    bad = np.flatnonzero(~(np.abs(exact - expected) <= tolerance))
    if not spacing > 0 or len(bad) > 0:
        worst = int(bad[0]) if len(bad) else 0
        raise ValueError(
            f"`{name}` must increase in uniform steps, got {name}[{worst}]={exact[worst]:g} where "
            f"{expected[worst]:g} would be uniform. Interpolate to uniform steps or select a uniform part "
            "first."
        )
    return float(exact[0]), float(spacing)
