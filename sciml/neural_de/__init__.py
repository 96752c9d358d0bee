"""Neural differential equations as models: what is learned of series by solving an equation."""

from sciml.neural_de.encoder import BackwardGRU, Encoded, Readout
from sciml.neural_de.fields import (
    AffineControl,
    Conditioned,
    ConstantDiffusion,
    DriftNet,
    EntrywiseDiffusion,
    GaussianLikelihood,
    Guided,
)
from sciml.neural_de.latent_sde import LatentPaths, LatentSDE
from sciml.neural_de.series import SeriesBatch

__all__ = [
    "AffineControl",
    "BackwardGRU",
    "Conditioned",
    "ConstantDiffusion",
    "DriftNet",
    "Encoded",
    "EntrywiseDiffusion",
    "GaussianLikelihood",
    "Guided",
    "LatentPaths",
    "LatentSDE",
    "Readout",
    "SeriesBatch",
]
