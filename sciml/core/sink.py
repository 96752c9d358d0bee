"""Where a rollout's frames go: memory, a file, a metric. The rollout writes; the sink decides what to keep."""

from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Shaped
from torch import Tensor


@runtime_checkable
class Sink(Protocol):
    """Receives frames in order of time. `close` is called once, after the last frame, and returns the result."""

    def write(self, frames: Tensor) -> None:
        """Take the next frames, shape (batch, time, channel, *space)."""
        ...

    def close(self) -> Any:
        """Finish and return what the caller of the rollout gets."""
        ...


@final
class MemorySink:
    """Keeps every frame; the result is one tensor (batch, time, channel, *space)."""

    def __init__(self) -> None:
        self._frames: list[Tensor] = []

    def write(self, frames: Shaped[Tensor, "batch time channel *space"]) -> None:
        """Keep `frames`."""
        self._frames.append(frames)

    def close(self) -> Shaped[Tensor, "batch time channel *space"]:
        """All frames along the time axis."""
        return torch.cat(self._frames, dim=1)
