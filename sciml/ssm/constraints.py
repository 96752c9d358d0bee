"""How the decay -Re a of an eigenvalue is kept positive."""

import abc
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


class AbstractConstraint(abc.ABC):
    """A map from any number to a decay rate. Subclasses are final."""

    @abc.abstractmethod
    def decay(self, raw: Tensor) -> Tensor:
        """-Re a, [1/time]."""

    @abc.abstractmethod
    def raw(self, decay: Tensor) -> Tensor:
        """The number for a decay rate."""


@final
@dataclass(frozen=True)
class Exponential(AbstractConstraint):
    """exp(raw), the choice of S4D."""

    def decay(self, raw: Tensor) -> Tensor:
        """exp(raw)."""
        return torch.exp(raw)

    def raw(self, decay: Tensor) -> Tensor:
        """Its logarithm."""
        return torch.log(_positive(decay))


@final
@dataclass(frozen=True)
class Softplus(AbstractConstraint):
    """log(1 + exp(raw))."""

    def decay(self, raw: Tensor) -> Tensor:
        """log(1 + exp(raw))."""
        return torch.nn.functional.softplus(raw)

    def raw(self, decay: Tensor) -> Tensor:
        """log(exp(decay) - 1), which does not overflow as written so."""
        decay = _positive(decay)
        return decay + torch.log(-torch.expm1(-decay))


@final
@dataclass(frozen=True)
class Free(AbstractConstraint):
    """The rate itself, of any sign: the system may grow."""

    def decay(self, raw: Tensor) -> Tensor:
        """raw."""
        return raw

    def raw(self, decay: Tensor) -> Tensor:
        """decay."""
        return decay


@final
@dataclass(frozen=True)
class Clipped(AbstractConstraint):
    """The rate itself, not below `least`: the option of S5. Its gradient is 0 where it is clipped.

    Args:
        least: the smallest decay rate, [1/time].
    """

    least: float = 1e-4

    def decay(self, raw: Tensor) -> Tensor:
        """max(raw, least)."""
        return raw.clamp(min=self.least)

    def raw(self, decay: Tensor) -> Tensor:
        """decay."""
        return decay


def _positive(decay: Tensor) -> Tensor:
    if not bool((decay > 0).all()):
        raise ValueError(
            f"decay rates (-Re a) must be positive under this constraint, got a smallest of {decay.min().item():g}. "
            "Take Free() for systems that may grow."
        )
    return decay
