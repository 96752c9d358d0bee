"""A deterministic stepper: a network maps the last frames to the next one, in normalised units.

    z = (u - mean) / std,    x = [z(t - (k-1) dt), ..., z(t), parameters, static, mask]   along channels
    State:      u(t + dt) = mean + std * network(x)
    Increment:  u(t + dt) = u(t) + mean_d + std_d * network(x)

The loss is by default the mean squared error of u(t + dt) in units of std (State) or std_d (Increment), so that 1 is
about what predicting the mean costs. Input noise is part of u(t) in `Increment`: the network learns to take it back.
"""

import abc
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core import Condition, FieldBatch, Key, Loss
from sciml.core.checks import check_at_least, check_positive
from sciml.nn import Normalizer
from sciml.surrogates.base import AbstractStepper
from sciml.surrogates.criteria import AbstractCriterion, MeanSquare
from sciml.surrogates.modes import Mode, OneStepMode


class AbstractTarget(nn.Module, abc.ABC):
    """What the network's output stands for. Subclasses are final."""

    @abc.abstractmethod
    def following(self, last: Tensor, output: Tensor, normalizer: Normalizer) -> Tensor:
        """The next frame from the last one, [field], and the network's output, [1]."""

    @abc.abstractmethod
    def learned(self, truth: Tensor, last: Tensor, normalizer: Normalizer) -> Tensor:
        """What the network has to find of the true next frame, [field]."""

    @abc.abstractmethod
    def unit(self, normalizer: Normalizer) -> Tensor:
        """What an error of 1 means in each channel, [field]."""


@final
class State(AbstractTarget):
    """The network gives the next frame in units of the normaliser."""

    def following(self, last: Tensor, output: Tensor, normalizer: Normalizer) -> Tensor:
        """u(t + dt) = mean + std * output."""
        return normalizer.denormalize(output.to(last.dtype))

    def learned(self, truth: Tensor, last: Tensor, normalizer: Normalizer) -> Tensor:
        """The deviation from the mean."""
        return truth - normalizer.shaped(normalizer.mean, truth)

    def unit(self, normalizer: Normalizer) -> Tensor:
        """The standard deviation of the field."""
        return normalizer.std


@final
class Increment(AbstractTarget):
    """The network gives u(t + dt) - u(t) in units of `scale`.

    Args:
        scale: mean and standard deviation of the increments over one `dt`, fitted on training data, [field].
        conserve_mean: take the space average out of the increment, so that the mean of every channel stays what it is,
            as it does for conservation laws on periodic domains.
    """

    def __init__(self, scale: Normalizer, *, conserve_mean: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.conserve_mean = conserve_mean

    def following(self, last: Tensor, output: Tensor, normalizer: Normalizer) -> Tensor:
        """u(t + dt) = u(t) + mean_d + std_d * output."""
        change = self.scale.denormalize(output.to(last.dtype))
        if self.conserve_mean:
            change = change - change.mean(tuple(range(2, change.ndim)), keepdim=True)
        return last + change

    def learned(self, truth: Tensor, last: Tensor, normalizer: Normalizer) -> Tensor:
        """The change."""
        return truth - last

    def unit(self, normalizer: Normalizer) -> Tensor:
        """The standard deviation of the increments."""
        return self.scale.std


@final
@dataclass(frozen=True)
class Conditioning:
    """Which parts of a `Condition` the network receives as further channels, after the frames, in this order.

    Args:
        parameters: how many PDE parameters; each becomes a constant channel, as given (scale them to order 1).
        static: how many static channels.
        mask: whether the domain mask is a channel.
    """

    parameters: int = 0
    static: int = 0
    mask: bool = False

    def __post_init__(self) -> None:
        check_at_least("parameters", self.parameters, 0)
        check_at_least("static", self.static, 0)

    @property
    def channels(self) -> int:
        """Channels added to the network's input."""
        return self.parameters + self.static + int(self.mask)

    def check(self, condition: Condition) -> None:
        """Raise unless `condition` holds what is declared, and nothing else."""
        declared = {"parameters": self.parameters, "static": self.static, "mask": int(self.mask)}
        for name, count in {**declared, "forcing": 0, "boundary": 0, "graph": 0}.items():
            value = getattr(condition, name)
            given = 0 if value is None else value.shape[1] if isinstance(value, Tensor) else 1
            if given != count:
                remedy = f"Build it with Conditioning({name}={given})" if name in declared else "Use another stepper"
                raise ValueError(
                    f"a stepper must get the condition it was built for: `{name}` was declared with {count} and "
                    f"given with {given} entries. {remedy}, or give a condition that fits."
                )

    def channels_of(self, condition: Condition, like: Tensor) -> list[Tensor]:
        """The declared parts as fields on the points of `like`."""
        space = like.shape[2:]
        parts = []
        if condition.parameters is not None:
            constant = condition.parameters.reshape(*condition.parameters.shape, *(1 for _ in space))
            parts.append(constant.expand(-1, -1, *space))
        parts += [field for field in (condition.static, condition.mask) if field is not None]
        return [part.to(like) for part in parts]


@final
class OneStep(AbstractStepper):
    """Steps with one call of a network per frame, at the `dt` it was trained with.

    Frames keep the dtype they come with; the network computes in its own.

    Args:
        network: maps (batch, context_frames * channel + conditioning.channels, *space) to (batch, channel, *space).
        normalizer: mean and standard deviation of each channel, [field].
        dt: time between frames, [time].
        target: what the network's output stands for, `State()` or `Increment(scale)`.
        mode: how it is trained.
        context_frames: frames the network sees, oldest first.
        conditioning: what else it sees.
        criterion: how a predicted frame is compared with the true one; by default the mean square.

    Raises:
        ValueError: if `dt` is not positive or `context_frames < 1`; at the first use, if the network does not take
            or give these channels; later, for another `dt`, another condition or too few frames.
    """

    frames_per_step = 1
    stochastic = False

    def __init__(
        self,
        network: nn.Module,
        normalizer: Normalizer,
        *,
        dt: float,
        target: AbstractTarget | None = None,
        mode: Mode = OneStepMode(),  # noqa: B008  (frozen)
        context_frames: int = 1,
        conditioning: Conditioning = Conditioning(),
        criterion: AbstractCriterion | None = None,
    ) -> None:
        super().__init__()
        check_positive("dt", dt)
        check_at_least("context_frames", context_frames, 1)
        self.network = network
        self.normalizer = normalizer
        self.target = State() if target is None else target
        self.criterion = MeanSquare() if criterion is None else criterion
        self.dt = float(dt)
        self.mode = mode
        self.context_frames = context_frames
        self.conditioning = conditioning
        self._tried = False

    @property
    def window(self) -> int:
        """Frames of context and one per prediction in the loss."""
        return self.window_for(self.mode)

    def window_for(self, mode: Mode) -> int:
        """Frames a training window must have in `mode`."""
        return self.context_frames + mode.steps

    def start(
        self, context: Float[Tensor, "batch time channel *space"], condition: Condition
    ) -> Float[Tensor, "batch time channel *space"]:
        """The context itself: the state is the last `context_frames` frames."""
        channels = len(self.normalizer.mean)
        if context.ndim < 4 or context.shape[1] != self.context_frames or context.shape[2] != channels:
            raise ValueError(
                f"`context` must have shape (batch, {self.context_frames}, {channels}, *space), that is context_frames "
                f"and the normaliser's channels; got {tuple(context.shape)}. Give the last frames before the start."
            )
        self.conditioning.check(condition)
        return context

    def step(
        self,
        state: Float[Tensor, "batch time channel *space"],
        t: float,
        dt: float,
        condition: Condition,
        key: Key,
    ) -> tuple[Float[Tensor, "batch 1 channel *space"], Tensor]:
        """The next frame and the last `context_frames` frames with it; `t` and `key` are not used."""
        self._check_dt(dt)
        frame = self._following(state, condition)[:, None]
        return frame, frame if self.context_frames == 1 else torch.cat([state[:, 1:], frame], dim=1)

    def loss(self, batch: FieldBatch, key: Key) -> Loss:
        """What the criterion says, mean over the steps of `mode`; one part per step."""
        return self.loss_in(self.mode, batch, key)

    def loss_in(self, mode: Mode, batch: FieldBatch, key: Key) -> Loss:
        """The loss in another mode than its own, as a curriculum asks for."""
        self._check_dt(batch.dt)
        if batch.frames.shape[1] < self.window_for(mode):
            raise ValueError(
                f"a training window must have at least {self.window_for(mode)} frames ({self.context_frames} of "
                f"context and {mode.steps} to predict), got {batch.frames.shape[1]}. Cut longer windows "
                "or unroll fewer steps."
            )
        context = batch.frames[:, : self.context_frames]
        state = self.start(self._perturbed(context, mode.noise, key), batch.condition)
        unit = self.normalizer.shaped(self.target.unit(self.normalizer), context[:, 0])
        errors = []
        for i in range(mode.steps):
            frame, state = self.step(state, 0.0, batch.dt, batch.condition, key)
            last, truth = batch.frames[:, self.context_frames + i - 1], batch.frames[:, self.context_frames + i]
            errors.append(self.criterion(frame[:, 0], truth, self.target.learned(truth, last, self.normalizer), unit))
            state = state.detach() if mode.cut_gradient else state
        parts = {f"step_{i + 1}": error.detach() for i, error in enumerate(errors)}
        return Loss(torch.stack(errors).mean(), parts)

    def _perturbed(self, context: Tensor, noise: float, key: Key) -> Tensor:
        """The given frames with noise of standard deviation `noise` in normalised units."""
        if noise == 0:
            return context
        std = self.normalizer.shaped(self.normalizer.std, context, 2)
        return context + noise * std * key.normal(*context.shape[1:], dtype=context.dtype)

    def _following(self, state: Tensor, condition: Condition) -> Tensor:
        """The next frame, (batch, channel, *space)."""
        frames = self.normalizer.normalize(state, channel_axis=2).flatten(1, 2)
        inputs = torch.cat([frames, *self.conditioning.channels_of(condition, frames)], dim=1)
        last = state[:, -1]
        output = self._network(inputs.to(_real_dtype(self.network, inputs.dtype)), last.shape)
        return self.target.following(last, output, self.normalizer)

    def _network(self, inputs: Tensor, shape: torch.Size) -> Tensor:
        """The network's output; its first failure is told in terms of channels."""
        try:
            output = self.network(inputs)
        except RuntimeError as error:
            if self._tried:
                raise
            raise ValueError(
                f"the network must take {inputs.shape[1]} channels ({self.context_frames} frames of {shape[1]} "
                f"channels and {self.conditioning.channels} of conditioning), but it failed on an input of shape "
                f"{tuple(inputs.shape)}: {error}. Build it for these channels."
            ) from error
        if output.shape != shape:
            raise ValueError(
                f"the network must give one channel per field on the same points, {tuple(shape)}, but it gave "
                f"{tuple(output.shape)}. Build it with {shape[1]} output channels."
            )
        self._tried = True
        return output

    def _check_dt(self, dt: float) -> None:
        if not abs(dt - self.dt) <= 1e-6 * self.dt:  # also refuses NaN
            raise ValueError(
                f"`dt` must be the one this stepper was built for, {self.dt:g}, got {dt:g}. Give frames that far "
                "apart, or train another stepper."
            )


def _real_dtype(module: nn.Module, default: torch.dtype) -> torch.dtype:
    """The real dtype a module computes in: that of its first parameter."""
    first = next(module.parameters(), None)
    return default if first is None else first.dtype.to_real()
