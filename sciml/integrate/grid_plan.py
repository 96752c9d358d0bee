"""Which points of a fixed grid are kept, and what was kept."""

import math
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec

from sciml.core import tree_map
from sciml.core.transforms import is_differentiated
from sciml.integrate.clock import Clock
from sciml.integrate.control import Times
from sciml.integrate.fixed_grid import STEPS_BETWEEN_CHECKS, Walked, finite_frames, freeze
from sciml.integrate.flat import Flat, beside, field_time, first_leaf, map_leaves, restore
from sciml.integrate.methods.base import AbstractMethod, Time
from sciml.integrate.save import SaveAt
from sciml.integrate.solution import Result
from sciml.integrate.wanted import wanted_on_grid


@final
@dataclass
class GridPlan:
    """Which grid points to keep, and what was kept."""

    save: SaveAt
    structure: TreeSpec | None
    ts_steps: list[int]
    every_steps: list[int]
    kept: dict[int, Any] = field(default_factory=dict)
    stacked: list[Any] = field(default_factory=list)

    @staticmethod
    def make(save: SaveAt, times: Times, method: AbstractMethod, structure: TreeSpec | None) -> "GridPlan":
        steps = len(times) - 1
        ts_steps = [] if save.ts is None else _grid_points(save.ts, times, method)
        every_steps = [] if save.every is None else list(range(save.every, steps + 1, save.every))
        if save.every is not None and not every_steps:
            raise ValueError(f"`every` must be at most the number of steps, {steps}, got {save.every}. Lower it.")
        return GridPlan(save, structure, ts_steps, every_steps)

    @property
    def wanted(self) -> set[int]:
        """Step numbers whose state is kept."""
        return {*self.ts_steps, *self.every_steps}

    @property
    def checked_later(self) -> bool:
        """Whether states are kept as they come and `settle` looks at them; a view may not show what is not finite."""
        return self.save.fn is None

    def keep(self, step: int, t: Time, y: Flat) -> None:
        self.kept[step] = y if self.save.fn is None else self._view(t, y)

    def settle(self, walked: Walked, *, repaired: bool) -> Walked:
        """Stack what was kept, and look for rows that stopped being finite between the checks of the loop.

        Args:
            walked: what came of the loop.
            repaired: put such rows back to where they were last finite. Nobody sees them where failures are raised.
        """
        self.stacked = [self._stack(steps) for steps in self._stacks.values()]
        self.kept.clear()
        return self._checked(walked, repaired) if walked.unchecked else walked

    def _checked(self, walked: Walked, repaired: bool) -> Walked:
        y, failed, result = walked.y, walked.failed, walked.result
        never = torch.iinfo(failed.dtype).max
        failed = torch.where(failed < 0, never, failed)
        rows = [torch.tensor(steps, device=failed.device) for steps in self._stacks.values()]
        for steps, states in zip(rows, self.stacked, strict=True):
            lost = ~finite_frames(states) & (steps > 0)
            failed = torch.minimum(failed, torch.where(lost, steps, never).amin(dim=1))
        result = torch.where((result == 0) & (failed < never), int(Result.NON_FINITE), result)
        if repaired:
            checked = (failed - 1).div(STEPS_BETWEEN_CHECKS, rounding_mode="floor") * STEPS_BETWEEN_CHECKS
            for steps, states in zip(rows, self.stacked, strict=True):
                count = (steps < failed[:, None]).sum(dim=1)
                newest = (count - 1).clamp(min=0)
                newer = (failed < never) & (count > 0) & (steps[newest] > checked)
                one = torch.arange(len(newest), device=newest.device)
                y = freeze(newer, map_leaves(lambda leaf, at=(one, newest): leaf[at], states), y)
                checked = torch.where(newer, steps[newest], checked)
            for i, steps in enumerate(rows):
                self.stacked[i] = _held(steps < failed[:, None], self.stacked[i], y)
        return walked._replace(y=y, failed=torch.where(failed < never, failed, -1), result=result)

    def _stack(self, steps: list[int]) -> Any:
        """What was kept at these steps, (batch, time, ...)."""

        def along_time(*leaves: Tensor) -> Tensor:
            return torch.stack(leaves, dim=1)

        kept = (self.kept[step] for step in steps)
        return tree_map(along_time, *kept) if self.save.fn is not None else map_leaves(along_time, *kept)

    @property
    def _stacks(self) -> dict[str, list[int]]:
        """Numbers of the steps of each output."""
        stacks = {"ts": self.ts_steps} if self.ts_steps else {}
        return stacks if self.save.every is None else {**stacks, "steps": self.every_steps}

    def _view(self, t: Time, y: Flat) -> Any:
        state = restore(y, self.structure)
        if self.save.fn is None:
            return state
        leaf = first_leaf(y)
        return self.save.fn(beside(field_time(t, leaf), leaf), state)

    def collect(self, times: Times, y0: Flat, y1: Flat) -> tuple[dict[str, Any], dict[str, Any]]:
        """Times and states in the layout the user asked for."""
        ts: dict[str, Any] = {}
        ys: dict[str, Any] = {}
        if self.save.t0:
            ts["t0"], ys["t0"] = times[0], self._view(times[0], map_leaves(torch.clone, y0))
        if self.save.t1:
            ts["t1"], ys["t1"] = times[-1], self._view(times[-1], y1)
        for (name, steps), states in zip(self._stacks.items(), self.stacked, strict=True):
            if isinstance(times, Tensor):
                ts[name] = times[steps].movedim(0, -1)
            else:
                ts[name] = torch.tensor([times[step] for step in steps], dtype=torch.float64)
            ys[name] = states if self.save.fn is not None else restore(states, self.structure)
        return ts, ys


def _held(good: Tensor, states: Flat, y: Flat) -> Flat:
    """States (batch, time, *state) where they are good, (batch, time), else `y`."""

    def choose(kept: Tensor, last: Tensor) -> Tensor:
        return torch.where(good.reshape(*good.shape, *[1] * (kept.ndim - 2)), kept, last.unsqueeze(1))

    return map_leaves(choose, states, y)


def _grid_points(ts: Tensor, times: Times, method: AbstractMethod) -> list[int]:
    """Step number of each wanted time; none where dense output must serve; an error where there is none."""
    if isinstance(times, Tensor) or ts.ndim == 2 or is_differentiated(ts):
        if method.has_dense:
            return []
        raise ValueError("`save.ts` needs shared times given as numbers; use save.every with per-sample times.")
    grid = torch.tensor(times, dtype=torch.float64)
    wanted = ts.detach().double().cpu()
    wanted_on_grid(wanted, Clock((), 1, None, math.copysign(1.0, times[-1] - times[0])), times)
    place = _nearest(grid, wanted)
    # Times given in float32 name a grid point only to their own rounding.
    rounding = 4 * torch.finfo(ts.dtype).eps * wanted.abs() if ts.is_floating_point() else 0.0
    off = (grid[place] - wanted).abs() > 1e-9 * abs(times[-1] - times[0]) + rounding
    if bool(off.any()):
        if method.has_dense:
            return []
        i = int(off.nonzero()[0])
        raise ValueError(
            f"{type(method).__name__} has no dense output, so `save.ts` must be grid points, but ts[{i}]="
            f"{float(wanted[i]):g} is not (nearest: {float(grid[place[i]]):g}). Choose a dt that divides the output "
            "times, or give the grid as Fixed(ts=...)."
        )
    return place.tolist()


def check_at_ends(ts: Tensor, times: Times, method: AbstractMethod) -> None:
    """Raise unless wanted times are ends of the steps of a term with noise, between which states are chords.

    Args:
        ts: (time,) or (batch, time).
        times: the grid.
        method: of noise.

    Raises:
        ValueError: if one lies between two ends.
    """
    grid = torch.as_tensor(times, dtype=torch.float64).to(ts.device)
    rows = grid.movedim(0, -1)
    if rows.ndim == 2 and ts.ndim == 2 and len(rows) != len(ts):
        return  # answered where states are kept
    rows = rows.expand(*ts.shape[:-1], -1) if rows.ndim < ts.ndim else rows
    wanted = ts.double().expand(*rows.shape[:-1], -1).contiguous()
    rising = rows.sort(dim=-1).values.contiguous()
    right = torch.searchsorted(rising, wanted).clamp(1, rising.shape[-1] - 1)
    gap = torch.minimum(*((rising.gather(-1, i) - wanted).abs() for i in (right - 1, right)))
    rounding = 4 * torch.finfo(ts.dtype).eps * wanted.abs() if ts.is_floating_point() else 0.0
    span = (rising[..., -1:] - rising[..., :1]).abs()
    between = (gap > 1e-9 * span + rounding) & (wanted > rising[..., :1]) & (wanted < rising[..., -1:])
    if bool(between.any()):
        first = tuple(between.nonzero()[0].tolist())
        raise ValueError(
            f"between the steps of {type(method).__name__} states are chords, which lack noise: `save.ts` must be ends "
            f"of steps, but ts[{', '.join(map(str, first))}]={float(wanted[first]):g} is not. Give the grid as "
            "Fixed(ts=...) with these times, or take PID(), whose steps end there; for the chords keep dense=True and "
            "call the solution."
        )


def _nearest(grid: Tensor, wanted: Tensor) -> Tensor:
    """Index of the grid point nearest to each wanted time, for a grid that rises or falls."""
    rising, order = torch.sort(grid)
    right = torch.searchsorted(rising, wanted).clamp(1, len(grid) - 1)
    left_is_nearer = (wanted - rising[right - 1]) <= (rising[right] - wanted)
    return order[torch.where(left_is_nearer, right - 1, right)]
