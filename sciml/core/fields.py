"""What passes between the data layer, the surrogates and the training loop: fields, their meaning, their context."""

from dataclasses import dataclass, fields, replace
from typing import Any, final

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor


@final
@dataclass(frozen=True)
class Fields:
    """Names and kinds of the channels of a field, in order of the channel axis.

    Args:
        names: one name per channel.
        units: one unit per channel, e.g. `m/s`; `1` for dimensionless.
        location: where values live in a cell: `centre`, `face` or `corner`.
    """

    names: tuple[str, ...]
    units: tuple[str, ...] = ()
    location: str = "centre"

    def __post_init__(self) -> None:
        if not self.units:
            object.__setattr__(self, "units", ("1",) * len(self.names))
        if len(self.units) != len(self.names) or not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(
                f"`names` must be distinct, at least one, with one unit each; got names={self.names}, "
                f"units={self.units}. Give e.g. Fields(('u', 'v'), ('m/s', 'm/s'))."
            )
        if self.location not in ("centre", "face", "corner"):
            raise ValueError(f"`location` must be 'centre', 'face' or 'corner', got {self.location!r}.")


@final
@dataclass(frozen=True)
class Condition:
    """What a stepper may know besides the frames. Absent parts are None.

    Args:
        parameters: PDE parameters, (batch, parameter).
        static: fields constant in time (topography, coefficients), (batch, channel, *space).
        forcing: forcing of the step to come, (batch, channel, *space).
        boundary: boundary values, (batch, channel, *space).
        mask: 1 where the domain is, 0 in obstacles, (batch, 1, *space).
        graph: connectivity for steppers on graphs.
    """

    parameters: Tensor | None = None
    static: Tensor | None = None
    forcing: Tensor | None = None
    boundary: Tensor | None = None
    mask: Tensor | None = None
    graph: Any = None

    def to(self, device: torch.device | str) -> "Condition":
        """The same condition on another device."""
        present = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(self, **{name: value.to(device) for name, value in present.items()})

    def repeat(self, members: int) -> "Condition":
        """Each row `members` times in succession, as ensembles are flattened into the batch."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: value.repeat_interleave(members, 0) for name, value in tensors.items()})


@final
@dataclass(frozen=True)
class FieldBatch:
    """A batch of windows cut from trajectories.

    Args:
        frames: values, (batch, time, channel, *space).
        ids: data-set identity of each window, for keyed noise.
        dt: time between frames, [time].
        condition: parameters and static fields of each window.
    """

    frames: Float[Tensor, "batch time channel *space"]
    ids: Int[Tensor, " batch"]
    dt: float
    condition: Condition = Condition()

    def to(self, device: torch.device | str) -> "FieldBatch":
        """The same batch on another device."""
        return FieldBatch(self.frames.to(device), self.ids.to(device), self.dt, self.condition.to(device))


@final
@dataclass(frozen=True)
class Loss:
    """A scalar to minimise and the named parts it is made of (detached, for the log)."""

    total: Shaped[Tensor, ""]
    parts: dict[str, Tensor]
