"""Steps compiled by torch.compile: one graph per field, method, shapes and dtypes, whatever the times and values.

Times reach the graph as tensors, so that a new time is no new graph. Compiled code is kept with the field it belongs to
and used again by every later solve of that field.
"""

import functools
import itertools
import types
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves, tree_map

from sciml.integrate.adaptive import Attempt, Stepping, Walk
from sciml.integrate.compilable import CompileError, check_field, check_kind, naming_obstacles, numbers_of
from sciml.integrate.executors import AbstractExecutor, out_of_steps
from sciml.integrate.field import FlatField
from sciml.integrate.fixed_grid import finite_rows, freeze
from sciml.integrate.flat import Flat, first_leaf, leaves_of, map_leaves, map_rows, real_dtype
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.outputs import AbstractOutput, Recorder, TimesOutput
from sciml.integrate.terms import ODE, AbstractTerm
from sciml.integrate.transforms import is_transforming

_MOST_TIMES = 32
"""Above this many wanted times, looking at all of them in every attempt costs more than leaving the graph."""
_Key = tuple[Any, ...]
_kept: "weakref.WeakKeyDictionary[Any, dict[_Key, _Compiled]]" = weakref.WeakKeyDictionary()
_numbers = itertools.count()


@final
class CompiledMethod(AbstractMethod):
    """A method whose steps run as one compiled graph; everything else is the method's own. Made for one solve.

    Args:
        method: the method.
        term: what it will step.
        y0: the initial state.

    Raises:
        CompileError: if terms or states of this kind cannot be compiled.
    """

    def __init__(self, method: AbstractMethod, term: AbstractTerm, y0: Flat) -> None:
        check_kind(method, term, y0)
        self.method = method
        for name in AbstractMethod.__annotations__:
            setattr(self, name, getattr(method, name))
        self._step = kept(term, ("step", method), y0, _step)
        self._recorded = False

    def init(self, term: Any, t0: Time, y0: Flat) -> Any:
        """See `AbstractMethod.init`."""
        if is_transforming() or forward_ad._current_level >= 0:
            raise CompileError(
                "compile=True is differentiated in reverse by autograd only, not by torch.func, vmap or forward mode. "
                "Pass compile=False."
            )
        carry = self.method.init(term, t0, y0)
        if torch.is_grad_enabled():  # then what comes after the first step requires a gradient if the field does
            slope = carry if self.method.reuses_last else term.f(_first_time(t0, y0), y0)
            self._recorded = any(leaf.requires_grad for leaf in tree_leaves((slope, y0)) if isinstance(leaf, Tensor))
        return carry

    def slope(self, carry: Any) -> Flat:
        """See `AbstractMethod.slope`."""
        return self.method.slope(carry)

    def step(self, term: Any, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """See `AbstractMethod.step`."""
        leaf = first_leaf(y)
        if not isinstance(t0, Tensor):
            t0, t1 = torch.tensor((t0, t1), dtype=torch.float64, device=leaf.device).unbind()
        # The first state comes as all later ones do: one graph less.
        if not torch.is_grad_enabled():
            y, carry = map_leaves(torch.detach, y), map_rows(torch.detach, carry)
        elif self._recorded and not leaf.requires_grad:
            y = map_leaves(lambda x: x.detach().requires_grad_(), y)
        return Step(*self._step(term, t0, y, (self.method, term, t0, t1, y, _apart(carry, y))))

    def step_back(self, term: Any, t0: Time, t1: Time, y1: Flat, carry1: Any) -> tuple[Flat, Any]:
        """See `AbstractMethod.step_back`."""
        return self.method.step_back(term, t0, t1, y1, carry1)

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """See `AbstractMethod.prepare_dense`."""
        return self.method.prepare_dense(term, t0, t1, y0, step)

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """See `AbstractMethod.interpolate`."""
        return self.method.interpolate(dense, t0, t1, theta)


def eager_of(method: AbstractMethod) -> AbstractMethod:
    """The method itself, as it is when nothing is compiled."""
    return method.method if isinstance(method, CompiledMethod) else method


def _first_time(t0: Time, y0: Flat) -> Tensor:
    return torch.as_tensor(t0, dtype=torch.float64, device=first_leaf(y0).device).to(real_dtype(y0))


def _apart(carry: Any, y: Flat) -> Any:
    """The carry, with copies of what is the state itself: the same tensor twice would be another graph."""
    own = leaves_of(y)
    return tree_map(lambda leaf: leaf.clone() if any(leaf is x for x in own) else leaf, carry)


def _step(method: AbstractMethod, term: AbstractTerm, t0: Tensor, t1: Tensor, y: Flat, carry: Any) -> tuple[Any, ...]:
    return tuple(method.step(term, t0, t1, y, carry))


def _detached(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) else leaf


@final
class _Compiled:
    """A function of a term, compiled. Before anything new is compiled, the field is looked at."""

    def __init__(self, function: types.FunctionType) -> None:
        # A code object of its own, because what was compiled is looked up, and limited in number, per code object.
        name = f"{function.__name__}_{next(_numbers)}"
        own = types.FunctionType(function.__code__.replace(co_name=name), function.__globals__, name)
        self._function = torch.compile(own, fullgraph=True, dynamic=False, backend=self._backend)
        self._where: Any = None
        self._first: dict[str, Any] | None = None

    def __call__(self, term: AbstractTerm, t: Tensor, y: Flat, arguments: tuple[Any, ...]) -> Any:
        """The function of these arguments; the field may be evaluated at (t, y)."""
        self._where = where = term, t.detach(), map_leaves(torch.detach, y), torch.is_grad_enabled()
        if self._first is None:
            check_field(*where)
            self._first = numbers_of(term)
        try:
            with naming_obstacles(self._first, *where):
                return self._function(*arguments)
        finally:
            self._where = None  # the field is not held

    def _backend(self, graph: Any, inputs: Any) -> Any:
        check_field(*self._where)
        return torch._dynamo.lookup_backend("inductor")(graph, inputs)


def kept(term: AbstractTerm, key: _Key, y: Flat, function: types.FunctionType) -> _Compiled:
    """`function` compiled for this field and states like `y`: the same object whenever it is asked for again."""
    field = term.f.f if isinstance(term, ODE) and isinstance(term.f, FlatField) else term
    mine = _kept.setdefault(_owner(field), {})
    key = (*key, *((leaf.shape, leaf.dtype, leaf.device) for leaf in leaves_of(y)))
    if key not in mine:
        mine[key] = _Compiled(function)
    return mine[key]


def _owner(field: Any) -> Any:
    """What lives as long as the field, or its code, does. Captured values are told apart by what was compiled."""
    if isinstance(field, nn.Module):
        return field
    if isinstance(field, functools.partial):
        return _owner(field.func)
    if isinstance(field, types.MethodType):
        return _owner(field.__self__ if isinstance(field.__self__, nn.Module) else field.__func__)
    code = getattr(field, "__code__", None) or getattr(type(field).__call__, "__code__", None)
    return code or type(field)


@final
class WholeLoop(AbstractExecutor):
    """All attempts of a solve in one compiled graph, for solves that nobody differentiates.

    Args:
        term: what will be stepped; compiled code is kept with its field.
    """

    def __init__(self, term: AbstractTerm) -> None:
        self.term = term

    @staticmethod
    def serves(outputs: Sequence[AbstractOutput], walk: Walk, states: Sequence[Tensor]) -> bool:
        """Whether it can do a solve with these outputs, from here, differentiated with respect to these tensors."""
        few = all(isinstance(o, TimesOutput) and o.tau.shape[-1] <= _MOST_TIMES for o in outputs) and len(outputs) < 2
        recorded = torch.is_grad_enabled() and any(state.requires_grad for state in states)
        on_host = walk.tau.device.type == "cpu" and all(isinstance(leaf, Tensor) for leaf in tree_leaves(walk.carry))
        return few and not recorded and on_host

    def run(self, stepping: Stepping, walk: Walk, recorder: Recorder, max_steps: int) -> Walk:
        """See `AbstractExecutor.run`."""
        output = recorder.outputs[0] if recorder.outputs else None
        assert output is None or isinstance(output, TimesOutput)
        tau = output.tau if output is not None else walk.tau.new_zeros(0)
        kept_states = output.begun() if output is not None else None
        key = ("loop", stepping.method, output is None, stepping.clock.shape)
        loop = kept(self.term, key, walk.y, _loop)
        tolerances = tuple(
            (torch.as_tensor(r, dtype=torch.float64), torch.as_tensor(a, dtype=torch.float64))
            for r, a in stepping.tolerances
        )
        stepping, most = replace(stepping, tolerances=tolerances), torch.tensor(max_steps)
        t0 = stepping.clock.time(walk.tau, walk.y)
        walk, kept_states = tree_map(_detached, (walk, kept_states))
        with torch.no_grad():
            walk, states = loop(self.term, t0, walk.y, (stepping, walk, tau, kept_states, most))
        if output is not None:
            output.ended(states)
        return out_of_steps(walk)


def _loop(
    stepping: Stepping, walk: Walk, wanted: Tensor, states: Flat | None, max_steps: Tensor
) -> tuple[Walk, Flat | None]:
    """Attempts until nobody is running; `states`, (batch, time, *state), are filled in at the wanted times."""
    start, filling = walk.tried.new_zeros(()), states is not None

    def going(count: Tensor, walk: Walk, states: Any) -> Tensor:
        return (walk.result < 0).any() & (count < max_steps)

    def attempt(count: Tensor, walk: Walk, states: Any) -> tuple[Tensor, Walk, Any]:
        walk1, done = stepping.attempt(walk)
        if filling:
            states = _filled(stepping, walk, walk1, done, wanted, states)
        return count + 1, tree_map(lambda new, old: new.clone() if new is old else new, walk1, walk), states

    # What is carried must not share memory.
    carried = tree_map(torch.clone, (start, walk, () if states is None else states))
    _, walk, states = torch.while_loop(going, attempt, carried)
    return walk, states


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


def whole_grid(term: AbstractTerm, method: CompiledMethod, times: Sequence[float], y0: Flat) -> tuple[Flat, Tensor]:
    """All steps along a grid in one compiled graph, for solves that keep the last state and nobody differentiates.

    Returns:
        The final state, and per sample the first step that was not finite (-1: none), at which it is frozen.
    """
    loop = kept(term, ("grid", method.method), y0, _along_grid)
    grid = torch.tensor(times, dtype=torch.float64, device=first_leaf(y0).device)
    torch._dynamo.mark_dynamic(grid, 0)  # another number of steps is no other graph
    with torch.no_grad():
        carry = map_rows(torch.detach, method.init(term, times[0], y0))
        y0 = map_leaves(torch.detach, y0)
        last = torch.tensor(len(times) - 1)
        return loop(term, _first_time(times[0], y0), y0, (method.method, term, grid, last, y0, carry))


def _along_grid(
    method: AbstractMethod, term: AbstractTerm, grid: Tensor, last: Tensor, y0: Flat, carry: Any
) -> tuple[Flat, Tensor]:
    def going(i: Tensor, y: Flat, carry: Any, failed: Tensor) -> Tensor:
        return i < last

    def advance(i: Tensor, y: Flat, carry: Any, failed: Tensor) -> tuple[Tensor, Flat, Any, Tensor]:
        t0, t1 = grid.gather(0, torch.stack([i, i + 1])).unbind()
        step = method.step(term, t0, t1, y, carry)
        failed = torch.where((failed < 0) & ~finite_rows(step.y), i + 1, failed)
        return i + 1, freeze(failed >= 0, y, step.y), tree_map(torch.clone, step.carry), failed

    failed = torch.full((len(first_leaf(y0)),), -1, device=grid.device)
    start = tree_map(torch.clone, (torch.zeros_like(last), y0, carry, failed))
    _, y, _, failed = torch.while_loop(going, advance, start)
    return y, failed
