"""Localised shapes at random places: bumps, vortices, shear layers, spots. All are periodic and smooth."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.core.checks import check_number, check_positive, check_whole
from sciml.grids import Grid
from sciml.pde.base import AbstractInitial

_IMAGES = 2  # neighbours on each side that are summed


def _centres(key: Key, count: int, grid: Grid) -> Tensor:
    """Uniform in the box, (batch, count, axis)."""
    share = key.fold(0).uniform(count, grid.ndim, dtype=torch.float64)
    return share * torch.tensor(grid.extent, dtype=torch.float64, device=share.device)


def _signs(key: Key, count: int) -> Tensor:
    """+1 or -1, (batch, count)."""
    return torch.sign(key.fold(1).uniform(count, dtype=torch.float64) - 0.5)


def _offsets(centres: Tensor, axis: int, grid: Grid) -> Tensor:
    """x - centre for every image of the centre, (batch, count, image, point)."""
    x = grid.axes()[axis].to(centres.device)
    shifts = torch.arange(-_IMAGES, _IMAGES + 1, dtype=torch.float64, device=centres.device) * grid.extent[axis]
    return x - centres[..., axis, None, None] - shifts[:, None]


def _gaussians(centres: Tensor, width: float, grid: Grid) -> Tensor:
    """exp(-|x - c|² / (2 width²)) summed over the images of c, (batch, count, *space)."""
    result = torch.ones((), dtype=torch.float64, device=centres.device)
    for axis in range(grid.ndim):
        line = torch.exp(-((_offsets(centres, axis, grid) / width) ** 2) / 2).sum(-2)
        result = result[..., None] * line.reshape(*line.shape[:2], *[1] * axis, -1)
    return result


def _check_width(name: str, width: float, grid: Grid, share: float = 1 / 3) -> None:
    if any(width > share * length for length in grid.extent):
        raise ValueError(
            f"`{name}` must be at most {share:.2g} of the box {grid.extent}, got {width:g}. Take a smaller one or a "
            "larger box."
        )


@final
@dataclass(frozen=True)
class Bumps(AbstractInitial):
    """Gaussians of one width and height at random places: background + height sum_i +-exp(-|x - c_i|²/(2 width²)).

    Args:
        count: how many, at least 1.
        width: standard deviation, [length].
        height: of each, [field].
        background: far from all, [field].
        signed: whether each points up or down at random; else all point up.
    """

    count: int = 1
    width: float = 0.1
    height: float = 1.0
    background: float = 0.0
    signed: bool = False

    def __post_init__(self) -> None:
        check_whole("count", self.count, 1)
        check_positive("width", self.width)
        check_number("height", self.height)
        check_number("background", self.background)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        _check_width("width", self.width, grid)
        shapes = _gaussians(_centres(key, self.count, grid), self.width, grid)
        if self.signed:
            shapes = shapes * _signs(key, self.count).reshape(-1, self.count, *[1] * grid.ndim)
        return self.background + self.height * shapes.sum(1, keepdim=True)


@final
@dataclass(frozen=True)
class Vortices(AbstractInitial):
    """Vorticity of Gaussian (Lamb-Oseen) vortices at random places, less its mean:

        omega = sum_i +-Gamma / (pi a²) exp(-|x - c_i|²/a²)

    Args:
        count: how many, at least 1.
        core: radius a, [length].
        circulation: Gamma, [length²/time].
        signed: whether each turns either way at random; else all turn counter-clockwise.

    Source: Saffman (1992), Vortex Dynamics, section 13.1.
    """

    count: int = 16
    core: float = 0.3
    circulation: float = 2.0
    signed: bool = True

    def __post_init__(self) -> None:
        check_whole("count", self.count, 1)
        check_positive("core", self.core)
        check_number("circulation", self.circulation)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`.

        Raises:
            ValueError: on other than two axes.
        """
        _check_plane("Vortices", grid)
        _check_width("core", self.core, grid, 2**0.5 / 3)
        width = self.core / 2**0.5
        peak = self.circulation / (torch.pi * self.core**2)
        omega = Bumps(self.count, width, peak, signed=self.signed).sample(key, grid)
        return omega - omega.mean((-2, -1), keepdim=True)


@final
@dataclass(frozen=True)
class ShearLayers(AbstractInitial):
    """Vorticity of two opposite layers along x at a quarter and three quarters of y, which roll up:

        u = speed tanh((y - L_y/4)/d) below the middle, falling again above;    v = speed e sin(2 pi n x/L_x + phase)

    Args:
        thickness: d, [length], at most L_y / 16.
        speed: of the streams, [length/time].
        disturbance: e, [1].
        waves: n, whole, at least 1.

    Source: Brown & Minion (1995), J. Comput. Phys. 122, 165, eq. (7), here at a random phase for each trajectory.
    """

    thickness: float = 0.1
    speed: float = 1.0
    disturbance: float = 0.05
    waves: int = 1

    def __post_init__(self) -> None:
        check_positive("thickness", self.thickness)
        check_number("speed", self.speed)
        check_number("disturbance", self.disturbance)
        check_whole("waves", self.waves, 1)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`.

        Raises:
            ValueError: on other than two axes, or for layers too thick for the box.
        """
        _check_plane("ShearLayers", grid)
        if self.thickness > grid.extent[1] / 16:
            raise ValueError(
                f"`thickness` must be at most L_y / 16 = {grid.extent[1] / 16:g}, got {self.thickness:g}. Thicker "
                "layers overlap."
            )
        phase = 2 * torch.pi * key.uniform(1, dtype=torch.float64)
        places = torch.tensor(
            [[0.0, 0.25 * grid.extent[1]], [0.0, 0.75 * grid.extent[1]]], dtype=torch.float64, device=phase.device
        )
        layers = torch.cosh((_offsets(places[None], 1, grid) / self.thickness).clamp(-50, 50)).pow(-2).sum(-2)
        shear = self.speed / self.thickness * (layers[:, 1] - layers[:, 0])  # -du/dy
        k = 2 * torch.pi * self.waves / grid.extent[0]
        wave = self.speed * self.disturbance * k * torch.cos(k * grid.axes()[0].to(phase.device) + phase)  # dv/dx
        return (wave[:, :, None] + shear[:, None, :])[:, None]


@final
@dataclass(frozen=True)
class Spots(AbstractInitial):
    """Round spots of one state in another, with soft edges: for reaction and diffusion.

    Args:
        inside: value of each channel in the spots, [field].
        outside: value of each channel elsewhere, [field].
        count: how many, at least 1.
        radius: of the spots, [length].
        edge: half width of their edges, [length], at most a third of the radius.

    Raises:
        ValueError: for values out of range; `sample` for spots too large for the box.
    """

    inside: tuple[float, ...]
    outside: tuple[float, ...]
    count: int = 1
    radius: float = 0.1
    edge: float = 0.02

    def __post_init__(self) -> None:
        check_whole("count", self.count, 1)
        check_positive("radius", self.radius)
        check_positive("edge", self.edge)
        if self.edge > self.radius / 3:
            raise ValueError(
                f"`edge` must be at most a third of the radius {self.radius:g}, got {self.edge:g}: wider ones make a "
                "point of the middle. Take Bumps for shapes that are all edge."
            )
        check_number("inside", *self.inside)
        check_number("outside", *self.outside)
        if len(self.inside) != len(self.outside) or not self.inside:
            raise ValueError(
                f"`inside` and `outside` must have one value per channel, got {self.inside} and {self.outside}. Give "
                "e.g. (0.5, 0.25) and (1.0, 0.0)."
            )

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        _check_width("radius", self.radius + 3 * self.edge, grid)
        centres = _centres(key, self.count, grid)
        squared = torch.zeros((), dtype=torch.float64, device=centres.device)
        for axis in range(grid.ndim):
            nearest = _offsets(centres, axis, grid).square().amin(-2)
            squared = squared[..., None] + nearest.reshape(*nearest.shape[:2], *[1] * axis, -1)
        share = (1 - torch.tanh((torch.sqrt(squared) - self.radius) / self.edge)) / 2
        share = 1 - (1 - share).prod(1, keepdim=True)
        shape = (1, -1, *[1] * grid.ndim)
        inside, outside = (
            torch.tensor(v, dtype=torch.float64, device=share.device).reshape(shape)
            for v in (self.inside, self.outside)
        )
        return outside + (inside - outside) * share


def _check_plane(name: str, grid: Grid) -> None:
    if grid.ndim != 2:
        raise ValueError(f"{name} is defined on two spatial axes, got a grid with {grid.ndim}. Give Grid((n, n), ...).")
