"""Steps along a grid in compiled graphs, by `torch.while_loop`: one for each stretch between states that are kept.

Between the steps nothing is kept for gradients but states and carries: backward, each step is taken once more, in the
graph too.
"""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sciml.integrate.compiled import CompiledMethod, first_time, kept, refuse_transforms
from sciml.integrate.driven import driven_by, increments_along
from sciml.integrate.fixed_grid import STEPS_BETWEEN_CHECKS, Walked, freeze
from sciml.integrate.flat import Flat, first_leaf, leaves_of, map_leaves, map_rows
from sciml.integrate.methods.base import AbstractMethod
from sciml.integrate.solution import Result
from sciml.integrate.terms import AbstractTerm
from sciml.paths import Increment, map_increment


@final
@dataclass(eq=False)
class WholeGrid:
    """Steps along a grid that all samples share, on the CPU.

    Args:
        term, method: what and how.
        times: the grid.
        keep: called as keep(step, t, y) at the grid points `wanted`.
        wanted: numbers of the grid points whose state is kept.
        recorded: whether autograd records the steps.
    """

    term: AbstractTerm
    method: CompiledMethod
    times: list[float]
    keep: Any
    wanted: set[int]
    recorded: bool

    def run(self, y0: Flat) -> Walked | None:
        """Take all steps as `FixedLoop` does; None if a recorded loop would be wrong.

        It is where what drives the steps is to be differentiated too, and where the field takes derivatives itself.
        """
        refuse_transforms()
        steps, t0 = len(self.times) - 1, first_time(self.times[0], y0)
        advance = kept(self.term, ("grid", self.method.method, self.recorded), y0, _advanced)
        if self.recorded and advance.loses_gradients(self.method.bare, t0, y0):
            return None
        given = increments_along(self.term, self.times)
        if self.recorded and any(part is not None and part.requires_grad for part in given or ()):
            return None
        if given is not None and steps == 1:  # an axis of length 1 would be other code
            given = map_increment(lambda part: part.expand(2, *part.shape[1:]).clone(), given)
        if given is not None and given.h is not None:  # nor may W and its areas share memory
            given = map_increment(torch.clone, given)
        grid = torch.tensor(self.times, dtype=torch.float64)
        for leaf in (grid, *(given or ())):
            if leaf is not None:  # another number of steps is no other graph
                torch._dynamo.mark_dynamic(leaf, 0)
        if 0 in self.wanted:
            self.keep(0, self.times[0], y0)
        failed = torch.full((len(first_leaf(y0)),), -1)
        with torch.set_grad_enabled(self.recorded):
            y, carry = y0, self.method.method.init(self.term, self.times[0], y0)
            for start, stop in _stretches(self.wanted, steps):
                y, carry = map_leaves(self._entering, y), map_rows(self._entering, carry)
                ends = torch.tensor([start, stop]).unbind()
                arguments = (self.method.method, self.method.bare, grid, given, *ends, y, carry, failed)
                y, carry, failed = advance(self.method.bare, t0, y, arguments)
                if stop in self.wanted:
                    self.keep(stop, self.times[stop], y)
        return Walked(y, failed, (failed >= 0) * int(Result.NON_FINITE), None)

    def _entering(self, leaf: Tensor) -> Tensor:
        """What enters a loop: `torch.while_loop` loses the gradient of whatever does not require one at first."""
        if not self.recorded:
            return leaf.detach()
        return leaf if leaf.requires_grad or not leaf.is_floating_point() else leaf.detach().requires_grad_()


def _stretches(wanted: set[int], steps: int) -> list[tuple[int, int]]:
    """From each point where states are kept or checked to the next, and to the end."""
    stops = sorted({*wanted, *range(0, steps, STEPS_BETWEEN_CHECKS), steps} - {0})
    return list(zip([0, *stops], stops, strict=False))


def _advanced(
    method: AbstractMethod,
    term: AbstractTerm,
    grid: Tensor,
    given: Increment | None,
    start: Tensor,
    stop: Tensor,
    y0: Flat,
    carry: Any,
    failed: Tensor,
) -> tuple[Flat, Any, Tensor]:
    """The steps from grid point `start` to `stop`; `failed` holds the number of the check at which a sample failed."""

    def going(i: Tensor, y: Flat, carry: Any) -> Tensor:
        return i < stop

    def advance(i: Tensor, y: Flat, carry: Any) -> tuple[Tensor, Flat, Any]:
        t0, t1 = grid.gather(0, torch.stack([i, i + 1])).unbind()
        here = None if given is None else map_increment(lambda part: part.index_select(0, i[None])[0], given)
        step = method.step(driven_by(term, here), t0, t1, y, carry)
        return i + 1, step.y, tree_map(torch.clone, step.carry)

    # What is carried must not share memory.
    _, y, carry = torch.while_loop(going, advance, tree_map(torch.clone, (start, y0, carry)))
    failed = torch.where((failed < 0) & ~_finite(y), stop, failed)
    return freeze(failed >= 0, y0, y), carry, failed


def _finite(y: Flat) -> Tensor:
    """Whether all entries of a row are finite, (batch,)."""
    rows = [torch.isfinite(leaf.detach()).flatten(1).all(dim=1) for leaf in leaves_of(y)]
    return torch.stack(rows).all(dim=0)
