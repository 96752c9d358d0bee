"""What a user gives, checked and brought to one tensor state and one field on it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.compat.torchdiffeq.methods import ADAPTIVE, EXTERNAL, NAMES

Norm = Callable[[Any], Any]
CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")


@final
@dataclass(frozen=True, eq=False)
class Call:
    """A checked call. The parts of a tuple state are joined to a vector.

    Args:
        func: the field on the joined state.
        y0: initial state.
        t: times, rising or falling.
        rtol, atol: tolerances, numbers or tensors that broadcast to the state.
        method: one of the known names.
        options: those the user gave but the norm.
        norm: of a joined state.
        shapes: of the parts of a tuple state; None for a tensor.
        callbacks: what to call at steps, by name.
        event: one number that is positive before the event; None to integrate over all of `t`.
        coupled: see `Recorded`.
    """

    func: Callable[[Tensor, Tensor], Tensor]
    y0: Tensor
    t: Tensor
    rtol: float | Tensor
    atol: float | Tensor
    method: str
    options: dict[str, Any]
    norm: Norm
    shapes: list[torch.Size] | None
    callbacks: dict[str, Callable[..., Any]]
    event: Callable[[Tensor, Tensor], Tensor] | None
    coupled: int | None = None

    @property
    def sign(self) -> float:
        """The direction of time."""
        return -1.0 if len(self.t) > 1 and bool(self.t[0] > self.t[1]) else 1.0

    def pack(self, y: Tensor) -> Tensor:
        """A state as a batch of one, which has at least one axis more."""
        return y[None] if y.ndim else y.reshape(1, 1)

    def unpack(self, y: Tensor) -> Tensor:
        """The state of a batch of one."""
        return y[0] if self.y0.ndim else y.reshape(())

    def field(self, t: Tensor, y: Tensor) -> Tensor:
        """The field on a batch of one."""
        value, shape = self.func(t, self.unpack(y)), self.y0.shape
        if value.shape != shape:
            if self.method in ADAPTIVE or torch.broadcast_shapes(value.shape, shape) != shape:
                raise RuntimeError(
                    f"`func` must return the shape of the state, {tuple(shape)}, got {tuple(value.shape)}. "
                    "Write out the sum or the broadcast that is meant."
                )
            value = value.expand(shape)
        return self.pack(value.to(y.dtype))

    def call_back(self, name: str, t0: float | Tensor, y0: Tensor, dt: float | Tensor) -> None:
        """Tell the user of a step from `t0` by `dt` > 0; `y0` is a batch of one."""
        if name in self.callbacks:
            state = self.unpack(y0)
            state = state if self.shapes is None else split(state, self.shapes)
            t0, dt = (torch.as_tensor(x, dtype=torch.float64).detach() for x in (t0, dt))
            self.callbacks[name](t0, state, dt.abs())


def split(joined: Tensor, shapes: list[torch.Size]) -> tuple[Tensor, ...]:
    """The parts of a joined state, or of many, (..., size)."""
    parts, start = [], 0
    for shape in shapes:
        end = start + shape.numel()
        parts.append(joined[..., start:end].view((*joined.shape[:-1], *shape)))
        start = end
    return tuple(parts)


def join(parts: tuple[Tensor, ...]) -> Tensor:
    """A tuple state as one vector."""
    return torch.cat([part.reshape(-1) for part in parts])


def rms_norm(value: Tensor) -> Tensor:
    """sqrt of the mean of |x|²."""
    return value.abs().square().mean().sqrt()


def mixed_norm(parts: tuple[Tensor, ...]) -> Any:
    """The largest root mean square of the parts."""
    return max((rms_norm(part) for part in parts), default=0.0)


def make_call(
    func: Any, y0: Any, t: Any, rtol: Any, atol: Any, method: str | None, options: dict[str, Any] | None, event_fn: Any
) -> Call:
    """Check everything that does not need a step.

    Raises:
        AssertionError, TypeError, ValueError: of the kind torchdiffeq raises.
    """
    if event_fn is not None and len(t) != 2:
        raise ValueError(f"with `event_fn`, `t` must hold two times, the start and any time in its direction: {len(t)}")
    shapes, joined = None, y0
    if not isinstance(y0, Tensor):
        _require(isinstance(y0, tuple), f"`y0` must be a tensor or a tuple of tensors, got {type(y0).__name__}.")
        shapes, joined = [part.shape for part in y0], join(y0)
        rtol, atol = _per_part("rtol", rtol, shapes), _per_part("atol", atol, shapes)
    method = _known(method or "dopri5")
    options = dict(options or {})
    norm = options.pop("norm", None) or (rms_norm if shapes is None else mixed_norm)
    event = None if event_fn is None else combined(event_fn, t[0], y0)
    on_tensor = func
    if shapes is not None:
        on_tensor, norm = on_joined(func, shapes), _norm_of_parts(norm, shapes)
        event = None if event is None else _eventon_joined(event, shapes)
    _check_times(t)
    _require(joined.numel() > 0, f"`y0` must not be empty, got shape {tuple(joined.shape)}. Leave out the call.")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        _require(
            not (isinstance(tolerance, Tensor) and tolerance.requires_grad),
            f"`{name}` must not require a gradient, got one that does. Pass {name}.detach().",
        )
    if not torch.is_grad_enabled():  # see `_Adjoint`
        joined, t = joined.detach(), t.detach()
    if t.device != joined.device:
        warnings.warn(f"`t` is on {t.device} and `y0` on {joined.device}; `t` is moved there.", stacklevel=4)
        t = t.to(joined.device)
    return Call(
        on_tensor, joined, t, rtol, atol, method, options, norm, shapes, _callbacks(func, method, CALLBACKS), event
    )


def _known(method: str) -> str:
    if method not in NAMES:
        raise ValueError(f'`method` must be one of {NAMES}, got "{method}". Choose from these.')
    return method


def _check_times(t: Any) -> None:
    _require(isinstance(t, Tensor), f"`t` must be a tensor, got {type(t).__name__}. Write torch.tensor([...]).")
    if not t.is_floating_point():
        raise TypeError(f"`t` must be floating point, got {t.dtype}. Write t.double().")
    _require(t.ndim == 1, f"`t` must have one dimension, got shape {tuple(t.shape)}. All parts share their times.")
    step = t.diff()
    _require(
        bool((step > 0).all()) or bool((step < 0).all()),
        f"`t` must be strictly increasing or decreasing, got {t.tolist()}. Sort the times and drop those given twice.",
    )


def _callbacks(func: Any, method: str, names: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    given = {name: getattr(func, name) for name in names if hasattr(func, name)}
    allowed = CALLBACKS if method in ADAPTIVE else () if method == EXTERNAL else CALLBACKS[:1]
    lost = sorted(set(given) - set(allowed))
    if lost:
        reason = "takes its steps in SciPy" if method == EXTERNAL else "has no rejected steps"
        warnings.warn(f'method "{method}" {reason} and never calls {lost}.', stacklevel=5)
    return {name: callback for name, callback in given.items() if name in allowed}


def _per_part(name: str, tolerance: Any, shapes: list[torch.Size]) -> Any:
    """One tolerance per part, as a vector beside the joined state."""
    try:
        parts = tuple(tolerance)
    except TypeError:
        return tolerance
    _require(
        len(parts) == len(shapes),
        f"`{name}` must have one entry per part of the state, {len(shapes)}, got {len(parts)}. Give one each.",
    )
    return torch.cat([torch.as_tensor(part).expand(shape.numel()) for part, shape in zip(parts, shapes, strict=True)])


def combined(event_fn: Any, t0: Tensor, y0: Any) -> Any:
    """All events as one number that starts positive and is 0 at the first of them."""
    with torch.no_grad():
        signs = torch.sign(event_fn(t0, y0))
    return lambda t, y: torch.min(event_fn(t, y) * signs)


def _eventon_joined(event: Any, shapes: list[torch.Size]) -> Any:
    return lambda t, y: event(t, split(y, shapes))


def on_joined(func: Any, shapes: list[torch.Size]) -> Any:
    return lambda t, y: join(func(t, split(y, shapes)))


def _norm_of_parts(norm: Norm, shapes: list[torch.Size]) -> Norm:
    return lambda y: norm(split(y, shapes))


def _require(condition: bool, message: str) -> None:
    """torchdiffeq checks by assertion; so that callers who catch one still do, these are assertion errors too."""
    if not condition:
        raise AssertionError(message)
