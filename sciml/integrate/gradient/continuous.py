"""What the continuous adjoints share. With y' = f(t, y), a loss of y(t_k) and lambda(t) = dLoss/dy(t),

    lambda' = -(df/dy)^T lambda, jumping by dLoss/dy(t_k) at each t_k,    dLoss/dtheta = int lambda^T df/dtheta dt
    dLoss/dt_k = dLoss/dy(t_k) . f(t_k, y(t_k)),    dLoss/dt0 = -lambda(t0) . f(t0, y0)

The solve from one output time back to the one before is a solve over s in [0, 1] with t = start + s length, so that
samples with times of their own, some of them equal, need no other code.

Source: Chen, Rubanova, Bettencourt & Duvenaud (2018), Neural Ordinary Differential Equations, appendix B.
"""

import abc
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from sciml.core.transforms import is_transforming
from sciml.integrate.flat import Flat, beside, first_leaf, leaves_of, map_leaves, per_row
from sciml.integrate.gradient.captured import captured_by, uncached_autocast, without_hooks
from sciml.integrate.gradient.slopes import Number, Segment, Slopes
from sciml.integrate.problem import Problem
from sciml.integrate.reachable import modules_and_tensors
from sciml.integrate.save import SaveAt
from sciml.integrate.solution import Result, Solution, SolveError
from sciml.integrate.terms import ODE, SDE, Field


class AbstractReverse(abc.ABC):
    """What a continuous adjoint does with a finished forward solve. Subclasses are final."""

    @abc.abstractmethod
    def pull(self, task: "Task", outputs: list[Flat], cotangents: list[Flat]) -> "Pulled":
        """Gradients of the initial state, the output times and the parameters."""

    @abc.abstractmethod
    def pull_twice(self, task: "Task", cotangents: tuple[Tensor, ...]) -> list[Tensor | None]:
        """Gradients of all inputs of the task, differentiable."""


@final
@dataclass(eq=False)
class Pulled:
    """Gradients of a continuous adjoint.

    Args:
        start: lambda(t0).
        params: of the parameters.
    """

    start: Flat
    params: list[Tensor]


@final
@dataclass(eq=False)
class Task:
    """A solve to be differentiated by a continuous adjoint.

    Args:
        name: of the gradient, for messages.
        problem: the solve, nothing in it detached.
        inner: the same with all times and the initial state detached, its outputs raw.
        term: what is solved backwards: that of the problem, an SDE in the sense of Stratonovich.
        inputs: everything that may get a gradient, in the order t0, t1, ts, initial state, parameters.
        slopes: the field and its derivatives.
        times: the output times in order, t1 last: numbers, or (batch,).
        solution: of the forward solve, without its states.
    """

    name: str
    problem: Problem
    inner: Problem
    term: ODE | SDE
    inputs: tuple[Tensor, ...]
    slopes: Slopes
    times: list[Number]
    modules: list[tuple[nn.Module, dict[str, Tensor]]]

    @staticmethod
    def make(name: str, problem: Problem, sde: Callable[[str, Problem], SDE] | None = None) -> "Task":
        """Check that a continuous adjoint can do the problem, and take it apart.

        Args:
            name: of the gradient, for messages.
            problem: the solve.
            sde: makes of a problem with an `SDE` the term that is solved backwards; None refuses it.

        Raises:
            TypeError, ValueError: if it cannot.
        """
        _check(name, problem, sde)
        captured = captured_by(problem, name)
        if captured.random:
            raise ValueError(
                f"{name} needs a field that is the same function backwards, but this one draws random numbers. "
                "Draw them before the solve, or use Checkpoint(), which repeats them."
            )
        modules = [(module, _named(module)) for module in modules_and_tensors(problem.term)[0]]
        t0, t1 = (_plain(t) for t in (problem.t0, problem.t1))
        ts = None if problem.save.ts is None else problem.save.ts.detach().to(problem.device, torch.float64)
        y0 = map_leaves(torch.detach, problem.y0)
        inner = replace(problem, y0=y0, t0=t0, t1=t1, save=SaveAt(t1=True, ts=ts), throw=False)  # views are made of it
        maybe = (problem.t0, problem.t1, problem.save.ts)
        moving = tuple(t for t in maybe if isinstance(t, Tensor) and t.requires_grad)
        inputs = (*moving, *(leaf for leaf in leaves_of(problem.y0) if leaf.requires_grad), *captured.tensors)
        term = sde(name, problem) if sde is not None and isinstance(problem.term, SDE) else problem.term
        assert isinstance(term, ODE | SDE)
        slopes = Slopes(term.f, captured.tensors, _autocast(problem.device))
        shared = not any(isinstance(t, Tensor) for t in (t0, t1)) and (ts is None or ts.ndim == 1)
        rows = len(first_leaf(y0))
        columns: list[Any] = [] if ts is None else ts.tolist() if shared else list(ts.expand(rows, -1).unbind(1))
        times = [*columns, t1 if shared else per_row(t1, first_leaf(problem.y0))]
        return Task(name, problem, inner, term, inputs, slopes, times, modules)

    @property
    def start(self) -> Number:
        """t0 as the output times are given."""
        t0 = self.inner.t0
        return per_row(t0, first_leaf(self.problem.y0)) if isinstance(self.times[-1], Tensor) else t0

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(first_leaf(self.inner.y0))

    def segments(self) -> Iterator[tuple[int, Segment | None]]:
        """From the last output back to t0: the number of the output a segment starts from, None where it is empty."""
        marks = [self.start, *self.times]
        for k in reversed(range(len(self.times))):
            start, length = marks[k + 1], marks[k] - marks[k + 1]
            empty = not bool(length.any()) if isinstance(length, Tensor) else length == 0.0
            yield k, None if empty else Segment(start, length)

    def run(self, reverse: AbstractReverse | None, solution: Solution) -> Solution:
        """The solution, of which the states are differentiated by `reverse`, if at all."""
        raw: list[Flat] = []
        ys = solution.ys if self.inner.save.ts is not None else {"t1": solution.ys}
        structure = self.problem.structure
        for name in ("ts", "t1"):
            if name in ys:
                raw.append(ys[name] if structure is None else tuple(tree_leaves(ys[name])))
        if reverse is not None and torch.is_grad_enabled() and self.inputs:
            failed = solution.result != Result.SUCCESS
            own = {id(leaf) for leaf in leaves_of(self.inner.y0)}
            flat = [leaf.clone() if id(leaf) in own else leaf for y in raw for leaf in leaves_of(y)]
            tied = iter(_Tie.apply(self, reverse, failed, flat, *self.inputs))  # type: ignore[arg-type]
            raw = [map_leaves(lambda _: next(tied), y) for y in raw]
        return self._assembled(solution, raw)

    def _assembled(self, solution: Solution, raw: list[Flat]) -> Solution:
        """Everything that was asked for, in the layout of `Solution`."""
        problem, save = self.problem, self.problem.save
        ts: dict[str, Any] = {}
        ys: dict[str, Any] = {}
        if save.t0:
            ts["t0"], ys["t0"] = problem.t0, problem._viewed(_shaped(problem.t0, problem.y0), problem.y0)
        if save.t1:
            ts["t1"], ys["t1"] = problem.t1, problem._viewed(_shaped(problem.t1, raw[-1]), raw[-1])
        if save.ts is not None:
            ts["ts"], ys["ts"] = save.ts, problem._at_times(raw[0], save.ts)
        single = len(ys) == 1
        return replace(
            solution,
            ts=next(iter(ts.values())) if single else ts,
            ys=next(iter(ys.values())) if single else ys,
            dense=None,
        )

    def columns(self, flat: tuple[Tensor, ...]) -> list[Flat]:
        """States or cotangents per output time, of what `_Tie` gives or is given."""
        width = len(leaves_of(self.inner.y0))
        plain = isinstance(self.inner.y0, Tensor)
        *several, last = [flat[i : i + width] for i in range(0, len(flat), width)]
        columns: list[Flat] = []
        for leaves in several:
            for j in range(leaves[0].shape[1]):
                columns.append(leaves[0][:, j] if plain else tuple(leaf[:, j] for leaf in leaves))
        columns.append(last[0] if plain else last)
        return columns

    def solve_back(self, field: Field | SDE, y: Flat, segment: Segment, **options: Any) -> Solution:
        """Solve dy/ds = field(s, y), or an SDE in s, over a segment.

        Raises:
            SolveError: if a sample fails.
        """
        control = segment.control(options.pop("control"), options.pop("grid"))
        dense = options.pop("dense", False)
        problem = replace(
            self.inner,
            term=field if isinstance(field, SDE) else ODE(field),
            y0=y,
            t0=0.0,
            t1=1.0,
            control=control,
            save=SaveAt(t1=True, dense=dense),
            **options,
        )
        with torch.no_grad():
            solution = problem.run()
        if bool((solution.result != Result.SUCCESS).any()):
            code = Result(int(solution.result[solution.result != Result.SUCCESS][0]))
            raise SolveError(
                f"the backward solve of {self.name} failed: {code.text}. Use Checkpoint() or Direct(), whose gradients "
                "need no solve of their own."
            )
        return solution

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Parameters as they were in the forward solve, should a functional call have given others; without hooks."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(without_hooks(self.slopes.params))
            for module, then in self.modules:
                now = _named(module)
                if any(now.get(name) is not value for name, value in then.items()):
                    stack.enter_context(torch.nn.utils.stateless._reparametrize_module(module, then))
            yield

    def spread(self, pulled: Pulled, outputs: list[Flat], cotangents: list[Flat], ok: Tensor) -> list[Tensor | None]:
        """One gradient per input."""
        problem, grads = self.problem, []
        t0, t1, ts = problem.t0, problem.t1, problem.save.ts
        if isinstance(t0, Tensor) and t0.requires_grad:
            grads.append(self._in_time(t0, self.start, self.inner.y0, pulled.start, -1.0))
        if isinstance(t1, Tensor) and t1.requires_grad:
            grads.append(self._in_time(t1, self.times[-1], outputs[-1], cotangents[-1], 1.0))
        if ts is not None and ts.requires_grad:
            parts = [
                self._per_sample(t, y, g) for t, y, g in zip(self.times, outputs[:-1], cotangents[:-1], strict=False)
            ]
            rows = torch.stack(parts, dim=-1)
            grads.append((rows if ts.ndim == 2 else rows.sum(0)).to(ts))
        for leaf, g in zip(leaves_of(problem.y0), leaves_of(pulled.start), strict=True):
            if leaf.requires_grad:
                grads.append(torch.where(beside(ok, g), g, torch.nan))
        bad = torch.where(ok.all(), 0.0, torch.nan)
        return [*grads, *(g + bad.to(g.dtype) for g in pulled.params)]

    def _in_time(self, t: Tensor, value: Number, y: Flat, cotangent: Flat, sign: float) -> Tensor:
        rows = self._per_sample(value, y, cotangent) * sign
        return (rows if t.ndim == 1 else rows.sum()).to(t)

    def _per_sample(self, t: Number, y: Flat, cotangent: Flat) -> Tensor:
        """cotangent . f(t, y) of each sample."""
        slope = self.slopes(_shaped(t, y).to(first_leaf(y).dtype.to_real()), y)
        products = map_leaves(lambda g, f: (g.conj() * f).real.flatten(1).double().sum(1), cotangent, slope)
        return sum(leaves_of(products))  # type: ignore[return-value]


class _Tie(torch.autograd.Function):
    """States of a finished solve as functions of its inputs."""

    @staticmethod
    def forward(ctx: Any, task: Task, reverse: AbstractReverse, failed: Tensor, flat: list[Tensor], *inputs: Tensor):
        """The states as they are."""
        ctx.task, ctx.reverse = task, reverse
        ctx.save_for_backward(failed, *flat, *inputs)
        ctx.count = len(flat)
        return tuple(flat)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        """Gradients of the inputs."""
        task, reverse = ctx.task, ctx.reverse
        failed, *saved = ctx.saved_tensors
        with task.swapped():
            if torch.is_grad_enabled():
                return None, None, None, None, *reverse.pull_twice(task, cotangents)
            outputs = task.columns(tuple(saved[: ctx.count]))
            # A sample that failed, or whose cotangent is not finite, is not solved backwards; its gradient is NaN
            # unless nobody asks for it.
            silent = torch.stack([(g == 0).flatten(1).all(1) for g in cotangents]).all(0)
            finite = torch.stack([torch.isfinite(g).flatten(1).all(1) for g in cotangents]).all(0)
            live = finite & ~failed
            columns = [map_leaves(lambda g: torch.where(beside(live, g), g, 0.0), g) for g in task.columns(cotangents)]
            outputs = [
                map_leaves(lambda y, start: torch.where(beside(failed, y), start, y), y, task.inner.y0) for y in outputs
            ]
            pulled = reverse.pull(task, outputs, columns)
            return None, None, None, None, *task.spread(pulled, outputs, columns, live | silent)


def _named(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, as `functional_call` names them."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _check(name: str, problem: Problem, sde: Any) -> None:
    if not isinstance(problem.term, ODE) and (sde is None or not isinstance(problem.term, SDE)):
        raise TypeError(
            f"{name} differentiates ODE(f) terms, got {type(problem.term).__name__}. "
            "Write the whole right-hand side as one function, or use Direct()."
        )
    save = problem.save
    if save.every is not None or save.dense:
        raise ValueError(
            f"{name} differentiates states at given times, got every={save.every}, dense={save.dense}. "
            "Name the times as SaveAt(ts=...), or use Direct()."
        )
    if is_transforming():
        raise ValueError(f"{name} does not work inside transforms of torch.func. Use Direct() there.")


def _plain(t: float | Tensor) -> float | Tensor:
    """A time without its gradient: a number where the batch shares it."""
    if not isinstance(t, Tensor):
        return t
    return t.detach().double() if t.ndim else float(t.detach())


def _shaped(t: Number, y: Flat) -> Tensor:
    """A time as fields get it, but for its dtype."""
    leaf = first_leaf(y)
    return beside(torch.as_tensor(t, dtype=torch.float64, device=leaf.device), leaf)


def _autocast(device: torch.device) -> Callable[[], Any]:
    """A context of the automatic mixed precision that holds now."""
    kind = device.type
    if not torch.amp.is_autocast_available(kind):
        return contextlib.nullcontext
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    return lambda: uncached_autocast(kind, enabled, dtype)
