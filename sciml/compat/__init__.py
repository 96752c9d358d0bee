"""Names of other packages, served by `integrate`: change one import and keep the rest of the script."""

from sciml.compat import torchdiffeq, torchsde

__all__ = ["torchdiffeq", "torchsde"]
