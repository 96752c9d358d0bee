"""The solution as a function of time."""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec

from sciml.integrate.clock import Clock
from sciml.integrate.flat import map_leaves, restore
from sciml.integrate.outputs import DenseOutput


@final
@dataclass(frozen=True, eq=False)
class Function:
    """The solution as a function of time."""

    output: DenseOutput
    clock: Clock
    structure: TreeSpec | None
    ends: tuple[Tensor, Tensor]

    def __call__(self, t: Tensor) -> Any:
        times = t.reshape(1) if t.ndim == 0 else t
        if times.ndim > 2 or times.ndim == 2 and len(times) != self.clock.rows:
            raise ValueError(
                f"`t` must be a number, (time,) or (batch, time) with batch {self.clock.rows}, got {tuple(t.shape)}."
            )
        if isinstance(self.clock.sign, Tensor) and times.ndim == 1:
            times = times.expand(self.clock.rows, -1)
        tau = self.clock.turned_rows(times)
        low, high = (self.clock.to_rows(end.detach())[..., None] for end in self.ends)
        if not bool(((tau >= low) & (tau <= high)).all()):
            t0, t1 = (self.clock.turned(end.detach()).tolist() for end in self.ends)
            raise ValueError(
                f"`t` must lie between t0={t0} and t1={t1}, got {t.detach().tolist()}. Ask for times in between."
            )
        values, inside = self.output.at(tau)  # not inside: behind where a sample failed
        inside = inside.expand(self.clock.rows, -1)
        values = map_leaves(
            lambda x: torch.where(inside.reshape(*inside.shape, *[1] * (x.ndim - 2)), x, torch.nan), values
        )
        if t.ndim == 0:
            values = map_leaves(lambda value: value[:, 0], values)
        return restore(values, self.structure)
