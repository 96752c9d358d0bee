"""Other packages as methods of `solve`: to check results against them, and to time ourselves beside them.

A backend is handed the whole problem; nothing of ours takes a step.
"""

import abc
from typing import Any

import torch
from torch import Tensor

from sciml.integrate.clock import Clock
from sciml.integrate.control import PID
from sciml.integrate.flat import first_leaf, restore
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Solution
from sciml.integrate.wanted import wanted_times

OURS = "Use a method of ours for that."


class AbstractBackend(abc.ABC):
    """Solves a whole problem. Subclasses are final."""

    has_error: bool
    """Whether step sizes can be controlled."""

    @abc.abstractmethod
    def solve(self, problem: Problem) -> Solution:
        """The solution, as `solve` gives it.

        Raises:
            TypeError, ValueError: for what the package cannot do, by name.
            SolveError: if it gives up.
        """


def check_times(name: str, problem: Problem) -> None:
    """Raise for outputs and times that packages do not have.

    Args:
        name: of the package.
        problem: what is to be solved.

    Raises:
        ValueError: if there are any.
    """
    save = problem.save
    for kind, given in (("every", save.every is not None), ("dense", save.dense), ("fn", save.fn is not None)):
        if given:
            raise ValueError(f"{name} keeps t0, t1 and ts only, got SaveAt({kind}=...). {OURS}")
    times = {"t0": (problem.t0, 0), "t1": (problem.t1, 0), "save.ts": (save.ts, 1)}
    for kind, (t, limit) in times.items():
        if isinstance(t, Tensor) and t.ndim > limit:
            raise ValueError(f"{name} needs times that the batch shares, got `{kind}` per sample. {OURS}")


def check_plain(rule: str, control: PID, settable: tuple[str, ...]) -> None:
    """Raise for values of a controller that a package does not have.

    Args:
        rule: what the package takes, for the message.
        control: joint steps.
        settable: names of what may have any value.

    Raises:
        ValueError: if another has not its default.
    """
    default = PID(per_sample=False)
    names = [name for name in PID.__dataclass_fields__ if name not in settable]
    other = [name for name in names if getattr(control, name) is not getattr(default, name)]
    other = [name for name in other if getattr(control, name) != getattr(default, name)]
    if other:
        raise ValueError(
            f"{rule}, got values of {', '.join(other)} that it has not. Pass PID(rtol, atol, per_sample=False). {OURS}"
        )


def all_times(problem: Problem) -> tuple[Tensor, dict[str, Any]]:
    """All times in order and once each, and where among them those are that are kept."""
    device = first_leaf(problem.y0).device
    t0, t1 = (torch.as_tensor(t, dtype=torch.float64, device=device) for t in (problem.t0, problem.t1))
    if not (bool(torch.isfinite(t0 - t1)) and bool(t0 != t1)):
        raise ValueError(f"`t0` and `t1` must be finite and differ, got t0={float(t0)}, t1={float(t1)}.")
    clock = Clock((), len(first_leaf(problem.y0)), None, 1.0 if bool(t1 > t0) else -1.0)
    tau0, tau1, save = clock.turned(t0), clock.turned(t1), problem.save
    tau = tau0.new_zeros(0) if save.ts is None else wanted_times(save.ts.to(device), clock, tau0, tau1)
    values = tau.detach()
    fresh = torch.diff(values, prepend=tau0.detach()[None]) > 0
    times = torch.cat([tau0[None], tau[fresh & (values < tau1.detach())], tau1[None]])
    places: dict[str, Any] = {"t0": 0} if save.t0 else {}
    if save.t1:
        places["t1"] = len(times) - 1
    if save.ts is not None:
        places["ts"] = torch.searchsorted(times.detach(), values)
    return clock.turned(times), places


def picked(problem: Problem, leaves: tuple[Tensor, ...], places: dict[str, Any]) -> tuple[Any, Any]:
    """Times and states in the layout of `solve`; each leaf is (time, batch, *state)."""
    ts: dict[str, Any] = {}
    ys: dict[str, Any] = {}
    for name, place in places.items():
        parts = tuple(leaf[place] if isinstance(place, int) else leaf[place].movedim(0, 1) for leaf in leaves)
        ts[name] = {"t0": problem.t0, "t1": problem.t1, "ts": problem.save.ts}[name]
        ys[name] = restore(parts[0] if isinstance(problem.y0, Tensor) else parts, problem.structure)
    return (ts, ys) if len(ys) > 1 else (*ts.values(), *ys.values())  # type: ignore[return-value]
