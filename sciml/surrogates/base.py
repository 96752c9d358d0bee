"""The contract of a stepper: something that continues a trajectory.

A *network* maps fields to fields and knows no time. A *stepper* wraps a network: it says how many frames it needs,
how a step is made of the network's output, and what it is trained on.
"""

import abc
from typing import Any

from torch import Tensor, nn

from sciml.core import Condition, FieldBatch, Key, Loss


class AbstractStepper(nn.Module, abc.ABC):
    """Continues trajectories frame by frame. Subclasses are final."""

    context_frames: int
    """Frames needed to start."""
    frames_per_step: int
    """Frames made by one step."""
    stochastic: bool
    """Whether `step` draws noise from its key."""

    @abc.abstractmethod
    def start(self, context: Tensor, condition: Condition) -> Any:
        """State from given frames, (batch, context_frames, channel, *space)."""

    @abc.abstractmethod
    def step(self, state: Any, t: float, dt: float, condition: Condition, key: Key) -> tuple[Tensor, Any]:
        """The next frames, (batch, frames_per_step, channel, *space), and the next state.

        Args:
            state: as returned by `start` or the previous step.
            t: time of the last known frame, [time].
            dt: time between frames, [time].
            condition: parameters and static fields.
            key: names the noise of this step; deterministic steppers ignore it.
        """

    @abc.abstractmethod
    def loss(self, batch: FieldBatch, key: Key) -> Loss:
        """What training minimises, on a window of at least `window` frames."""

    @property
    @abc.abstractmethod
    def window(self) -> int:
        """Frames a training window must have."""
