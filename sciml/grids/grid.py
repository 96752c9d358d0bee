"""A periodic, uniform grid: points at 0, h, 2h, ..., L - h along each axis (the right end is the left one)."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_positive, check_whole

AXIS_NAMES = ("x", "y", "z")


@final
@dataclass(frozen=True)
class Grid:
    """A periodic box.

    Args:
        points: grid points per axis, in order x, y, z; at least 4 each.
        extent: length of the box per axis, [length].

    Raises:
        ValueError: for fewer than 4 points, a non-positive extent, or lengths that disagree.
    """

    points: tuple[int, ...]
    extent: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(self.points))
        object.__setattr__(self, "extent", tuple(self.extent))
        if len(self.points) != len(self.extent) or not 1 <= len(self.points) <= 3:
            raise ValueError(
                f"`points` and `extent` must both have one entry per axis (1 to 3 axes), got points={self.points} "
                f"and extent={self.extent}. Give e.g. Grid((64, 64), (6.28, 6.28))."
            )
        for count, length in zip(self.points, self.extent, strict=True):
            check_whole("points", count, 4)
            check_positive("extent", length)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.points)

    @property
    def size(self) -> int:
        """Number of grid points."""
        return math.prod(self.points)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring points per axis, [length]."""
        return tuple(length / count for count, length in zip(self.points, self.extent, strict=True))

    @property
    def axis_names(self) -> tuple[str, ...]:
        """`x`, `y`, `z`, as many as there are axes."""
        return AXIS_NAMES[: self.ndim]

    @property
    def modes(self) -> tuple[int, ...]:
        """Shape of the real half-spectrum: all axes full, the last one halved."""
        return (*self.points[:-1], self.points[-1] // 2 + 1)

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial dimensions of a field, as negative indices."""
        return tuple(range(-self.ndim, 0))

    def axes(self, dtype: torch.dtype = torch.float64) -> tuple[Float[Tensor, " point"], ...]:
        """Coordinates of the points along each axis, [length]."""
        return tuple(
            torch.arange(count, dtype=dtype) * (length / count)
            for count, length in zip(self.points, self.extent, strict=True)
        )

    def mesh(self, dtype: torch.dtype = torch.float64) -> tuple[Float[Tensor, "*space"], ...]:
        """Coordinates of all points, one array of the grid's shape per axis, [length]."""
        return torch.meshgrid(*self.axes(dtype), indexing="ij")

    def with_points(self, *points: int) -> "Grid":
        """The same box with another number of points (one number serves all axes)."""
        return Grid(points * self.ndim if len(points) == 1 else points, self.extent)
