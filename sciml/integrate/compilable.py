"""What a compiled field may contain. What may not be in it is found by evaluating it, and named."""

import contextlib
import io
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from sciml.core.transforms import is_transforming
from sciml.integrate.flat import Flat, first_leaf, leaves_of
from sciml.integrate.methods.base import AbstractMethod
from sciml.integrate.reachable import everything
from sciml.integrate.terms import ODE, SDE, AbstractTerm, SemiLinear

_EAGER = "or pass compile=False."
_LIBRARIES = tuple(str(Path(module.__file__).parent) for module in (torch, sys.modules["sciml"]) if module.__file__)


class CompileError(RuntimeError):
    """The field cannot be compiled; the message says what stands in the way and what to do."""


def check_kind(method: AbstractMethod, term: AbstractTerm, y0: Flat) -> None:
    """Refuse methods, terms and states that compiled steps do not serve."""
    if not method.compiles:
        raise CompileError(
            f"compile=True serves methods whose steps are always the same operations, got {type(method).__name__}, "
            "whose steps depend on values or on how many there were. Take an explicit Runge-Kutta method, or pass "
            "compile=False."
        )
    if not isinstance(term, ODE | SDE) or isinstance(term.f, SemiLinear):
        name = type(term if not isinstance(term, SDE) else term.f).__name__
        raise CompileError(
            f"compile=True serves ODE terms, and SDE terms whose drift is a function, got {name}: its transforms, "
            "complex numbers and splittings gain nothing by it. Pass compile=False."
        )
    if any(leaf.is_complex() for leaf in leaves_of(y0)):
        raise CompileError(
            "compile=True cannot generate code for complex states. Keep real and imaginary parts as two channels "
            f"(torch.view_as_real), {_EAGER}"
        )


@torch.no_grad()
def check_field(term: AbstractTerm, t: Tensor, y: Flat, recorded: bool) -> None:
    """Evaluate the field and raise if it does what compiled code would not do, or not each time.

    Args:
        term: the term.
        t, y: where it is evaluated, as a method would.
        recorded: whether steps are compiled with their gradients.

    Raises:
        CompileError: if it prints, reads values of tensors, has results whose shapes depend on values, draws random
            numbers, changes what it can reach, or is recorded and uses forward-mode derivatives.
    """
    printed, reads = io.StringIO(), _Reads()
    with _generators_kept(y):
        _evaluate(term, t, y)  # what is made once and kept may be made now
        before, random = _snapshot(term), torch.get_rng_state()
        with contextlib.redirect_stdout(printed), reads:
            _evaluate(term, t, y)
        drawn = not torch.equal(random, torch.get_rng_state())
    changed = _changed(before, _snapshot(term))
    if changed is not None:
        raise CompileError(
            f"the field changes `{changed}` whenever it is called, which compiled code would do once or not at all. "
            f"Count evaluations by Solution.stats, keep what changes in the state, put modules in eval mode, {_EAGER}"
        )
    if printed.getvalue():
        raise CompileError(f"the field prints {printed.getvalue()[:40]!r}. Take the print out, {_EAGER}")
    if reads.found is not None:
        raise CompileError(
            f"the field reads values of tensors ({reads.found}), so that its code depends on them. Use torch.where "
            f"instead of `if`, and tensors instead of .item() and float(), {_EAGER}"
        )
    if reads.forward and recorded:
        raise CompileError(
            "the field uses forward-mode derivatives (torch.func.jvp, jacfwd), whose gradients torch cannot compile. "
            f"Write them by torch.func.vjp or grad, solve under torch.no_grad(), {_EAGER}"
        )
    if drawn:
        raise CompileError(
            "the field draws random numbers, such as dropout in train mode, which compiled code draws otherwise. Put "
            f"the module in eval mode, draw them before the solve, {_EAGER}"
        )


def uses_transforms(term: AbstractTerm, t: Tensor, y: Flat) -> bool:
    """Whether the field takes derivatives, or maps, by `torch.func`: recorded, `torch.while_loop` makes zeros of them.

    Args:
        term, t, y: as for `check_field`.
    """
    watch = _Transforms()
    with _generators_kept(y), contextlib.redirect_stdout(io.StringIO()), watch:
        _evaluate(term, t, y)
    return watch.found


def _generators_kept(y: Flat) -> contextlib.AbstractContextManager[None]:
    """Random numbers that the field draws are not missing afterwards."""
    return torch.random.fork_rng([y.device] if isinstance(y, Tensor) and y.device.type == "cuda" else [])


def _evaluate(term: AbstractTerm, t: Tensor, y: Flat) -> None:
    time = t.to(first_leaf(y).real.dtype)
    for field in [term.f, *([term.g] if isinstance(term, SDE) else [])]:  # type: ignore[attr-defined]
        field(time, y)


class naming_obstacles:
    """Turns what the compiler says about a field into what to do about it.

    Args:
        first: `numbers_of` the term when it was compiled first.
        where: arguments of `check_field`.
    """

    def __init__(self, first: dict[str, Any], *where: Any) -> None:
        self.first, self.where = first, where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            return
        for cause in _causes(error):
            if isinstance(cause, CompileError):
                raise cause from None
        text = "".join(f"{type(cause).__name__} {cause}" for cause in _causes(error))
        if "InvalidCxxCompiler" in text or "No working C++ compiler" in text:
            raise CompileError(
                "compile=True needs a C++ compiler, and none was found. Install one (e.g. g++), or name it in the "
                f"environment variable CXX, {_EAGER}"
            ) from error
        if "RecompileLimit" in type(error).__name__ or "recompile_limit" in text:
            raise CompileError(
                f"what the field captures ({changed_number(self.first, self.where[0])}) was different each time, and "
                f"every difference needs new code. Give numbers that change as 0-D tensors, {_EAGER}"
            ) from error
        check_field(*self.where)
        raise CompileError(
            f"the field cannot be compiled as one graph: {_first_line(error)} Write it in tensor operations, {_EAGER}"
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = getattr(error, "inner_exception", None) or error.__cause__


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def numbers_of(term: Any) -> dict[str, Any]:
    """Numbers that the term can reach, by name."""
    return {name: value for name, value in everything(term) if isinstance(value, int | float | complex | str)}


def changed_number(first: dict[str, Any], term: Any) -> str:
    """The name of a number that is not what it was."""
    now = numbers_of(term)
    return next((f"`{name}`" for name in first if name in now and now[name] != first[name]), "a value, type or shape")


class _Reads(TorchDispatchMode):
    """Notes the first operation whose result is a number, or of a shape that depends on values; and forward mode."""

    def __init__(self) -> None:
        super().__init__()
        self.found: str | None = None
        self.forward = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.forward |= forward_ad._current_level >= 0
        reading = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags)
        if reading and self.found is None:
            self.found = _place()
        return function(*args, **(kwargs or {}))


class _Transforms(TorchFunctionMode):
    """Notes whether a function is called inside a transform of `torch.func`."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found |= is_transforming()
        return function(*args, **(kwargs or {}))


def _place() -> str:
    """The innermost line that belongs to the user."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(_LIBRARIES):
            return f"line {frame.lineno} of {Path(frame.filename).name}: {frame.line}"
    return "in a library"


def _snapshot(term: Any) -> dict[str, Any]:
    """Numbers, versions of tensors and contents of containers that the term can reach."""
    seen: dict[str, Any] = {}
    for name, value in everything(term):
        if isinstance(value, Tensor):
            seen[name] = (id(value), value._version)
        elif isinstance(value, str | bytes | int | float | complex | None):
            seen[name] = value
        elif isinstance(value, list | tuple | set | frozenset | dict):
            seen[name] = (len(value), *map(id, value.values() if isinstance(value, dict) else value))
        elif isinstance(value, nn.Module):
            seen |= {f"{name}.{key}": (id(b), b._version) for key, b in value._buffers.items() if b is not None}
            seen |= {f"{name}.{key}": (id(p), p._version) for key, p in value._parameters.items() if p is not None}
    return seen


def _changed(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    for name in (*before, *after):
        old, new = before.get(name, after), after.get(name, before)
        if old is not new and old != new:
            return name
    return None
