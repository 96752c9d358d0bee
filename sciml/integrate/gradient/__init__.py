"""How a solve is differentiated."""

from sciml.integrate.gradient.backsolve import Backsolve
from sciml.integrate.gradient.base import AbstractGradient
from sciml.integrate.gradient.checkpoint import Checkpoint
from sciml.integrate.gradient.direct import Direct
from sciml.integrate.gradient.forward import Forward
from sciml.integrate.gradient.quadrature import Quadrature
from sciml.integrate.gradient.reversible import Reversible

__all__ = ["AbstractGradient", "Backsolve", "Checkpoint", "Direct", "Forward", "Quadrature", "Reversible"]
