"""The public names of torchdiffeq 0.2.5, with its keywords, defaults, kinds of errors and layouts.

The state is one system of any shape (or a tuple of tensors), all of it takes the same steps, and results have time
first. New code is better off with `sciml.solve`, which steps every sample by itself.
"""

from sciml.compat.torchdiffeq.adjoint import odeint_adjoint
from sciml.compat.torchdiffeq.events import odeint_event
from sciml.compat.torchdiffeq.odeint import odeint, odeint_dense

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"]
