"""Reference equations on periodic grids, their initial fields, and their solution. Never sees a network."""

from sciml.pde.base import AbstractEquation, AbstractInitial, AbstractTransport
from sciml.pde.burgers import Burgers
from sciml.pde.evolve import evolve
from sciml.pde.initial import GaussianRandomField, TruncatedFourier
from sciml.pde.korteweg_de_vries import KortewegDeVries
from sciml.pde.kuramoto_sivashinsky import KuramotoSivashinsky
from sciml.pde.navier_stokes import KolmogorovForcing, NavierStokes2D
from sciml.pde.representation import AbstractRepresentation, ComplexPairs, RealFields
from sciml.pde.sampling import AbstractDistribution, Choice, LogUniform, Uniform, parameter_key
from sciml.pde.spectral import Spectral

__all__ = [
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
    "parameter_key",
]
