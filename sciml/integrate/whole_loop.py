"""All attempts of a solve in one compiled graph, by `torch.while_loop`."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sciml.integrate.adaptive import Attempt, Stepping, Walk
from sciml.integrate.compiled import kept
from sciml.integrate.control import PID
from sciml.integrate.driven import on_tensors, without_path
from sciml.integrate.executors import AbstractExecutor, out_of_steps
from sciml.integrate.flat import Flat, first_leaf, leaves_of, map_leaves
from sciml.integrate.outputs import AbstractOutput, Recorder, TimesOutput, begun
from sciml.integrate.terms import AbstractTerm

_MOST_TIMES = 32
"""Above this many wanted times, looking at all of them in every attempt costs more than leaving the graph."""


@final
class WholeLoop(AbstractExecutor):
    """All attempts of a solve in one compiled graph.

    Args:
        term: what will be stepped; compiled code is kept with its field.
        recorded: whether autograd records the solve.
        otherwise: what to do where a rejected step that is not finite would spoil the gradients, or the field takes
            derivatives itself: an executor, and its stepping.
    """

    def __init__(self, term: AbstractTerm, recorded: bool, otherwise: tuple[AbstractExecutor, Stepping]) -> None:
        self.term, self.recorded, self.otherwise = term, recorded, otherwise

    @staticmethod
    def serves(outputs: Sequence[AbstractOutput], y0: Flat) -> bool:
        """Whether it can do a solve with these outputs."""
        few = all(isinstance(o, TimesOutput) and o.tau.shape[-1] <= _MOST_TIMES for o in outputs) and len(outputs) < 2
        return few and first_leaf(y0).device.type == "cpu"

    def run(self, stepping: Stepping, tau0: Tensor, y0: Flat, recorder: Recorder, max_steps: int) -> Walk:
        """See `AbstractExecutor.run`."""
        output = recorder.outputs[0] if recorder.outputs else None
        assert output is None or isinstance(output, TimesOutput)
        wanted, control = output.tau if output is not None else None, stepping.control
        padded = None if wanted is None else _padded(wanted)
        shapes = (stepping.clock.shape, None if padded is None else padded.shape)
        loop = kept(self.term, ("loop", stepping.method, self.recorded, *shapes, *_numbers_of(control)), y0, _loop)
        first = None if control.dt0 is None else torch.full_like(tau0, min(control.dt0, control.dt_max))
        tolerances = tuple((_as_tensor(r), _as_tensor(a)) for r, a in stepping.tolerances)
        term, bare = on_tensors(stepping.term), without_path(self.term)
        inside = replace(stepping, term=term, tolerances=tolerances, control=replace(control, dt0=None))
        with torch.set_grad_enabled(self.recorded):
            # `torch.while_loop` loses the gradient of whatever does not require one before the first turn.
            start = map_leaves(self._entering, y0)
            t0 = stepping.clock.time(tau0, y0)
            if self.recorded and loop.loses_gradients(bare, t0, y0):
                executor, stepping = self.otherwise
                return executor.run(stepping, tau0, y0, recorder, max_steps)
            arguments = (inside, tau0, start, first, padded, torch.tensor(max_steps), self.recorded)
            walk, states, spoilt = loop(bare, t0, start, arguments)
        if spoilt is not None and bool(spoilt):
            executor, stepping = self.otherwise
            return executor.run(stepping, tau0, y0, recorder, max_steps)
        if output is not None and wanted is not None:
            output.ended(map_leaves(lambda leaf: leaf[:, : wanted.shape[-1]], states))
        return out_of_steps(walk)

    def _entering(self, leaf: Tensor) -> Tensor:
        if not self.recorded:
            return leaf.detach()
        return leaf if leaf.requires_grad else leaf.detach().requires_grad_()


def _as_tensor(tolerance: float | Tensor) -> Tensor:
    return torch.as_tensor(tolerance, dtype=torch.float64)


def _padded(wanted: Tensor) -> Tensor:
    """The times with some that never come, so that a few graphs serve any number of them."""
    count = wanted.shape[-1]
    return torch.nn.functional.pad(wanted, (0, (1 << (count - 1).bit_length()) - count), value=math.inf)


def _numbers_of(control: PID) -> tuple[Any, ...]:
    """What is written into the code: other numbers are other code."""
    c = control
    return (c.gains, c.safety, c.factor_min, c.most, c.dt_min, c.dt_max, c.accept_at_dt_min)


def _loop(
    stepping: Stepping,
    tau0: Tensor,
    y0: Flat,
    first: Tensor | None,
    wanted: Tensor | None,
    max_steps: Tensor,
    recorded: bool,
) -> tuple[Walk, Flat | None, Tensor | None]:
    """Attempts until nobody is running.

    Returns:
        The walk; the states at the wanted times, (batch, time, *state); and if recorded, whether a step was not finite.
    """
    walk = stepping.following(stepping.start(tau0, y0, first))
    states = () if wanted is None else begun(stepping.clock, wanted, tau0, y0)
    spoilt = walk.tried.new_zeros((), dtype=torch.bool)

    def going(count: Tensor, walk: Walk, states: Any, spoilt: Tensor) -> Tensor:
        return (walk.result < 0).any() & (count < max_steps)

    def attempt(count: Tensor, walk: Walk, states: Any, spoilt: Tensor) -> tuple[Tensor, Walk, Any, Tensor]:
        walk1, done = stepping.attempt(walk)
        states1, spoilt1 = states, spoilt
        if wanted is not None:
            states1 = _filled(stepping, walk, walk1, done, wanted, states)
        if recorded:
            spoilt1 = spoilt | ~_is_finite(done)
        new, old = (walk1, states1, spoilt1), (walk, states, spoilt)
        return count + 1, *tree_map(lambda a, b: a.clone() if a is b else a, new, old)

    # What is carried must not share memory.
    carried = tree_map(torch.clone, (torch.zeros_like(max_steps), walk, states, spoilt))
    _, walk, states, spoilt = torch.while_loop(going, attempt, carried)
    return walk, (None if wanted is None else states), (spoilt if recorded else None)


def _is_finite(done: Attempt) -> Tensor:
    leaves = [leaf.detach() for part in (done.step.y, done.step.error) for leaf in leaves_of(part)]  # type: ignore[arg-type]
    return torch.stack([torch.isfinite(leaf).all() for leaf in leaves]).all()


def _filled(stepping: Stepping, before: Walk, after: Walk, done: Attempt, wanted: Tensor, states: Flat) -> Flat:
    """The states with those at the times this attempt passed."""
    method, clock = stepping.method, stepping.clock
    dense = method.prepare_dense(stepping.term, done.t0, done.t1, done.y0, done.step)
    start, end = before.tau[..., None], after.tau[..., None]
    hit = (wanted > start) & (wanted <= end)
    theta = torch.where(hit, (wanted - start) / torch.where(end > start, end - start, 1.0), 0.0)
    values = method.interpolate(dense, done.t0, done.t1, theta if clock.joint else clock.to_rows(theta))
    rows = hit[None] if clock.joint else clock.to_rows(hit)

    def choose(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(rows.reshape(*rows.shape, *[1] * (old.ndim - 2)), new, old).contiguous()

    return map_leaves(choose, values, states)
