"""One backward pass over the steps of a solve: where the gradients of kept values enter, and those of the times.

A state kept after a step adds its gradient before that step is differentiated; a value kept within a step is
differentiated with it. The ends of a step get gradients where they are t0, t1 or points of a grid of tensors.
"""

from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.clock import Clock
from sciml.integrate.flat import beside, first_leaf, leaves_of
from sciml.integrate.gradient.replay import State, as_leaf, pick_times, tensors_of, vjp
from sciml.integrate.gradient.replay_job import Job
from sciml.integrate.initial import initial_states
from sciml.integrate.methods.base import Time


@final
class Backward:
    """One backward pass.

    Args:
        job: the solve.
        inputs: of the function.
        needs: which of them need a gradient.
        gradients: with respect to its outputs.
        kept: states that were kept.
    """

    def __init__(
        self,
        job: Job,
        inputs: list[Tensor],
        needs: tuple[bool, ...],
        gradients: list[Tensor | None],
        kept: list[tuple[int, State]],
    ) -> None:
        self.job, self.replay, self.clock = job, job.replay, job.clock
        self.width = len(leaves_of(job.problem.y0))
        self.y0 = inputs[: self.width]
        self.times = inputs[self.width : self.width + len(job.times)]
        self.needs, self.kept = needs, kept
        self.captured = [t for t in job.replay.captured.tensors if t.requires_grad]
        self.total: list[Tensor | None] = [None] * len(self.captured)
        self.time_total: list[Tensor | None] = [None] * len(self.times)
        grads = {name: gradients[i * self.width : (i + 1) * self.width] for i, name in enumerate(job.names)}
        self.rows, self.device = len(self.y0[0]), self.y0[0].device
        self.differentiable = [t.requires_grad for t in job.times]
        self._place(grads)
        self._mark_ends()

    def run(self) -> list[Tensor | None]:
        """Gradients with respect to all inputs."""
        above: list[Tensor | None] = [None] * self.width
        above_carry: list[Tensor | None] = []
        above = self._with_kept(len(self.replay.steps), above)
        for n, state in self.job.keeper.backwards(self.replay, self.kept):
            above, above_carry = self._back(n, state, above, above_carry)
            above = self._with_kept(n, above)
        above = self._first_carry(above, above_carry)
        above = [_plus(a, g) for a, g in zip(above, self.direct, strict=True)]
        gradients = [*above, *self.time_total, *self.total]
        return [g if need else None for g, need in zip(gradients, self.needs, strict=True)]

    def _back(
        self, n: int, state: State, above: list[Tensor | None], above_carry: list[Tensor | None]
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Gradients with respect to the state and carry before step n; parameters and times are added up."""
        state = self.replay.fresh(n, state)
        y, carry = leaves_of(state[0]), [t for t in tensors_of(state[1]) if t.requires_grad]
        whole = [t.requires_grad for t in tensors_of(state[1])]
        with torch.enable_grad():
            ends, leaves = self._ends(n, first_leaf(state[0]))
        wanted, wanted_leaf, values = self._wanted(n)
        times = [leaf for _, leaf in leaves] + ([wanted_leaf] if wanted_leaf is not None else [])
        inputs = [*y, *carry, *times, *self.captured]
        found = self.replay.taped(n, state, ends, wanted, (above, above_carry, values), inputs)
        place = len(y) + len(carry)
        for (put, _), gradient in zip(leaves, found[place : place + len(leaves)], strict=True):
            if gradient is not None:
                put(gradient)
        if wanted_leaf is not None and (gradient := found[place + len(leaves)]) is not None:
            self._add_time(-1, gradient)
        rest = found[place + len(times) :]
        self.total = [_plus(a, g) for a, g in zip(self.total, rest, strict=True)]
        of_carry = iter(found[len(y) : place])
        return found[: len(y)], [next(of_carry) if one else None for one in whole]

    def _first_carry(self, above: list[Tensor | None], above_carry: list[Tensor | None]) -> list[Tensor | None]:
        if not self.replay.steps:
            return above
        y = [as_leaf(t) for t in self.y0]
        flat = y[0] if self.job.problem.structure is None else tuple(y)
        with torch.enable_grad():
            (begin, _), leaves = self._ends(0, y[0])
        found = self.replay.start(begin, flat, above_carry, [*y, *(leaf for _, leaf in leaves), *self.captured])
        for (put, _), gradient in zip(leaves, found[len(y) : len(y) + len(leaves)], strict=True):
            if gradient is not None:
                put(gradient)
        rest = found[len(y) + len(leaves) :]
        self.total = [_plus(a, g) for a, g in zip(self.total, rest, strict=True)]
        return [_plus(a, g) for a, g in zip(above, found[: len(y)], strict=True)]

    # Times

    def _mark_ends(self) -> None:
        """Rows for which a step is the first, or the last that ends at t1."""
        self.first: list[Any] = []
        self.final: list[Any] = []
        if self.job.grid is not None or not any(self.differentiable[:2]):
            return
        begun = torch.zeros(self.rows, dtype=torch.bool, device=self.device)
        everyone = ~begun
        end = self.times[1].detach()
        for step in self.replay.steps:
            moved = everyone if step.moved is None else step.moved
            self.first.append(~begun)
            t1 = step.t1.reshape(-1) if isinstance(step.t1, Tensor) else step.t1
            self.final.append(moved & (t1 == end))
            begun = begun | moved

    def _ends(self, n: int, leaf: Tensor) -> tuple[tuple[Time, Time], list[tuple[Any, Tensor]]]:
        """The times of a step, and for those with gradients where to put these and what to differentiate by."""
        step = self.replay.steps[n]
        ends: list[Time] = [step.t0, step.t1]
        leaves = []
        if isinstance(self.job.grid, Tensor):
            if self.differentiable[0]:
                for side in (0, 1):
                    value = as_leaf(self.times[0][n + side])
                    moved = beside(value, leaf)
                    ends[side] = (
                        moved if step.moved is None or side == 0 else pick_times(step.moved, moved, ends[0], leaf)
                    )
                    leaves.append((lambda g, at=n + side: self._add_grid(at, g), value))
        elif self.first:
            for side, rows in ((0, self.first[n]), (1, self.final[n])):
                if self.differentiable[side] and bool(rows.any()):
                    value = as_leaf(self.times[side])
                    if value.ndim == 0:
                        ends[side] = value
                    else:
                        ends[side] = pick_times(rows, beside(value, leaf), ends[side], leaf)
                    leaves.append((lambda g, at=side: self._add_time(at, g), value))
        return (ends[0], ends[1]), leaves

    def _add_time(self, place: int, gradient: Tensor) -> None:
        self.time_total[place] = _plus(self.time_total[place], gradient)

    def _add_grid(self, n: int, gradient: Tensor) -> None:
        if self.time_total[0] is None:
            self.time_total[0] = torch.zeros_like(self.times[0])
        self.time_total[0][n] += gradient

    # What was kept

    def _place(self, grads: dict[str, list[Tensor | None]]) -> None:
        """Find for every kept value the step inside which, or after which, it was taken."""
        self.direct: list[Tensor | None] = [None] * self.width
        self.after: dict[int, list[tuple[Any, list[Tensor | None]]]] = {}
        self.within: dict[int, list[int]] = {}
        self.step_of: Tensor | None = None
        self.ts_grads: list[Tensor | None] = []
        job, last = self.job, len(self.replay.steps)
        if "t1" in grads:
            self.after.setdefault(last, []).append((None, grads["t1"]))
        if "ts" in grads and job.has_wanted:
            self._place_times(grads["ts"])
        elif "ts" in grads:
            assert job.plan is not None
            self._place_columns(job.plan.ts_steps, grads["ts"])
        if "steps" in grads:
            if job.plan is not None:
                self._place_columns(job.plan.every_steps, grads["steps"])
            else:
                self._place_every(grads["steps"])

    def _place_columns(self, steps: list[int], grads: list[Tensor | None]) -> None:
        for j, n in enumerate(steps):
            self.after.setdefault(n, []).append((None, [None if g is None else g[:, j] for g in grads]))

    def _place_every(self, grads: list[Tensor | None]) -> None:
        """Each row's every n-th accepted step."""
        everyone = torch.ones(self.rows, dtype=torch.bool, device=self.device)
        moved = torch.stack([everyone if s.moved is None else s.moved for s in self.replay.steps], dim=1)
        number = moved.cumsum(1)
        every = self.job.problem.save.every
        assert every is not None
        taken = (moved & (number % every == 0)).cpu()
        column = (number // every - 1).cpu()
        for n in taken.any(0).nonzero()[:, 0].tolist():
            for j in column[taken[:, n], n].unique().tolist():
                rows = (taken[:, n] & (column[:, n] == j)).to(self.device)
                self.after.setdefault(n + 1, []).append((rows, [None if g is None else g[:, j] for g in grads]))

    def _place_times(self, grads: list[Tensor | None]) -> None:
        """Times within steps: the step each row passes them in, -1 where no time has passed yet."""
        sign = self.clock.sign
        sign = self.clock.to_rows(sign)[:, None] if isinstance(sign, Tensor) else sign
        wanted = (sign * self.times[-1].detach()).expand(self.rows, -1).contiguous()
        times = [self.replay.steps[0].t0, *(step.t1 for step in self.replay.steps)] if self.replay.steps else []
        flat = [
            torch.as_tensor(t, dtype=torch.float64, device=self.device).reshape(-1).expand(self.rows) for t in times
        ]
        ends = sign * torch.stack(flat, dim=1)
        # A row that stands still passes nothing, so that the first of equal times is the end of the step.
        self.step_of = torch.searchsorted(ends.contiguous(), wanted) - 1
        self.ts_grads = grads
        count = len(self.replay.steps)
        for j, steps in enumerate(self.step_of.T.cpu().unbind()):
            for n in steps.unique().tolist():
                if 0 <= n < count:
                    self.within.setdefault(n, []).append(j)
        none_passed = self.step_of < 0
        at_start = [None if g is None else _kept_only(none_passed, g) for g in grads]
        self.direct = [None if g is None else g.sum(1) for g in at_start]
        if bool(none_passed.any()):
            self._move_start(at_start)

    def _move_start(self, grads: list[Tensor | None]) -> None:
        """Gradients of times at which the initial state was kept, and of t0, by f(t0, y0)."""
        leaves = {i: as_leaf(self.times[i]) for i in {0, len(self.times) - 1} if self.differentiable[i]}
        if not leaves:
            return
        job, times = self.job, [leaves.get(i, t.detach()) for i, t in enumerate(self.times)]
        y0 = tuple(t.detach() for t in self.y0)
        rows = Clock((self.rows,), self.rows, None, 1.0)
        with torch.enable_grad():
            if job.grid is None:
                start = times[0]
            else:
                start = times[0][0] if isinstance(job.grid, Tensor) else torch.tensor(job.grid[0], dtype=torch.float64)
            flat = y0[0] if job.problem.structure is None else y0
            states = initial_states(job.problem.term, rows, times[-1], start, flat)
            found = vjp(list(leaves_of(states)), grads, list(leaves.values()))
        for i, gradient in zip(leaves, found, strict=True):
            if gradient is not None:
                self._add_time(i, gradient)

    def _wanted(self, n: int) -> tuple[Tensor | None, Tensor | None, list[Tensor]]:
        """Times kept within step n, what to differentiate them by, and the gradients of the values."""
        columns = self.within.get(n)
        if columns is None or all(g is None for g in self.ts_grads):
            return None, None, []
        assert self.step_of is not None
        times, leaf = self.times[-1], None
        if self.differentiable[-1]:
            times = leaf = as_leaf(times)
        hit = self.step_of[:, columns] == n
        step = self.replay.steps[n]
        with torch.enable_grad():
            wanted = times[..., columns]
            if not bool(hit.all()):
                start = torch.as_tensor(step.t0, dtype=torch.float64, device=self.device).reshape(-1, 1)
                wanted = torch.where(hit, wanted, start)
        values = [
            _kept_only(hit, g[:, columns]) if g is not None else y.new_zeros(self.rows, len(columns), *y.shape[1:])
            for g, y in zip(self.ts_grads, self.y0, strict=True)
        ]
        return wanted, leaf, values

    def _with_kept(self, n: int, above: list[Tensor | None]) -> list[Tensor | None]:
        """Add the gradients of states kept before step n."""
        for rows, grads in self.after.get(n, ()):
            for i, gradient in enumerate(grads):
                if gradient is not None:
                    above[i] = _plus(above[i], gradient if rows is None else _kept_only(rows, gradient))
        return above


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """The sum of two gradients, None being 0."""
    return b if a is None else a if b is None else a + b


def _kept_only(mask: Tensor, gradient: Tensor) -> Tensor:
    """The gradient where the mask (leading axes) is true; 0 elsewhere, also where it is not finite."""
    return torch.where(mask.reshape(*mask.shape, *[1] * (gradient.ndim - mask.ndim)), gradient, 0)
