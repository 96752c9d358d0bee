"""`solve`: check, walk, put together what was asked for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sciml.core import State
from sciml.core.transforms import is_mapped
from sciml.integrate.backends import AbstractBackend
from sciml.integrate.compiled import CompiledMethod
from sciml.integrate.contract import kind_of
from sciml.integrate.control import PID, AbstractControl, Fixed, Ladder
from sciml.integrate.events.event import Event, checked_events
from sciml.integrate.events.failure import event_failure
from sciml.integrate.events.run import solve_with_events
from sciml.integrate.executors import AbstractExecutor, Eager
from sciml.integrate.flat import leaves_of
from sciml.integrate.gradient import AbstractGradient, Direct
from sciml.integrate.ladder_stops import check_ladder
from sciml.integrate.methods import AbstractMethod, AbstractRosenbrock, Reversibly, StepDoubling
from sciml.integrate.problem import Problem
from sciml.integrate.rescue import rescued
from sciml.integrate.save import SaveAt
from sciml.integrate.solution import Result, Solution, SolveError
from sciml.integrate.terms import AbstractTerm


def solve(
    term: AbstractTerm,
    method: AbstractMethod | AbstractBackend,
    y0: State,
    t0: float | Tensor,
    t1: float | Tensor,
    *,
    control: AbstractControl | None = None,
    save: SaveAt | None = None,
    gradient: AbstractGradient | None = None,
    event: Event | Sequence[Event] | None = None,
    params: Sequence[Tensor] = (),
    max_steps: int = 10_000_000,
    throw: bool = True,
    compile: bool = False,
    executor: AbstractExecutor | None = None,
) -> Solution:
    """Integrate a batch of independent samples from `t0` to `t1`.

    Args:
        term: the right-hand side.
        method: how to step it; or a backend, which solves the problem with another package.
        y0: initial state, (batch, *state), or a tree of such, [state].
        t0: initial time, [time]: a float, a 0-D tensor (differentiable, but with noise), or one per sample, (batch,).
        t1: final time, [time]; before `t0` to integrate backwards.
        control: step control. `None` takes `PID(rtol=1e-5, atol=1e-8)` where the method estimates its error; for `SDE`
            terms that is very tight, take PID(rtol=1e-2, atol=1e-3) or so.
        save: what to return; by default the final state. Adaptive steps of `SDE` terms end at `save.ts`; a fixed grid
            of theirs must hold these times.
        gradient: how to differentiate; by default `Direct()`.
        event: where samples end, or go on from another state; see `Event`. Several are looked for at once. Every sample
            has a clock of its own then, also on a fixed grid: `t` comes as (batch, 1, ..., 1). The rest of a step
            that an event cuts off is a step of its own. A saved time equal to an event's keeps the state behind the
            jump; times after the end of a sample are NaN; `every` counts the parts of cut steps too.
        params: further tensors the field depends on, for gradients that need to be told: all but `Direct` and
            `Forward`. The parameters of a module are found without.
        max_steps: refuse a grid of more steps than this; give up after as many attempts.
        throw: raise if a sample fails; otherwise look at `Solution.result`.
        compile: compile the steps (ODE and SDE terms). The first solve of a field takes some seconds; later ones of the
            same shapes, with whatever times, tolerances and values, use the same code. What a field may contain then
            stands in `sciml/README.md`.
        executor: how attempts are repeated; by default what is fastest on the device.

    Returns:
        The states that were kept, with counts and a result code per sample. With adaptive steps, a sample that fails is
        frozen at its last accepted state. On a fixed grid samples are checked for non-finite values at every kept time
        and every 16 steps; one that fails is frozen at its last checked state. A fixed grid never waits for the device
        inside the loop, and reads it once at the end if `throw` or if gradients are recorded.

    Raises:
        ValueError, TypeError: for arguments that cannot work, before the first step.
        CompileError: if `compile` is set and the field cannot be compiled.
        SolveError: if a sample fails and `throw` is set.
    """
    _check_kinds(term, method, control, save, gradient, executor)
    if isinstance(method, AbstractBackend):
        given = {
            "gradient": gradient is not None,
            "event": event is not None,
            "compile": compile,
            "executor": executor is not None,
        }
        _check_backend(method, [name for name, is_given in given.items() if is_given])
        control = control or (PID(per_sample=False) if method.has_error else None)
    events = checked_events(event)
    if events:
        _check_events(gradient, compile, executor)
    problem = Problem.make(term, method, y0, t0, t1, control, save, params, max_steps, executor, compile, throw)
    if isinstance(problem.control, Ladder):
        check_ladder(isinstance(gradient, Direct | None), bool(events))
    if events:
        solution = solve_with_events(problem, events)
    else:
        solver = method if isinstance(method, AbstractBackend) else gradient or Direct()
        solution = solver.solve(problem)
        if not throw and solver is not method:
            solution = rescued(problem, solver.solve, solution)
    if throw and not is_mapped(solution.result) and bool((solution.result != Result.SUCCESS).any()):
        _raise_failure(problem, solution, events)
    return solution


def _check_kinds(term: Any, method: Any, control: Any, save: Any, gradient: Any, executor: Any) -> None:
    """Raise for arguments of the wrong kind, with the usual mistake in mind."""
    if not isinstance(term, AbstractTerm):
        remedy = "Wrap it: ODE(f)." if callable(term) and not isinstance(term, type) else "Give e.g. ODE(f)."
        raise TypeError(f"`term` must be a term, got a {kind_of(term)}. {remedy}")
    kinds = {
        "method": (method, (AbstractMethod, AbstractBackend), "Tsit5()"),
        "control": (control, (AbstractControl, type(None)), "PID(rtol=1e-6) or Fixed(n=100)"),
        "save": (save, (SaveAt, type(None)), "SaveAt(ts=times)"),
        "gradient": (gradient, (AbstractGradient, type(None)), "Checkpoint()"),
        "executor": (executor, (AbstractExecutor, type(None)), "Eager(), or leave it out"),
    }
    for name, (value, wanted, example) in kinds.items():
        if not isinstance(value, wanted):
            raise TypeError(f"`{name}` must be an object, got {kind_of(value)}. Give e.g. {example}.")


def _check_backend(method: AbstractBackend, given: list[str]) -> None:
    if given:
        raise ValueError(
            f"{type(method).__name__} solves and differentiates the problem itself, got {', '.join(given)}, which it "
            "would not use. Drop these arguments."
        )


def _check_events(gradient: Any, compile: bool, executor: Any) -> None:
    """Raise for what does not go with events."""
    if not isinstance(gradient, Direct | None):
        raise ValueError(
            f"gradients of events are those of the steps as they were taken, got gradient={type(gradient).__name__}(). "
            "Use gradient=Direct()."
        )
    if compile:
        raise ValueError("steps that events may cut off are not compiled, got compile=True. Pass compile=False.")
    if not isinstance(executor, Eager | None):
        raise ValueError(
            f"events are looked for after every attempt, got executor={type(executor).__name__}. Pass executor=None."
        )


def _raise_failure(problem: Problem, solution: Solution, events: tuple[Event, ...]) -> None:
    result, (step, when) = solution.result, problem.stopped
    samples = (result != Result.SUCCESS).nonzero()[:, 0].tolist()
    passed = (when.detach() - torch.as_tensor(problem.t0).detach().to(when.device)).abs().tolist()
    first = min(samples, key=lambda sample: passed[sample])
    which = f"{samples[:8]}{'...' if len(samples) > 8 else ''}"
    if not all(bool(torch.isfinite(leaf[first]).all()) for leaf in leaves_of(problem.y0)):
        raise SolveError(
            f"`y0` must be finite, but that of sample {first} is not ({len(samples)} of {len(result)} samples failed: "
            f"{which}). Fill in or leave out missing values first; with throw=False the other samples are returned."
        )
    raise SolveError(
        f"{len(samples)} of {len(result)} samples failed (samples {which}); "
        f"the first is sample {first}, at or shortly before t={float(when[first]):g} (step {int(step[first])}): "
        f"{_reason(problem, solution, events, first)}. With throw=False the others are returned."
    )


def _reason(problem: Problem, solution: Solution, events: tuple[Event, ...], sample: int) -> str:
    """Why a sample failed, in words that fit the method and the event."""
    result, happened = Result(int(solution.result[sample])), solution.events
    if happened is not None and (k := int(happened.failed_at[sample])) >= 0:
        return event_failure(result, k, events[k], int(happened[k].count[sample]))
    method = problem.method
    if isinstance(method, AbstractBackend):
        return result.text
    return result.text_for(implicit=_is_implicit(method), fixed=isinstance(problem.control, Fixed))


def _is_implicit(method: Any) -> bool:
    """Whether steps use the Jacobian of the field."""
    while isinstance(method, CompiledMethod | StepDoubling | Reversibly):
        method = method.method
    return method.iterates or isinstance(method, AbstractRosenbrock)
