"""What is checked before an equation is solved: initial fields, the times that are wanted, how steps are chosen."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_finite, check_multiple, check_positive, check_shape
from sciml.grids import Grid, Modes, mode_numbers, transform
from sciml.integrate import ETD43, ETDRK4, AbstractControl, AbstractMethod, Fixed, Ladder
from sciml.integrate.methods.exponential_rk import AbstractExponentialRK
from sciml.pde.base import AbstractEquation
from sciml.pde.parts import rowed


def check_fields(equation: AbstractEquation, grid: Grid, u0: Tensor) -> None:
    """Raise ValueError unless these are fields of the equation on this grid, one row per row of its parameters."""
    check_shape("u0", u0, (None, len(equation.fields.names), *grid.points), "(batch, channel, *space)")
    if u0.dtype not in (torch.float32, torch.float64) or len(u0) == 0:
        raise ValueError(
            f"`u0` must be a non-empty float32 or float64 batch, got {u0.dtype} with {len(u0)} rows. Convert it first."
        )
    check_finite("u0", u0)
    for path, values in rowed(equation):
        if len(values) != len(u0):
            raise ValueError(
                f"`{path}` of {type(equation).__name__} must have one row per sample of `u0`, {len(u0)}, got "
                f"{tuple(values.shape)}. Give a number, or repeat the rows of one of them."
            )
    for condition in equation.conditions:
        condition.check(u0)


def check_times(ts: Any) -> None:
    """Raise unless these are times to keep fields at.

    Raises:
        TypeError: for something that is no tensor.
        ValueError: unless they increase from 0 or later on, and are finite.
    """
    if not isinstance(ts, Tensor):
        raise TypeError(f"`ts` must be a tensor, got {type(ts).__name__}. Write torch.tensor(ts).")
    if ts.ndim != 1 or len(ts) == 0:
        raise ValueError(
            f"`ts` must be a non-empty vector of times, got shape {tuple(ts.shape)}. Give e.g. [0.1, 0.2]."
        )
    check_finite("ts", ts)
    times = ts.tolist()
    if times != sorted(set(times)):
        raise ValueError(f"`ts` must increase strictly, got {times[:8]}... Sort the times and drop repeats.")
    if not times[0] >= 0:
        raise ValueError(f"`ts` must start at 0 or later, got {times[0]}. `u0` are the fields at time 0.")


def chosen_method(method: AbstractMethod | None, dt: float | None, control: AbstractControl | None) -> AbstractMethod:
    """The method, by default one that goes with the steps.

    Raises:
        ValueError: for `dt` and `control` together, or steps that the method cannot choose.
        TypeError: for another control than `Ladder` or `Fixed`.
    """
    if dt is not None and control is not None:
        raise ValueError(f"give `dt` or `control`, not both: got dt={dt} and {control}. Drop one of them.")
    if not isinstance(control, Ladder | Fixed | None):
        raise TypeError(
            f"`control` must be Ladder(...), which suits exponential methods, or Fixed(...), got {control}. Give "
            "tolerances as Ladder(rtol, atol), or fixed steps as dt=..."
        )
    fixed = dt is not None or isinstance(control, Fixed)
    chosen = method or (ETDRK4() if fixed else ETD43())
    if not fixed and isinstance(chosen, AbstractExponentialRK) and chosen.tableau.error is None:
        raise ValueError(
            f"steps can only be chosen by a method with an error estimate, got {type(chosen).__name__}() without `dt`. "
            "Give dt=..., or take ETD43()."
        )
    return chosen


def step_numbers(ts: Tensor, dt: float) -> list[int]:
    """After how many steps of `dt` each of the times comes; raise ValueError for one between steps."""
    check_positive("dt", dt)
    return [0 if t == 0 else check_multiple("ts", t, "dt", dt) for t in ts.tolist()]


def dropped_share(u: Float[Tensor, "batch channel *space"], modes: Modes) -> float:
    """The share of the mean square of fields that lies on modes which are not kept; the largest of the rows."""
    squares = transform(u.detach().double(), modes.grid).abs().square().sum(1)
    numbers = torch.broadcast_tensors(*(m.abs() for m in mode_numbers(modes.grid)))
    squares = squares * torch.where((numbers[-1] == 0) | (2 * numbers[-1] == modes.grid.points[-1]), 1.0, 2.0)
    lost = torch.stack([m > top for m, top in zip(numbers, modes.highest, strict=True)]).any(0)
    share = (squares * lost).flatten(1).sum(1) / squares.flatten(1).sum(1).clamp(min=1e-300)
    return float(share.max())
