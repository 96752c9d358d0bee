"""Other packages as methods of `solve`."""

from sciml.integrate.backends.base import AbstractBackend
from sciml.integrate.backends.torchdiffeq import TorchDiffEq
from sciml.integrate.backends.torchsde import TorchSDE

__all__ = ["AbstractBackend", "TorchDiffEq", "TorchSDE"]
