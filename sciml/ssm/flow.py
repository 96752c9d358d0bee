"""A state-space layer as the differential equation it is, for `sciml.integrate`."""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.integrate import ODE, SemiLinear
from sciml.ssm.checks import check_entry
from sciml.ssm.discretise import Discrete
from sciml.ssm.layer import AbstractLayer
from sciml.ssm.matrices import Diagonal
from sciml.ssm.pairs import wide
from sciml.ssm.ports import Ports
from sciml.ssm.system import StateSpace


def flow(layer: AbstractLayer, u: Float[Tensor, "batch channel"]) -> SemiLinear | ODE:
    """dx/dt = s (A x + B u) for an input held at u, s the learned steps.

    Stepped over the interval of an entry it gives the state that `layer.step` gives with `ZOH()`, to the error of the
    method, and to rounding with an exponential method; layers with other rules differ by the order of their rule.

    Args:
        layer: a layer whose matrix is a flow.
        u: the input while it is held, in the dtype of the layer.

    Returns:
        For a diagonal matrix `SemiLinear`, with states as the layer stores them, (batch, systems, state). For others
        `ODE`, with real states (batch, systems, n), n = 2 state with real parts first where pairs are stored.

    Raises:
        TypeError: if the layer is no `StateSpace`: what a selective one does depends on the input.
        ValueError: if the matrix is a map, or u does not fit the layer.
    """
    if not isinstance(layer, StateSpace):
        raise TypeError(
            f"`layer` must be a StateSpace, as s4d, s5 and lssl return, got {type(layer).__name__}. Others are no "
            "differential equation for a held input; run them with `step`."
        )
    if isinstance(layer.discretisation, Discrete):
        raise ValueError("`layer` must be a flow, got one with Discrete(), whose matrix is a map. Make it with ZOH().")
    check_entry(u, layer.channels, layer.dtype)
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
