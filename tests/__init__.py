"""The type checker behind the jaxtyping hook: beartype, with an int accepted where a float is declared (PEP 484).

Checks of every call take half of the time of tests that make many steps: each test checks the first calls of every
function.
"""

import dataclasses
import functools
import inspect
from collections import Counter
from collections.abc import Callable
from types import CodeType
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

CHECKED = 8
"""Calls of each function that a test checks."""
calls: Counter[CodeType] = Counter()
"""Made in this test, by the code that all definitions of an inner function share."""

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
_jaxtyped = jaxtyping.jaxtyped


def _checked(fn: Any = None, *, typechecker: Callable[[Any], Any]) -> Any:
    """What the hook puts around functions and classes; the checks of a function are made at its first call."""
    if fn is None:
        return functools.partial(_checked, typechecker=typechecker)
    if inspect.isclass(fn):
        if dataclasses.is_dataclass(fn) and not hasattr(fn.__init__, "__wrapped__"):
            fn.__init__ = _checked(fn.__init__, typechecker=typechecker)
        return fn
    code, checked = fn.__code__, None
    if calls[code] >= CHECKED:  # an inner function, defined once more
        return fn

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        calls[code] += 1
        if calls[code] > CHECKED or jaxtyping.config.jaxtyping_disable:
            return fn(*args, **kwargs)
        nonlocal checked
        checked = checked or _jaxtyped(fn, typechecker=typechecker)
        return checked(*args, **kwargs)

    return call


jaxtyping.jaxtyped = _checked
