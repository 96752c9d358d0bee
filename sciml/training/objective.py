"""What is minimised: one scalar loss per named group of parameters. A stepper has one; an adversarial pair has two."""

import abc
from collections.abc import Mapping, Sequence
from typing import final

from torch import nn

from sciml.core import FieldBatch, Key, Loss
from sciml.surrogates import AbstractStepper, Curriculum, OneStep


class AbstractObjective(nn.Module, abc.ABC):
    """Losses and the parameters each of them moves. Subclasses are final."""

    @property
    @abc.abstractmethod
    def model(self) -> nn.Module:
        """What is kept after training; its weights are what `FitResult.checkpoint` holds."""

    @property
    @abc.abstractmethod
    def window(self) -> int:
        """Frames a training window must have."""

    @abc.abstractmethod
    def groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Disjoint parameter groups by name."""

    @abc.abstractmethod
    def losses(self, batch: FieldBatch, key: Key, step: int) -> dict[str, Loss]:
        """One loss per group, under the same name; it changes that group only.

        Args:
            batch: windows of at least `window` frames.
            key: names the noise of this step.
            step: training step, from 0.
        """


@final
class StepperObjective(AbstractObjective):
    """A stepper's own loss on all its parameters."""

    def __init__(self, stepper: AbstractStepper) -> None:
        super().__init__()
        self.stepper = stepper

    @property
    def model(self) -> nn.Module:
        """The stepper."""
        return self.stepper

    @property
    def window(self) -> int:
        """The stepper's window."""
        return self.stepper.window

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group, `stepper`."""
        return _trainable("stepper", self.stepper)

    def losses(self, batch: FieldBatch, key: Key, step: int) -> dict[str, Loss]:
        """The stepper's loss; `step` is not used."""
        return {"stepper": self.stepper.loss(batch, key)}


@final
class CurriculumObjective(AbstractObjective):
    """A `OneStep` whose training mode changes at given steps; its own `mode` is not used."""

    def __init__(self, stepper: OneStep, curriculum: Curriculum) -> None:
        super().__init__()
        self.stepper = stepper
        self.curriculum = curriculum

    @property
    def model(self) -> nn.Module:
        """The stepper."""
        return self.stepper

    @property
    def window(self) -> int:
        """Frames the longest stage needs."""
        return self.stepper.context_frames + self.curriculum.steps

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group, `stepper`."""
        return _trainable("stepper", self.stepper)

    def losses(self, batch: FieldBatch, key: Key, step: int) -> dict[str, Loss]:
        """The stepper's loss in the mode of this stage."""
        return {"stepper": self.stepper.loss_in(self.curriculum.at(step), batch, key)}


def _trainable(name: str, module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """All parameters of `module` that require a gradient, as one group; no group if there are none."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return {name: parameters} if parameters else {}
