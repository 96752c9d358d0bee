"""How a solve is differentiated."""

import abc
from dataclasses import dataclass
from typing import final


class AbstractGradient(abc.ABC):  # noqa: B024
    """A way to differentiate a solve. Subclasses are final."""


@final
@dataclass(frozen=True)
class Direct(AbstractGradient):
    """Autograd through the steps: exact gradients of what was computed, memory linear in the number of steps."""
