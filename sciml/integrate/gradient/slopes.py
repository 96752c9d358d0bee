"""The field of a continuous adjoint, its products with cotangents, and the stretches of time it is solved over."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.control import PID, AbstractControl, Clip, Fixed
from sciml.integrate.flat import Flat, beside, leaves_of, map_leaves
from sciml.integrate.terms import Field

Number = float | Tensor
"""A time or a length: a number for the whole batch, or (batch,)."""


@final
@dataclass(frozen=True, eq=False)
class Segment:
    """The stretch of time from one output back to the one before, run through as s from 0 to 1.

    Args:
        start, length: [time]; t = start + s length.
    """

    start: Number
    length: Number

    def time(self, s: Tensor) -> Tensor:
        """t at s, both (..., batch, 1, ..., 1), (batch,) or 0-D, in the dtype of s."""
        start, length = (_like(x, s) for x in (self.start, self.length))
        return start + s * length

    def times(self, s: Tensor) -> Tensor:
        """t at s, both (time,) or (batch, time)."""
        start, length = (x[:, None] if isinstance(x, Tensor) else x for x in (self.start, self.length))
        return start + s * length

    def scaled(self, y: Flat, factor: float) -> Flat:
        """`factor` times length times y."""
        if not isinstance(self.length, Tensor):
            number = factor * self.length
            return map_leaves(lambda leaf: leaf * number, y)
        rows = factor * self.length
        return map_leaves(lambda leaf: leaf * beside(rows, leaf).to(leaf.dtype), y)

    def span(self) -> float:
        """The greatest length of a sample, in absolute value."""
        return float(self.length.abs().max()) if isinstance(self.length, Tensor) else abs(self.length)

    def control(self, control: AbstractControl, grid: Any) -> AbstractControl:
        """Step control in s for one in t."""
        if isinstance(control, Fixed):
            return self._fixed(control, grid)
        if isinstance(control, Clip):
            stops, jumps = (None if x is None else self._place(x) for x in (control.stops, control.jumps))
            inner = self.control(control.inner, grid)
            assert isinstance(inner, PID)
            return Clip(inner, stops, jumps)
        assert isinstance(control, PID)
        if control.dt0 is None and control.dt_min == 0.0 and control.dt_max == float("inf"):
            return control
        unit = self.span()
        dt0 = None if control.dt0 is None else control.dt0 / unit
        return replace(control, dt0=dt0, dt_min=control.dt_min / unit, dt_max=control.dt_max / unit)

    def _fixed(self, control: Fixed, grid: Any) -> Fixed:
        if control.dt is not None:
            return Fixed(dt=control.dt / self.span())
        if isinstance(grid, Tensor) or isinstance(self.length, Tensor) or isinstance(self.start, Tensor):
            times = torch.as_tensor(grid, dtype=torch.float64)
            return Fixed(dt=float((times[1] - times[0]).abs().max()) / self.span())
        points = [(t - self.start) / self.length for t in grid]
        inside = sorted(s for s in points if 1e-9 < s < 1 - 1e-9)
        return Fixed(ts=torch.tensor([0.0, *inside, 1.0], dtype=torch.float64))

    def _place(self, t: Tensor) -> Tensor:
        """Times (count,) or (batch, count) in s; never infinite."""
        start, length = (x[:, None] if isinstance(x, Tensor) else x for x in (self.start, self.length))
        s = (t.double() - start) / length
        return s.masked_fill(~torch.isfinite(s), torch.nan) if s.ndim == 2 else s


def _like(x: Number, s: Tensor) -> Number:
    """A time per sample in the rank and dtype of s."""
    if not isinstance(x, Tensor):
        return x
    return (x.reshape(-1, *[1] * max(s.ndim - 1, 0)) if s.ndim > 1 or s.ndim == 0 else x).to(s.dtype)


@final
@dataclass(frozen=True, eq=False)
class Slopes:
    """The field with its vector-Jacobian products.

    Args:
        field: f on flat states.
        params: what else it is differentiated in.
        autocast: as it was in the forward solve.
    """

    field: Field
    params: tuple[Tensor, ...]
    autocast: Callable[[], Any]

    def __call__(self, t: Tensor, y: Flat) -> Flat:
        """f(t, y)."""
        with torch.no_grad(), self.autocast():
            return self.field(t, y)

    def vjp(self, t: Tensor, y: Flat, cotangent: Flat, *, params: bool) -> tuple[Flat, Flat, tuple[Tensor, ...]]:
        """f(t, y), cotangent^T df/dy, and cotangent^T df/dparams if asked for."""
        with torch.enable_grad(), self.autocast():
            y = map_leaves(lambda leaf: leaf.detach().requires_grad_(), y)
            slope = self.field(t.detach(), y)
        leaves = leaves_of(y)
        wanted = (*leaves, *self.params) if params else leaves
        grads = gradients([slope], wanted, [cotangent])
        in_y = grads[0] if isinstance(y, Tensor) else tuple(grads[: len(leaves)])
        return map_leaves(torch.detach, slope), in_y, tuple(grads[len(leaves) :])

    def of_params(self, points: list[tuple[Tensor, Flat, Flat]]) -> list[Tensor]:
        """Sum over points (t, y, cotangent) of cotangent^T df/dparams."""
        with torch.enable_grad(), self.autocast():
            slopes = [self.field(t, y) for t, y, _ in points]
        return gradients(slopes, self.params, [cotangent for *_, cotangent in points])


def gradients(outputs: list[Flat], wanted: tuple[Tensor, ...], cotangents: list[Flat]) -> list[Tensor]:
    """Vector-Jacobian products, zero where nothing depends."""
    pairs = [
        (leaf, c)
        for y, cotangent in zip(outputs, cotangents, strict=True)
        for leaf, c in zip(leaves_of(y), leaves_of(cotangent), strict=True)
        if leaf.requires_grad
    ]
    if not pairs or not wanted:
        return [torch.zeros_like(x) for x in wanted]
    leaves, weights = zip(*pairs, strict=True)
    found = torch.autograd.grad(leaves, wanted, weights, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(wanted, found, strict=True)]
