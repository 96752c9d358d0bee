"""Training: objectives, configuration, and `fit` with exact resume. Lightning is imported when `fit` is called."""

from sciml.training.checkpoint import load_weights, read_checkpoint, save_weights
from sciml.training.config import Hardware, TrainConfig
from sciml.training.ema import Average, ema_decay
from sciml.training.errors import DivergedError
from sciml.training.fit import Batches, FitResult, fit
from sciml.training.objective import AbstractObjective, CurriculumObjective, StepperObjective
from sciml.training.schedule import warmup_cosine

__all__ = [
    "AbstractObjective",
    "Average",
    "Batches",
    "CurriculumObjective",
    "DivergedError",
    "FitResult",
    "Hardware",
    "StepperObjective",
    "TrainConfig",
    "ema_decay",
    "fit",
    "load_weights",
    "read_checkpoint",
    "save_weights",
    "warmup_cosine",
]
