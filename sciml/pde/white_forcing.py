"""Forcing that is random in time: a ring of waves, each driven by Brownian motions of its own.

    f(x, t) dt = sum_j s_j (cos(k_j x) dW_2j + sin(k_j x) dW_2j+1),    low <= |m_j| <= high,    s_j = c |k_j|^power

It is integrated together with the linear part exactly in law, for steps of any size; see `ExponentialEulerMaruyama`.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciml.core import Key
from sciml.core.checks import check_at_least, check_number, check_positive, check_whole
from sciml.grids import Grid, Modes
from sciml.integrate import (
    ETD1,
    SDE,
    ExponentialEulerMaruyama,
    Fixed,
    Ito,
    SaveAt,
    SemiLinear,
    SharedNoise,
    SolveError,
    solve,
)
from sciml.paths import BrownianMotion
from sciml.pde.base import AbstractEquation
from sciml.pde.evolve import why_lost
from sciml.pde.representation import RealFields
from sciml.pde.spectral import Spectral
from sciml.pde.start import check_fields, check_times, step_numbers
from sciml.pde.step_limit import LastSeen


class _Ring(NamedTuple):
    """Which Brownian motion drives which coefficient, and how strongly; real and imaginary part on the last axis."""

    strength: Float[Tensor, "*mode 2"]
    motion: Int[Tensor, "*mode 2"]
    count: int


@final
@dataclass(frozen=True)
class WhiteForcing:
    """White noise in time on the waves of a ring, homogeneous in space; the same for a row's key on every grid.

    Args:
        rate: growth of the mean square of the field by the forcing alone, [field²/time]; with `power`, that of the
            field whose coefficients are divided by |k|^power. For a vorticity power=1 makes it the growth of <u²>,
            twice the injection of energy.
        low, high: ends of the ring, in waves per box; both included.
        power: of |k| in the strength of the waves.
        channel: that is forced.

    Raises:
        ValueError: for a rate or an end out of range.

    Source: Lilly (1969), Phys. Fluids 12, II-240 (ring); Alvelius (1999), Phys. Fluids 11, 1880 (white in time).
    """

    rate: float
    low: float = 3.0
    high: float = 5.0
    power: float = 0.0
    channel: int = 0

    def __post_init__(self) -> None:
        check_positive("rate", self.rate)
        check_positive("low", self.low)
        check_at_least("high", self.high, self.low)
        check_number("high", self.high)
        check_number("power", self.power)
        check_whole("channel", self.channel, 0)

    def ring(self, modes: Modes) -> _Ring:
        """Its waves on these modes.

        Raises:
            ValueError: if the modes do not hold the ring, or it is empty.
        """
        for axis in range(modes.grid.ndim):
            modes.holds("the ring of the forcing", int(self.high), axis)
        numbers = torch.stack(torch.broadcast_tensors(*modes.numbers())).reshape(modes.grid.ndim, -1)
        k = torch.stack(torch.broadcast_tensors(*modes.wavenumbers())).reshape(modes.grid.ndim, -1)
        radius = numbers.norm(dim=0)
        driven = ((radius >= self.low - 1e-9) & (radius <= self.high + 1e-9)).nonzero()[:, 0]
        if len(driven) == 0:
            raise ValueError(
                f"the ring of the forcing must hold a wave, got none between {self.low} and {self.high} waves per box. "
                "Widen it."
            )
        # Of a wave and its conjugate, both of which are stored at m = 0 of the last axis, the name is the one whose
        # last number that is not 0 is positive: the same order on every grid.
        pairs = [tuple(int(m) for m in numbers[:, i].tolist()[::-1]) for i in driven.tolist()]
        names = [max(pair, tuple(-m for m in pair)) for pair in pairs]
        order = {name: j for j, name in enumerate(sorted(set(names)))}
        strength, motion = (
            torch.zeros(numbers.shape[1], 2, dtype=torch.float64),
            torch.zeros(numbers.shape[1], 2).long(),
        )
        for i, pair, name in zip(driven.tolist(), pairs, names, strict=True):
            s = 0.5 * float(k[:, i].norm()) ** self.power * (self.rate / len(order)) ** 0.5
            strength[i, 0], strength[i, 1] = s, -s if pair == name else s
            motion[i, 0], motion[i, 1] = 2 * order[name], 2 * order[name] + 1
        return _Ring(strength.reshape(*modes.shape, 2), motion.reshape(*modes.shape, 2), 2 * len(order))


def evolve_noisy(
    equation: AbstractEquation,
    forcing: WhiteForcing,
    grid: Grid,
    u0: Float[Tensor, "batch channel *space"],
    ts: Float[Tensor, " time"],
    *,
    dt: float,
    key: Key,
    throw: bool = True,
) -> Float[Tensor, "batch time channel *space"]:
    """Solve with random forcing from `u0` at time 0 and return the fields at `ts`.

    The linear part and the noise are exact in law for any `dt`; what is not linear is frozen over a step (order 1).

    Args:
        equation: the PDE, with a real linear part.
        forcing: what drives it beside its own forcing.
        grid: where `u0` lives.
        u0: initial fields, [field].
        ts: times to return, [time], increasing, each a whole multiple of `dt`.
        dt: step, [time].
        key: names the noise of each row.
        throw: raise `SolveError` if a trajectory blows up.

    Raises:
        ValueError: for fields, a grid or times that do not fit, a channel that is not there, or an equation whose
            linear part is complex.
        TypeError: for times that are no tensor.
        SolveError: if a trajectory becomes non-finite; a step beyond what transport allows is named.
    """
    check_fields(equation, grid, u0)
    check_times(ts)
    counts = step_numbers(ts, dt)
    if forcing.channel >= u0.shape[1]:
        raise ValueError(
            f"`channel` of the forcing must be one of the {u0.shape[1]} of {type(equation).__name__}, counted from 0, "
            f"got {forcing.channel}. Its fields are {', '.join(equation.fields.names)}."
        )
    system = Spectral(equation, grid, u0.device)
    linear = system.term.linear
    assert isinstance(linear, Tensor)
    if linear.is_complex() or not isinstance(equation.representation, RealFields):
        raise ValueError(
            f"random forcing needs real fields and a real linear part, got {type(equation).__name__}. Put what is "
            "imaginary into the nonlinear part."
        )
    ring = forcing.ring(system.modes)
    y0 = torch.view_as_real(system.encode(u0))
    strength = torch.zeros(y0.shape[1:], dtype=y0.dtype, device=y0.device)
    strength[forcing.channel] = ring.strength.to(strength)
    motion = ring.motion.to(y0.device).expand(y0.shape[1:])
    steps = max(counts[-1], 1)
    times = [i * dt for i in range(steps)] + [steps * dt]

    def drift(t: Tensor, y: Tensor) -> Tensor:
        return torch.view_as_real(system.term.nonlinear(t, torch.view_as_complex(y)).resolve_conj())

    term = SDE(
        SemiLinear(linear[..., None], drift),
        lambda t, y: strength.expand_as(y),
        BrownianMotion.on_grid(key, (ring.count,), times, dtype=y0.dtype),
        structure=SharedNoise(motion),
        sense=Ito(),
    )
    solution = solve(
        term,
        ExponentialEulerMaruyama(),
        y0,
        0.0,
        times[-1],
        control=Fixed(ts=torch.tensor(times, dtype=torch.float64)),
        save=SaveAt(
            ts=dt * torch.tensor(counts, dtype=torch.float64),
            fn=lambda t, y: system.decode(torch.view_as_complex(y.contiguous())),
        ),
        throw=False,
    )
    if throw and bool((solution.result != 0).any()):
        # With the noise left out, the method is ETD1.
        raise SolveError(why_lost(system, solution, u0, solution.ys, ts, dt, LastSeen(), ETD1()))
    return solution.ys
