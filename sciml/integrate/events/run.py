"""A solve with events: what it refuses, who steps, and what is returned."""

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

from sciml.core.transforms import is_transforming
from sciml.integrate.adaptive import Stepping
from sciml.integrate.clock import Clock
from sciml.integrate.contract import check_ends, check_steps
from sciml.integrate.control import PID, Clip, Fixed
from sciml.integrate.events.calls import Calls
from sciml.integrate.events.event import Event
from sciml.integrate.events.grid import grid_stepping
from sciml.integrate.events.log import Events
from sciml.integrate.events.walk import EventLoop
from sciml.integrate.flat import first_leaf
from sciml.integrate.outputs import Recorder
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Solution
from sciml.integrate.terms import ODE


def solve_with_events(problem: Problem, events: tuple[Event, ...]) -> Solution:
    """Solve, and cut samples off where events happen; autograd records what is differentiable.

    Raises:
        TypeError, ValueError: for methods without dense output, groups, transforms of `torch.func` and forward mode.
    """
    _check(problem, events)
    stepping, tau0 = _stepping(problem)
    calls = Calls(events, problem.structure)
    named = problem.outputs(stepping.clock, tau0, stepping.end)
    walk = stepping.start(tau0, problem.y0)
    loop = EventLoop(stepping, calls)
    walk = loop.run(walk, Recorder(list(named.values())), problem.max_steps)
    solution = problem.assembled(stepping, tau0, walk, named)
    t_end = stepping.clock.turned(walk.tau)
    happened = Events(loop.log.finish(problem.structure), loop.ended_by, t_end, loop.failed_at)
    extra = loop.restarts * int(problem.method.reuses_last)
    stats = replace(solution.stats, evaluations=solution.stats.evaluations + extra)
    return replace(solution, ts=_with_ends(problem, solution.ts, t_end), stats=stats, events=happened)


def _with_ends(problem: Problem, ts: Any, t_end: Tensor) -> Any:
    """The times that were kept, where `t1` stands for the end of each sample."""
    if not problem.save.t1:
        return ts
    return {**ts, "t1": t_end} if isinstance(ts, dict) else t_end


def _stepping(problem: Problem) -> tuple[Any, Tensor]:
    """Who steps, every sample with a clock of its own, and where it starts."""
    if not isinstance(problem.control, Fixed):
        return _with_own_clocks(*problem.stepping())
    check_ends(problem.t0, problem.t1)
    check_steps(problem.control, problem.t0, problem.t1, problem.max_steps)
    times, batch = problem.grid(), len(first_leaf(problem.y0))
    sign = problem._fixed_clock(times, batch).sign
    if isinstance(sign, Tensor) and bool((sign == sign[0]).all()):
        sign = float(sign[0])
    stepping = grid_stepping(problem.term, problem.method, times, Clock((batch,), batch, None, sign), problem.device)
    return stepping, stepping.grid[:, 0].expand(batch)


def _with_own_clocks(stepping: Stepping, tau0: Tensor) -> tuple[Stepping, Tensor]:
    """The same where joint steps were asked for: one norm decides for all that run, but each sample may end alone."""
    joint, control = stepping.clock, stepping.control
    if not joint.joint:
        return stepping, tau0
    if control.norm is None:
        control = replace(control, norm=lambda scaled: joint.root_mean_square(tuple(tree_leaves(scaled))))
    clock = Clock((joint.rows,), joint.rows, None, joint.sign)
    end = stepping.end.expand(joint.rows)
    return replace(stepping, control=control, clock=clock, end=end), tau0.expand(joint.rows)


def _check(problem: Problem, events: tuple[Event, ...]) -> None:
    method, control = problem.method, problem.control
    pid = control.inner if isinstance(control, Clip) else control
    if not method.has_dense:
        remedy = (
            "Take a method that has one, e.g. Tsit5(), or StepDoubling(method)."
            if isinstance(problem.term, ODE)
            else "Write the whole right-hand side as ODE(f), for a method that has one: Rodas5P() or Kvaerno5() where "
            "it is stiff, else Tsit5()."
        )
        raise TypeError(f"events are located on the dense output, but {type(method).__name__} has none. {remedy}")
    if getattr(pid, "groups", None) is not None:
        raise ValueError(
            "events stop rows one by one, but `groups` makes rows share their time, got both. Give each group as one "
            "sample, with its rows on a state axis."
        )
    joint = isinstance(pid, PID) and not pid.per_sample and len(first_leaf(problem.y0)) > 1
    jumps = [k for k, event in enumerate(events) if not event.ends or event.jump is not None]
    if joint and jumps:
        raise ValueError(
            f"a sample that goes on behind an event needs a clock of its own, got joint steps and event {jumps[0]}, "
            "which has a jump or is not terminal. Use PID(per_sample=True)."
        )
    if is_transforming() or forward_ad._current_level >= 0:
        raise ValueError(
            "events cannot be located inside torch.func transforms or forward-mode differentiation. Take gradients by "
            "backward() or torch.autograd.grad(), and put what is mapped over on the batch axis of `y0`."
        )
