"""A checked call of `solve`, and how it is carried out without a thought for gradients."""

from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec

from sciml.core import State, batch_size, tree_map
from sciml.core.checks import check_whole
from sciml.core.transforms import is_differentiated, is_mapped, is_transforming
from sciml.integrate.adaptive import Stepping, Walk
from sciml.integrate.clock import Clock
from sciml.integrate.compiled import CompiledMethod, eager_of
from sciml.integrate.contract import (
    check_dense,
    check_ends,
    check_state,
    check_steps,
    checked_params,
    checked_time,
    chosen_control,
    of_groups,
)
from sciml.integrate.control import PID, AbstractControl, Clip, Fixed, Ladder, Times
from sciml.integrate.control.ladder import Rungs
from sciml.integrate.diffusion import (
    check_covers,
    check_resolved,
    flat_langevin,
    flat_sde,
    limits_differ,
    times_have_no_gradient,
)
from sciml.integrate.driven import is_tensors_only, slopes_of
from sciml.integrate.executors import AbstractExecutor, Eager, default_executor
from sciml.integrate.field import FlatField
from sciml.integrate.fixed_grid import FixedLoop
from sciml.integrate.flat import Flat, beside, first_leaf, flatten, leaves_of, map_leaves, real_dtype, restore
from sciml.integrate.function import Function
from sciml.integrate.grid_plan import GridPlan, check_at_ends
from sciml.integrate.ito_limit import check_limit
from sciml.integrate.ladder_stops import ladder_stops
from sciml.integrate.marks import marks_of, with_stops
from sciml.integrate.methods.along_chords import along_chords
from sciml.integrate.methods.base import AbstractMethod
from sciml.integrate.methods.step_doubling import StepDoubling
from sciml.integrate.outputs import AbstractOutput, DenseOutput, Recorder, StepsOutput, TimesOutput
from sciml.integrate.save import SaveAt
from sciml.integrate.solution import Solution, Stats, unwrapped
from sciml.integrate.stops_output import StopsOutput
from sciml.integrate.terms import ODE, SDE, AbstractTerm, Langevin, Split
from sciml.integrate.wanted import wanted_on_grid, wanted_times
from sciml.integrate.whole_grid import WholeGrid
from sciml.integrate.whole_loop import WholeLoop

_GROWTH_OF_NOISE = 1.5
"""Most that steps grow by where there is noise, unless `factor_max` is given."""
_WATCHED = 4
"""Evaluations of an eager solve in which a field is watched for writing where it must not."""


@final
@dataclass
class Problem:
    """A checked call of `solve`."""

    term: AbstractTerm
    method: Any
    y0: Flat
    structure: TreeSpec | None
    t0: float | Tensor
    t1: float | Tensor
    control: AbstractControl
    save: SaveAt
    params: tuple[Tensor, ...]
    max_steps: int
    executor: AbstractExecutor | None
    throw: bool
    """Whether failures are raised, so that no state of theirs is seen."""
    stopped: tuple[Tensor, Tensor] = field(init=False)
    """Step and time at which each sample ended, once solved."""
    watchers: list[AbstractOutput] = field(default_factory=list, init=False)
    """Further outputs that are shown every attempt."""

    @staticmethod
    def make(
        term: AbstractTerm,
        method: Any,
        y0: State,
        t0: Any,
        t1: Any,
        control: AbstractControl | None,
        save: SaveAt | None,
        params: Any,
        max_steps: int,
        executor: AbstractExecutor | None,
        compile: bool,
        throw: bool,
    ) -> "Problem":
        """Check what `solve` was given."""
        method = along_chords(method, term)
        control = chosen_control(method, control, term)
        batch = batch_size("y0", y0)
        if batch == 0:
            raise ValueError("`y0` must hold at least one sample, got a batch of 0. Skip the call for an empty batch.")
        flat, structure = flatten(y0)
        check_state(flat)
        watched = 0 if compile else _WATCHED
        if isinstance(term, ODE):
            term = ODE(FlatField(term.f, structure, watched=watched))
        elif isinstance(term, Split):
            term = Split(*(FlatField(f, structure, watched=watched) for f in (term.explicit, term.implicit)))
        t0, t1 = checked_time("t0", t0, batch), checked_time("t1", t1, batch)
        if isinstance(term, SDE | Langevin):
            check_covers(term, t0, t1)
            is_sde = isinstance(term, SDE)
            term = flat_sde(term, flat, structure, watched) if is_sde else flat_langevin(term, flat, watched)
        if compile:
            method = CompiledMethod(method, term, flat)
        elif isinstance(method, AbstractMethod):
            pid = control.inner if isinstance(control, Clip) else control
            method = method.tuned(pid.tolerances(flat, structure) if isinstance(pid, PID) else None)
        if isinstance(term, SDE) and isinstance(method, AbstractMethod) and not isinstance(control, Fixed):
            check_limit(eager_of(method), term, t0, flat)
        check_whole("max_steps", max_steps, 1)
        saved = save or SaveAt(t1=True)
        if isinstance(term, SDE | Langevin) and saved.ts is not None and is_differentiated(saved.ts):
            raise times_have_no_gradient("`save.ts`")
        return Problem(
            term, method, flat, structure, t0, t1, control, saved, checked_params(params), max_steps, executor, throw
        )

    @property
    def device(self) -> torch.device:
        return first_leaf(self.y0).device

    def run(self) -> Solution:
        """Solve as it stands; whatever is differentiable is recorded by autograd."""
        return self.fixed() if isinstance(self.control, Fixed) else self.adaptive()

    # Fixed grids

    def fixed(self) -> Solution:
        """Along a grid."""
        assert isinstance(self.control, Fixed)
        if getattr(self.method, "iterates", False) and self._is_mapped():
            raise ValueError(
                f"{type(self.method).__name__} iterates as long as values ask for it, and cannot be taken under "
                "torch.vmap. Put what is mapped over on the batch axis of `y0`, or take an explicit method."
            )
        check_steps(self.control, self.t0, self.t1, self.max_steps)
        times = self.grid()
        batch, steps = len(first_leaf(self.y0)), len(times) - 1
        plan = GridPlan.make(self.save, times, self.method, self.structure)
        clock, wanted = self._fixed_clock(times, batch), self.save.ts
        recorder, at_times, dense = Recorder(), None, None
        if wanted is not None and not plan.ts_steps:
            tau = wanted_on_grid(wanted.to(self.device), clock, times)
            at_times = TimesOutput(self.term, self.method, clock, tau, clock.turned(self._time(times[0])), self.y0)
            recorder.outputs.append(at_times)
        if self.save.dense:
            check_dense(eager_of(self.method))
            output = DenseOutput(self.term, self.method, clock)
            recorder.outputs.append(output)
            ends = (clock.turned(self._time(times[0])), clock.turned(self._time(times[-1])))
            dense = Function(output, clock, self.structure, ends)
        recorder.outputs.extend(self.watchers)
        walked = None
        plain = isinstance(times, list) and not recorder.outputs and self.device.type == "cpu"
        if isinstance(self.method, CompiledMethod) and plain:
            whole = WholeGrid(self.term, self.method, times, plan.keep, plan.wanted, self._is_recorded())  # type: ignore[arg-type]
            walked = whole.run(self.y0)
        if walked is None:
            later = plan.checked_later
            loop = FixedLoop(self.term, self.method, times, clock.sign, plan.keep, plan.wanted, later, recorder)
            walked = loop.run(self.y0)
        walked = plan.settle(walked, repaired=not self.throw or is_transforming())
        y, failed = walked.y, walked.failed
        self.stopped = (failed, _reached(times, failed.clamp(min=0)))
        taken = torch.where(failed >= 0, failed, steps)
        each = self.method.stages - int(self.method.reuses_last)
        counted = taken * each if walked.evaluations is None else walked.evaluations
        evaluations = counted + int(self.method.reuses_last)
        last = torch.as_tensor(times[-1] - times[-2], dtype=torch.float64).expand(batch)
        ts, ys = plan.collect(times, self.y0, y)
        if at_times is not None and wanted is not None:
            ts["ts"], ys["ts"] = wanted, self._at_times(at_times.finish(y), wanted)
        stats = Stats(steps=taken, attempts=taken, evaluations=evaluations, last_step=last)
        return Solution(*unwrapped(ts, ys), stats, walked.result, dense)  # type: ignore[arg-type]

    def grid(self) -> Times:
        """The ends of the steps, checked."""
        assert isinstance(self.control, Fixed)
        times = self.control.grid(self.t0, self.t1)
        if isinstance(self.term, SDE | Langevin):
            check_resolved(self.term, times)
            if self.save.ts is not None:
                check_at_ends(self.save.ts, times, eager_of(self.method))
        return times

    def _time(self, t: float | Tensor) -> Tensor:
        """A time of a grid as a tensor."""
        return torch.as_tensor(t, dtype=torch.float64, device=self.device)

    def _fixed_clock(self, times: Times, batch: int) -> Clock:
        if isinstance(times, Tensor) and times.ndim == 2:
            return Clock((batch,), batch, None, torch.sign(times[-1] - times[0]))
        if isinstance(times, Tensor) and is_mapped(times):
            if self.save.ts is not None or self.save.dense:
                raise ValueError(
                    "under torch.vmap over `t0` or `t1` no times between them can be kept, got SaveAt(ts=...) or "
                    "dense=True. Keep t1=True or every=n, or give one time per sample of the batch axis."
                )
            return Clock((), batch, None, 1.0)  # of no meaning: nothing is read between steps
        return Clock((), batch, None, 1.0 if times[-1] > times[0] else -1.0)

    # Adaptive steps

    def adaptive(self) -> Solution:
        """With error control."""
        stepping, tau0 = self.stepping()
        named = self.outputs(stepping.clock, tau0, stepping.end)
        recorder = Recorder([*named.values(), *self.watchers])
        executor = self.executor or (default_executor(self.device) if stepping.rungs is None else Eager())
        if isinstance(self.method, CompiledMethod):
            if stepping.control.compact:  # fewer rows would be another graph
                stepping = replace(stepping, control=replace(stepping.control, compact=False))
            # Other paths are asked for increments between the steps.
            loops = not isinstance(self.term, SDE) or is_tensors_only(self.term)
            if loops and self.executor is None and not self._in_time() and WholeLoop.serves(recorder.outputs, self.y0):
                executor = WholeLoop(self.term, self._is_recorded(), (executor, stepping))
                stepping = replace(stepping, method=self.method.method)
        walk = executor.run(stepping, tau0, self.y0, recorder, self.max_steps)
        return self.assembled(stepping, tau0, walk, named)

    def stepping(self) -> tuple[Stepping, Tensor]:
        """What tries steps, and where it starts, in tau."""
        clip = self.control if isinstance(self.control, Clip) else None
        ladder = self.control if isinstance(self.control, Ladder) else None
        if ladder is not None:
            clip = ladder_stops(ladder, (self.t0, self.t1, self.save.ts), self.executor)
        pid = clip.inner if clip is not None else self.control
        assert isinstance(pid, PID)
        if pid.gains is None:
            pid = replace(pid, gains=self.method.gains)
        batch = len(first_leaf(self.y0))
        self._refuse_vmap()
        clock, tau0, tau1 = self._clock(pid, batch)
        if isinstance(self.term, SDE):
            pid = of_noise(pid, self.term, eager_of(self.method))
            clip = with_stops(clip, pid, self.save.ts, of_each=not clock.joint and clock.groups is None)
        marks = None if clip is None else marks_of(clip, clock, tau0, tau1, self.y0)
        tolerances = pid.tolerances(self.y0, self.structure)
        view = None if self.structure is None else lambda y: restore(y, self.structure)
        rungs = None if ladder is None or marks is None else Rungs(ladder, float(marks.stop[0, 0] - tau0))
        return Stepping(self.term, self.method, pid, clock, tau1, tolerances, marks, view, rungs), tau0

    def outputs(self, clock: Clock, tau0: Tensor, tau1: Tensor) -> dict[str, Any]:
        """What collects states from attempts, by name."""
        named: dict[str, Any] = {}
        if self.save.ts is not None and isinstance(self.control, Ladder):
            tau = wanted_times(self.save.ts.to(self.device), clock, tau0, tau1)
            named["ts"] = StopsOutput(tau.tolist(), float(tau0), self.y0)
        elif self.save.ts is not None:
            check_dense(eager_of(self.method))
            tau = wanted_times(self.save.ts.to(self.device), clock, tau0, tau1)
            named["ts"] = TimesOutput(self.term, self.method, clock, tau, tau0, self.y0)
        if self.save.every is not None:
            named["steps"] = StepsOutput(clock, self.save.every)
        if self.save.dense:
            check_dense(eager_of(self.method))
            named["dense"] = DenseOutput(self.term, self.method, clock)
        return named

    def _refuse_vmap(self) -> None:
        """Raise if `torch.vmap` maps over the solve: how many steps to take would be read from values."""
        if self._is_mapped():
            raise ValueError(
                "adaptive steps depend on values and cannot be taken under torch.vmap. Put what is mapped over on the "
                "batch axis of `y0`: samples have steps, times and failures of their own there. Or take a fixed grid, "
                "control=Fixed(n=...), which can be mapped."
            )

    def _is_mapped(self) -> bool:
        """Whether `torch.vmap` maps over the solve."""
        if not is_transforming():
            return False
        times = [t for t in (self.t0, self.t1, self.save.ts) if isinstance(t, Tensor)]
        mapped = is_mapped(*leaves_of(self.y0), *times, *self.params)
        if not mapped and isinstance(self.term, ODE | Split):
            t0 = torch.as_tensor(self.t0, device=self.device).to(first_leaf(self.y0).dtype.to_real())
            mapped = is_mapped(*leaves_of(self.term.f(beside(t0, first_leaf(self.y0)), self.y0)))
        return mapped

    def _is_recorded(self) -> bool:
        """Whether autograd would record the steps."""
        if not torch.is_grad_enabled():
            return False
        start = beside(torch.as_tensor(self.t0, dtype=torch.float64, device=self.device), first_leaf(self.y0))
        slopes = slopes_of(self.term, start.to(real_dtype(self.y0)), self.y0)
        return self._in_time() or any(leaf.requires_grad for leaf in (*slopes, *leaves_of(self.y0)))

    def _in_time(self) -> bool:
        """Whether autograd would record the times."""
        times = (self.t0, self.t1, self.save.ts)
        return torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in times)

    def _clock(self, pid: PID, batch: int) -> tuple[Clock, Tensor, Tensor]:
        """Who shares steps, and the ends in tau, per clock."""
        check_ends(self.t0, self.t1)
        if not isinstance(self.t0, Tensor) and not isinstance(self.t1, Tensor) and pid.groups is None:
            shape = (batch,) if pid.per_sample else ()
            sign = 1.0 if self.t1 > self.t0 else -1.0
            t0, t1 = (torch.full(shape, sign * t, dtype=torch.float64, device=self.device) for t in (self.t0, self.t1))
            return Clock(shape, batch, None, sign), t0, t1
        ends = [torch.as_tensor(t, dtype=torch.float64, device=self.device) for t in (self.t0, self.t1)]
        per_row = any(t.ndim > 0 for t in ends)
        if pid.groups is not None:
            groups = pid.groups.to(self.device)
            if groups.shape != (batch,):
                raise ValueError(f"`groups` must have one entry per row ({batch},), got shape {tuple(groups.shape)}.")
            count = int(groups.max()) + 1
            if int(groups.min()) < 0 or int(torch.bincount(groups, minlength=count).min()) == 0:
                raise ValueError("`groups` must count from 0 without gaps. Renumber them, e.g. by torch.unique(...).")
            ends = [of_groups(t, groups, count) for t in ends]
            shape: tuple[int, ...] = (count,)
        elif pid.per_sample:
            groups, shape = None, (batch,)
        elif per_row:
            raise ValueError(
                "joint steps need one `t0` and `t1` for all samples, got one per sample. Use per_sample=True."
            )
        else:
            groups, shape = None, ()
        t0, t1 = (t.expand(shape) for t in ends)
        forward = (t1 > t0).detach()
        if bool(forward.all()):
            sign: float | Tensor = 1.0
        elif not bool(forward.any()):
            sign = -1.0
        else:
            sign = forward.double() * 2 - 1
        clock = Clock(shape, batch, groups, sign)
        return clock, clock.turned(t0), clock.turned(t1)

    def assembled(self, stepping: Any, tau0: Tensor, walk: Walk, named: dict[str, Any]) -> Solution:
        """What was asked for, from a walk that is finished."""
        clock, save = stepping.clock, self.save
        ts: dict[str, Any] = {}
        ys: dict[str, Any] = {}
        if save.t0:
            start = torch.as_tensor(self.t0, dtype=torch.float64, device=self.device)
            ts["t0"], ys["t0"] = self.t0, self._viewed(beside(start, first_leaf(self.y0)), self.y0)
        if save.t1:
            ts["t1"], ys["t1"] = self.t1, self._viewed(clock.time(walk.tau, walk.y), walk.y)
        if "ts" in named:
            assert save.ts is not None
            ts["ts"], ys["ts"] = save.ts, self._at_times(named["ts"].finish(walk.y), save.ts)
        if "steps" in named:
            tau, states = named["steps"].finish(walk.y)
            ts["steps"] = clock.turned_rows(tau)
            ys["steps"] = self._at_times(states, ts["steps"])
        ends = (tau0, stepping.end)
        dense = Function(named["dense"], clock, self.structure, ends) if "dense" in named else None

        def rows(value: Tensor) -> Tensor:
            return clock.to_rows(value).expand(clock.rows)

        each, first = self.method.stages - int(self.method.reuses_last), stepping.first_evaluations
        stats = Stats(
            steps=rows(walk.accepted),
            attempts=rows(walk.tried),
            evaluations=(walk.counted[0] if walk.counted else rows(walk.tried * each)) + first,
            last_step=rows(clock.turned(walk.last)),
        )
        self.stopped = (rows(walk.tried), rows(clock.turned(walk.tau)))
        return Solution(*unwrapped(ts, ys), stats, rows(walk.result), dense)  # type: ignore[arg-type]

    def _viewed(self, t: Tensor, y: Flat) -> Any:
        """A state as the user wants it kept; a copy, which keeps the gradient, where it is still the user's own."""
        y = map_leaves(lambda leaf, own: leaf.clone() if leaf is own else leaf, y, self.y0)
        state = restore(y, self.structure)
        return state if self.save.fn is None else self.save.fn(t.to(first_leaf(y).dtype.to_real()), state)

    def _at_times(self, states: Flat, ts: Tensor) -> Any:
        """States (batch, time, *state) as the user wants them kept."""
        if self.save.fn is None:
            return restore(states, self.structure)
        columns = []
        if ts.shape[-1] == 0:  # `fn` of the initial state tells the shape
            one = self._viewed(beside(ts.new_zeros(ts.shape[:-1]).to(self.device), first_leaf(self.y0)), self.y0)
            return tree_map(lambda leaf: leaf.new_zeros(len(leaf), 0, *leaf.shape[1:]), one)
        for j in range(ts.shape[-1]):
            y = map_leaves(lambda leaf, j=j: leaf[:, j], states)
            columns.append(self._viewed(beside(ts[..., j].to(self.device), first_leaf(y)), y))
        return tree_map(lambda *leaves: torch.stack(leaves, dim=1), *columns)


def of_noise(pid: PID, term: SDE, method: AbstractMethod) -> PID:
    """The controller for a term with noise.

    Below the resolution of its path steps of an Ito term would tend to another equation, and fail instead.

    An error estimate that is a random number is near 0 now and then, whatever the error. Were the next step ten times
    as long, it would be too long, and accepted now and then by the same chance: few samples would have most of the
    error.
    """
    factor_max = _GROWTH_OF_NOISE if pid.factor_max is None else pid.factor_max
    resolution = getattr(term.path, "resolution", 0.0) if limits_differ(term) else 0.0
    if isinstance(method, StepDoubling):  # which takes half steps
        resolution = 2 * resolution
    dt_min = min(max(pid.dt_min, resolution), 0.5 * pid.dt_max)
    return replace(pid, factor_max=factor_max, dt_min=dt_min, compact=False)  # a path has all rows, always


def _reached(times: Times, step: Tensor) -> Tensor:
    """The time of each sample's step."""
    if not isinstance(times, Tensor):
        return torch.tensor(times, dtype=torch.float64, device=step.device)[step]
    grid = times.detach().to(step.device)
    return grid[step] if grid.ndim == 1 else grid.gather(0, step[None])[0]
