"""How a solve is differentiated."""

from sciml.integrate.gradient.base import AbstractGradient
from sciml.integrate.gradient.checkpoint import Checkpoint
from sciml.integrate.gradient.direct import Direct
from sciml.integrate.gradient.reversible import Reversible

__all__ = ["AbstractGradient", "Checkpoint", "Direct", "Reversible"]
