"""Initial fields as objects, keyed per trajectory: the same field for the same row at any resolution that holds it."""

from sciml.pde.initial.compose import Channels, Constant, NoisyState
from sciml.pde.initial.random_fields import GaussianRandomField, Matern, McWilliams, PowerLaw, TruncatedFourier
from sciml.pde.initial.shapes import Bumps, ShearLayers, Spots, Vortices
from sciml.pde.initial.solitons import BrightSolitons, Solitons

__all__ = [
    "BrightSolitons",
    "Bumps",
    "Channels",
    "Constant",
    "GaussianRandomField",
    "Matern",
    "McWilliams",
    "NoisyState",
    "PowerLaw",
    "ShearLayers",
    "Solitons",
    "Spots",
    "TruncatedFourier",
    "Vortices",
]
