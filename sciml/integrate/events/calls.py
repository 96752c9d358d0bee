"""The functions of events as the walk calls them: flat states in, everything checked."""

from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten

from sciml.integrate.events.event import Event
from sciml.integrate.field import versions
from sciml.integrate.flat import Flat, first_leaf, leaves_of, map_leaves, restore


@final
class Calls:
    """The events of a solve on flat states.

    Args:
        events: what is looked for.
        structure: of the state, None for a single tensor.
    """

    def __init__(self, events: tuple[Event, ...], structure: TreeSpec | None) -> None:
        self.events, self.structure = events, structure

    def value(self, k: int, t: Tensor, y: Flat) -> Tensor:
        """fn of event k, (batch,), as it comes.

        Raises:
            TypeError, ValueError: unless it is one real or boolean number per row, or if it changes `t` or `y`.
        """
        leaf = first_leaf(y)
        if leaf.is_inference():  # such tensors do not count their changes
            t, y = t.clone(), map_leaves(torch.clone, y)
        before = versions((t, *leaves_of(y)))
        value: Any = self.events[k].fn(t, restore(y, self.structure))
        if versions((t, *leaves_of(y))) != before:
            raise ValueError(
                f"`fn` of event {k} must leave time and state as they are, but it changed `t` or `y` in place. Compute "
                "its value in new tensors, e.g. y.clamp(max=1.0) instead of y.clamp_(max=1.0)."
            )
        if not isinstance(value, Tensor) or value.is_complex():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(
                f"`fn` of event {k} must return a real or boolean tensor, got {kind}. Return e.g. y[:, 0] - 1.0."
            )
        if value.shape != (len(leaf),):
            raise ValueError(
                f"`fn` of event {k} must return one value per sample, shape ({len(leaf)},), got {tuple(value.shape)}. "
                f"Take single entries: y[:, 0], and t[:, 0], for `t` has shape {tuple(t.shape)}."
            )
        return value

    def number(self, k: int, t: Tensor, y: Flat) -> Tensor:
        """fn of event k in float64: -1 and +1 for False and True."""
        value = self.value(k, t, y)
        return value.double() * 2 - 1 if value.dtype == torch.bool else value.double()

    def numbers(self, t: Tensor, y: Flat) -> Tensor:
        """All functions, (event, batch)."""
        return torch.stack([self.number(k, t, y) for k in range(len(self.events))])

    def jumped(self, k: int, t: Tensor, y: Flat) -> Flat:
        """The states behind event k.

        Raises:
            TypeError, ValueError: unless `jump` returns structure, shapes and dtypes of the state.
        """
        jump = self.events[k].jump
        if jump is None:
            return y
        given = jump(t, restore(map_leaves(torch.clone, y), self.structure))
        leaves, structure = ([given], None) if self.structure is None else tree_flatten(given)
        if structure != self.structure:
            raise TypeError(
                f"`jump` of event {k} must return the structure of the state, {self.structure}, got {structure}. "
                "Return every leaf in its place, changed or not."
            )
        for new, old in zip(leaves, leaves_of(y), strict=True):
            if not isinstance(new, Tensor):
                raise TypeError(f"`jump` of event {k} must return tensors, got a {type(new).__name__}. Return the y.")
            if new.shape != old.shape or new.dtype != old.dtype:
                raise ValueError(
                    f"`jump` of event {k} must return shape {tuple(old.shape)} and {old.dtype} like the state, got "
                    f"{tuple(new.shape)} and {new.dtype}. Samples keep their shape behind an event: mark what no "
                    "longer counts by an entry of the state."
                )
        return leaves[0] if self.structure is None else tuple(leaves)
