"""Which tensors a solve depends on, for gradients that have to be told.

They are the initial state and the times, the tensors of the term itself, `params`, and the parameters of every module
that can be reached from the field: the field is a module or a bound method of one, or holds one in a closure, a global
name it uses, a default argument, a `functools.partial`, an attribute, a list or a dict. Parameters that do not require
a gradient are left out. Whatever else requires a gradient is found by evaluating the field once and following what
autograd recorded, and is refused by name.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, beside, first_leaf, map_leaves, real_dtype
from sciml.integrate.problem import Problem
from sciml.integrate.reachable import fields_of, modules_and_tensors
from sciml.integrate.terms import ODE, SDE, Langevin, SemiLinear, Split


@final
@dataclass(frozen=True)
class Captured:
    """What the right-hand side depends on besides time and state.

    Args:
        tensors: those that require a gradient, each once.
        random: whether an evaluation draws random numbers.
    """

    tensors: tuple[Tensor, ...]
    random: bool


def captured_by(problem: Problem, mode: str) -> Captured:
    """The tensors to differentiate with respect to, besides the initial state and the times.

    Args:
        problem: what is solved.
        mode: name of the gradient, for the error.

    Raises:
        TypeError: if an entry of `params` is not a tensor.
        ValueError: if the field uses a tensor that requires a gradient and is none of those in the module docstring.
    """
    for tensor in problem.params:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"`params` must be tensors, got a {type(tensor).__name__}. Give params=(w, ...).")
    modules, named = modules_and_tensors(problem.term)
    own = [value for _, value in fields_of(problem.term) if isinstance(value, Tensor)]
    told = [*problem.params, *own, *(p for module in modules for p in module.parameters())]
    known = _once(told)
    state = problem.y0 if isinstance(problem.y0, tuple) else (problem.y0,)
    given = _once([*state, *(t for t in (problem.t0, problem.t1, problem.save.ts) if isinstance(t, Tensor))])
    random, leaves, inner = _used(problem, [*known, *given])
    used = {id(leaf) for leaf in leaves}
    edges = {(t.grad_fn, t.output_nr): t for t in (*known, *given) if t.grad_fn is not None}
    extra = [t for t in given if id(t) in used or any(edges.get(edge) is t for edge in inner)]
    allowed = {id(t) for t in (*known, *given)}
    for leaf in leaves:
        if id(leaf) not in allowed:
            name = next((name for name, tensor in named if tensor is leaf), None)
            _refuse(mode, name, tuple(leaf.shape), leaf.dtype)
    for node, i in inner:
        if (node, i) not in edges:
            name = next((name for name, t in named if t.grad_fn is node and t.output_nr == i), None)
            meta = node._input_metadata[i]
            _refuse(mode, name, tuple(meta.shape), meta.dtype)
    return Captured(tuple(_once([*known, *extra])), random)


def _refuse(mode: str, name: str | None, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    what = f"`{name}`, {shape} of {dtype}" if name else f"a tensor of shape {shape} and {dtype}"
    raise ValueError(
        f"the field uses {what}, which requires a gradient but is neither y0, a time, one of `params` nor a parameter "
        f"of a module the field reaches, so {mode} would lose its gradient. Pass params=({name or 'tensor'},), take "
        "gradient=Direct(), or detach it."
    )


def _once(tensors: list[Tensor]) -> list[Tensor]:
    """Those that require a gradient, without repeats."""
    return list({id(tensor): tensor for tensor in tensors if tensor.requires_grad}.values())


def _used(problem: Problem, stops: list[Tensor]) -> tuple[bool, list[Tensor], list[tuple[Any, int]]]:
    """Evaluate once: whether random numbers were drawn, the leaves used, and outputs of operations before."""
    device = problem.device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.enable_grad(), uncached_autocast(device.type):
        before = random_state(device)
        mark = (torch.zeros((), requires_grad=True) + 0).grad_fn._sequence_nr()  # type: ignore[union-attr]
        results = _evaluate(problem, map_leaves(torch.detach, problem.y0))
        random = any(not torch.equal(a, b) for a, b in zip(before, random_state(device), strict=True))
    ends = {(tensor.grad_fn, tensor.output_nr) for tensor in stops if tensor.grad_fn is not None}
    leaves: list[Tensor] = []
    inner: list[tuple[Any, int]] = []
    todo = []
    for result in results:
        if result.grad_fn is not None:
            todo.append((result.grad_fn, result.output_nr))
        elif result.requires_grad:
            leaves.append(result)
    seen = set()
    while todo:
        node, i = todo.pop()
        variable = getattr(node, "variable", None)
        if variable is not None and node.name().endswith("AccumulateGrad"):
            leaves.append(variable)
        elif (node, i) in ends or node._sequence_nr() < mark:
            inner.append((node, i))
        elif node not in seen:
            seen.add(node)
            todo.extend((following, j) for following, j in node.next_functions if following is not None)
    return random, leaves, inner


def _evaluate(problem: Problem, y: Flat) -> list[Tensor]:
    """The right-hand side once, as the method would call it first."""
    start = torch.as_tensor(problem.t0, dtype=torch.float64, device=problem.device).detach()
    term, leaf = problem.term, first_leaf(y)
    time = beside(start, leaf).to(real_dtype(leaf))
    if isinstance(term, Langevin):
        return _leaves(term.force(time, leaf))
    if isinstance(term, SDE):
        drift = term.f.nonlinear if isinstance(term.f, SemiLinear) else term.f
        linear = (term.f.linear,) if isinstance(term.f, SemiLinear) else ()
        return [*_leaves(drift(time, y)), *_leaves(term.g(time, y)), *_leaves(linear)]
    if isinstance(term, ODE | Split | SemiLinear):
        return _leaves(term.nonlinear(time, y) if isinstance(term, SemiLinear) else term.f(time, y))
    end = torch.as_tensor(problem.t1, dtype=torch.float64, device=problem.device).detach()
    t0, t1 = beside(start, leaf), beside(start + (end - start) * 1e-3, leaf)
    made = problem.method.step(term, t0, t1, y, problem.method.init(term, t0, y)).y
    return list(made) if isinstance(made, tuple) else [made]


def _leaves(values: Any) -> list[Tensor]:
    return [leaf for leaf in (values if isinstance(values, tuple) else (values,)) if isinstance(leaf, Tensor)]


def random_state(device: torch.device) -> list[Tensor]:
    """The states of the random number generators an evaluation on this device may use."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def set_random_state(device: torch.device, states: list[Tensor]) -> None:
    """Undo what has been drawn since `random_state`."""
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def uncached_autocast(kind: str, enabled: bool | None = None, dtype: torch.dtype | None = None) -> torch.autocast:
    """Autocast as it is, or as given, that keeps no casts: one made without a graph would serve later with one."""
    on = torch.is_autocast_enabled(kind) if enabled is None else enabled
    return torch.autocast(kind, dtype=dtype or torch.get_autocast_dtype(kind), enabled=on, cache_enabled=False)


@contextlib.contextmanager
def without_hooks(tensors: tuple[Tensor, ...]) -> Iterator[None]:
    """Hooks of leaves see the whole gradient, once, and not the part of every step."""
    hooked = [(t, t._backward_hooks) for t in tensors if t.is_leaf and t._backward_hooks]
    for tensor, _ in hooked:
        tensor._backward_hooks = None
    try:
        yield
    finally:
        for tensor, hooks in hooked:
            tensor._backward_hooks = hooks
