"""Exact solutions and standard initial-value problems shared by tests and benchmarks."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.grids import Grid
from sciml.pde import (
    AbstractEquation,
    Burgers,
    KolmogorovForcing,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokes2D,
)

TAU = 2 * math.pi


def kdv_soliton(grid: Grid, t: float, speed: float = 5.0) -> Float[Tensor, "1 1 x"]:
    """u = -c/2 sech²(sqrt(c) (x - c t - L/2) / 2) of u_t - 6 u u_x + u_xxx = 0, wrapped into the box."""
    length = grid.extent[0]
    distance = torch.remainder(grid.axes()[0] - speed * t - length / 2 + length / 2, length) - length / 2
    return (-0.5 * speed / torch.cosh(0.5 * math.sqrt(speed) * distance) ** 2)[None, None]


def cole_hopf(grid: Grid, t: float, viscosity: float) -> Float[Tensor, "1 1 x"]:
    """Burgers: u = -2 nu v_x / v with v_t = nu v_xx and v(0) = 1.4 - exp(-10 (x - pi)²) on [0, 2 pi].

    v is summed from the Fourier series of its initial value on a grid four times finer, so that it is exact to
    rounding whatever the grid it is evaluated on.
    """
    fine = grid.with_points(4 * grid.points[0])
    x = fine.axes()[0]
    v_hat = torch.fft.rfft(1.4 - torch.exp(-10 * (x - math.pi) ** 2))
    k = torch.arange(len(v_hat), dtype=torch.float64)
    v_hat = v_hat * torch.exp(-viscosity * k**2 * t)
    v, v_x = torch.fft.irfft(v_hat, n=len(x)), torch.fft.irfft(1j * k * v_hat, n=len(x))
    return (-2 * viscosity * v_x / v)[None, None, ::4]


def taylor_green(grid: Grid, t: float, viscosity: float, k: int = 1) -> Float[Tensor, "1 1 x y"]:
    """omega = 2 k cos(k x) cos(k y) exp(-2 nu k² t) on [0, 2 pi]²."""
    x, y = grid.mesh()
    return (2 * k * torch.cos(k * x) * torch.cos(k * y) * math.exp(-2 * viscosity * k**2 * t))[None, None]


def order_problems() -> dict[str, tuple[AbstractEquation, Grid, Tensor, float]]:
    """(equation, grid, initial field, end time) on which the order of every exponential method is measured."""
    ks, burgers, kdv = Grid((64,), (22.0,)), Grid((64,), (TAU,)), Grid((64,), (20.0,))
    plane = Grid((32, 32), (TAU, TAU))
    x = ks.axes()[0] * TAU / 22.0
    wave = torch.cos(x) * (1 + torch.sin(x))
    z = burgers.axes()[0]
    px, py = plane.mesh()
    omega = torch.cos(2 * px) * torch.sin(py) + torch.cos(px + 3 * py) + 0.5 * torch.sin(3 * px - py)
    return {
        "kuramoto_sivashinsky": (KuramotoSivashinsky(), ks, wave[None, None], 1.0),
        "burgers": (Burgers(0.1), burgers, torch.sin(z)[None, None], 0.5),
        "korteweg_de_vries": (KortewegDeVries(), kdv, torch.cos(kdv.axes()[0] * TAU / 20)[None, None], 0.2),
        "navier_stokes": (NavierStokes2D(0.01, 0.1, KolmogorovForcing(2)), plane, omega[None, None], 0.5),
    }
