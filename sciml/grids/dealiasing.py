"""How products of fields are kept free of aliases: modes up to M per axis, products formed on P points.

A product of p fields holds modes up to p M; on P points those above P/2 come back as lower ones. None of them falls on
a kept mode if (p + 1) M < P. Both rules meet that, and where they keep the same modes they give the same to rounding.
"""

import abc
from dataclasses import dataclass
from typing import final

from sciml.grids.grid import Grid
from sciml.grids.modes import Modes


class AbstractDealiasing(abc.ABC):
    """A rule against aliasing. Subclasses are final."""

    @abc.abstractmethod
    def modes(self, grid: Grid, degree: int, *, real: bool = True) -> Modes:
        """The modes kept on a grid for products of `degree` fields; all of them for degrees 0 and 1.

        Args:
            grid: where fields are given and wanted.
            degree: most fields in one product.
            real: whether fields are real.
        """


@final
@dataclass(frozen=True)
class Truncation(AbstractDealiasing):
    """Products on the grid's own points, of the modes |m| < N / (degree + 1): the 2/3 rule for squares, 1/2 for cubes.

    Source: Orszag (1971), J. Atmos. Sci. 28, 1074.
    """

    def modes(self, grid: Grid, degree: int, *, real: bool = True) -> Modes:
        """See `AbstractDealiasing.modes`."""
        if degree < 2:
            return _all_modes(grid, real)
        return Modes(grid, tuple((count - 1) // (degree + 1) for count in grid.points), real=real)


@final
@dataclass(frozen=True)
class Padding(AbstractDealiasing):
    """All modes |m| < N/2, products on (degree + 1)/2 N points: the 3/2 rule for squares, 2 for cubes.

    Keeps half as many modes again per axis as `Truncation` on the same grid, for larger transforms.

    Source: Patterson & Orszag (1971), Phys. Fluids 14, 2538; Canuto et al. (2007), Spectral Methods, section 3.2.2.
    """

    def modes(self, grid: Grid, degree: int, *, real: bool = True) -> Modes:
        """See `AbstractDealiasing.modes`.

        Raises:
            ValueError: if an axis has an odd number of points.
        """
        if degree < 2:
            return _all_modes(grid, real)
        if any(count % 2 for count in grid.points):
            raise ValueError(
                f"Padding needs an even number of points along every axis, got {grid.points}. Add a point, or use "
                "Truncation()."
            )
        points = tuple((degree + 1) * count // 2 for count in grid.points)
        return Modes(grid, tuple((count - 1) // 2 for count in grid.points), points, real)


@final
@dataclass(frozen=True)
class NoDealiasing(AbstractDealiasing):
    """All modes, products on the grid's own points, aliases and all: for comparison, and for fields that resolve them.

    Of `Pairs`, all modes below N/2. Steep or marginally resolved fields blow up with it where the other rules do not.
    """

    def modes(self, grid: Grid, degree: int, *, real: bool = True) -> Modes:
        """See `AbstractDealiasing.modes`."""
        return _all_modes(grid, real)


def _all_modes(grid: Grid, real: bool) -> Modes:
    return Modes(grid, tuple(count // 2 for count in grid.points), real=real)
