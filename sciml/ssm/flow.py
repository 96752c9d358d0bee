"""A state-space layer as the differential equation it is, for `sciml.integrate`."""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.integrate import ODE, SemiLinear
from sciml.ssm.discretise import Discrete
from sciml.ssm.matrices import Diagonal
from sciml.ssm.pairs import wide
from sciml.ssm.ports import Ports
from sciml.ssm.system import StateSpace


def flow(layer: StateSpace, u: Float[Tensor, "batch channel"]) -> SemiLinear | ODE:
    """dx/dt = s (A x + B u) for an input held at u, s the learned steps.

    Stepped over the interval of an entry it gives the state that `layer.step` gives with `ZOH()`, to the error of the
    method, and to rounding with an exponential method; layers with other rules differ by the order of their rule.

    Args:
        layer: a layer whose matrix is a flow.
        u: the input while it is held.

    Returns:
        For a diagonal matrix `SemiLinear`, with states as the layer stores them, (batch, systems, state). For others
        `ODE`, with real states (batch, systems, n), n = 2 state with real parts first where pairs are stored.

    Raises:
        ValueError: if the matrix is a map.
    """
    if isinstance(layer.discretisation, Discrete):
        raise ValueError("`layer` must be a flow, got one with Discrete(), whose matrix is a map. Make it with ZOH().")
    b, _ = layer.ports()
    scale, inputs = layer.scale(), u.unflatten(-1, (layer.systems, layer.inputs)).unsqueeze(1)
    driven = Ports(b, b).drive(inputs).squeeze(1)  # B u, (batch, systems, state)
    if isinstance(layer.matrix, Diagonal):
        return SemiLinear(wide(layer.matrix.values()) * wide(scale), lambda t, x: scale * driven)
    if layer.matrix.is_complex:
        driven = real_state(driven)
    a = layer.matrix.full()
    return ODE(lambda t, x: scale * ((a @ x.unsqueeze(-1)).squeeze(-1) + driven))


def real_state(x: Tensor) -> Tensor:
    """(Re x, Im x) of a state of pairs; a real one is itself."""
    return torch.cat([x.real, x.imag], dim=-1) if x.is_complex() else x
