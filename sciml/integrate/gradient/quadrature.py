"""The continuous adjoint with the parameters outside the state:

    lambda' = -(df/dy)^T lambda,    dLoss/dtheta = int_t0^t1 lambda^T df/dtheta dt

Only lambda is solved backwards. The state is read from the dense output of the forward solve, so that nothing has to be
reconstructed, and the integral is taken by Gauss-Legendre quadrature from the dense outputs of both solves, over the
intervals between neighbouring ends of their steps: there both are polynomials.

Source: Rackauckas et al. (2020), Universal Differential Equations for Scientific Machine Learning (interpolating and
quadrature adjoints); Norcliffe & Deisenroth (2023), Faster training of neural ODEs using Gauss-Legendre quadrature.
"""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from sciml.core.checks import check_whole
from sciml.integrate.compiled import eager_of
from sciml.integrate.control import PID, AbstractControl, Clip, Fixed
from sciml.integrate.flat import Flat, beside, first_leaf, leaves_of, map_leaves, map_rows
from sciml.integrate.gradient.base import AbstractGradient
from sciml.integrate.gradient.continuous import AbstractReverse, Pulled, Task
from sciml.integrate.gradient.slopes import Segment
from sciml.integrate.methods.base import AbstractMethod
from sciml.integrate.outputs import DenseOutput
from sciml.integrate.problem import Problem
from sciml.integrate.save import SaveAt
from sciml.integrate.solution import Solution


@final
@dataclass(frozen=True)
class Quadrature(AbstractGradient):
    """The continuous adjoint at its best: samples keep steps of their own, parameters cost no accuracy of the steps.

    Memory holds the stages of the accepted steps, forward and backward, but nothing of what the field computes inside.
    The gradient is one of the continuous problem: it differs from the derivative of what was computed by about the
    tolerance. lambda is scaled by the largest dLoss/dy of the sample (of all that step together), so that tolerances
    do not depend on the scale of the loss.

    Differentiable twice: under `create_graph=True` the backward pass solves the problem once more as `Direct` does and
    gives the gradient of that.

    Args:
        rtol, atol: tolerances of lambda, relative and, after scaling, absolute, [1]; by default those of the forward
            solve. After a forward solve on a fixed grid lambda takes the same grid unless one of them is given.
        method: of the backward solve; by default that of the forward solve. Both need dense output.
        nodes: of the quadrature per interval; by default exact for polynomials of degree `order` of the method.

    Raises:
        ValueError: if `nodes` is no whole number of at least 1.
    """

    rtol: float | None = None
    atol: float | None = None
    method: AbstractMethod | None = None
    nodes: int | None = None

    def __post_init__(self) -> None:
        if self.nodes is not None:
            check_whole("nodes", self.nodes, 1)

    def solve(self, problem: Problem) -> Solution:
        """See `AbstractGradient.solve`."""
        task = Task.make("Quadrature", problem)
        forward = eager_of(problem.method)
        for each in (forward, self.method or forward):
            if not each.has_dense:
                raise TypeError(
                    f"Quadrature reads the solution between steps, but {type(each).__name__} has no dense output. "
                    "Use a method that has one, or Direct()."
                )
        wanted = torch.is_grad_enabled() and bool(task.inputs)
        inner = replace(task.inner, save=replace(task.inner.save, dense=True)) if wanted else task.inner
        with torch.no_grad():
            solution = inner.run()
        problem.stopped = inner.stopped
        if not wanted:
            return task.run(None, solution)
        failed, output = solution.result != 0, _output(solution)
        return task.run(_Reverse(self, DenseTable(forward, output, output.clock.joint), failed), solution)


@final
class DenseTable:
    """A solution as a function of time, stacked for quick reading; it holds none of the states that were returned.

    Args:
        method: that made it.
        output: its dense output.
        joint: whether one time is asked for at a time, not one per sample.
    """

    def __init__(self, method: AbstractMethod, output: DenseOutput, joint: bool) -> None:
        clock, records = output.clock, output.records
        device = first_leaf(records[0].attempt.y0).device
        times = [records[0].before, *(record.after for record in records)]
        shape = () if joint else (clock.rows,)
        ends = [clock.to_rows(torch.as_tensor(t, dtype=torch.float64, device=device)).expand(shape) for t in times]
        self.method, self.joint = method, joint
        self.ends = torch.stack(ends, dim=-1)
        """tau at the ends of steps, (time,) or (batch, time)."""
        self.dense = map_rows(lambda *leaves: torch.stack(leaves), *(record.dense for record in records))
        per_row = isinstance(clock.sign, Tensor) and not clock.joint
        self.sign = clock.to_rows(clock.sign) if per_row else clock.sign  # type: ignore[arg-type]

    def within(self, t: Tensor) -> Flat:
        """The states, (batch, time, *state), at times of one step: (time,) for joint steps, else (batch, time)."""
        ends, count = self.ends, self.ends.shape[-1] - 1
        tau = t.double() * (self.sign[:, None] if isinstance(self.sign, Tensor) else self.sign)
        middle = tau.mean(dim=-1, keepdim=True)
        if not self.joint:  # before its first accepted step a sample has no time: look a little later
            middle = torch.maximum(middle, torch.nextafter(ends[:, :1], ends[:, -1:]))
        place = (torch.searchsorted(ends, middle) - 1).clamp(0, count - 1)
        start, end = (ends.gather(-1, i) for i in (place, place + 1))
        theta = torch.where(end > start, (tau - start) / torch.where(end > start, end - start, 1.0), 0.0)
        if self.joint:
            dense = map_rows(lambda x: x.index_select(0, place)[0], self.dense)
        else:
            row = torch.arange(len(place), device=place.device)
            dense = map_rows(lambda x: x[place[:, 0], row], self.dense)
        t0, t1 = (beside(x[..., 0] * self.sign, first_leaf(dense[0])) for x in (start, end))
        return self.method.interpolate(dense, t0, t1, theta)


@final
@dataclass(frozen=True, eq=False)
class _Reverse(AbstractReverse):
    """The solve of lambda and the quadrature."""

    quadrature: Quadrature
    states: DenseTable
    failed: Tensor

    def pull(self, task: Task, outputs: list[Flat], cotangents: list[Flat]) -> Pulled:
        """See `AbstractReverse.pull`."""
        inner, params = task.inner, task.slopes.params
        method = self.quadrature.method or eager_of(inner.method)
        options = {
            "method": method,
            "control": self._control(inner.control, method),
            "grid": inner.control.grid(inner.t0, inner.t1) if isinstance(inner.control, Fixed) else None,
            "dense": bool(params),
        }
        scale = self._scale(task, cotangents)
        adjoint = map_leaves(torch.zeros_like, inner.y0)
        totals = [torch.zeros_like(p) for p in params]
        for k, segment in task.segments():
            adjoint = map_leaves(lambda a, g: a + g / beside(scale, g).to(g.dtype), adjoint, cotangents[k])
            if segment is None:
                continue
            solution = task.solve_back(_Adjoint(self, task, segment), adjoint, segment, **options)
            adjoint = solution.ys
            adjoint = adjoint if isinstance(adjoint, Tensor) else tuple(tree_leaves(adjoint))
            if params:
                self._integrate(task, segment, DenseTable(method, _output(solution), self.states.joint), scale, totals)
        start = map_leaves(lambda a: a * beside(scale, a).to(a.dtype), adjoint)
        return Pulled(start, totals)

    def pull_twice(self, task: Task, cotangents: tuple[Tensor, ...]) -> list[Tensor | None]:
        """Solve again as `Direct` does; see `AbstractReverse.pull_twice`."""
        problem = task.problem
        save = SaveAt(t1=True, ts=problem.save.ts)
        problem = replace(problem, method=eager_of(problem.method), save=save)
        with task.slopes.autocast():
            solution = problem.run()
        ys = solution.ys if problem.save.ts is not None else {"t1": solution.ys}
        flat = [leaf for name in ("ts", "t1") if name in ys for leaf in tree_leaves(ys[name])]
        pairs = [(y, g) for y, g in zip(flat, cotangents, strict=True) if y.requires_grad]
        return list(
            torch.autograd.grad(
                [y for y, _ in pairs],
                task.inputs,
                [g for _, g in pairs],
                create_graph=True,
                allow_unused=True,
            )
        )

    def states_at(self, task: Task, t: Tensor) -> Flat:
        """y at times of one step, (batch, time, *state); the initial value for samples that failed and have no say."""

        def kept(y: Tensor, y0: Tensor) -> Tensor:
            return torch.where(beside(self.failed, y), y0.unsqueeze(1), y)

        return map_leaves(kept, self.states.within(t), task.inner.y0)

    def _control(self, control: AbstractControl, method: AbstractMethod) -> AbstractControl:
        rtol, atol = self.quadrature.rtol, self.quadrature.atol
        if rtol is None and atol is None:
            return control
        if isinstance(control, Clip):
            inner = self._control(control.inner, method)
            assert isinstance(inner, PID)
            return Clip(inner, control.stops, control.jumps)
        if isinstance(control, PID):
            changed = {name: value for name, value in (("rtol", rtol), ("atol", atol)) if value is not None}
            return replace(control, **changed)
        if not method.has_error:
            raise TypeError(
                f"Quadrature(rtol=, atol=) needs an error estimate, which {type(method).__name__} has not. "
                "Pass Quadrature(method=Tsit5(), ...), or drop the tolerances to step back along the same grid."
            )
        rtol, atol = 1e-5 if rtol is None else rtol, 1e-8 if atol is None else atol
        return PID(rtol=rtol, atol=atol, per_sample=not self.states.joint)

    def _scale(self, task: Task, cotangents: list[Flat]) -> Tensor:
        """Largest cotangent of each clock, (batch,), 1 where all are 0."""
        sizes = [leaf.abs().flatten(1).amax(1).double() for g in cotangents for leaf in leaves_of(g)]
        largest = torch.stack(sizes).amax(0)
        control = task.inner.control.inner if isinstance(task.inner.control, Clip) else task.inner.control
        if self.states.joint:
            largest = largest.amax().expand_as(largest)
        elif isinstance(control, PID) and control.groups is not None:
            groups = control.groups.to(largest.device)
            largest = torch.zeros_like(largest).scatter_reduce(0, groups, largest, "amax")[groups]
        return torch.where(largest > 0, largest, 1.0)

    def _integrate(
        self, task: Task, segment: Segment, adjoints: DenseTable, scale: Tensor, totals: list[Tensor]
    ) -> None:
        """Add the integral over a segment to the totals."""
        order = adjoints.method.order
        count = self.quadrature.nodes or (order + 2) // 2
        nodes, weights = np.polynomial.legendre.leggauss(count)
        ends = self._intervals(segment, adjoints.ends)
        leaf = first_leaf(task.inner.y0)
        real = leaf.dtype.to_real()
        middles = torch.as_tensor((nodes + 1) / 2, device=ends.device)
        for low, high in zip(ends.unbind(-1)[:-1], ends.unbind(-1)[1:], strict=True):
            s = low[..., None] + (high - low)[..., None] * middles
            t = segment.times(s)
            y, adjoint = self.states_at(task, t), adjoints.within(s)
            points = []
            for i, weight in enumerate(weights / 2):
                factor = (high - low) * (scale * float(weight))
                cotangent = map_leaves(lambda a, i=i, f=factor: a[:, i] * beside(f, a[:, i]).to(a.dtype), adjoint)
                point = map_leaves(lambda x, i=i: x[:, i], y)
                points.append((beside(t[..., i], leaf).to(real), point, segment.scaled(cotangent, -1.0)))
            for total, part in zip(totals, task.slopes.of_params(points), strict=True):
                total += part

    def _intervals(self, segment: Segment, ends: Tensor) -> Tensor:
        """Ends of the intervals on which both dense outputs are smooth, in s: (time,) or (batch, time), rising."""
        states = self.states
        sign = states.sign[:, None] if isinstance(states.sign, Tensor) and states.sign.ndim else states.sign
        start, length = (x[:, None] if isinstance(x, Tensor) else x for x in (segment.start, segment.length))
        s = (states.ends * sign - start) / length
        s = torch.nan_to_num(s, nan=0.0).clamp(0.0, 1.0)
        if not states.joint:  # a sample that failed has nothing to say, often in many small steps
            s = torch.where(self.failed[:, None], 0.0, s)
        both = torch.cat([ends, s], dim=-1).sort(dim=-1).values
        # Intervals that are empty for every sample are left out; those of rounding length are merged.
        new = torch.ones_like(both, dtype=torch.bool)
        new[..., 1:] = both.diff(dim=-1) > 1e-9
        count = new.sum(-1)
        place = torch.argsort((~new).to(torch.int8), dim=-1, stable=True)[..., : int(count.max())]
        kept = both.gather(-1, place)
        beyond = torch.arange(kept.shape[-1], device=kept.device) >= count[..., None]
        return torch.where(beyond, 1.0, kept)


@final
@dataclass(frozen=True, eq=False)
class _Adjoint:
    """The slope of lambda in s."""

    reverse: _Reverse
    task: Task
    segment: Segment

    def __call__(self, s: Tensor, adjoint: Flat) -> Flat:
        leaf = first_leaf(adjoint)
        t = self.segment.time(s.reshape(-1) if s.ndim else s)
        y = map_leaves(lambda leaf: leaf[:, 0], self.reverse.states_at(self.task, t[..., None]))
        weighted = self.segment.scaled(adjoint, -1.0)
        return self.task.slopes.vjp(beside(t, leaf), y, weighted, params=False)[1]


def _output(solution: Solution) -> DenseOutput:
    """The dense output behind a solution."""
    return solution.dense.output  # type: ignore[union-attr]
