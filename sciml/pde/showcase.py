"""One set-up of each equation that shows what it is known for, small enough to be computed in seconds."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.grids import Grid
from sciml.pde.advection import Advection, AdvectionDiffusion
from sciml.pde.allen_cahn import AllenCahn
from sciml.pde.base import AbstractEquation, AbstractInitial
from sciml.pde.burgers import Burgers, VectorBurgers
from sciml.pde.cahn_hilliard import CahnHilliard
from sciml.pde.combined import Combined
from sciml.pde.diffusion import Diffusion, HyperDiffusion
from sciml.pde.dispersion import Dispersion
from sciml.pde.fisher_kpp import FisherKPP
from sciml.pde.ginzburg_landau import GinzburgLandau
from sciml.pde.gray_scott import GrayScott
from sciml.pde.initial import (
    BrightSolitons,
    Bumps,
    Channels,
    Constant,
    GaussianRandomField,
    McWilliams,
    NoisyState,
    PowerLaw,
    Solitons,
    Spots,
    TruncatedFourier,
)
from sciml.pde.korteweg_de_vries import KortewegDeVries
from sciml.pde.kuramoto_sivashinsky import KuramotoSivashinsky, KuramotoSivashinskyCombustion
from sciml.pde.navier_stokes import NavierStokes2D
from sciml.pde.navier_stokes_3d import NavierStokes3D
from sciml.pde.sampling import parameter_key
from sciml.pde.schroedinger import Schroedinger
from sciml.pde.shallow_water import ShallowWater
from sciml.pde.swift_hohenberg import SwiftHohenberg
from sciml.pde.taylor_green import TaylorGreen3D
from sciml.pde.travelling_sines import ForcingAtStart, RandomSines
from sciml.pde.wave import Wave

_TAU = 2 * math.pi


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Showcase:
    """A demonstration of an equation.

    Args:
        equation: the PDE.
        grid: where it is solved.
        initial: its initial fields.
        dt: step of the integrator, [time].
        end: time of the last frame, [time]; the first one is at 0.
        frames: how many frames, evenly spaced; `end` is `frames - 1` times a whole multiple of `dt`.
        shows: what is to be seen, in a few words.
        modulus: whether the picture is the modulus over the channels instead of the first channel.
    """

    equation: AbstractEquation
    grid: Grid
    initial: AbstractInitial
    dt: float
    end: float
    frames: int
    shows: str
    modulus: bool = False

    @property
    def dt_frame(self) -> float:
        """Time between frames, [time]."""
        return self.end / (self.frames - 1)

    def quantity(self, frames: Float[Tensor, "batch time channel *space"]) -> Float[Tensor, "batch time *space"]:
        """The one quantity to draw."""
        return torch.linalg.vector_norm(frames, dim=2) if self.modulus else frames[:, :, 0]


def _line(points: int, length: float) -> Grid:
    return Grid((points,), (length,))


def _square(points: int, length: float) -> Grid:
    return Grid((points, points), (length, length))


def showcases() -> dict[str, Showcase]:
    """Every equation's demonstration, by the name it has in scenarios."""
    return {**_linear(), **_waves_on_a_line(), **_reactions(), **_complex(), **_flows()}


def _linear() -> dict[str, Showcase]:
    return {
        "advection": Showcase(
            equation=Advection(1.0),
            grid=_line(256, 1.0),
            initial=Bumps(3, 0.03, signed=True),
            dt=0.01,
            end=1.0,
            frames=101,
            shows="bumps move once around the box and come back unchanged",
        ),
        "advection_diffusion": Showcase(
            equation=AdvectionDiffusion((1.0, 0.5), 0.005, 2),
            grid=_square(96, 1.0),
            initial=Bumps(4, 0.03),
            dt=0.01,
            end=1.0,
            frames=51,
            shows="spots drift with the wind and spread",
        ),
        "diffusion": Showcase(
            equation=Diffusion((0.01, 0.01), (0.008,), 2),
            grid=_square(96, 1.0),
            initial=Bumps(5, 0.025),
            dt=0.01,
            end=1.0,
            frames=51,
            shows="spots spread along the diagonal, on which the tensor's larger eigenvector lies",
        ),
        "hyper_diffusion": Showcase(
            equation=HyperDiffusion(1e-6, 2, 2),
            grid=_square(96, 1.0),
            initial=PowerLaw(0.0, 32),
            dt=0.01,
            end=1.0,
            frames=51,
            shows="white noise loses its short waves, long ones stay",
        ),
        "dispersion": Showcase(
            equation=Dispersion(1e-4),
            grid=_line(512, 1.0),
            initial=Bumps(1, 0.02),
            dt=0.005,
            end=0.5,
            frames=101,
            shows="a bump sheds a train of waves to the left, the shorter the faster",
        ),
        "wave": Showcase(
            equation=Wave(1.0, 2),
            grid=_square(128, 1.0),
            initial=Channels((Bumps(2, 0.03), Constant((0.0,)))),
            dt=0.01,
            end=1.0,
            frames=51,
            shows="rings run out from two bumps, around the box, and interfere",
        ),
    }


def _waves_on_a_line() -> dict[str, Showcase]:
    forcing = RandomSines()
    return {
        "burgers": Showcase(
            equation=Burgers(0.01),
            grid=_line(512, _TAU),
            initial=TruncatedFourier(4, 0.7),
            dt=0.005,
            end=4.0,
            frames=101,
            shows="waves steepen into fronts, which catch up and merge",
        ),
        "combined": Showcase(
            equation=Combined(1.0, 0.05, 0.2, forcing.sample(parameter_key(Key.rows(0, 1), "forcing"))),
            grid=_line(256, 16.0),
            initial=ForcingAtStart(forcing),
            dt=0.004,
            end=4.0,
            frames=101,
            shows="forced waves steepen, and disperse behind each front",
        ),
        "korteweg_de_vries": Showcase(
            equation=KortewegDeVries(),
            grid=_line(256, 30.0),
            initial=Solitons((8.0, 2.0)),
            dt=0.001,
            end=5.0,
            frames=101,
            shows="a fast soliton passes through a slow one; both are shifted",
        ),
        "kuramoto_sivashinsky": Showcase(
            equation=KuramotoSivashinsky(),
            grid=_line(256, 32 * math.pi),
            initial=TruncatedFourier(16, 0.1),
            dt=0.05,
            end=150.0,
            frames=151,
            shows="humps grow, drift, merge and are born: chaos in space and time",
        ),
        "kuramoto_sivashinsky_combustion": Showcase(
            equation=KuramotoSivashinskyCombustion(1.0, 2, True),
            grid=_square(96, 60.0),
            initial=PowerLaw(0.0, 12, rms=0.1),
            dt=0.1,
            end=100.0,
            frames=51,
            shows="a flame front breaks up into cells that split and merge",
        ),
    }


def _reactions() -> dict[str, Showcase]:
    return {
        "allen_cahn": Showcase(
            equation=AllenCahn(1e-4, 1.0, 2),
            grid=_square(192, 1.0),
            initial=PowerLaw(0.0, 24, rms=0.1),
            dt=0.1,
            end=50.0,
            frames=51,
            shows="two phases form domains; curved interfaces straighten and small domains vanish",
        ),
        "cahn_hilliard": Showcase(
            equation=CahnHilliard(1e-2, 1e-4, 2),
            grid=_square(192, 1.0),
            initial=PowerLaw(0.0, 24, rms=0.05),
            dt=0.005,
            end=5.0,
            frames=51,
            shows="a mixture separates into a labyrinth that coarsens; neither phase is lost",
        ),
        "fisher_kpp": Showcase(
            equation=FisherKPP(1e-4, 1.0, 2),
            grid=_square(160, 1.0),
            initial=Bumps(4, 0.02),
            dt=0.1,
            end=20.0,
            frames=51,
            shows="populations spread in discs at constant speed until they meet and fill the box",
        ),
        "gray_scott": Showcase(
            equation=GrayScott(),
            grid=_square(128, 1.25),
            initial=Spots((0.5, 0.25), (1.0, 0.0), 5, 0.05, 0.012),
            dt=4.0,
            end=4800.0,
            frames=61,
            shows="spots divide until they fill the plane",
        ),
        "swift_hohenberg": Showcase(
            equation=SwiftHohenberg(0.2, ndim=2),
            grid=_square(128, 16 * _TAU),
            initial=PowerLaw(0.0, 24, rms=0.1),
            dt=0.2,
            end=200.0,
            frames=51,
            shows="stripes of one wavelength grow out of noise, with defects that heal slowly",
        ),
    }


def _complex() -> dict[str, Showcase]:
    return {
        "ginzburg_landau": Showcase(
            equation=GinzburgLandau(1.0, 0.0, 1.0),
            grid=_square(128, 100.0),
            initial=NoisyState((0.0, 0.0), PowerLaw(0.0, 16, rms=0.1)),
            dt=0.1,
            end=120.0,
            frames=61,
            shows="waves turn around defects: spirals",
        ),
        "schroedinger": Showcase(
            equation=Schroedinger(),
            grid=_line(256, 40.0),
            initial=BrightSolitons((1.0, 1.5), (1.0, -1.0)),
            dt=0.005,
            end=20.0,
            frames=101,
            shows="two solitons interfere as they pass through each other, and leave unchanged",
            modulus=True,
        ),
    }


def _flows() -> dict[str, Showcase]:
    return {
        "navier_stokes_2d": Showcase(
            equation=NavierStokes2D(1e-3),
            grid=_square(128, _TAU),
            initial=McWilliams(),
            dt=0.005,
            end=10.0,
            frames=51,
            shows="turbulence decays: vortices of one sign merge, filaments are drawn out between them",
        ),
        "navier_stokes_3d": Showcase(
            equation=NavierStokes3D(1e-2),
            grid=Grid((32, 32, 32), (_TAU, _TAU, _TAU)),
            initial=TaylorGreen3D(),
            dt=0.04,
            end=10.0,
            frames=51,
            shows="the Taylor-Green vortex stretches into sheets and breaks up; the speed on a plane of symmetry",
            modulus=True,
        ),
        "shallow_water": Showcase(
            equation=ShallowWater(1.0, 1.0, 2.0, 2e-3),
            grid=_square(128, 10.0),
            initial=Channels((Bumps(3, 0.5, 0.3), Constant((0.0, 0.0)))),
            dt=0.02,
            end=10.0,
            frames=51,
            shows="waves run away from three hills; rotation keeps a vortex at each",
        ),
        "vector_burgers": Showcase(
            equation=VectorBurgers(0.03, 2),
            grid=_square(128, _TAU),
            initial=Channels((GaussianRandomField(1.0), GaussianRandomField(1.0))),
            dt=0.01,
            end=3.0,
            frames=51,
            shows="velocities steepen into a net of fronts",
        ),
    }
