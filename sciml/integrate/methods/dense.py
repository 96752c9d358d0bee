"""What dense outputs share: parts of a step and its size beside states at several times."""

from torch import Tensor

from sciml.integrate.flat import real_dtype
from sciml.integrate.methods.base import Time


def beside_times(theta: Tensor, values: Tensor) -> Tensor:
    """theta, (m,) or (batch, m), to go with values (batch, m, *state)."""
    return theta.reshape(*theta.shape, *[1] * (values.ndim - 2))


def size_beside(dt: Time, values: Tensor) -> Time:
    """A step size, shared or per sample, to multiply values (batch, m, *state)."""
    if not isinstance(dt, Tensor):
        return dt
    return (dt.reshape(-1, *[1] * (values.ndim - 1)) if dt.ndim else dt).to(real_dtype(values))
