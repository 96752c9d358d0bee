"""Steps compiled by torch.compile: one graph per field, method, shapes and dtypes, whatever the times and values.

Times reach the graph as tensors, so that a new time is no new graph. Compiled code is kept with the field it belongs to
and used again by every later solve of that field.
"""

import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from sciml.integrate.adaptive import Attempt, Stepping, Walk
from sciml.integrate.executors import AbstractExecutor, out_of_steps
from sciml.integrate.field import FlatField
from sciml.integrate.flat import Flat, first_leaf, leaves_of, map_leaves
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.outputs import AbstractOutput, Recorder, TimesOutput
from sciml.integrate.terms import ODE, AbstractTerm

_MOST_TIMES = 32
"""Above this many wanted times, looking at all of them in every attempt costs more than leaving the graph."""
_Key = tuple[Any, ...]
_kept: "weakref.WeakKeyDictionary[Any, dict[_Key, Callable[..., Any]]]" = weakref.WeakKeyDictionary()


class CompileError(RuntimeError):
    """The field cannot be compiled; the message says what stands in the way and what to do."""


@final
class CompiledMethod(AbstractMethod):
    """A method whose steps run as one compiled graph; everything else is the method's own.

    Args:
        method: the method.
        term: what it will step.
        y0: a state of the shapes to come.

    Raises:
        CompileError: if the field cannot be compiled.
    """

    def __init__(self, method: AbstractMethod, term: AbstractTerm, y0: Flat) -> None:
        check_compilable(term, y0)
        self.method = method
        self.order, self.stages = method.order, method.stages  # type: ignore[misc]
        self.has_error, self.error_order = method.has_error, method.error_order  # type: ignore[misc]
        self.has_dense, self.dense_order = method.has_dense, method.dense_order  # type: ignore[misc]
        self.reuses_last = method.reuses_last  # type: ignore[misc]
        self._step = kept(term, ("step", method), _step)

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """See `AbstractMethod.init`."""
        return self.method.init(term, t0, y0)

    def step(self, term: Any, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """See `AbstractMethod.step`."""
        if not isinstance(t0, Tensor):
            t0, t1 = torch.tensor((t0, t1), dtype=torch.float64, device=first_leaf(y).device).unbind()
        with naming_obstacles():
            return Step(*self._step(self.method, term, t0, t1, y, carry))

    def slope(self, carry: Any) -> Flat:
        """See `AbstractMethod.slope`."""
        return self.method.slope(carry)

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """See `AbstractMethod.prepare_dense`."""
        return self.method.prepare_dense(term, t0, t1, y0, step)

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """See `AbstractMethod.interpolate`."""
        return self.method.interpolate(dense, t0, t1, theta)


def _step(method: AbstractMethod, term: AbstractTerm, t0: Tensor, t1: Tensor, y: Flat, carry: Any) -> tuple[Any, ...]:
    return tuple(method.step(term, t0, t1, y, carry))


def kept(term: AbstractTerm, key: _Key, function: types.FunctionType | Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled for this field: the same object whenever it is asked for again.

    Every field gets a code object of its own, because what was compiled is looked up, and limited in number, per code
    object.
    """
    field = term.f.f if isinstance(term, ODE) and isinstance(term.f, FlatField) else term
    owner = field if isinstance(field, nn.Module) else getattr(field, "__code__", field)
    owner = getattr(owner, "__func__", owner)
    try:
        mine = _kept.setdefault(owner, {})
    except TypeError:  # cannot be referred to weakly
        mine = {}
    if key not in mine:
        assert isinstance(function, types.FunctionType)
        code = function.__code__.replace(co_name=f"{function.__name__}_{len(_kept)}_{len(mine)}")
        own = types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__)
        mine[key] = torch.compile(own, fullgraph=True, dynamic=False)
    return mine[key]


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
        loop = kept(self.term, ("loop", stepping.method, output is None, stepping.clock.shape), _loop)
        tolerances = tuple(
            (torch.as_tensor(r, dtype=torch.float64), torch.as_tensor(a, dtype=torch.float64))
            for r, a in stepping.tolerances
        )
        with naming_obstacles(), torch.no_grad():
            most = torch.tensor(max_steps)
            walk, states = loop(replace(stepping, tolerances=tolerances), walk, tau, kept_states, most)
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


class naming_obstacles:
    """Turns what the compiler says about a field into what to do about it."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            return
        text = str(error)
        if "compiler" in text.lower() and "InvalidCxxCompiler" in f"{type(error).__name__}{text}":
            raise CompileError(
                "compile=True needs a C++ compiler, and none was found. Install one (e.g. g++), or pass compile=False."
            ) from error
        first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
        raise CompileError(
            f"the field cannot be compiled as one graph: {first.strip()} Keep Python side effects, prints, data-dependent "
            "branches and reads of tensor values out of it, or pass compile=False."
        ) from error


def check_compilable(term: AbstractTerm, y0: Flat) -> None:
    """Refuse by name what is known not to compile, before anything is compiled."""
    if not isinstance(term, ODE):
        raise CompileError(
            f"compile=True serves ODE terms, got {type(term).__name__}: its transforms and complex numbers gain nothing "
            "by it. Pass compile=False."
        )
    if any(leaf.is_complex() for leaf in leaves_of(y0)):
        raise CompileError(
            "compile=True cannot generate code for complex states. Keep real and imaginary parts as two channels "
            "(torch.view_as_real), or pass compile=False."
        )
