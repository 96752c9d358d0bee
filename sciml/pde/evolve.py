"""From an equation to frames: the state stays in Fourier space between the frames that are kept."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.grids import Grid
from sciml.integrate import AbstractControl, AbstractMethod, Fixed, Ladder, SaveAt, SolveError, solve
from sciml.pde.base import AbstractEquation
from sciml.pde.spectral import Spectral
from sciml.pde.start import check_fields, check_times, chosen_method, step_numbers
from sciml.pde.step_limit import LastSeen, one_row, shrunken_steps, unstable_step, watched


def evolve(
    equation: AbstractEquation,
    grid: Grid,
    u0: Float[Tensor, "batch channel *space"],
    ts: Float[Tensor, " time"],
    *,
    dt: float | None = None,
    control: AbstractControl | None = None,
    method: AbstractMethod | None = None,
    throw: bool = True,
) -> Float[Tensor, "batch time channel *space"]:
    """Solve from `u0` at time 0 and return the fields at `ts`.

    Modes of `u0` that the equation does not keep on this grid are dropped at the start.

    Args:
        equation: the PDE.
        grid: where `u0` lives.
        u0: initial fields, [field]; dtype and device of the computation follow it.
        ts: times to return, [time], increasing, from 0 on; with `dt` each a whole multiple of it.
        dt: step of the integrator, [time]; without it steps are chosen by `control`.
        control: step control, `Ladder()` by default: joint steps that keep the local error below 1e-5 of each field;
            `Fixed(n=...)` for steps of a number.
        method: integration method; by default `ETDRK4()` for fixed steps, `ETD43()` for chosen ones.
        throw: raise `SolveError` if a trajectory blows up; otherwise it is frozen where it was last finite (with `dt`)
            or NaN. Gradients of parameters shared with a trajectory that blew up are NaN; leave it out to
            differentiate.

    Returns:
        Fields at `ts`, differentiable in `u0` and in the equation's parameters.

    Raises:
        ValueError: for a wrong shape, non-finite input, `dt` not above 0, times that are no multiples of it, both `dt`
            and `control`, rows of parameters that are not those of `u0`, initial fields that the equation has no
            solution for, or a grid that does not suit it.
        TypeError: for times that are no tensor, or a control that chooses other steps.
        SolveError: if a trajectory becomes non-finite, or its steps shrink to nothing; a step beyond what transport
            allows is named.
    """
    check_fields(equation, grid, u0)
    check_times(ts)
    chosen = chosen_method(method, dt, control)
    if dt is not None:
        counts = step_numbers(ts, dt)
        ts, control = dt * torch.tensor(counts, dtype=torch.float64), Fixed(n=max(counts[-1], 1))
    end = float(ts[-1])
    system = Spectral(equation, grid, u0.device)
    y0 = system.encode(u0)
    if end == 0.0:
        return system.decode(y0)[:, None]
    term, seen = watched(system.term) if dt is None else (system.term, LastSeen())
    solution = solve(
        term,
        chosen,
        y0,
        0.0,
        end,
        control=control or Ladder(),
        save=SaveAt(ts=ts.double()),
        throw=False,
    )
    ys = solution.ys
    fields = system.decode(ys.flatten(0, 1)).unflatten(0, ys.shape[:2])
    if throw and bool((solution.result != 0).any()):
        size = _step_of(control, end) if dt is None else dt
        raise SolveError(why_lost(system, solution, u0, fields, ts, size, seen, chosen))
    return fields


def _step_of(control: AbstractControl | None, end: float) -> float | None:
    """The step of a fixed control, the longest where they differ; None where steps are chosen."""
    if not isinstance(control, Fixed):
        return None
    return float(torch.as_tensor(control.grid(0.0, end), dtype=torch.float64).diff().max())


def why_lost(
    system: Spectral,
    solution: Any,
    u0: Tensor,
    fields: Tensor,
    ts: Tensor,
    dt: float | None,
    seen: LastSeen,
    method: AbstractMethod,
) -> str:
    """Which trajectory was lost first, when, and why."""
    failed = (solution.result != 0).nonzero()[:, 0].tolist()
    steps = solution.stats.steps
    row = min(failed, key=lambda i: int(steps[i]))
    which = f"{failed[:8]}{'...' if len(failed) > 8 else ''}"
    begin = f"every trajectory must stay finite, but {len(failed)} of {len(u0)} did not (samples {which}), first sample"
    if dt is None:
        size = float(solution.stats.last_step[row])
        return f"{begin} {row}: " + shrunken_steps(system, seen, row, size, int(steps[row]), method)
    until = float(steps[row]) * dt
    frames = [(0.0, u0[row]), *((float(t), u) for t, u in zip(ts, fields[row], strict=True) if t < until)]
    reason = unstable_step(one_row(system.equation, row), system.grid, frames, dt, method)
    return f"{begin} {row} at or shortly before t={until:g}: {reason}"
