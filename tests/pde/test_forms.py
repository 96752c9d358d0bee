"""Form and signs of every equation: its rate of change against the terms written out with derivatives in space."""

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid, derivative
from sciml.pde import (
    Advection,
    AdvectionDiffusion,
    AllenCahn,
    Burgers,
    CahnHilliard,
    Channels,
    Combined,
    Diffusion,
    Dispersion,
    FisherKPP,
    GinzburgLandau,
    GrayScott,
    HyperDiffusion,
    KortewegDeVries,
    KuramotoSivashinsky,
    KuramotoSivashinskyCombustion,
    RandomSines,
    Schroedinger,
    ShallowWater,
    Spectral,
    SwiftHohenberg,
    TruncatedFourier,
    VectorBurgers,
    Wave,
)

LINE, PLANE, SPACE = Grid((32,), (3.0,)), Grid((32, 32), (3.0, 2.0)), Grid((20, 20, 20), (3.0, 2.0, 4.0))
SINES = RandomSines(3, 0.5, 0.4, 3).sample(Key.rows(1, 2))


class Field:
    """A field whose derivatives are attributes: f.x, f.xy, f.laplace."""

    def __init__(self, u, grid):
        self.u, self.grid = u, grid

    def __getattr__(self, axes):
        u = self.u
        for axis in axes:
            u = derivative(u, self.grid, "xyz".index(axis))
        return u

    @property
    def laplace(self):
        return sum(derivative(self.u, self.grid, i, 2) for i in range(self.grid.ndim))

    @property
    def biharmonic(self):
        return Field(self.laplace, self.grid).laplace


def shallow(f, h, u, v):
    eta_t = -1.5 * (u.x + v.y) - Field(h.u * u.u, h.grid).x - Field(h.u * v.u, h.grid).y + 0.02 * h.laplace
    u_t = -u.u * u.x - v.u * u.y - 2.0 * h.x + f * v.u + 0.02 * u.laplace - 0.1 * u.u
    v_t = -u.u * v.x - v.u * v.y - 2.0 * h.y - f * u.u + 0.02 * v.laplace - 0.1 * v.u
    return eta_t, u_t, v_t


def landau(re, im):
    a = torch.complex(re.u, im.u)
    rate = 0.7 * a + (1 + 2j) * torch.complex(re.laplace, im.laplace) - (1 - 1.5j) * a.abs() ** 2 * a
    return rate.real, rate.imag


def schroedinger(re, im):
    psi = torch.complex(re.u, im.u)
    rate = 1j * (0.3 * torch.complex(re.laplace, im.laplace) + 2.0 * psi.abs() ** 2 * psi)
    return rate.real, rate.imag


def gray_scott(u, v):
    made = u.u * v.u**2
    return 0.2 * u.laplace - made + 0.3 * (1 - u.u), 0.1 * v.laplace + made - (0.3 + 0.4) * v.u


def chemical(u):
    return Field(u.u**3 - u.u - 0.1 * u.laplace, u.grid).laplace


CASES = [
    (Advection((1.2, -0.5), 2), PLANE, lambda u: (-1.2 * u.x + 0.5 * u.y,)),
    (AdvectionDiffusion((1.2, -0.5), 0.3, 2), PLANE, lambda u: (-1.2 * u.x + 0.5 * u.y + 0.3 * u.laplace,)),
    (
        Diffusion((0.3, 0.2, 0.1), (0.1, -0.05, 0.02), 3),
        SPACE,
        lambda u: (0.3 * u.xx + 0.2 * u.yy + 0.1 * u.zz + 0.2 * u.xy - 0.1 * u.xz + 0.04 * u.yz,),
    ),
    (HyperDiffusion(0.3, 2, 2), PLANE, lambda u: (-0.3 * u.biharmonic,)),
    (Dispersion((0.3, 0.2), 2), PLANE, lambda u: (-0.3 * u.xxx - 0.2 * u.yyy,)),
    (Wave(1.5, 2), PLANE, lambda u, v: (v.u, 1.5**2 * u.laplace)),
    (Burgers(0.1), LINE, lambda u: (-u.u * u.x + 0.1 * u.xx,)),
    (Burgers(0.1, 2), PLANE, lambda u: (-u.u * (u.x + u.y) + 0.1 * u.laplace,)),
    (
        VectorBurgers(0.1, 2),
        PLANE,
        lambda u, v: (
            -u.u * u.x - v.u * u.y + 0.1 * u.laplace,
            -u.u * v.x - v.u * v.y + 0.1 * v.laplace,
        ),
    ),
    (KortewegDeVries(-2.0, 0.3), LINE, lambda u: (2.0 * u.u * u.x - 0.3 * u.xxx,)),
    (KuramotoSivashinsky(0.5), LINE, lambda u: (-u.u * u.x - u.xx - 0.5 * u.xxxx,)),
    (
        KuramotoSivashinskyCombustion(0.5, 2),
        PLANE,
        lambda u: (-(u.x**2 + u.y**2) / 2 - u.laplace - 0.5 * u.biharmonic,),
    ),
    (FisherKPP(0.2, 1.5, 2), PLANE, lambda u: (0.2 * u.laplace + 1.5 * u.u * (1 - u.u),)),
    (AllenCahn(0.2, 1.5, 2), PLANE, lambda u: (0.2 * u.laplace + 1.5 * (u.u - u.u**3),)),
    (CahnHilliard(1.3, 0.1, 2), PLANE, lambda u: (1.3 * chemical(u),)),
    (
        SwiftHohenberg(0.3, 0.7, 1.2, 2),
        PLANE,
        lambda u: (0.3 * u.u - 1.2**4 * u.u - 2 * 1.2**2 * u.laplace - u.biharmonic + 0.7 * u.u**2 - u.u**3,),
    ),
    (GrayScott(0.3, 0.4, 0.2, 0.1), PLANE, gray_scott),
    (GinzburgLandau(0.7, 2.0, -1.5), PLANE, landau),
    (Schroedinger(2.0, 0.3, 2), PLANE, schroedinger),
    (
        Combined(0.8, 0.2, 0.3, SINES),
        LINE,
        lambda u: (-2 * 0.8 * u.u * u.x + 0.2 * u.xx - 0.3 * u.xxx + SINES.field(0.7, LINE),),
    ),
    (ShallowWater(2.0, 1.5, 0.7, 0.02, 0.1), PLANE, lambda h, u, v: shallow(0.7, h, u, v)),
    (ShallowWater(2.0, 1.5, -0.7, 0.02, 0.1), PLANE, lambda h, u, v: shallow(-0.7, h, u, v)),
    (ShallowWater(2.0, 1.5, 0.0, 0.02, 0.1), PLANE, lambda h, u, v: shallow(0.0, h, u, v)),
]


@pytest.mark.parametrize(("equation", "grid", "terms"), CASES, ids=lambda value: type(value).__name__)
def test_the_rate_of_change_is_what_the_docstring_says(equation, grid, terms):
    # Modes up to 2, so that cubes fit into what is kept.
    u = 0.2 + Channels((TruncatedFourier(2),) * len(equation.fields.names)).sample(Key.rows(0, 2), grid)
    system = Spectral(equation, grid)
    y = system.encode(u)
    rate = system.decode(system.term.linear * y + system.term.nonlinear(torch.tensor(0.7), y))
    expected = torch.cat(terms(*(Field(channel, grid) for channel in u.split(1, 1))), 1)
    assert torch.allclose(rate, expected, rtol=0, atol=1e-11 * float(expected.abs().max()))
