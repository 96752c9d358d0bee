"""Times as fields and events get them."""

import torch
from torch import Tensor

from sciml.integrate.methods.base import Time


def as_time(t: Time, y: Tensor) -> Tensor:
    """A time in the state's real dtype, 0-D."""
    return torch.as_tensor(t, device=y.device).to(y.dtype.to_real())
