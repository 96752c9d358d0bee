"""From an equation to frames: the state stays in Fourier space between the frames that are kept."""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_finite, check_multiple, check_positive, check_shape
from sciml.grids import Grid
from sciml.integrate import ETDRK4, AbstractMethod, Fixed, SaveAt, solve
from sciml.pde.base import AbstractEquation
from sciml.pde.spectral import Spectral


def evolve(
    equation: AbstractEquation,
    grid: Grid,
    u0: Float[Tensor, "batch channel *space"],
    ts: Float[Tensor, " time"],
    *,
    dt: float,
    method: AbstractMethod | None = None,
    throw: bool = True,
) -> Float[Tensor, "batch time channel *space"]:
    """Solve from `u0` at time 0 and return the fields at `ts`.

    Args:
        equation: the PDE.
        grid: where `u0` lives.
        u0: initial fields, [field]; dtype and device of the computation follow it.
        ts: times to return, [time], increasing, each a whole multiple of `dt`; 0 returns `u0` itself.
        dt: step of the integrator, [time].
        method: integration method, `ETDRK4()` by default.
        throw: raise `SolveError` if a trajectory blows up; otherwise it is frozen where it was last finite. Gradients
            of parameters shared with a trajectory that blew up are NaN; leave it out to differentiate.

    Returns:
        Fields at `ts`, differentiable in `u0` and in the equation's parameters.

    Raises:
        ValueError: for a wrong shape, non-finite input, `dt` not above 0, or times that are no multiples of it.
        SolveError: if a trajectory becomes non-finite.
    """
    check_positive("dt", dt)
    check_shape("u0", u0, (None, len(equation.fields.names), *grid.points), "(batch, channel, *space)")
    if u0.dtype not in (torch.float32, torch.float64) or len(u0) == 0:
        raise ValueError(
            f"`u0` must be a non-empty float32 or float64 batch, got {u0.dtype} with {len(u0)} rows. Convert it first."
        )
    check_finite("u0", u0)
    if ts.ndim != 1 or len(ts) == 0:
        raise ValueError(
            f"`ts` must be a non-empty vector of times, got shape {tuple(ts.shape)}. Give e.g. [0.1, 0.2]."
        )
    counts = [0 if t == 0 else check_multiple("ts", t, "dt", dt) for t in ts.tolist()]
    if counts != sorted(set(counts)):
        raise ValueError(f"`ts` must increase strictly, got {ts.tolist()[:8]}... Sort the times and drop repeats.")
    if counts[-1] == 0:
        return u0[:, None]
    system = Spectral(equation, grid, u0.device)
    solution = solve(
        system.term,
        method or ETDRK4(),
        system.encode(u0),
        0.0,
        counts[-1] * dt,
        control=Fixed(n=counts[-1]),
        save=SaveAt(
            ts=dt * torch.tensor(counts, dtype=torch.float64),
            fn=lambda t, y: system.decode(y),
        ),
        throw=throw,
    )
    return solution.ys
