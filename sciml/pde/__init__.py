"""Reference equations on periodic grids, their initial fields, and their solution. Never sees a network."""

from sciml.pde.base import AbstractEquation, AbstractInitial
from sciml.pde.burgers import Burgers
from sciml.pde.evolve import evolve, semilinear
from sciml.pde.initial import GaussianRandomField, TruncatedFourier
from sciml.pde.korteweg_de_vries import KortewegDeVries
from sciml.pde.kuramoto_sivashinsky import KuramotoSivashinsky
from sciml.pde.navier_stokes import KolmogorovForcing, NavierStokes2D
from sciml.pde.sampling import AbstractDistribution, Choice, LogUniform, Uniform, parameter_key

__all__ = [
    "AbstractDistribution",
    "AbstractEquation",
    "AbstractInitial",
    "Burgers",
    "Choice",
    "GaussianRandomField",
    "KolmogorovForcing",
    "KortewegDeVries",
    "KuramotoSivashinsky",
    "LogUniform",
    "NavierStokes2D",
    "TruncatedFourier",
    "Uniform",
    "evolve",
    "parameter_key",
    "semilinear",
]
