"""Steps compiled by torch.compile: one graph per field, method, shapes and dtypes, whatever the times and values.

Times reach the graph as tensors, so that a new time is no new graph. Compiled code is kept with the field it belongs to
and used again by every later solve of that field.
"""

import functools
import itertools
import types
import weakref
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves, tree_map

from sciml.core.transforms import is_transforming
from sciml.integrate.compilable import (
    CompileError,
    check_field,
    check_kind,
    naming_obstacles,
    numbers_of,
    uses_transforms,
)
from sciml.integrate.decompositions import decompositions
from sciml.integrate.diffusion import FlatDiffusion
from sciml.integrate.driven import driven_by, increment_of, slopes_of, without_path
from sciml.integrate.field import FlatField
from sciml.integrate.flat import Flat, first_leaf, leaves_of, map_leaves, map_rows, real_dtype
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.terms import SDE, AbstractTerm
from sciml.paths import Increment

_MOST_TIMES = 32
"""Above this many wanted times, looking at all of them in every attempt costs more than leaving the graph."""
_UNCHECKED = {"size_asserts": False, "alignment_asserts": False, "scalar_asserts": False}
"""The shapes inside are those that were traced; to check them again takes a tenth of a small field's time."""
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
        self.bare = without_path(term)
        """The term as it is handed to compiled code."""
        self._recorded = False

    def init(self, term: Any, t0: Time, y0: Flat) -> Any:
        """See `AbstractMethod.init`."""
        refuse_transforms()
        carry = self.method.init(term, t0, y0)
        if torch.is_grad_enabled():  # then what comes after the first step requires a gradient if the field does
            slopes = carry if self.method.reuses_last else slopes_of(term, first_time(t0, y0), y0)
            self._recorded = any(leaf.requires_grad for leaf in tree_leaves((slopes, y0)) if isinstance(leaf, Tensor))
        return carry

    def slope(self, carry: Any) -> Flat:
        """See `AbstractMethod.slope`."""
        return self.method.slope(carry)

    def step(self, term: Any, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """See `AbstractMethod.step`."""
        leaf, given = first_leaf(y), increment_of(term, t0, t1)
        if not isinstance(t0, Tensor):
            t0, t1 = torch.tensor((t0, t1), dtype=torch.float64, device=leaf.device).unbind()
        # The first state comes as all later ones do: one graph less.
        if not torch.is_grad_enabled():
            y, carry = map_leaves(torch.detach, y), map_rows(torch.detach, carry)
        elif self._recorded and not leaf.requires_grad:
            y = map_leaves(lambda x: x.detach().requires_grad_(), y)
        return Step(*self._step(self.bare, t0, y, (self.method, self.bare, t0, t1, y, _apart(carry, y), given)))

    def step_back(self, term: Any, t0: Time, t1: Time, y1: Flat, carry1: Any) -> tuple[Flat, Any]:
        """See `AbstractMethod.step_back`."""
        return self.method.step_back(term, t0, t1, y1, carry1)

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """See `AbstractMethod.prepare_dense`."""
        return self.method.prepare_dense(term, t0, t1, y0, step)

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """See `AbstractMethod.interpolate`."""
        return self.method.interpolate(dense, t0, t1, theta)


def refuse_transforms() -> None:
    """Raise if what is computed now is differentiated in a way that compiled code is not.

    Raises:
        CompileError: if so.
    """
    if is_transforming() or forward_ad._current_level >= 0:
        raise CompileError(
            "compile=True is differentiated in reverse by autograd only, not by torch.func, vmap or forward mode. "
            "Pass compile=False."
        )


def eager_of(method: AbstractMethod) -> AbstractMethod:
    """The method itself, as it is when nothing is compiled."""
    return method.method if isinstance(method, CompiledMethod) else method


def first_time(t0: Time, y0: Flat) -> Tensor:
    """A time as fields are first given it."""
    return torch.as_tensor(t0, dtype=torch.float64, device=first_leaf(y0).device).to(real_dtype(y0))


def _apart(carry: Any, y: Flat) -> Any:
    """The carry, with copies of what is the state itself: the same tensor twice would be another graph."""
    own = leaves_of(y)
    return tree_map(lambda leaf: leaf.clone() if any(leaf is x for x in own) else leaf, carry)


def _step(
    method: AbstractMethod,
    term: AbstractTerm,
    t0: Tensor,
    t1: Tensor,
    y: Flat,
    carry: Any,
    given: Increment | None,
) -> tuple[Any, ...]:
    return tuple(method.step(driven_by(term, given), t0, t1, y, carry))


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
        self._transforms: bool | None = None

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

    def loses_gradients(self, term: AbstractTerm, t: Tensor, y: Flat) -> bool:
        """Whether loops that are recorded are wrong for this field; it is evaluated once."""
        if self._transforms is None:
            self._transforms = uses_transforms(term, t.detach(), map_leaves(torch.detach, y))
        return self._transforms

    def _backend(self, graph: Any, inputs: Any) -> Any:
        check_field(*self._where)
        from torch._inductor.compile_fx import compile_fx  # takes seconds to import

        return compile_fx(graph, inputs, config_patches=_UNCHECKED, decompositions=decompositions())


def kept(term: AbstractTerm, key: _Key, y: Flat, function: types.FunctionType) -> _Compiled:
    """`function` compiled for this field and states like `y`: the same object whenever it is asked for again."""
    drift = getattr(term, "f", None)
    mine = _kept.setdefault(_owner(drift.f if isinstance(drift, FlatField) else term), {})
    if isinstance(term, SDE):
        diffusion = term.g.g if isinstance(term.g, FlatDiffusion) else term.g
        key = (*key, id(_owner(diffusion)), term.structure, term.sense)
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
