"""How large a step transport allows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.grids import Grid
from sciml.integrate import AbstractMethod, SemiLinear
from sciml.integrate.methods.exponential_rk import AbstractExponentialRK
from sciml.pde.base import AbstractEquation, AbstractTransport
from sciml.pde.parts import replaced, rowed
from sciml.pde.spectral import Spectral


@torch.no_grad()
def step_limit(
    equation: AbstractEquation,
    grid: Grid,
    u: Float[Tensor, "batch channel *space"],
    method: AbstractMethod,
) -> Float[Tensor, " batch"]:
    """The largest step at which transport by these fields is stable without dissipation, [time]:

        dt max_x sum_i |v_i| k_i <= y,    k_i the largest wavenumber kept along axis i,

    with y the interval of stability on the imaginary axis (2.83 for `ETDRK4`, 1.73 for `ETD3RK`). Dissipation that is
    solved exactly lets larger steps pass; growth of the fields makes the limit smaller.

    Returns:
        One value per row, infinite where nothing is transported or the method's limit is not known.

    Source: Canuto et al. (2007), Spectral Methods, appendix D.
    """
    if not isinstance(equation, AbstractTransport) or not isinstance(method, AbstractExponentialRK):
        return u.new_full((len(u),), math.inf)
    modes = equation.modes(grid)
    highest = [2 * math.pi * m / length for m, length in zip(modes.highest, grid.extent, strict=True)]
    k = torch.tensor(highest, dtype=u.dtype, device=u.device).reshape(-1, *[1] * grid.ndim)
    rate = (equation.speed(u, grid) * k).sum(1).flatten(1).amax(1)
    return method.tableau.imaginary_limit / rate


def unstable_step(
    equation: AbstractEquation,
    grid: Grid,
    frames: Iterable[tuple[float, Float[Tensor, "channel *space"]]],
    dt: float,
    method: AbstractMethod,
) -> str:
    """Why a trajectory with fixed steps was lost, and what to do, as the end of a sentence.

    Args:
        equation: what was solved.
        grid: where.
        frames: the trajectory before it was lost, as times and fields.
        dt: the step, [time].
        method: the method.
    """
    known = math.inf
    for t, u in frames:
        known = float(step_limit(equation, grid, u[None], method))
        if known < dt:
            return (
                f"the step exceeds the CFL limit {known:.3g} of {type(method).__name__} for the fields at t={t:g} "
                f"(dt times velocity times largest wavenumber), got dt={dt:g}. Take dt={_below(known / 2):g} or less."
            )
    if known < math.inf:
        return (
            f"dt={dt:g} is below the CFL limit {known:.3g} of its last frame, so the fields grew or are not resolved. "
            f"Take dt={_below(dt / 4):g}, a finer grid, or control=Ladder()."
        )
    return f"dt={dt:g} may be too large for what is not linear. Take a smaller dt, a finer grid, or control=Ladder()."


@final
@dataclass(eq=False)
class LastSeen:
    """Time and state for which a term was asked last."""

    t: Tensor | None = None
    y: Tensor | None = None


def watched(term: SemiLinear) -> tuple[SemiLinear, LastSeen]:
    """A term that notes where it is evaluated, and its notes; nothing is computed or read from the device."""
    seen = LastSeen()

    def nonlinear(t: Tensor, y: Tensor) -> Tensor:
        seen.t, seen.y = t, y
        return term.nonlinear(t, y)

    return replace(term, nonlinear=nonlinear), seen


@torch.no_grad()
def shrunken_steps(system: Spectral, seen: LastSeen, row: int, size: float, count: int, method: AbstractMethod) -> str:
    """Why a trajectory whose steps were chosen was lost, and what to do, as the end of a sentence.

    Args:
        system: what was solved.
        seen: where it came to.
        row: of the trajectory in the batch.
        size: of the last step, [time].
        count: of the steps.
        method: the method.
    """
    limit = math.inf
    if seen.y is not None and bool(torch.isfinite(seen.y[row]).all()):
        fields = system.decode(seen.y.detach())[row : row + 1]
        limit = float(step_limit(one_row(system.equation, row), system.grid, fields, method))
    known = "" if not 0 < limit < math.inf else f", where the CFL limit of {type(method).__name__} is {limit:.3g}"
    at = math.nan if seen.t is None else float(seen.t)
    return (
        f"after {count} steps their size came down to {abs(size):.3g} at t={at:.6g}{known}. The solution may blow up "
        "there, or have no meaning beyond; else take a finer grid or larger tolerances."
    )


def one_row(equation: AbstractEquation, row: int) -> AbstractEquation:
    """The equation of one sample."""
    return replaced(equation, {path: values[row : row + 1] for path, values in rowed(equation)})


def _below(value: float) -> float:
    """The value, rounded down to two digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.floor(value / unit) * unit
