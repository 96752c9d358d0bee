"""Many single steps with the same parameters."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sciml.ssm.system import StateSpace


@contextmanager
def streaming(model: nn.Module) -> Iterator[None]:
    """Within it every layer is discretised once for each number dt, and not at every step; without gradients.

        with streaming(model):
            for u_k in measurements:
                y, state = model.step(u_k, state)

    Parameters must not change within. Intervals of each sample, (batch,), are discretised at every step as ever.

    Args:
        model: a layer, or a model of layers.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, StateSpace)]
    before = [layer.prepared for layer in layers]
    for layer in layers:
        layer.prepared = {}
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, prepared in zip(layers, before, strict=True):
            layer.prepared = prepared
