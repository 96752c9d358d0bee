"""What is kept of a solve: states at given times, every n-th step, the dense output.

Everything is read from the same record of attempts. Times run forwards here (tau, see `Clock`).
"""

import abc
import bisect
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sciml.core.transforms import is_differentiated
from sciml.integrate.adaptive import Attempt
from sciml.integrate.clock import Clock
from sciml.integrate.events.cut import Cut
from sciml.integrate.flat import Flat, beside, first_leaf, map_leaves, map_rows
from sciml.integrate.initial import initial_states
from sciml.integrate.methods.base import AbstractMethod
from sciml.integrate.terms import AbstractTerm

_WINDOW = 16
"""Attempts of per-sample steps whose outputs are read together."""


@final
@dataclass(eq=False)
class _Record:
    """One attempt, and the times of the clocks before and after it: numbers where all share one the host knows."""

    attempt: Attempt
    before: float | Tensor
    after: float | Tensor
    dense: Any = None
    cut: Cut | None = None


class AbstractOutput(abc.ABC):
    """Collects from attempts as they come."""

    all_rows: ClassVar[bool] = True
    """Whether attempts of all rows must come to the end. Only an output that sets this to False is narrowed."""

    @abc.abstractmethod
    def add(self, record: _Record, last: bool) -> None:
        """Take one attempt; `last` when none follows for these rows."""

    def finish(self, y1: Flat) -> Any:
        """Times and states, where the output puts some together."""
        return None

    def narrow(self, rows: Tensor) -> None:
        """From now on attempts come for these of the rows so far only."""
        raise RuntimeError(f"{type(self).__name__} needs all rows and cannot be narrowed.")


@final
class TimesOutput(AbstractOutput):
    """States at given times, by the dense output; NaN at times that were not reached.

    Args:
        term, method, clock: of the solve.
        tau: wanted times, (time,) or (clock, time), increasing.
        tau0: where the solve starts, per clock.
        y0: initial state.
    """

    all_rows = False

    def __init__(
        self, term: AbstractTerm, method: AbstractMethod, clock: Clock, tau: Tensor, tau0: Tensor, y0: Flat
    ) -> None:
        self.term, self.method, self.clock = term, method, clock
        self.tau, self.tau0, self.y0 = tau, tau0, y0
        self.window: list[_Record] = []
        self.rows: Tensor | None = None
        self.columns: list[Flat] = []  # per wanted time, where rows pass it at different attempts
        self.pieces: list[Flat] = []  # (batch, times, *state) in order, where all rows pass together
        self.passed, self.numbers = 0, tau.tolist() if tau.ndim == 1 else []

    def add(self, record: _Record, last: bool) -> None:
        """See `AbstractOutput.add`."""
        if not isinstance(record.after, Tensor):
            self._add_joint(record)
            return
        self.window.append(record)
        if last or len(self.window) >= _WINDOW:
            self._flush()

    def finish(self, y1: Flat) -> Any:
        """(batch, time, *state)."""
        self._flush()
        if self.columns:
            return map_leaves(lambda *column: torch.stack(column, dim=1), *self.columns)
        if not self.pieces:
            self._begin()
            return map_leaves(lambda *column: torch.stack(column, dim=1), *self.columns)
        missing = self.tau.shape[-1] - self.passed
        if missing:
            self.pieces.append(map_leaves(lambda y: _lost(y).unsqueeze(1).expand(-1, missing, *y.shape[1:]), self.y0))
        return map_leaves(lambda *pieces: torch.cat(pieces, dim=1), *self.pieces)

    def ended(self, states: Flat) -> None:
        """Take the states that were filled in elsewhere."""
        self.pieces, self.columns, self.passed = [states], [], self.tau.shape[-1]

    def narrow(self, rows: Tensor) -> None:
        """See `AbstractOutput.narrow`."""
        self._flush()
        self.rows = rows if self.rows is None else self.rows[rows]
        self.clock = self.clock.subset(rows)
        self.tau = self.tau if self.tau.ndim == 1 else self.tau[rows]

    def _add_joint(self, record: _Record) -> None:
        """All rows move together, and the host knows when."""
        assert not isinstance(record.before, Tensor) and not isinstance(record.after, Tensor)
        if not self.pieces:
            self.passed = bisect.bisect_right(self.numbers, record.before)
            tau = self.tau[: self.passed]
            self.pieces.append(initial_states(self.term, self.clock, tau, self.tau0, self.y0))
        low, high = self.passed, bisect.bisect_right(self.numbers, record.after, self.passed)
        if low < high:
            record.dense = _prepared(self.method, self.term, record)
            tau = self.tau[low:high] if is_differentiated(self.tau) else self.numbers[low:high]
            self.pieces.append(dense_at(self.method, record, tau))
            self.passed = high

    def _begin(self) -> None:
        """A column per time: the initial state where it is wanted, else nothing yet."""
        started = _started(self.clock, self.tau, self.tau0)
        first = initial_states(self.term, self.clock, self.tau, self.tau0, self.y0)
        for j in range(self.tau.shape[-1]):
            y, hit = map_leaves(lambda y, j=j: y[:, j], first), started[:, j]
            self.columns.append(map_leaves(lambda y, hit=hit: torch.where(beside(hit, y), y, _lost(y)), y))

    def _flush(self) -> None:
        window, self.window = self.window, []
        if not window:
            return
        if not self.columns:
            self._begin()
        low, high = self._touched(window)
        if low >= high:
            return
        for record in window:
            record.dense = _prepared(self.method, self.term, record)
        tau = self.tau[..., low:high]
        values, hit = dense_in(self.method, self.clock, window, tau if tau.ndim == 1 else self.clock.to_rows(tau))
        for i in range(high - low):
            self._put(low + i, map_leaves(lambda value, i=i: value[:, i], values), hit[:, i])

    def _put(self, column: int, value: Flat, hit: Tensor) -> None:
        """Write the rows that passed this time."""

        def write(new: Tensor, old: Tensor) -> Tensor:
            if self.rows is None:
                return torch.where(beside(hit, new), new, old)
            return old.index_copy(0, self.rows, torch.where(beside(hit, new), new, old[self.rows]))

        self.columns[column] = map_leaves(write, value, self.columns[column])

    def _touched(self, window: list[_Record]) -> tuple[int, int]:
        """Which of the wanted times may lie within the window, as a range."""
        first, last = torch.as_tensor(window[0].before), torch.as_tensor(window[-1].after)
        if self.tau.ndim == 1:
            ends = torch.stack([first.min(), last.max()])
            low, high = torch.searchsorted(self.tau.detach(), ends.detach(), right=True).tolist()
            return low, high
        counts = (torch.stack([first, last])[..., None] >= self.tau).sum(-1)
        low, high = torch.stack([counts[0].min(), counts[1].max()]).tolist()
        return low, high


def begun(clock: Clock, tau: Tensor, tau0: Tensor, y0: Flat) -> Flat:
    """All states before any of the wanted times has passed, (batch, time, *state): NaN, but y0 where it is wanted."""
    started = _started(clock, tau, tau0)

    def begin(y: Tensor) -> Tensor:
        hit = started.reshape(*started.shape, *[1] * (y.ndim - 1))
        return torch.where(hit, y.unsqueeze(1), _lost(y).unsqueeze(1))

    return map_leaves(begin, y0)


def _started(clock: Clock, tau: Tensor, tau0: Tensor) -> Tensor:
    """(batch, time): whether a time is that of the initial state."""
    started = tau <= tau0[..., None] if tau.ndim == 2 or tau0.ndim else tau <= tau0
    return clock.to_rows(started).expand(clock.rows, -1)


def _lost(y: Tensor) -> Tensor:
    """What stands for a state that does not exist."""
    return torch.full_like(y, torch.nan, requires_grad=False)


def _prepared(method: AbstractMethod, term: AbstractTerm, record: _Record) -> Any:
    if record.dense is not None:
        return record.dense
    attempt = record.attempt
    return method.prepare_dense(term, attempt.t0, attempt.t1, attempt.y0, attempt.step)


def dense_at(method: AbstractMethod, record: _Record, tau: Tensor | list[float]) -> Flat:
    """The dense output of one joint step, (batch, time, *state)."""
    start, span = record.before, record.after - record.before
    if isinstance(tau, Tensor):
        theta = (tau - start) / span
    else:
        device = first_leaf(record.attempt.y0).device
        theta = torch.tensor([(t - start) / span for t in tau], dtype=torch.float64, device=device)
    return method.interpolate(record.dense, record.attempt.t0, record.attempt.t1, theta)


def dense_in(method: AbstractMethod, clock: Clock, window: list[_Record], tau: Tensor) -> tuple[Flat, Tensor]:
    """The dense output over consecutive attempts of per-sample or grouped steps, and where it is valid.

    Args:
        method, clock, window: whose attempts.
        tau: (time,) or (row, time).

    Returns:
        (rows, time, *state), and (rows, time): whether the time lies within the window.
    """
    times = [window[0].before, *(record.after for record in window)]
    rows = clock.rows
    ends = torch.stack([clock.to_rows(torch.as_tensor(t)).expand(rows) for t in times], dim=1)
    wanted = tau.expand(rows, -1).contiguous()
    index = torch.searchsorted(ends.detach(), wanted.detach()) - 1  # tau in (ends[i], ends[i + 1]]
    hit = (index >= 0) & (index < len(window))
    index = index.clamp(0, len(window) - 1)
    start = ends.gather(1, index)
    if any(record.cut is not None for record in window):
        whole = [record.after if record.cut is None else record.cut.end for record in window]
        end = torch.stack([clock.to_rows(torch.as_tensor(t)).expand(rows) for t in whole], dim=1).gather(1, index)
    else:
        end = ends.gather(1, index + 1)
    span = torch.where(end > start, end - start, 1.0)
    theta = torch.where(hit, (wanted - start) / span, 0.0)
    row = torch.arange(rows, device=index.device)[:, None]

    def pick(*leaves: Tensor) -> Tensor:
        return torch.stack(leaves)[index, row].flatten(0, 1)

    dense = map_rows(pick, *(record.dense for record in window))
    leaf = first_leaf(dense[0])
    t0, t1 = (beside(clock.turned_rows(x).reshape(-1), leaf) for x in (start, end))
    flat = method.interpolate(dense, t0, t1, theta.reshape(-1, 1))
    return map_leaves(lambda value: value.reshape(rows, -1, *value.shape[2:]), flat), hit


@final
class StepsOutput(AbstractOutput):
    """Every n-th accepted step of each sample, padded with NaN to the longest.

    Args:
        clock: of the solve.
        every: n.
    """

    all_rows = False

    def __init__(self, clock: Clock, every: int) -> None:
        self.clock, self.every = clock, every
        self.taus: list[Any] = []
        self.states: list[Flat] = []
        self.moved: list[Any] = []
        self.rows: Tensor | None = None
        self.total = clock.rows

    def add(self, record: _Record, last: bool) -> None:
        """See `AbstractOutput.add`."""
        moved = record.attempt.accept
        if self.clock.joint and not bool(moved):
            return
        tau, y = (record.after, record.attempt.step.y) if record.cut is None else (record.cut.tau, record.cut.y)
        self._keep(tau, y, moved)

    def _keep(self, tau: Any, y: Flat, moved: Any) -> None:
        if self.rows is not None:
            rows = self.rows

            def widen(value: Tensor) -> Tensor:
                return value.new_zeros(self.total, *value.shape[1:]).index_copy(0, rows, value)

            tau, y, moved = widen(tau), map_leaves(widen, y), widen(moved)
        self.taus.append(tau)
        self.states.append(y)
        self.moved.append(moved)

    def narrow(self, rows: Tensor) -> None:
        """See `AbstractOutput.narrow`."""
        self.rows = rows if self.rows is None else self.rows[rows]

    def finish(self, y1: Flat) -> tuple[Tensor, Any]:
        """tau and states of the kept steps: (count,) and (batch, count, *state), or (batch, count) and NaN-padded."""
        if self.clock.joint:
            kept = range(self.every - 1, len(self.taus), self.every)
            if not kept:
                empty = map_leaves(lambda leaf: leaf.new_zeros(len(leaf), 0, *leaf.shape[1:]), y1)
                return torch.zeros(0, dtype=torch.float64), empty
            states = [self.states[i] for i in kept]
            taus = torch.stack([torch.as_tensor(self.taus[i], dtype=torch.float64) for i in kept])
            return taus, map_leaves(lambda *s: torch.stack(s, dim=1), *states)
        moved = self.clock.to_rows(torch.stack(self.moved, dim=-1)) if self.moved else None
        if moved is None:
            empty = map_leaves(lambda leaf: leaf.new_zeros(len(leaf), 0, *leaf.shape[1:]), y1)
            return torch.zeros(self.total, 0, dtype=torch.float64), empty
        number = moved.cumsum(1)
        wanted = moved & (number % self.every == 0)
        counts = wanted.sum(1)
        order = torch.argsort((~wanted).to(torch.int8), dim=1, stable=True)[:, : int(counts.max())]
        valid = torch.arange(order.shape[1], device=order.device) < counts[:, None]
        row = torch.arange(len(order), device=order.device)[:, None]

        def gather(*leaves: Tensor) -> Tensor:
            value = torch.stack(leaves, dim=1)[row, order]
            return torch.where(valid.reshape(*valid.shape, *[1] * (value.ndim - 2)), value, torch.nan)

        tau = torch.stack([self.clock.to_rows(tau) for tau in self.taus], dim=1)[row, order]
        return torch.where(valid, tau, torch.nan), map_leaves(gather, *self.states)


@final
class DenseOutput(AbstractOutput):
    """The solution as a function of time, from the dense output of every accepted step."""

    def __init__(self, term: AbstractTerm, method: AbstractMethod, clock: Clock) -> None:
        self.term, self.method, self.clock = term, method, clock
        self.records: list[_Record] = []

    def add(self, record: _Record, last: bool) -> None:
        """See `AbstractOutput.add`."""
        attempt = record.attempt
        if self.clock.joint and not bool(attempt.accept):
            return
        record.dense = _prepared(self.method, self.term, record)
        self.records.append(record)

    def at(self, tau: Tensor) -> tuple[Flat, Tensor]:
        """States at tau, (time,) or (batch, time), and whether each lies within what was solved."""
        if not self.records or bool(torch.as_tensor(self.records[-1].after == self.records[0].before).all()):
            raise ValueError("no step was accepted, so there is no solution between t0 and t1. See `Solution.result`.")
        if not self.clock.joint or tau.ndim == 2:
            ends = (self.records[0].before, self.records[-1].after)
            first, last = (self.clock.to_rows(torch.as_tensor(t, dtype=torch.float64)) for t in ends)
            first, last = (t.to(tau.device).expand(self.clock.rows)[:, None] for t in (first, last))
            rows = tau.expand(self.clock.rows, -1)
            inside = (rows >= first) & (rows <= last)
            nudged = torch.where(rows == first, torch.nextafter(rows, last.expand_as(rows)), rows)
            values, _ = dense_in(self.method, self.clock, self.records, nudged)
            return values, inside
        times = [self.records[0].before, *(record.after for record in self.records)]
        ends = torch.stack([torch.as_tensor(t, dtype=torch.float64, device=tau.device) for t in times])
        index = (torch.searchsorted(ends, tau) - 1).clamp(0, len(self.records) - 1)
        inside = (tau >= ends[0]) & (tau <= ends[-1])
        columns: list[Flat] = []
        for i, place in enumerate(index.tolist()):
            columns.append(dense_at(self.method, self.records[place], tau[i : i + 1]))
        return map_leaves(lambda *column: torch.cat(column, dim=1), *columns), inside


@final
@dataclass(eq=False)
class Recorder:
    """Hands attempts to all outputs."""

    outputs: list[AbstractOutput] = field(default_factory=list)

    def add(
        self,
        attempt: Attempt,
        before: float | Tensor,
        after: float | Tensor,
        *,
        last: bool,
        cut: Cut | None = None,
        dense: Any = None,
    ) -> None:
        """One attempt, with the times of the clocks before and after it, and its dense output if that is known."""
        for output in self.outputs:
            output.add(_Record(attempt, before, after, dense, cut), last)

    def narrow(self, rows: Tensor) -> None:
        """From now on attempts come for these of the rows so far only."""
        for output in self.outputs:
            output.narrow(rows)

    @property
    def all_rows(self) -> bool:
        """Whether an output needs attempts of all rows to the end."""
        return any(output.all_rows for output in self.outputs)
