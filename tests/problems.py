"""Exact solutions and standard initial-value problems shared by tests and benchmarks."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.grids import Grid
from sciml.pde import (
    AbstractEquation,
    AllenCahn,
    Burgers,
    CahnHilliard,
    Combined,
    FisherKPP,
    GinzburgLandau,
    GrayScott,
    KolmogorovForcing,
    KortewegDeVries,
    KuramotoSivashinsky,
    KuramotoSivashinskyCombustion,
    NavierStokes2D,
    NavierStokes3D,
    RandomSines,
    Schroedinger,
    ShallowWater,
    SwiftHohenberg,
    TaylorGreen3D,
    VanishingViscosity,
    VectorBurgers,
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


def _on_the_line(points: int, length: float) -> tuple[Grid, Tensor]:
    """A grid and cos(x) (1 + sin(x)) on it, x in waves per box."""
    grid = Grid((points,), (length,))
    x = grid.axes()[0] * TAU / length
    return grid, (torch.cos(x) * (1 + torch.sin(x)))[None, None]


def _on_the_plane(points: int, length: float) -> tuple[Grid, Tensor, Tensor]:
    """A grid and two different waves on it."""
    grid = Grid((points, points), (length, length))
    x, y = (TAU / length * z for z in grid.mesh())
    first = torch.cos(x) * torch.sin(y) + 0.5 * torch.cos(x + 2 * y)
    return grid, first[None, None], (torch.sin(2 * x - y) + 0.5 * torch.cos(y))[None, None]


def equation_problems() -> dict[str, tuple[AbstractEquation, Grid, Tensor, float]]:
    """(equation, grid, initial field, end time) for the other equations that are not linear, to measure their order."""
    line, u = _on_the_line(64, 16.0)
    plane, a, b = _on_the_plane(24, TAU)
    box = Grid((16, 16, 16), (TAU, TAU, TAU))
    wide = Grid(plane.points, (2 * TAU, 2 * TAU))
    sines = RandomSines().sample(Key.rows(0, 1))
    pair, three = torch.cat([a, b], 1), torch.cat([0.2 * a, 0.3 * b, 0.3 * a], 1)
    return {
        "burgers_on_a_plane": (Burgers(0.1, 2), plane, a, 0.5),
        "vector_burgers": (VectorBurgers(0.1, 2), plane, pair, 0.5),
        "kuramoto_sivashinsky_combustion": (KuramotoSivashinskyCombustion(1.0, 2), *_on_the_plane(24, 20.0)[:2], 1.0),
        "fisher_kpp": (FisherKPP(0.1, 2.0, 2), plane, 0.5 + 0.3 * a, 1.0),
        "allen_cahn": (AllenCahn(0.1, 2.0, 2), plane, a, 1.0),
        "cahn_hilliard": (CahnHilliard(0.3, 0.1, 2), wide, 0.5 * a, 0.5),
        "swift_hohenberg": (SwiftHohenberg(0.3, 1.0, ndim=2), wide, 0.5 * a, 0.5),
        "gray_scott": (GrayScott(0.3, 0.2, 0.1, 0.05), plane, 0.5 + 0.2 * pair, 2.0),
        "ginzburg_landau": (GinzburgLandau(1.0, 1.0, -1.2), plane, 0.5 * pair, 1.0),
        "schroedinger": (Schroedinger(1.0, 0.5, 2), plane, 0.5 * pair, 1.0),
        "schroedinger_defocusing": (Schroedinger(-1.0), line, torch.cat([u, 0.5 * u], 1), 1.0),
        "combined": (Combined(0.5, 0.1, 0.3, sines), line, u, 1.0),
        "combined_vanishing": (Combined(0.5, 0.0, 0.0, sines, VanishingViscosity(0.5)), line, 0.5 * u, 1.0),
        "navier_stokes_3d": (NavierStokes3D(0.05), box, TaylorGreen3D().sample(Key.rows(0, 1), box), 0.5),
        "shallow_water": (ShallowWater(1.0, 1.0, 0.7, 0.01, 0.1), plane, three, 1.0),
    }


@dataclass(frozen=True)
class ExactProblem:
    """dy/dt = f(t, y) from t0 to t1 with a solution in closed form.

    Args:
        f: the field.
        exact: (batch, time, state) of times (time,).
        t0, t1: the interval, [time].
    """

    f: Callable[[Tensor, Tensor], Tensor]
    exact: Callable[[Tensor], Tensor]
    t0: float
    t1: float

    def at(self, t: float) -> Tensor:
        """(batch, state) at one time."""
        return self.exact(torch.tensor([t], dtype=torch.float64))[:, 0]


_TWIST = 0.7


def _spiral(t: Tensor, y: Tensor) -> Tensor:
    """z' = (1 + i) z - (1 - 0.7 i) |z|^2 z for z = x + i y: a limit cycle whose frequency depends on the radius."""
    x, y = y.unbind(-1)
    r2 = x * x + y * y
    growth, turn = 1 - r2, 1 + _TWIST * r2
    return torch.stack([growth * x - turn * y, growth * y + turn * x], dim=-1)


def _spiral_exact(s: Tensor) -> Tensor:
    """From radii 0.6 and 1.2, angles 0.3 and -1, in polar form: r' = r - r^3, angle' = 1 + 0.7 r^2."""
    radius, angle = torch.tensor([[0.6], [1.2]]).double(), torch.tensor([[0.3], [-1.0]]).double()
    c = radius**-2 - 1
    r = (1 + c * torch.exp(-2 * s)).rsqrt()
    angle = angle + s + _TWIST * 0.5 * torch.log((torch.exp(2 * s) + c) / (1 + c))
    return torch.stack([r * torch.cos(angle), r * torch.sin(angle)], dim=-1)


def _oscillator_exact(t: Tensor) -> Tensor:
    """x'' = -w^2 x with w = 1, 2 and different phases."""
    w, phase = torch.tensor([[1.0], [2.0]]).double(), torch.tensor([[0.4], [1.9]]).double()
    return torch.stack([torch.cos(w * t + phase), -w * torch.sin(w * t + phase)], dim=-1)


def _oscillator(t: Tensor, y: Tensor) -> Tensor:
    w2 = torch.tensor([1.0, 4.0]).to(y)
    return torch.stack([y[:, 1], -w2 * y[:, 0]], dim=-1)


def _complex_exact(t: Tensor) -> Tensor:
    start = torch.tensor([0.4 + 0.3j, -0.2 + 0.9j]).to(torch.complex128)
    z = 1 / (1 / start[:, None] + 1 - torch.exp(1j * t.to(torch.complex128)))
    return torch.stack([z, z.conj() * torch.exp(0.5j * t.to(torch.complex128))], dim=-1)


def _complex(t: Tensor, y: Tensor) -> Tensor:
    """z' = i e^(it) z^2, and w' of w = conj(z) e^(it/2): complex, not analytic, with time."""
    z, w = y.unbind(-1)
    turn = torch.exp(1j * t.to(y.dtype)).reshape(-1) if t.ndim else torch.exp(1j * t.to(y.dtype))
    dz = 1j * turn * z * z
    half = torch.exp(0.5j * t.to(y.dtype)).reshape(-1) if t.ndim else torch.exp(0.5j * t.to(y.dtype))
    return torch.stack([dz, (dz.conj() * half) + 0.5j * w], dim=-1)


def ode_problems() -> dict[str, ExactProblem]:
    """Problems on which the order of every explicit method is measured, all with exact solutions.

    The non-autonomous one is the autonomous one with its clock running at the rate 1 + 0.5 cos 2t.
    """

    def clock(t: Tensor) -> Tensor:
        return t + 0.25 * torch.sin(2 * t)

    return {
        "autonomous": ExactProblem(_spiral, _spiral_exact, 0.0, 1.5),
        "non_autonomous": ExactProblem(
            lambda t, y: (1 + 0.5 * torch.cos(2 * t)) * _spiral(t, y), lambda t: _spiral_exact(clock(t)), 0.0, 2.0
        ),
        "complex": ExactProblem(_complex, _complex_exact, 0.0, 2.0),
        "oscillator": ExactProblem(_oscillator, _oscillator_exact, 0.0, 2.0),
    }
