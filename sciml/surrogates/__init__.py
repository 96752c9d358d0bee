"""Surrogates of fields in space and time: networks, the steppers that wrap them, and rollout."""

from sciml.surrogates.base import AbstractStepper
from sciml.surrogates.criteria import AbstractCriterion, MeanSquare, Spectral
from sciml.surrogates.modes import Curriculum, Mode, OneStepMode, Unrolled
from sciml.surrogates.one_step import AbstractTarget, Conditioning, Increment, OneStep, State
from sciml.surrogates.persistence import Persistence
from sciml.surrogates.rollout import rollout

__all__ = [
    "AbstractCriterion",
    "AbstractStepper",
    "AbstractTarget",
    "Conditioning",
    "Curriculum",
    "Increment",
    "MeanSquare",
    "Mode",
    "OneStep",
    "OneStepMode",
    "Persistence",
    "Spectral",
    "State",
    "Unrolled",
    "rollout",
]
