"""Selective systems: a diagonal recurrence whose steps, inputs and outputs the data choose, without its states.

    x_t = exp(s_t a) x_{t-1} + s_t v_t b_t,    y_t = sum_n c_tn x_tn

States are `state` times larger than anything that enters or leaves. They are formed for a few times at once, few enough
for the cache, read and left; backward forms them again from those at the starts of segments and runs the recurrence in
reverse. So memory is that of inputs and outputs, and each state costs a few operations in the cache.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_CACHED = 2**17
"""Numbers per intermediate array: those of one piece of times stay in a second-level cache."""
_PIECES = 8
"""Pieces per segment, at most: their states and factors stay in a third-level cache."""


def selective_scan(
    v: Float[Tensor, "batch time channel"],
    step: Float[Tensor, "batch time channel"],
    a: Float[Tensor, "channel state"],
    b: Float[Tensor, "batch time state"],
    c: Float[Tensor, "batch time state"],
    x0: Float[Tensor, "batch channel state"],
) -> tuple[Float[Tensor, "batch time channel"], Float[Tensor, "batch channel state"]]:
    """Outputs at all times, and the last state.

    One opaque operator under `torch.compile`. Gradients are exact; they cannot be differentiated again.

    Args:
        v: inputs.
        step: steps, [time]; 0 changes nothing.
        a: rates, [1/time].
        b: how inputs enter.
        c: how states leave.
        x0: the state before.

    Source: Gu & Dao (2023), arXiv 2312.00752, algorithm 2 and section 3.3.2, whose device kernel recomputes likewise.
    """
    # Channels last inside: every product then runs over contiguous rows of them.
    y, last, _ = _scan(v, step, a.mT.contiguous(), b, c, x0.mT.contiguous())
    return y, last.mT


def _times_per_piece(x: Tensor) -> int:
    return max(1, _CACHED // max(1, x.numel()))


def _segment(time: int, piece: int) -> int:
    """Times between stored states: whole pieces, about the square root of all, and no more than a cache holds."""
    return piece * max(1, min(round(math.sqrt(time) / piece), _PIECES))


@torch.library.custom_op("sciml::selective_scan", mutates_args=())
def _scan(v: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, x0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, the last state, and states at the starts of segments; channels last, a and x0 with them."""
    time = v.shape[1]
    piece = _times_per_piece(x0)
    segment = _segment(time, piece)
    y = v.new_empty(v.shape)
    out = y.transpose(0, 1)
    starts = x0.new_empty(-(-time // segment), *x0.shape)
    x, work = x0, _Work(x0, piece)
    v, step, b, c = (value.transpose(0, 1) for value in (v, step, b, c))
    for at in range(0, time, piece):
        if at % segment == 0:
            starts[at // segment].copy_(x)
        now = slice(at, at + piece)
        states, _ = work.states(x, a, v[now], step[now], b[now])
        torch.matmul(c[now].unsqueeze(-2), states, out=out[now].unsqueeze(-2))
        x = states[-1].clone()
    return y, x, starts


class _Work:
    """Arrays (time, batch, state, channel) for a few times, used again by the next."""

    def __init__(self, x: Tensor, times: int) -> None:
        self.factor, self.state = (x.new_empty(times, *x.shape) for _ in range(2))

    def states(self, x: Tensor, a: Tensor, v: Tensor, step: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """States and factors; times come first."""
        factor, state = self.factor[: len(v)], self.state[: len(v)]
        torch.mul(step.unsqueeze(-2), a, out=factor).exp_()
        torch.mul((v * step).unsqueeze(-2), b.unsqueeze(-1), out=state)
        for f, s in zip(factor.unbind(0), state.unbind(0), strict=True):
            s.addcmul_(f, x)
            x = s
        return state, factor


@_scan.register_fake
def _(v: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, x0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    time = v.shape[1]
    segment = _segment(time, _times_per_piece(x0))
    return v.new_empty(v.shape), x0.new_empty(x0.shape), x0.new_empty((-(-time // segment), *x0.shape))


@torch.library.custom_op("sciml::selective_scan_backward", mutates_args=())
def _scan_backward(
    grad_y: Tensor, grad_last: Tensor, v: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of v, step, a, b, c and x0, one segment after the other from the end."""
    time = v.shape[1]
    piece = _times_per_piece(starts[0])
    segment = _segment(time, piece)
    work, buffer = _Work(starts[0], min(segment, time)), starts.new_empty(piece, *starts.shape[1:])
    # Views with times first: large arrays are not copied, for fresh pages cost more than strides.
    inputs = tuple(value.transpose(0, 1) for value in (v, step, b, c, grad_y))
    results = tuple(value.new_empty(value.shape) for value in (v, step, b, c))
    grads = tuple(value.transpose(0, 1) for value in results)
    grad_a, adjoint = torch.zeros_like(a), grad_last
    for index in range(len(starts) - 1, -1, -1):
        now = slice(index * segment, min((index + 1) * segment, time))
        own, own_grads = [value[now] for value in inputs], [value[now] for value in grads]
        states, factors = work.states(starts[index], a, *own[:3])
        for at in range((len(states) - 1) // piece * piece, -1, -piece):
            part = slice(at, at + piece)
            before = starts[index] if at == 0 else states[at - 1]
            adjoint = _piece_backward(
                adjoint,
                buffer,
                before,
                states[part],
                factors[part],
                a,
                grad_a,
                [value[part] for value in own],
                [value[part] for value in own_grads],
            )
    of_v, of_step, of_b, of_c = results
    return of_v, of_step, grad_a, of_b, of_c, adjoint


def _piece_backward(
    adjoint: Tensor,
    buffer: Tensor,
    before: Tensor,
    states: Tensor,
    factors: Tensor,
    a: Tensor,
    grad_a: Tensor,
    inputs: list[Tensor],
    grads: list[Tensor],
) -> Tensor:
    """Fill in the gradients of a piece; `adjoint` is what its last state receives from later ones, and what it returns
    what the state before it does.

    lambda_t = c_t grad_y_t + exp(z_{t+1}) lambda_{t+1}, z = s a, and grad_z_t = lambda_t exp(z_t) x_{t-1}.
    """
    v, step, b, c, grad_y = inputs
    grad_v, grad_step, grad_b, grad_c = grads
    torch.matmul(states, grad_y.unsqueeze(-1), out=grad_c.unsqueeze(-1))
    lambdas = torch.mul(grad_y.unsqueeze(-2), c.unsqueeze(-1), out=buffer[: len(v)])
    lambdas[-1].add_(adjoint)
    for t in range(len(v) - 2, -1, -1):
        lambdas[t].addcmul_(factors[t + 1], lambdas[t + 1])
    torch.matmul(lambdas, (v * step).unsqueeze(-1), out=grad_b.unsqueeze(-1))
    entered = (b.unsqueeze(-2) @ lambdas).squeeze(-2)  # sum_n b lambda
    torch.mul(step, entered, out=grad_v)
    passed = lambdas.mul_(factors)
    adjoint = passed[0].clone()
    passed[1:].mul_(states[:-1])
    passed[0].mul_(before)  # grad_z now
    torch.addcmul(torch.mul(passed, a, out=states).sum(-2), v, entered, out=grad_step)
    grad_a += passed.mul_(step.unsqueeze(-2)).sum((0, 1))
    return adjoint


@_scan_backward.register_fake
def _(
    grad_y: Tensor, grad_last: Tensor, v: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor
) -> tuple[Tensor, ...]:
    return tuple(value.new_empty(value.shape) for value in (v, step, a, b, c, starts[0]))


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    v, step, a, b, c, _ = inputs
    ctx.save_for_backward(v, step, a, b, c, output[2])
    ctx.set_materialize_grads(True)


def _backward(ctx: Any, grad_y: Tensor, grad_last: Tensor, _: Tensor) -> tuple[Tensor, ...]:
    v, step, a, b, c, starts = ctx.saved_tensors
    return _scan_backward(grad_y, grad_last, v, step, a, b, c, starts)


_scan.register_autograd(_backward, setup_context=_keep)
