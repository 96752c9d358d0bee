"""On which side of every event each sample is, and what of it changes within a step.

The side is the sign of an event's function. It is carried along, not read off anew at the start of a step: there the
function may be zero, and rounding decides its sign.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, final

import torch
from torch import Tensor

from sciml.integrate.events.calls import Calls
from sciml.integrate.events.locate import located
from sciml.integrate.events.piece import Piece
from sciml.integrate.flat import Flat, beside, map_leaves

_ROUNDING = 8
"""A function is zero to rounding if it is below this many units in the last place of its values in the step."""


class Look(NamedTuple):
    """What one step shows. Times are counted by their place i in `theta`; interval i is from i to i + 1.

    Args:
        theta: parts of the step, (m,), from 0 to 1.
        values: functions there, (m, event, batch).
        sides: before each interval and at the end, (m, event, batch).
        place: first interval in which an event happens, (event, batch); the number of intervals where it does not.
        fired: rows in which an event happens.
        lost: number of the first function that is NaN before one does, (batch,); -1 where none is.
    """

    theta: Tensor
    values: Tensor
    sides: Tensor
    place: Tensor
    fired: Tensor
    lost: Tensor


@final
@dataclass(eq=False)
class Watch:
    """Sides of all events and rows, and values of the functions there, (event, batch)."""

    calls: Calls
    side: Tensor = field(init=False)
    value: Tensor = field(init=False)

    def __post_init__(self) -> None:
        events = self.calls.events
        self.falling = torch.tensor([event.direction <= 0 for event in events])
        self.rising = torch.tensor([event.direction >= 0 for event in events])
        self.probes = max(event.probes for event in events)
        self.boolean = torch.zeros(len(events), dtype=torch.bool)

    @torch.no_grad()
    def begin(self, t: Tensor, y: Flat, slope: Flat, dt: Tensor) -> Tensor:
        """Take the sides at t0; the number of a boolean event that holds there already, (batch,), or -1.

        Args:
            t, y: as fields get them.
            slope: dy/dt there.
            dt: a small step in the direction of time, (batch,).
        """
        values = [self.calls.value(k, t, y) for k in range(len(self.calls.events))]
        flags = [value.dtype == torch.bool for value in values]
        directions = [event.direction for event in self.calls.events]
        device = values[0].device
        # A boolean function fires where it becomes True, unless the other way is asked for.
        falling = [d < 0 or d == 0 and not flag for d, flag in zip(directions, flags, strict=True)]
        self.falling, self.rising, self.boolean = (
            torch.tensor(x, device=device)[:, None] for x in (falling, [d >= 0 for d in directions], flags)
        )
        self.value = self.calls.numbers(t, y)
        self.side = torch.sign(self.value)
        zero = self.side == 0
        if bool(zero.any()):
            self.side = torch.where(zero, self._heading(t, y, slope, dt), self.side)
        held = torch.where(self.rising, self.side > 0, self.side < 0) & self.boolean
        return _first(held)

    @torch.no_grad()
    def look(self, piece: Piece, y1: Flat, moved: Tensor) -> Look:
        """The functions along a step, and where events happen first."""
        device, inner = moved.device, self.probes
        theta = torch.arange(inner + 2, dtype=torch.float64, device=device) / (inner + 1)
        states = [*(piece.states(theta[1:-1]) if inner else []), y1]
        taus = [piece.start + part * (piece.end - piece.start) for part in theta[1:-1].tolist()]
        values, sides = [self.value], [self.side]
        place = torch.full(self.side.shape, inner + 1, device=device)
        lost = torch.full_like(place, inner + 1)
        for i, (tau, y) in enumerate(zip([*taus, piece.end], states, strict=True)):
            value, side = self.calls.numbers(piece.t(tau), y), sides[-1]
            happens = (side > 0) & (value <= 0) & self.falling | (side < 0) & (value >= 0) & self.rising
            place = torch.where(happens & moved & (place > i), i, place)
            lost = torch.where(torch.isnan(value) & moved & (lost > i), i, lost)
            values.append(value)
            sides.append(torch.where(torch.isnan(value) | (value == 0), side, torch.sign(value)))
        first, first_lost = place.amin(dim=0), lost.amin(dim=0)
        gone = first_lost < first
        which = torch.where(gone, _first(lost == first_lost), -1)
        return Look(theta, torch.stack(values), torch.stack(sides), place, (first <= inner) & ~gone, which)

    def passed(self, look: Look, moved: Tensor) -> None:
        """The step is over without an event in these rows."""
        self.side = torch.where(moved, look.sides[-1], self.side)
        self.value = torch.where(moved, look.values[-1], self.value)

    @torch.no_grad()
    def first(self, piece: Piece, look: Look) -> tuple[Tensor, Tensor]:
        """Part of the step at which the first event happens, and its number, (batch,); -1 where none does."""
        interval = look.place.amin(dim=0).clamp(max=len(look.theta) - 2)
        best = torch.ones_like(piece.start)
        which = torch.full(best.shape, -1, device=best.device)
        for k in range(len(look.place)):
            mask = look.fired & (look.place[k] == interval)
            if not bool(mask.any()):
                continue
            theta = self._locate(k, piece, look, interval, mask)
            better = mask & ((which < 0) | (theta < best))
            best, which = torch.where(better, theta, best), torch.where(better, k, which)
        return best, which

    def _locate(self, k: int, piece: Piece, look: Look, interval: Tensor, mask: Tensor) -> Tensor:
        def value(theta: Tensor) -> Tensor:
            return self.calls.number(k, piece.t(piece.tau(theta)), piece.state(theta))

        ends = look.theta[interval], look.theta[interval + 1]
        at, side = (_at(table[:, k], interval) for table in (look.values, look.sides))
        beyond = _at(look.values[:, k], interval + 1)
        unit = torch.finfo(torch.float64).eps * torch.maximum(piece.start.abs(), piece.end.abs())
        short = unit / (piece.end - piece.start).clamp(min=torch.finfo(torch.float64).tiny)
        return located(value, ends, (at, beyond), side, mask, short.clamp(max=0.25))

    @torch.no_grad()
    def behind(
        self,
        look: Look,
        which: Tensor,
        states: tuple[tuple[Tensor, Flat], tuple[Tensor, Flat]],
        slope: Flat,
        dt: Tensor,
        stuck: Tensor,
    ) -> None:
        """Take the sides behind the event `which` of each row; rows without one are left alone.

        Args:
            look, which: what happened.
            states: (t, y) before and behind the jump.
            slope: dy/dt behind it.
            dt: a small step in the direction of time, (batch,).
            stuck: rows in which the same event happened twice at one time.
        """
        interval = look.place.amin(dim=0).clamp(max=len(look.theta) - 2)
        side = _at(look.sides, interval)
        ahead, value = (self.calls.numbers(t, y) for t, y in states)
        scale = torch.maximum(_at(look.values, interval).abs(), _at(look.values, interval + 1).abs())
        real = states[0][0].dtype
        unit = _ROUNDING * torch.finfo(real).eps * torch.nan_to_num(scale, nan=0.0, posinf=0.0)
        mine = torch.arange(len(side), device=side.device)[:, None] == which
        zero = (value.abs() <= torch.where(mine, unit + _ROUNDING * ahead.abs(), unit)) & ~self.boolean
        # An event that came at the same time, or to rounding so, is still to come.
        pending = (ahead * side <= 0) & ~mine
        other = torch.where(zero | pending, side, torch.sign(value))
        heading = torch.where(mine & zero, self._heading(states[1][0], states[1][1], slope, dt), 0.0)
        # Where a jump leaves a sample on the zero with nowhere to go, its event is found again, and stopped as endless.
        jumps = torch.tensor([event.jump is not None for event in self.calls.events], device=side.device)[:, None]
        heading = torch.where((heading == 0) | stuck & jumps, torch.where(jumps, side, -side), heading)
        new = torch.where(mine & zero, heading, torch.where(mine, torch.sign(value), other))
        happened = which >= 0
        self.side = torch.where(happened, new, self.side)
        self.value = torch.where(happened, value, self.value)

    def _heading(self, t: Tensor, y: Flat, slope: Flat, dt: Tensor) -> Tensor:
        """Signs of the changes of the functions from here, (event, batch)."""
        eps = torch.finfo(t.dtype).eps
        size = torch.maximum(dt.abs() * eps**0.5, 64 * eps * t.flatten().abs())  # which changes the time too
        dt = torch.copysign(size, dt)
        moved = map_leaves(lambda leaf, k: leaf + beside(dt, leaf).to(leaf.dtype) * k, y, slope)
        later = self.calls.numbers(t + dt.reshape(t.shape).to(t.dtype), moved)
        return torch.nan_to_num(torch.sign(later - self.calls.numbers(t, y)), nan=0.0)


def _first(mask: Tensor) -> Tensor:
    """Number of the first event of each row that a mask (event, batch) holds, (batch,); -1 where it holds none."""
    return torch.where(mask.any(dim=0), mask.int().argmax(dim=0), -1)


def _at(table: Tensor, place: Tensor) -> Tensor:
    """Entries (..., batch) of a table (m, ..., batch) at each row's place."""
    index = place.expand(1, *table.shape[1:])
    return table.gather(0, index)[0]
