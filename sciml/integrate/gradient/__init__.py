"""How a solve is differentiated."""

from sciml.integrate.gradient.base import AbstractGradient
from sciml.integrate.gradient.direct import Direct

__all__ = ["AbstractGradient", "Direct"]
