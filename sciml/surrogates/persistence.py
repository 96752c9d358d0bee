"""The trivial baseline: tomorrow is like today."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from sciml.core import Condition, FieldBatch, Key, Loss
from sciml.nn import Normalizer
from sciml.surrogates.base import AbstractStepper


@final
class Persistence(AbstractStepper):
    """u(t + dt) = u(t), for every `dt` and condition. It has no parameters.

    Args:
        normalizer: mean and standard deviation of each channel, the units of its loss, [field].
    """

    context_frames = 1
    frames_per_step = 1
    stochastic = False

    def __init__(self, normalizer: Normalizer) -> None:
        super().__init__()
        self.normalizer = normalizer

    @property
    def window(self) -> int:
        """A frame and the one after it."""
        return 2

    def start(
        self, context: Float[Tensor, "batch 1 channel *space"], condition: Condition
    ) -> Float[Tensor, "batch 1 channel *space"]:
        """The context itself."""
        return context

    def step(
        self, state: Float[Tensor, "batch 1 channel *space"], t: float, dt: float, condition: Condition, key: Key
    ) -> tuple[Float[Tensor, "batch 1 channel *space"], Tensor]:
        """The last frame once more."""
        return state, state

    def loss(self, batch: FieldBatch, key: Key) -> Loss:
        """Mean squared error in normalised units, the constant others have to beat."""
        z = self.normalizer.normalize(batch.frames[:, :2], channel_axis=2)
        total = ((z[:, 1] - z[:, 0]) ** 2).mean()
        return Loss(total, {"step_1": total.detach()})
