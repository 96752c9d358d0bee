"""States are tensors or pytrees of tensors whose first axis is the batch of independent samples."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves as _leaves
from torch.utils._pytree import tree_map as tree_map

State = Any  # a Tensor, or a tuple / list / dict / dataclass pytree of Tensors
tree_leaves = _leaves


def batch_size(name: str, y: State) -> int:
    """The common length of the first axis.

    Raises:
        TypeError: if a leaf is no tensor.
        ValueError: if a leaf has no batch axis, or the leaves disagree on it.
    """
    sizes = set()
    for leaf in tree_leaves(y):
        if not isinstance(leaf, Tensor):
            raise TypeError(
                f"`{name}` must be a tensor or a tree of tensors, got a {type(leaf).__name__}. Convert numbers, "
                "lists of them and arrays by torch.as_tensor(...)."
            )
        if leaf.ndim < 2:
            raise ValueError(
                f"`{name}` must have shape (batch, *state) with at least one state axis, got {tuple(leaf.shape)}. "
                f"For one system write {name}[None]; for many scalar systems write {name}[:, None]."
            )
        sizes.add(leaf.shape[0])
    if len(sizes) != 1:
        raise ValueError(
            f"every leaf of `{name}` must have the same batch axis, got sizes {sorted(sizes)}. "
            "Expand the shorter leaves to the common batch."
        )
    return sizes.pop()
