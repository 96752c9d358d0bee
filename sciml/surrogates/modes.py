"""How a stepper sees its own predictions while it is trained: typed, frozen switches that combine freely.

Unrolling over m steps minimises the mean over i = 1..m of the error of the i-th successive prediction. With
`cut_gradient` each step is trained on its own input only (pushforward): the input comes from the model, but no
gradient passes through the steps that made it. `noise` perturbs the given frames before the first step.
"""

from dataclasses import dataclass
from typing import final

from sciml.core.checks import check_at_least


@final
@dataclass(frozen=True)
class OneStepMode:
    """Predict the next frame from true frames.

    Args:
        noise: standard deviation of Gaussian noise on the given frames, in normalised units, [1].

    Raises:
        ValueError: if `noise` is negative.
    """

    noise: float = 0.0

    def __post_init__(self) -> None:
        check_at_least("noise", self.noise, 0.0)

    @property
    def steps(self) -> int:
        """Successive predictions in the loss: 1."""
        return 1

    @property
    def cut_gradient(self) -> bool:
        """False: there is no earlier step."""
        return False


@final
@dataclass(frozen=True)
class Unrolled:
    """Predict `steps` frames in succession, each from the last prediction; the loss is the mean over them.

    Args:
        steps: successive predictions in the loss, at least 1. `Unrolled(1)` is `OneStepMode()`.
        cut_gradient: let no gradient pass from one step into the step before it (pushforward).
        noise: standard deviation of Gaussian noise on the given frames, in normalised units, [1].

    Raises:
        ValueError: if `steps < 1` or `noise` is negative.

    Source: Brandstetter, Worrall & Welling (2022), ICLR, section 3.1. There only the last step enters the loss; here
        every step does.
    """

    steps: int
    cut_gradient: bool = False
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps, 1)
        check_at_least("noise", self.noise, 0.0)


Mode = OneStepMode | Unrolled


@final
@dataclass(frozen=True)
class Curriculum:
    """Another mode from given training steps on.

    Args:
        stages: pairs of (first training step, mode), the first at 0, in increasing order,
            e.g. `((0, OneStepMode()), (2000, Unrolled(4)))`.

    Raises:
        ValueError: if the first stage does not start at 0 or the starts do not increase.
    """

    stages: tuple[tuple[int, Mode], ...]

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.stages]
        if not starts or starts[0] != 0 or any(a >= b for a, b in zip(starts, starts[1:], strict=False)):
            raise ValueError(
                f"`stages` must start at training step 0 and increase strictly, got starts {starts}. "
                "Give e.g. ((0, OneStepMode()), (2000, Unrolled(4)))."
            )

    def at(self, step: int) -> Mode:
        """The mode of training step `step`."""
        return [mode for start, mode in self.stages if start <= step][-1]

    @property
    def steps(self) -> int:
        """The most successive predictions of any stage; training windows must be long enough for these."""
        return max(mode.steps for _, mode in self.stages)
