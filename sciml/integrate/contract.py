"""What `solve` asks of its arguments, before the first step."""

import math
import numbers
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sciml.core.transforms import is_differentiated
from sciml.integrate.control import PID, AbstractControl, Clip, Fixed, Ladder
from sciml.integrate.flat import Flat, leaves_of
from sciml.integrate.ito_limit import loses_limit, remedy_of_limit
from sciml.integrate.methods.along_chords import AlongChords
from sciml.integrate.methods.base import AbstractMethod
from sciml.integrate.methods.langevin import AbstractLangevin
from sciml.integrate.methods.stochastic import AbstractStochastic
from sciml.integrate.terms import SDE, AbstractTerm


def chosen_control(method: Any, control: AbstractControl | None, term: AbstractTerm) -> AbstractControl:
    """The control, by default that of the method.

    Raises:
        TypeError, ValueError: if the method cannot follow it.
    """
    chords = isinstance(method, AlongChords)
    name = f"{type(method.method).__name__} along chords of noise" if chords else type(method).__name__
    if control is None:
        if method.has_error:
            return PID()
        raise ValueError(
            f"{name} has no error estimate, so its step must be given, got control=None. "
            "Pass control=Fixed(dt=...) or Fixed(n=...); a step is never inferred from the output times."
        )
    known = (Fixed, PID, Clip, Ladder) if method.has_error else (Fixed,)
    if not isinstance(control, known):
        raise TypeError(
            f"`control` must be {' or '.join(kind.__name__ for kind in known)} for {name}, "
            f"got {type(control).__name__}." + ("" if method.has_error else f" {_how_to_adapt(method, term)}")
        )
    return control


def _how_to_adapt(method: Any, term: AbstractTerm) -> str:
    """How to have steps chosen by errors where the method has no estimate."""
    if not isinstance(method, AbstractMethod):
        return "Give the steps as Fixed(n=...)."
    if isinstance(method, AlongChords):
        return f"Wrap it as StepDoubling({method.method!r}) for an error estimate, or take ShARK()."
    if isinstance(method, AbstractLangevin) or getattr(method, "linear", False):
        return "Give its steps as Fixed(n=...): there is no error estimate for it."
    if isinstance(term, SDE) and isinstance(method, AbstractStochastic) and loses_limit(method, term):
        return f"It cannot take adaptive steps: {remedy_of_limit(term)}"
    return f"Wrap it as StepDoubling({method!r}) for an error estimate."


def kind_of(value: Any) -> str:
    """What was given, in words."""
    return f"the class {value.__name__} itself" if isinstance(value, type) else f"{type(value).__name__} {value!r}"[:80]


def checked_params(params: Any) -> tuple[Tensor, ...]:
    """The further tensors as a tuple."""
    if isinstance(params, Tensor) or not isinstance(params, Iterable):
        raise TypeError(
            f"`params` must be a sequence of tensors, got {kind_of(params)}. Give params=(w,), or "
            "params=tuple(module.parameters())."
        )
    for tensor in (params := tuple(params)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"`params` must be tensors, got a {type(tensor).__name__}. Give params=(w, ...).")
    return params


def check_state(y: Flat) -> None:
    leaves = leaves_of(y)
    for leaf in leaves:
        if not (leaf.is_floating_point() or leaf.is_complex()):
            raise TypeError(
                f"the state must be floating point or complex, got {leaf.dtype}. Convert it with y0.double()."
            )
    kinds = sorted({str(leaf.dtype.to_real()) for leaf in leaves})
    if len(kinds) > 1:
        raise TypeError(f"all tensors of the state must have one precision, got {kinds}. Convert them to one.")
    if len({leaf.device for leaf in leaves}) > 1:
        raise ValueError("all tensors of the state must be on one device. Move them with .to(device).")


def check_dense(method: AbstractMethod) -> None:
    if not method.has_dense:
        raise ValueError(
            f"{type(method).__name__} has no dense output. Keep grid points, or use a method that has one."
        )


def checked_time(name: str, t: Any, batch: int) -> float | Tensor:
    """The time as it is, or a number where it is a tensor for no reason."""
    if not isinstance(t, Tensor):
        if isinstance(t, bool) or not isinstance(t, numbers.Real):
            raise TypeError(
                f"`{name}` must be a number or a tensor, got {kind_of(t)}. Give e.g. 1.0, or a time per sample as "
                "torch.tensor([1.0, 2.0])."
            )
        return float(t)
    if t.ndim > 0 and t.shape != (batch,):
        raise ValueError(f"`{name}` must be a number, 0-D or one per sample ({batch},), got shape {tuple(t.shape)}.")
    if t.is_complex():
        raise TypeError(f"`{name}` must be real, got {t.dtype}. Integrate along a real path.")
    return t if t.ndim > 0 or is_differentiated(t) else float(t)


def check_ends(t0: float | Tensor, t1: float | Tensor) -> None:
    """Raise unless all samples have somewhere to go."""
    if not isinstance(t0, Tensor) and not isinstance(t1, Tensor):
        good = math.isfinite(t0) and math.isfinite(t1) and t0 != t1
    else:
        length = torch.as_tensor(t1).detach().double() - torch.as_tensor(t0).detach().double()
        good = bool((torch.isfinite(length) & (length != 0)).all())
    if not good:
        raise ValueError(
            f"`t0` and `t1` must be finite and differ, for every sample, got t0={t0}, t1={t1}. "
            "Leave out samples that have nowhere to go."
        )


def of_groups(t: Tensor, groups: Tensor, count: int) -> Tensor:
    """The time of each group, which its rows must share."""
    if t.ndim == 0:
        return t
    row = torch.arange(len(groups), device=groups.device)
    first = row.new_zeros(count).scatter_reduce(0, groups, row, "amin", include_self=False)
    each = t[first]  # of one row only, so that gradients are not counted once per row
    if bool((each[groups] != t).any()):
        raise ValueError("`t0` and `t1` must be equal within a group, for its rows take joint steps.")
    return each


def check_steps(control: Fixed, t0: float | Tensor, t1: float | Tensor, max_steps: int) -> None:
    """Raise before the grid is made if it would have too many steps."""
    steps = len(control.ts) - 1 if control.ts is not None else control.n or 0
    if control.dt is not None and not (isinstance(t0, Tensor) or isinstance(t1, Tensor)):
        steps = abs(t1 - t0) / control.dt
    if steps > max_steps:
        raise ValueError(
            f"the grid has {steps:.0f} steps, more than max_steps={max_steps}. Take larger steps or raise max_steps."
        )
