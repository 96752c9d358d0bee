"""The public names of torchdiffeq (0.2.5, and the methods of its main branch), with its keywords, defaults, kinds of
errors and layouts: change one import and keep the rest of the script.

The state is one system of any shape (or a tuple of tensors), all of it takes the same steps, and results have time
first. New code is better off with `sciml.solve`, which steps every sample by itself.

What is served, and what differs, stands in `sciml/README.md` under "Coming from torchdiffeq".
"""

from sciml.compat.torchdiffeq.adjoint import odeint_adjoint
from sciml.compat.torchdiffeq.events import odeint_event
from sciml.compat.torchdiffeq.odeint import odeint, odeint_dense

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"]
