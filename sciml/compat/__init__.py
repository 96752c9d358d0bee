"""Names of other packages, served by `integrate`: change one import and keep the rest of the script."""

from sciml.compat import torchdiffeq

__all__ = ["torchdiffeq"]
