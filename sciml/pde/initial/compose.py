"""Initial fields made of others: constant states, states with noise, one part per channel."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.core.checks import check_number
from sciml.grids import Grid
from sciml.pde.base import AbstractInitial


@final
@dataclass(frozen=True)
class Constant(AbstractInitial):
    """The same value everywhere.

    Args:
        values: one per channel, [field].
    """

    values: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        check_number("values", *self.values)

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        values = torch.tensor(self.values, dtype=torch.float64, device=key.ids.device)
        return values.reshape(1, -1, *[1] * grid.ndim).repeat(key.batch, 1, *grid.points)


@final
@dataclass(frozen=True)
class NoisyState(AbstractInitial):
    """A constant state with noise of its own on every channel.

    Args:
        values: the state, one value per channel, [field].
        noise: fields of one channel that are added.
    """

    values: tuple[float, ...]
    noise: AbstractInitial

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        noise = Channels((self.noise,) * len(self.values)).sample(key, grid)
        return Constant(self.values).sample(key, grid) + noise


@final
@dataclass(frozen=True)
class Channels(AbstractInitial):
    """The channels of several initial fields one after the other, drawn independently.

    Args:
        parts: the initial fields; part i uses sub-stream i of the key.
    """

    parts: tuple[AbstractInitial, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("`parts` must hold at least one initial field, got none. Give e.g. (Bumps(), Constant()).")

    def sample(self, key: Key, grid: Grid) -> Float[Tensor, "batch channel *space"]:
        """See `AbstractInitial.sample`."""
        return torch.cat([part.sample(key.fold(i), grid) for i, part in enumerate(self.parts)], 1)
