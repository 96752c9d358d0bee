"""What differs between trajectories by chance: distributions of equation parameters, keyed per trajectory.

A trajectory's value depends on the seed, its id and the parameter's name alone: not on its batch, nor on which other
parameters are drawn, nor on its initial field.
"""

import abc
import hashlib
import math
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core import Key
from sciml.core.checks import check_positive


class AbstractRandom(abc.ABC):
    """Something an equation is given anew for each trajectory: a parameter, or a forcing."""

    @abc.abstractmethod
    def sample(self, key: Key) -> Any:
        """What the trajectories of `key` are given; each depends on its own row only."""


class AbstractDistribution(AbstractRandom):
    """A distribution of one number. Subclasses are frozen dataclasses, and final."""

    @abc.abstractmethod
    def sample(self, key: Key) -> Float[Tensor, " batch"]:
        """One float64 value per row of `key`, on its device."""


def parameter_key(key: Key, name: str) -> Key:
    """The stream of random numbers that belongs to the parameter `name` of the trajectories of `key`."""
    return key.fold(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def _check_interval(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"`low` and `high` must be finite and increase, got {low!r} and {high!r}. Give the smaller bound first."
        )


@final
@dataclass(frozen=True)
class Uniform(AbstractDistribution):
    """Equally likely between two bounds.

    Args:
        low: smallest value, [parameter].
        high: largest value, [parameter].
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_interval(self.low, self.high)

    def sample(self, key: Key) -> Float[Tensor, " batch"]:
        """See `AbstractDistribution.sample`."""
        return self.low + (self.high - self.low) * key.uniform(1, dtype=torch.float64)[:, 0]


@final
@dataclass(frozen=True)
class LogUniform(AbstractDistribution):
    """The logarithm is equally likely between those of two positive bounds.

    Args:
        low: smallest value, [parameter], above 0.
        high: largest value, [parameter].
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_positive("low", self.low)
        _check_interval(self.low, self.high)

    def sample(self, key: Key) -> Float[Tensor, " batch"]:
        """See `AbstractDistribution.sample`."""
        share = key.uniform(1, dtype=torch.float64)[:, 0]
        return self.low * torch.exp(share * math.log(self.high / self.low))


@final
@dataclass(frozen=True)
class Choice(AbstractDistribution):
    """One of a few values.

    Args:
        values: what may come, [parameter].
        weights: how often each comes, in any common unit; equally often by default.
    """

    values: tuple[float, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "weights", tuple(self.weights) or (1.0,) * len(self.values))
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise ValueError(f"`values` must be finite, at least one, got {self.values}. List what may come.")
        if len(self.weights) != len(self.values) or not all(0 <= w < math.inf for w in self.weights):
            raise ValueError(
                f"`weights` must have one finite entry of at least 0 per value, got {self.weights} for "
                f"{len(self.values)} values. Leave them out for equal ones."
            )
        check_positive("sum of weights", sum(self.weights))

    def sample(self, key: Key) -> Float[Tensor, " batch"]:
        """See `AbstractDistribution.sample`."""
        device = key.ids.device
        weights = torch.tensor(self.weights, dtype=torch.float64, device=device)
        edges = torch.cumsum(weights / weights.sum(), 0)
        share = key.uniform(1, dtype=torch.float64)
        # Rounding may leave the last edge below 1.
        chosen = (share > edges[:-1]).sum(1)
        return torch.tensor(self.values, dtype=torch.float64, device=device)[chosen]
