"""From an equation to frames: the state stays in Fourier space between the frames that are kept."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_finite, check_multiple, check_positive, check_shape
from sciml.grids import Grid
from sciml.integrate import ETD43, ETDRK4, AbstractControl, AbstractMethod, Fixed, Ladder, SaveAt, SolveError, solve
from sciml.pde.base import AbstractEquation
from sciml.pde.spectral import Spectral
from sciml.pde.step_limit import unstable_step


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
        control: step control, `Ladder()` by default: joint steps that keep the local error below 1e-5 of each field.
        method: integration method; by default `ETDRK4()` for fixed steps, `ETD43()` for chosen ones.
        throw: raise `SolveError` if a trajectory blows up; otherwise it is frozen where it was last finite (with `dt`)
            or NaN. Gradients of parameters shared with a trajectory that blew up are NaN; leave it out to
            differentiate.

    Returns:
        Fields at `ts`, differentiable in `u0` and in the equation's parameters.

    Raises:
        ValueError: for a wrong shape, non-finite input, `dt` not above 0, times that are no multiples of it, both `dt`
            and `control`, or a grid that does not suit the equation.
        SolveError: if a trajectory becomes non-finite; a step beyond what transport allows is named.
    """
    _check_fields(equation, grid, u0)
    _check_times(ts)
    if dt is not None:
        if control is not None:
            raise ValueError(f"give `dt` or `control`, not both: got dt={dt} and {control}. Drop one of them.")
        check_positive("dt", dt)
        counts = [0 if t == 0 else check_multiple("ts", t, "dt", dt) for t in ts.tolist()]
        ts, control = dt * torch.tensor(counts, dtype=torch.float64), Fixed(n=max(counts[-1], 1))
    end = float(ts[-1])
    system = Spectral(equation, grid, u0.device)
    y0 = system.encode(u0)
    if end == 0.0:
        return system.decode(y0)[:, None]
    chosen = method or (ETDRK4() if isinstance(control, Fixed) else ETD43())
    solution = solve(
        system.term,
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
        _raise(system, solution, u0, fields, ts, dt, chosen)
    return fields


def _check_fields(equation: AbstractEquation, grid: Grid, u0: Tensor) -> None:
    check_shape("u0", u0, (None, len(equation.fields.names), *grid.points), "(batch, channel, *space)")
    if u0.dtype not in (torch.float32, torch.float64) or len(u0) == 0:
        raise ValueError(
            f"`u0` must be a non-empty float32 or float64 batch, got {u0.dtype} with {len(u0)} rows. Convert it first."
        )
    check_finite("u0", u0)


def _check_times(ts: Tensor) -> None:
    if ts.ndim != 1 or len(ts) == 0:
        raise ValueError(
            f"`ts` must be a non-empty vector of times, got shape {tuple(ts.shape)}. Give e.g. [0.1, 0.2]."
        )
    times = ts.tolist()
    if times != sorted(set(times)):
        raise ValueError(f"`ts` must increase strictly, got {times[:8]}... Sort the times and drop repeats.")
    if not times[0] >= 0:
        raise ValueError(f"`ts` must start at 0 or later, got {times[0]}. `u0` are the fields at time 0.")


def _raise(
    system: Spectral, solution: Any, u0: Tensor, fields: Tensor, ts: Tensor, dt: float | None, method: AbstractMethod
) -> None:
    """Say which trajectory was lost, and why."""
    failed = (solution.result != 0).nonzero()[:, 0].tolist()
    steps = solution.stats.steps
    row = min(failed, key=lambda i: int(steps[i]))
    which = f"{failed[:8]}{'...' if len(failed) > 8 else ''}"
    if dt is None:
        raise SolveError(
            f"every trajectory must stay finite, but the joint steps of {len(failed)} (samples {which}) came to an end "
            f"after {int(steps[row])}. The equation may blow up there; else take a finer grid or larger tolerances."
        )
    until = float(steps[row]) * dt
    frames = [(0.0, u0[row]), *((float(t), u) for t, u in zip(ts, fields[row], strict=True) if t < until)]
    reason = unstable_step(system.equation, system.grid, frames, dt, method)
    raise SolveError(
        f"every trajectory must stay finite, but {len(failed)} of {len(u0)} did not (samples {which}), first sample "
        f"{row} at or shortly before t={until:g}: {reason}"
    )
