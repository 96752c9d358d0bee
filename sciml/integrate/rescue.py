"""Gradients of the samples that came through, where others became NaN on the way.

Autograd goes through all rows of a solve. Where one of them is not finite, 0 times infinity makes the gradient NaN of
whatever the rows share. So the solve is made once more, with a good sample in the place of each that was lost: nothing
in it is infinite. States of the good rows are taken from the second solve, those of the lost rows, without a gradient,
from the first.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from sciml.core.transforms import is_differentiated, is_mapped, is_recording
from sciml.integrate.control import AbstractControl, Clip, Fixed
from sciml.integrate.flat import beside, first_leaf, leaves_of, map_leaves
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Result, Solution, Stats, unwrapped

_LOST = (Result.NON_FINITE, Result.NOT_CONVERGED)
"""Where a state, a slope or a Jacobian may have been infinite. All other failures leave finite numbers behind."""


def rescued(problem: Problem, solve: Callable[[Problem], Solution], solution: Solution) -> Solution:
    """The solution, with gradients that know nothing of the samples that were lost.

    Args:
        problem: what was solved.
        solve: how.
        solution: what came of it.
    """
    if not _is_recorded(solution) or is_mapped(solution.result) or solution.events is not None:
        return solution
    lost, good = torch.isin(solution.result, solution.result.new_tensor(_LOST)), solution.result == Result.SUCCESS
    if not bool(lost.any() & good.any()):
        return solution
    plain = replace(problem, save=replace(problem.save, fn=None))
    first = solution
    if problem.save.fn is not None or problem.save.dense:  # states without views; a function that holds no graph
        with torch.no_grad():
            first = solve(plain)
    one = int(good.nonzero()[0, 0])
    return _merged(problem, (lost, one), solution, first, solve(_without(plain, lost, one)))


def _is_recorded(solution: Solution) -> bool:
    """Whether something may be differentiated: states, or the function of time."""
    if not is_recording():
        return False
    kept = [leaf for leaf in tree_leaves(solution.ys) if isinstance(leaf, Tensor)]
    return any(map(is_differentiated, kept)) or solution.dense is not None


def _without(problem: Problem, lost: Tensor, good: int) -> Problem:
    """The problem with a good sample in the place of the lost ones."""

    def fill(rows: Tensor) -> Tensor:
        return torch.where(beside(lost.to(rows.device), rows), rows[good].detach(), rows)

    def fill_time(t: Any, axes: int) -> Any:
        return fill(t) if isinstance(t, Tensor) and t.ndim == axes and len(t) == len(lost) else t

    save = replace(problem.save, ts=fill_time(problem.save.ts, 2))
    control: AbstractControl = problem.control
    if isinstance(control, Clip):
        control = Clip(control.inner, fill_time(control.stops, 2), fill_time(control.jumps, 2))
    made = {"y0": map_leaves(fill, problem.y0), "t0": fill_time(problem.t0, 1), "t1": fill_time(problem.t1, 1)}
    given = [*leaves_of(problem.y0), problem.t0, problem.t1, problem.save.ts]
    new = [*leaves_of(made["y0"]), made["t0"], made["t1"], save.ts]
    replaced = [old for old, x in zip(given, new, strict=True) if isinstance(old, Tensor) and old is not x]
    params = (*problem.params, *(old for old in replaced if old.requires_grad))  # the field may use them too
    return replace(problem, **made, save=save, control=control, params=params)


def _merged(
    problem: Problem, lost: tuple[Tensor, int], solution: Solution, first: Solution, second: Solution
) -> Solution:
    """The lost rows of the first solve, all others of the second, in the form of what came of it at first."""
    rows = lost[0]

    def pick(old: Tensor, new: Tensor) -> Tensor:
        if old.ndim > 1 and old.shape[1] != new.shape[1]:  # padded to another longest
            width = max(old.shape[1], new.shape[1])
            old, new = _padded(old, width), _padded(new, width)
        return torch.where(beside(rows.to(old.device), old), old.detach(), new)

    save = problem.save
    kept = {"t0": save.t0, "t1": save.t1, "ts": save.ts is not None, "steps": save.every is not None}
    names = [name for name, on in kept.items() if on]

    def named(values: Any) -> dict[str, Any]:
        return values if len(names) > 1 else {name: values for name in names}

    ys = {name: tree_map(pick, y, named(second.ys)[name]) for name, y in named(first.ys).items()}
    ts = dict(named(solution.ts))
    if "steps" in ts and ts["steps"].ndim == 2:
        ts["steps"] = pick(ts["steps"], named(second.ts)["steps"])
    if save.fn is not None:
        ys = {name: _viewed(problem, rows, name, ts[name], y) for name, y in ys.items()}
    counts = {name: pick(value, getattr(second.stats, name)) for name, value in vars(solution.stats).items()}
    dense = None if first.dense is None or second.dense is None else _Both(*lost, first.dense, second.dense)
    flat = unwrapped(ts, ys)
    return replace(solution, ts=flat[0], ys=flat[1], stats=Stats(**counts), dense=dense)


def _viewed(problem: Problem, lost: Tensor, name: str, t: Any, y: Any) -> Any:
    """States of the kind `name` as the user wants them kept."""
    states = y if problem.structure is None else tuple(tree_leaves(y))
    if name in ("ts", "steps"):
        return problem._at_times(states, t)
    time = torch.as_tensor(t, dtype=torch.float64, device=problem.device)
    if name == "t1" and not isinstance(problem.control, Fixed):  # where the lost ones came to
        time = torch.where(lost, problem.stopped[1], time)
    return problem._viewed(beside(time, first_leaf(states)), states)


def _padded(values: Tensor, width: int) -> Tensor:
    """(batch, count, ...) with NaN up to a width."""
    missing = values.new_full((len(values), width - values.shape[1], *values.shape[2:]), torch.nan)
    return torch.cat([values, missing], dim=1)


@final
@dataclass(frozen=True, eq=False)
class _Both:
    """The solution as a function of time, of one solve in the lost rows and of another in the others."""

    lost: Tensor
    good: int
    first: Callable[[Tensor], Any]
    second: Callable[[Tensor], Any]

    def __call__(self, t: Tensor) -> Any:
        rows = t if t.ndim < 2 else torch.where(self.lost[:, None], t[self.good], t)
        pick = lambda old, new: torch.where(beside(self.lost, old), old.detach(), new)  # noqa: E731
        return tree_map(pick, self.first(t), self.second(rows))
