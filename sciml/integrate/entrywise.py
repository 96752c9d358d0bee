"""Whether entry i of a diffusion depends on entry i of the state alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from sciml.integrate.directional import along


@torch.no_grad()
def mixes_entries(g: Callable[[Any], Any], y: Any) -> bool:
    """Whether the derivatives of g at `y` are those of a function that mixes entries.

    Along any direction the derivative is that along ones times it, entry by entry, only where no entries mix. Entries
    that are not finite tell nothing.

    Args:
        g: of the state alone, like the state.
        y: the state, or a tree.
    """
    probe = tree_map(_waves, y)
    slope, found = along(g, y, tree_map(torch.ones_like, y)), along(g, y, probe)
    return any(map(_differ, tree_leaves(slope), tree_leaves(probe), tree_leaves(found)))


def _differ(slope: Tensor, probe: Tensor, found: Tensor) -> bool:
    made, expected = found, slope * probe
    rounding = torch.finfo(made.dtype).eps ** 0.5
    finite = torch.isfinite(made) & torch.isfinite(expected)
    size = torch.where(finite, torch.maximum(made.abs(), expected.abs()), 0.0)
    if not size.numel():
        return False
    return bool((finite & ((made - expected).abs() > rounding * (size + size.max()))).any())


def _waves(leaf: Tensor) -> Tensor:
    """Entries of which no two are equal within a sample."""
    entries = torch.arange(leaf[0].numel(), dtype=torch.float64, device=leaf.device)
    return torch.cos(1.0 + entries).to(leaf.dtype).reshape(leaf.shape[1:]).expand_as(leaf).contiguous()
