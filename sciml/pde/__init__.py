"""Reference equations on periodic grids, their initial fields, and their solution. Never sees a network."""

from sciml.pde.advection import Advection, AdvectionDiffusion
from sciml.pde.allen_cahn import AllenCahn
from sciml.pde.base import AbstractEquation, AbstractInitial, AbstractTransport
from sciml.pde.body_forcing import ABCForcing, AbstractBodyForcing, ShearForcing
from sciml.pde.burgers import Burgers, VectorBurgers
from sciml.pde.cahn_hilliard import CahnHilliard
from sciml.pde.combined import MP_PDE_E1, MP_PDE_E2, MP_PDE_E3, Combined
from sciml.pde.diffusion import Diffusion, HyperDiffusion
from sciml.pde.dispersion import Dispersion
from sciml.pde.evolve import evolve
from sciml.pde.fisher_kpp import FisherKPP
from sciml.pde.ginzburg_landau import GinzburgLandau
from sciml.pde.gravity_waves import GravityWaves
from sciml.pde.gray_scott import GrayScott
from sciml.pde.initial import (
    BrightSolitons,
    Bumps,
    Channels,
    Constant,
    GaussianRandomField,
    Matern,
    McWilliams,
    NoisyState,
    PowerLaw,
    ShearLayers,
    Solitons,
    Spots,
    TruncatedFourier,
    Vortices,
)
from sciml.pde.korteweg_de_vries import KortewegDeVries
from sciml.pde.kuramoto_sivashinsky import KuramotoSivashinsky, KuramotoSivashinskyCombustion
from sciml.pde.navier_stokes import NavierStokes2D, PassiveScalar
from sciml.pde.navier_stokes_3d import NavierStokes3D
from sciml.pde.representation import AbstractRepresentation, ComplexPairs, RealFields
from sciml.pde.sampling import AbstractDistribution, AbstractRandom, Choice, LogUniform, Uniform, parameter_key
from sciml.pde.schroedinger import Schroedinger
from sciml.pde.shallow_water import ShallowWater
from sciml.pde.spectral import Spectral
from sciml.pde.spin_up import NotSteadyError, SpunUp, spin_up
from sciml.pde.step_limit import step_limit
from sciml.pde.swift_hohenberg import SwiftHohenberg
from sciml.pde.taylor_green import TaylorGreen3D
from sciml.pde.travelling_sines import ForcingAtStart, RandomSines, TravellingSines
from sciml.pde.vanishing_viscosity import VanishingViscosity
from sciml.pde.vorticity_forcing import AbstractVorticityForcing, DiagonalForcing, KolmogorovForcing
from sciml.pde.wave import Wave, WaveCharacteristics
from sciml.pde.white_forcing import WhiteForcing, evolve_noisy

__all__ = [
    "NotSteadyError",
    "SpunUp",
    "spin_up",
    "ABCForcing",
    "TaylorGreen3D",
    "WhiteForcing",
    "evolve_noisy",
    "AbstractBodyForcing",
    "AbstractVorticityForcing",
    "DiagonalForcing",
    "NavierStokes3D",
    "PassiveScalar",
    "ShearForcing",
    "BrightSolitons",
    "Bumps",
    "Channels",
    "Constant",
    "Matern",
    "McWilliams",
    "NoisyState",
    "PowerLaw",
    "ShearLayers",
    "Solitons",
    "Spots",
    "Vortices",
    "Advection",
    "AdvectionDiffusion",
    "AllenCahn",
    "CahnHilliard",
    "MP_PDE_E1",
    "MP_PDE_E2",
    "MP_PDE_E3",
    "Combined",
    "Diffusion",
    "HyperDiffusion",
    "Dispersion",
    "FisherKPP",
    "GinzburgLandau",
    "GravityWaves",
    "GrayScott",
    "Schroedinger",
    "ShallowWater",
    "SwiftHohenberg",
    "ForcingAtStart",
    "RandomSines",
    "TravellingSines",
    "VanishingViscosity",
    "Wave",
    "WaveCharacteristics",
    "VectorBurgers",
    "KuramotoSivashinskyCombustion",
    "AbstractRandom",
    "AbstractDistribution",
    "AbstractEquation",
    "AbstractInitial",
    "AbstractRepresentation",
    "AbstractTransport",
    "Burgers",
    "ComplexPairs",
    "Choice",
    "GaussianRandomField",
    "KolmogorovForcing",
    "KortewegDeVries",
    "KuramotoSivashinsky",
    "LogUniform",
    "NavierStokes2D",
    "RealFields",
    "Spectral",
    "TruncatedFourier",
    "Uniform",
    "evolve",
    "step_limit",
    "parameter_key",
]
