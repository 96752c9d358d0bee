"""First-order linear recurrences over time, with a backward that is the same recurrence run in reverse.

    x_t = a_t x_{t-1} + b_t

Wide steps are taken one after the other. Where a step is too small to be worth a call, time is cut into chunks that
run side by side from a state of zero; what the state before a chunk adds, its products of coefficients, comes behind.
Nothing is ever divided by a product, so vanishing coefficients are exact. How time is cut depends neither on its length
nor on the batch, so that states do not know what follows them or lies beside them. A step with a = 1 and b = 0 is the
identity in itself; between other steps it moves the cuts, so that a series with such steps and one without agree to
rounding.
"""

from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

from sciml.ssm.transforms import within_transform

_WIDE = 512
"""States from which on single steps pay: a call costs as much as 1000 complex multiplications, and a batch has some."""
_CHUNK = 64
"""Steps per chunk; from the first step on, the last one is shorter."""


def linear_recurrence(
    a: Inexact[Tensor, "..."], b: Inexact[Tensor, "*batch time state"], x0: Inexact[Tensor, "..."] | None = None
) -> Inexact[Tensor, "*batch time state"]:
    """All states of x_t = a_t x_{t-1} + b_t, t = 0 .. time - 1, with x_{-1} = `x0`.

    The derivative is the same recurrence run from the end, lambda_t = g_t + conj(a_{t+1}) lambda_{t+1}, so that
    backward needs no more than the states; it can be differentiated again. One opaque operator under `torch.compile`.

    Args:
        a: coefficients that broadcast to the shape of b; with a time axis of 1 (or `(state,)`) constant in time.
        b: inputs, (..., time, state), real or complex.
        x0: the state before the first step, (..., state); zero by default.

    Returns:
        The states, shaped as b, in the wider dtype of the three.

    Raises:
        ValueError: if a or x0 do not broadcast to b.

    Where |a| > 1, the product of 64 successive coefficients must not overflow.

    Source: Blelloch (1990), Prefix sums and their applications, section 1.4, for the chunks; Martin & Cundy (2018),
    Parallelizing linear recurrent neural nets over sequence length, for the backward.
    """
    *batch, time, state = b.shape
    a = a.reshape((1,) * max(0, 2 - a.ndim) + tuple(a.shape))
    _check("a", a, (*batch, time, state), "(..., time or 1, state)")
    x0 = b.new_zeros(state) if x0 is None else x0
    _check("x0", x0, (*batch, state), "(..., state)")
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), x0.dtype)
    a = a.expand(*batch, a.shape[-2], state)
    return _run(a.to(dtype), b.to(dtype), x0.expand(*batch, state).to(dtype), False)


def _check(name: str, value: Tensor, shape: tuple[int, ...], meaning: str) -> None:
    """Raise unless `value` broadcasts to `shape` and has no further axes."""
    padded = (1,) * (len(shape) - value.ndim) + tuple(value.shape)
    if len(padded) != len(shape) or any(n not in (1, m) for n, m in zip(padded, shape, strict=True)):
        raise ValueError(
            f"`{name}` must broadcast to {shape}, that is {meaning} of b; got {tuple(value.shape)}. "
            "Insert axes of length 1 where it is constant."
        )


@torch.library.custom_op("sciml::linear_recurrence", mutates_args=())
def _recurrence(a: Tensor, b: Tensor, x0: Tensor, reverse: bool) -> Tensor:
    """The recurrence, from the first step to the last or, if `reverse`, x_t = a_t x_{t+1} + b_t from the last one."""
    x = torch.empty(b.shape, dtype=b.dtype, device=b.device)
    advance(a.resolve_conj(), b.resolve_conj(), x0, x, reverse)
    return x


def advance(a: Tensor, b: Tensor, x0: Tensor, out: Tensor, reverse: bool = False) -> None:
    """Write the states into `out`; the recurrence without a gradient, for whoever has a derivative of their own."""
    steps, state = b.shape[-2:]
    if steps <= _CHUNK or state >= _WIDE:
        return _one_after_the_other(a, b, x0, out, reverse)
    whole = steps - steps % _CHUNK
    if reverse:
        first, rest, last = slice(steps - whole, None), slice(0, steps - whole), out[..., steps - whole, :]
    else:
        first, rest, last = slice(0, whole), slice(whole, None), out[..., whole - 1, :]
    constant = a.shape[-2] == 1
    coefficients = a.unsqueeze(-2) if constant else a[..., first, :].unflatten(-2, (-1, _CHUNK))
    inputs, states = (v[..., first, :].unflatten(-2, (-1, _CHUNK)) for v in (b, out))
    _side_by_side(coefficients, inputs, x0, states, reverse)
    _one_after_the_other(a if constant else a[..., rest, :], b[..., rest, :], last, out[..., rest, :], reverse)


def _steps(v: Tensor, count: int, reverse: bool) -> tuple[Tensor, ...]:
    """The slices of `v` along axis -2 in the order in which they are needed; one for all if it is constant."""
    slices = v.unbind(-2) * (count if v.shape[-2] == 1 else 1)
    return slices[::-1] if reverse else slices


def _one_after_the_other(a: Tensor, b: Tensor, x0: Tensor, out: Tensor, reverse: bool) -> None:
    """One multiply-add per step, over axis -2."""
    x = x0
    for a_t, b_t, x_t in zip(*(_steps(v, b.shape[-2], reverse) for v in (a, b, out)), strict=True):
        torch.addcmul(b_t, a_t, x, out=x_t)
        x = x_t


def _side_by_side(a: Tensor, b: Tensor, x0: Tensor, out: Tensor, reverse: bool) -> None:
    """The recurrence over (..., chunk, step, state): chunks from zero, then what the states before them add."""
    size = b.shape[-2]
    _one_after_the_other(a, b, torch.zeros_like(b[..., 0, :]), out, reverse)
    products = torch.empty((*a.shape[:-2], size, a.shape[-1]), dtype=a.dtype, device=a.device)
    _one_after_the_other(
        a, products.new_zeros(1, 1).expand(products.shape), torch.ones_like(a[..., 0, :]), products, reverse
    )
    end = 0 if reverse else -1
    before = torch.empty_like(b[..., 0, :])  # the state before each chunk
    chunks = products[..., end, :], out[..., end, :], before
    x = x0
    for product, local, start in zip(*(_steps(v, b.shape[-3], reverse) for v in chunks), strict=True):
        start.copy_(x)
        x = torch.addcmul(local, product, x)
    torch.addcmul(out, products, before.unsqueeze(-2), out=out)


@_recurrence.register_fake
def _(a: Tensor, b: Tensor, x0: Tensor, reverse: bool) -> Tensor:
    return torch.empty(b.shape, dtype=b.dtype, device=b.device)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, bool], output: Tensor) -> None:
    a, _, x0, ctx.reverse = inputs
    ctx.save_for_backward(a, x0, output)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
    """With the adjoint states l: grad_b = l, grad_a_t = l_t conj(x_{t-1}), grad_x0 = conj(a_0) l_0."""
    a, x0, x = ctx.saved_tensors
    reverse = ctx.reverse
    early, late = (slice(1, None), slice(None, -1)) if reverse else (slice(None, -1), slice(1, None))
    first, last = (-1, 0) if reverse else (0, -1)
    conj = a.conj()
    behind = conj if a.shape[-2] == 1 else conj[..., late, :]
    end = grad[..., last, :]
    moved = _run(behind, grad[..., early, :], end, not reverse)
    adjoint = torch.cat([end.unsqueeze(-2), moved] if reverse else [moved, end.unsqueeze(-2)], dim=-2)
    grad_x0 = conj[..., first, :] * adjoint[..., first, :]
    grad_a = None
    if ctx.needs_input_grad[0]:
        ends = x0.unsqueeze(-2)
        before = torch.cat([x[..., early, :], ends] if reverse else [ends, x[..., early, :]], dim=-2)
        grad_a = adjoint * before.conj()
        grad_a = grad_a.sum(-2, keepdim=True) if a.shape[-2] == 1 else grad_a
    return grad_a, adjoint, grad_x0, None


_recurrence.register_autograd(_backward, setup_context=_keep)


class _Transformed(torch.autograd.Function):
    """The same with the same derivative, for `torch.func`, whose gradients do not pass operators registered so."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, x0: Tensor, reverse: bool) -> Tensor:
        return _recurrence(a, b, x0, reverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, bool], output: Tensor) -> None:
        _keep(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        return _backward(ctx, *grad_outputs)


def _run(a: Tensor, b: Tensor, x0: Tensor, reverse: bool) -> Tensor:
    """By the operator, or within transforms of `torch.func` by the function."""
    if within_transform():
        return _Transformed.apply(a, b, x0, reverse)  # pyright: ignore[reportReturnType]
    return _recurrence(a, b, x0, reverse)


@_recurrence.register_vmap
def _(
    info: Any, in_dims: tuple[int | None, ...], a: Tensor, b: Tensor, x0: Tensor, reverse: bool
) -> tuple[Tensor, int]:
    """Axes in front are independent anyway."""
    moved = [
        v.unsqueeze(0).expand(info.batch_size, *v.shape) if at is None else v.movedim(at, 0)
        for v, at in zip((a, b, x0), in_dims, strict=False)
    ]
    return _recurrence(*moved, reverse), 0
