"""`solve`: check, then loop. One body advances every method over every grid."""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.core import State, batch_size, tree_leaves, tree_map
from sciml.integrate.control import AbstractControl, Fixed, Times
from sciml.integrate.gradient import AbstractGradient, Direct
from sciml.integrate.methods.base import AbstractMethod, Time
from sciml.integrate.save import SaveAt
from sciml.integrate.solution import Result, Solution, SolveError, Stats
from sciml.integrate.terms import AbstractTerm

_STEPS_BETWEEN_CHECKS = 16


def solve(
    term: AbstractTerm,
    method: AbstractMethod,
    y0: State,
    t0: float | Tensor,
    t1: float | Tensor,
    *,
    control: AbstractControl | None = None,
    save: SaveAt | None = None,
    gradient: AbstractGradient | None = None,
    max_steps: int = 10_000_000,
    throw: bool = True,
) -> Solution:
    """Integrate a batch of independent samples from `t0` to `t1`.

    Args:
        term: the right-hand side.
        method: how to step it.
        y0: initial state, (batch, *state), [state].
        t0: initial time, [time]: a float, a 0-D tensor (differentiable), or one per sample, (batch,).
        t1: final time, [time]; before `t0` to integrate backwards.
        control: step control. `None` takes the method's default, which exists where it estimates its error.
        save: what to return; by default the final state.
        gradient: how to differentiate; by default `Direct()`.
        max_steps: refuse a grid of more steps than this.
        throw: raise if a sample fails; otherwise look at `Solution.result`.

    Returns:
        The states that were kept, with counts and a result code per sample. Samples are checked for non-finite
        values at every kept time and every 16 steps; one that fails is frozen at its last checked state. A fixed
        grid never waits for the device inside the loop, and reads it once at the end if `throw`.

    Raises:
        ValueError, TypeError: for arguments that cannot work, before the first step.
        SolveError: if a sample fails and `throw` is set.
    """
    save = save or SaveAt(t1=True)
    _check_choice(method, control, gradient)
    batch = batch_size("y0", y0)
    assert isinstance(control, Fixed)
    if batch == 0:
        raise ValueError("`y0` must hold at least one sample, got a batch of 0. Skip the call for an empty batch.")
    _check_steps(control, t0, t1, max_steps)
    times = _shared_or_tensor(control, t0, t1, batch)
    steps = len(times) - 1
    plan = _Plan.make(save, times, method)
    loop = _FixedLoop(term, method, y0, times, plan)
    y, failed_step = loop.run(batch)
    result = torch.where(failed_step >= 0, int(Result.NON_FINITE), int(Result.SUCCESS))
    if throw and bool((failed_step >= 0).any()):
        _raise_failure(failed_step, times)
    taken = torch.where(failed_step >= 0, failed_step, steps)
    stats = Stats(steps=taken, evaluations=taken * method.stages)
    kept_ts, kept_ys = plan.collect(times, y0, y)
    return Solution(ts=kept_ts, ys=kept_ys, stats=stats, result=result)


def _check_choice(method: AbstractMethod, control: AbstractControl | None, gradient: AbstractGradient | None) -> None:
    name = type(method).__name__
    if control is None:
        raise ValueError(
            f"{name} has no error estimate, so its step must be given, got control=None. "
            "Pass control=Fixed(dt=...) or Fixed(n=...); a step is never inferred from the output times."
        )
    if not isinstance(control, Fixed):
        raise TypeError(f"`control` must be Fixed for {name}, got {type(control).__name__}.")
    if gradient is not None and not isinstance(gradient, Direct):
        raise TypeError(f"`gradient` must be Direct() for {name}, got {type(gradient).__name__}.")


def _check_steps(control: Fixed, t0: float | Tensor, t1: float | Tensor, max_steps: int) -> None:
    """Raise before the grid is made if it would have too many steps."""
    steps = control.n or 0
    if control.dt is not None and not (isinstance(t0, Tensor) or isinstance(t1, Tensor)):
        steps = abs(t1 - t0) / control.dt
    if steps > max_steps:
        raise ValueError(
            f"the grid has {steps:.0f} steps, more than max_steps={max_steps}. Take larger steps or raise max_steps."
        )


def _shared_or_tensor(control: Fixed, t0: float | Tensor, t1: float | Tensor, batch: int) -> Times:
    """The step grid; plain numbers become floats, so that tables can be shared between steps."""
    for name, t in (("t0", t0), ("t1", t1)):
        if isinstance(t, Tensor) and t.ndim > 0 and t.shape != (batch,):
            raise ValueError(
                f"`{name}` must be a number, 0-D or one per sample ({batch},), got shape {tuple(t.shape)}."
            )
    if any(isinstance(t, Tensor) and (t.ndim > 0 or t.requires_grad) for t in (t0, t1)):
        return control.grid(t0, t1)
    return control.grid(float(t0), float(t1))


@final
@dataclass
class _Plan:
    """Which steps to keep, and what was kept."""

    save: SaveAt
    ts_steps: list[int]
    every_steps: list[int]
    kept: dict[int, Any]

    @staticmethod
    def make(save: SaveAt, times: Times, method: AbstractMethod) -> "_Plan":
        steps = len(times) - 1
        ts_steps = [] if save.ts is None else _grid_points(save.ts, times, method)
        every_steps = [] if save.every is None else list(range(save.every, steps + 1, save.every))
        if save.every is not None and not every_steps:
            raise ValueError(f"`every` must be at most the number of steps, {steps}, got {save.every}. Lower it.")
        return _Plan(save, ts_steps, every_steps, {})

    @property
    def wanted(self) -> set[int]:
        """Step numbers whose state is kept."""
        return {*self.ts_steps, *self.every_steps}

    def keep(self, step: int, t: Time, y: State) -> None:
        self.kept[step] = self._view(t, y)

    def _view(self, t: Time, y: State) -> Any:
        if self.save.fn is None:
            return y
        leaf = tree_leaves(y)[0]
        time = torch.as_tensor(t, device=leaf.device).to(leaf.real.dtype)
        return self.save.fn(_beside(time, leaf), y)

    def collect(self, times: Times, y0: State, y1: State) -> tuple[Any, Any]:
        """Times and states in the layout the user asked for."""
        stacked = {"ts": self.ts_steps} if self.save.ts is not None else {}
        if self.save.every is not None:
            stacked["steps"] = self.every_steps
        ts: dict[str, Any] = {}
        ys: dict[str, Any] = {}
        if self.save.t0:
            ts["t0"], ys["t0"] = times[0], self._view(times[0], y0)
        if self.save.t1:
            ts["t1"], ys["t1"] = times[-1], self._view(times[-1], y1)
        for name, steps in stacked.items():
            if isinstance(times, Tensor):
                ts[name] = times[steps].movedim(0, -1)
            else:
                ts[name] = torch.tensor([times[step] for step in steps], dtype=torch.float64)
            kept = [self.kept[step] for step in steps]
            ys[name] = tree_map(lambda *leaves: torch.stack(leaves, dim=1), *kept)
        if len(ys) == 1:
            return next(iter(ts.values())), next(iter(ys.values()))
        return ts, ys


def _grid_points(ts: Tensor, times: Times, method: AbstractMethod) -> list[int]:
    """Step number of each wanted time, or an error that names one that is no step."""
    if isinstance(times, Tensor):
        raise ValueError("`save.ts` needs shared times given as numbers; use save.every with per-sample times.")
    grid = torch.tensor(times, dtype=torch.float64)
    wanted = ts.detach().double().cpu()
    place = _nearest(grid, wanted)
    # Times given in float32 name a grid point only to their own rounding.
    rounding = 4 * torch.finfo(ts.dtype).eps * wanted.abs() if ts.is_floating_point() else 0.0
    off = (grid[place] - wanted).abs() > 1e-9 * abs(times[-1] - times[0]) + rounding
    if bool(off.any()) or bool(torch.isnan(wanted).any()):
        i = int((off | torch.isnan(wanted)).nonzero()[0])
        raise ValueError(
            f"{type(method).__name__} has no dense output, so `save.ts` must be grid points, but ts[{i}]="
            f"{float(wanted[i]):g} is not (nearest: {float(grid[place[i]]):g}). Choose a dt that divides the output "
            "times, or give the grid as Fixed(ts=...)."
        )
    return place.tolist()


def _nearest(grid: Tensor, wanted: Tensor) -> Tensor:
    """Index of the grid point nearest to each wanted time, for a grid that rises or falls."""
    rising, order = torch.sort(grid)
    right = torch.searchsorted(rising, wanted).clamp(1, len(grid) - 1)
    left_is_nearer = (wanted - rising[right - 1]) <= (rising[right] - wanted)
    return order[torch.where(left_is_nearer, right - 1, right)]


class _FixedLoop:
    """Steps along a grid without ever reading the device."""

    def __init__(self, term: AbstractTerm, method: AbstractMethod, y0: State, times: Times, plan: _Plan) -> None:
        self.term, self.method, self.y0, self.times, self.plan = term, method, y0, times, plan

    def run(self, batch: int) -> tuple[State, Tensor]:
        """Final state, and per sample the number of the check at which it failed (-1: none)."""
        y = checked = self.y0
        device = tree_leaves(y)[0].device
        failed_step = torch.full((batch,), -1, device=device)
        times = [self._time(i) for i in range(len(self.times))]
        carry = self.method.init(self.term, times[0], y)
        wanted = self.plan.wanted
        if 0 in wanted:
            self.plan.keep(0, times[0], y)
        last = len(times) - 1
        for i in range(1, last + 1):
            step = self.method.step(self.term, times[i - 1], times[i], y, carry)
            y, carry = step.y, step.carry
            if i in wanted or i == last or i % _STEPS_BETWEEN_CHECKS == 0:
                failed_step = torch.where((failed_step < 0) & ~_finite_rows(y), i, failed_step)
                y = checked = _freeze(failed_step >= 0, checked, y)
            if i in wanted:
                self.plan.keep(i, times[i], y)
        return y, failed_step

    def _time(self, i: int) -> Time:
        """Time of step `i`, shaped to broadcast against the state."""
        t = self.times[i]
        return _beside(t, tree_leaves(self.y0)[0]) if isinstance(t, Tensor) else t


def _beside(t: Tensor, leaf: Tensor) -> Tensor:
    """Per-sample times (batch,) as (batch, 1, ..., 1) of the rank of `leaf`; a shared time stays 0-D."""
    return t.reshape(-1, *[1] * (leaf.ndim - 1)) if t.ndim > 0 else t


def _finite_rows(y: State) -> Tensor:
    rows = [torch.isfinite(leaf.detach()).flatten(1).all(dim=1) for leaf in tree_leaves(y)]
    return torch.stack(rows).all(dim=0)


def _freeze(frozen: Tensor, old: State, new: State) -> State:
    def choose(before: Tensor, after: Tensor) -> Tensor:
        return torch.where(frozen.reshape(-1, *[1] * (after.ndim - 1)), before, after)

    return tree_map(choose, old, new)


def _raise_failure(failed_step: Tensor, times: Times) -> None:
    samples = (failed_step >= 0).nonzero()[:, 0].tolist()
    first = min(samples, key=lambda s: int(failed_step[s]))
    step = int(failed_step[first])
    t = times[step]
    when = float(t[first] if isinstance(t, Tensor) and t.ndim else t)
    which = f"{samples[:8]}{'...' if len(samples) > 8 else ''}"
    raise SolveError(
        f"{len(samples)} of {len(failed_step)} samples failed (samples {which}); "
        f"the first is sample {first}, at or shortly before t={when:g} (step {step}): {Result.NON_FINITE.text}. "
        "With throw=False the others are returned."
    )
