"""The intervals of a run: what was given, times what a layer learned."""

from dataclasses import dataclass
from typing import final

from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class Steps:
    """Steps d = interval * scale.

    Args:
        interval: (batch or 1, time or 1), [time]; (1, 1) where all are one.
        scale: learned factors, (batch or 1, time or 1, systems or 1, state or 1), [1].
        number: the one interval where the host knows it; None where it differs, or is on the device alone.
    """

    interval: Tensor
    scale: Tensor
    number: float | None = None

    @property
    def fixed(self) -> bool:
        """Whether one step serves all samples and times."""
        return self.interval.shape == (1, 1) and self.scale.shape[:2] == (1, 1)

    @property
    def product(self) -> Tensor:
        """(batch or 1, time or 1, systems or 1, state or 1), [time]."""
        return self.interval[..., None, None] * self.scale

    def narrow(self, start: int, stop: int) -> "Steps":
        """Those of a piece of the series."""
        return Steps(_narrow(self.interval, start, stop), _narrow(self.scale, start, stop), self.number)


def _narrow(value: Tensor, start: int, stop: int) -> Tensor:
    return value if value.shape[1] == 1 else value[:, start:stop]
