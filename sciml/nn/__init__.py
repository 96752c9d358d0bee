"""Small building blocks shared by the models."""

from sciml.nn.normalise import Normalizer

__all__ = ["Normalizer"]
