"""What fields must satisfy to be those of an equation."""

import abc
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.pde.parameters import Parameter


class AbstractCondition(abc.ABC):
    """A condition on initial fields. Subclasses are frozen, and final."""

    @abc.abstractmethod
    def check(self, u: Float[Tensor, "batch channel *space"]) -> None:
        """Raise ValueError for the first sample that does not satisfy it."""


@final
@dataclass(frozen=True)
class ZeroMean(AbstractCondition):
    """The space average of a channel is 0, to 1e-4 of its root mean square.

    Args:
        channel: which.
        name: of the field.
        reason: why, for the message.
    """

    channel: int
    name: str
    reason: str

    def check(self, u: Float[Tensor, "batch channel *space"]) -> None:
        """See `AbstractCondition.check`."""
        field = u.detach()[:, self.channel].flatten(1)
        mean, size = field.mean(1), field.square().mean(1).sqrt()
        bad = (mean.abs() > 1e-4 * size).nonzero()[:, 0].tolist()
        if bad:
            raise ValueError(
                f"the mean of the {self.name} must be 0, {self.reason}, got {float(mean[bad[0]]):g} in sample "
                f"{bad[0]}. Take it off: u0 - u0.mean((-2, -1), keepdim=True)."
            )


@final
@dataclass(frozen=True, eq=False)
class PositiveDepth(AbstractCondition):
    """The layer has a depth H + eta above 0 everywhere, with eta the first channel.

    Args:
        depth: H, [length].
    """

    depth: Parameter

    def check(self, u: Float[Tensor, "batch channel *space"]) -> None:
        """See `AbstractCondition.check`."""
        lowest = u.detach()[:, 0].flatten(1).amin(1).double().cpu()
        mean = torch.as_tensor(self.depth, dtype=torch.float64).detach().cpu()
        total = (mean + lowest).expand(max(len(lowest), mean.numel()))
        bad = (total <= 0).nonzero()[:, 0].tolist()
        if bad:
            raise ValueError(
                f"the depth H + eta must be positive everywhere, got {float(total[bad[0]]):g} at its lowest in sample "
                f"{bad[0]}. Raise `depth`, or lower the amplitude of eta."
            )
