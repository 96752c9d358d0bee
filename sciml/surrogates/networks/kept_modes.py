"""From fields to their lowest Fourier modes and back, as real matrix products or by FFT.

    gather:  u_hat(k) = 1/N sum_x u(x) exp(-i k x)
    spread:  u(x) = Re sum_k w_k u_hat(k) exp(i k x)

Kept are the m wavenumbers -(m // 2) ... of every axis but the last, and 0 ... h - 1 of the last, where w = 2 except at
0 and at the Nyquist mode. Coefficients are real pairs laid out (part, *mode, batch, channel), so that channels are
mixed by one matrix product per mode without moving data.

Few modes: axis by axis, one real matrix product with a table of cosines and sines; only kept modes are ever computed
and no complex tensor exists. Many modes: torch's FFT. `MATRIX_MODES` is where both cost the same.
"""

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

MATRIX_MODES = 40
"""Largest number of modes on the last axis for which matrix products are used. On two CPU cores, forward + backward,
256 to 4096 points in 1-D and 64² to 256² in 2-D, they win up to 33 modes and lose from 129; in between it is a tie."""

Tables = tuple[Tensor, ...]
_CACHE: dict[tuple[Any, ...], tuple[Tables, Tables]] = {}


def wavenumbers_kept(kept: tuple[int, ...]) -> tuple[range, ...]:
    """The kept wavenumbers of each axis, in the order in which coefficients are stored."""
    *full, half = kept
    return (*(range(-(m // 2), m - m // 2) for m in full), range(half))


def gather_modes(u: Float[Tensor, "batch channel *space"], kept: tuple[int, ...]) -> Float[Tensor, "2 *axes"]:
    """Kept coefficients as real pairs, (part, *mode, batch, channel), [field]."""
    if kept[-1] > MATRIX_MODES:
        return _gather_by_fft(u, kept)
    tables, _ = _tables(_specialised(u.shape[2:]), kept, u.dtype, u.device)
    return _Gather.apply(u, tables).view(2, *kept, *u.shape[:2])


def spread_modes(u_hat: Float[Tensor, "2 *axes"], points: tuple[int, ...]) -> Float[Tensor, "batch channel *space"]:
    """The real field with these coefficients, on any number of points that can carry them, [field]."""
    *kept, batch, channel = u_hat.shape[1:]
    if kept[-1] > MATRIX_MODES:
        return _spread_by_fft(u_hat, points)
    _, tables = _tables(_specialised(points), tuple(kept), u_hat.dtype, u_hat.device)
    return _Spread.apply(u_hat, (batch, channel), tables)


def _specialised(points: Sequence[int]) -> tuple[int, ...]:
    """The numbers of points as constants: one compiled graph per resolution, since tables depend on it."""
    if torch.compiler.is_compiling():
        from torch.fx.experimental.symbolic_shapes import guard_scalar  # costs a second; loaded by then

        return tuple(guard_scalar(n) for n in points)  # type: ignore[misc]
    return tuple(points)


@torch.compiler.assume_constant_result
def _tables(
    points: tuple[int, ...], kept: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tables, Tables]:
    """Tables of `gather` and `spread`: (2h, n) on the last axis, (2m, n, 2) from and to pairs on the others."""
    key = (points, kept, dtype, device)
    if key not in _CACHE:
        with torch.inference_mode(False):
            last = len(points) - 1
            made = [
                _axis_tables(n, numbers, axis == last)
                for axis, (n, numbers) in enumerate(zip(points, wavenumbers_kept(kept), strict=True))
            ]
            gather, spread = zip(*made, strict=True)
            _CACHE[key] = tuple(t.to(device, dtype) for t in gather), tuple(t.to(device, dtype) for t in spread)
    return _CACHE[key]


def _axis_tables(points: int, numbers: range, from_real: bool) -> tuple[Tensor, Tensor]:
    """cos(k x) and sin(k x) on one axis in float64, arranged for `gather` and for `spread`."""
    k = torch.tensor(list(numbers))
    turn = k[:, None] * torch.arange(points) % points  # whole numbers: exact for any size
    angle = turn.double() * (2 * math.pi / points)
    cos, sin = angle.cos(), angle.sin()
    if not from_real:
        table = torch.cat([torch.stack([cos, sin], dim=-1), torch.stack([-sin, cos], dim=-1)])
        return table / points, table
    table = torch.cat([cos, -sin])
    weight = torch.where((k == 0) | (2 * k == points), 1.0, 2.0).double()
    return table / points, weight.repeat(2)[:, None] * table


def _gather(u: Tensor, tables: Tables) -> Tensor:
    """Contract the last axis first; each step leaves (remaining points, part, *mode done, batch x channel)."""
    *shape, points = u.shape[2:]
    outer = math.prod(shape)
    z = _left_product(tables[-1], u.reshape(-1, outer, points).permute(1, 2, 0))
    for points, table in zip(reversed(shape), reversed(tables[:-1]), strict=True):
        outer //= points
        z = _left_product(table.flatten(1), z.view(outer, 2 * points, -1))
    return z


def _left_product(table: Tensor, z: Tensor) -> Tensor:
    """`table @ z` for every entry of the leading axis of z."""
    if len(z) == 1:
        return torch.mm(table, z[0])[None]
    return torch.bmm(table.expand(len(z), -1, -1), z)


def _spread(u_hat: Tensor, lead: tuple[int, ...], tables: Tables) -> Tensor:
    """Expand the first axis first; each step moves it behind the others, so that the points end last and in order."""
    z = u_hat
    for table in tables[:-1]:
        rows = z.reshape(len(table), -1).t()
        z = torch.bmm(rows.expand(2, -1, -1), table.permute(2, 0, 1).contiguous())
    u = torch.mm(z.reshape(len(tables[-1]), -1).t(), tables[-1])
    return u.view(*lead, *(table.shape[1] for table in tables))


@final
class _Gather(torch.autograd.Function):
    """`_gather`, whose gradient is `_spread` with the same tables: each is the transpose of the other, written in the
    order of contraction that is fastest in its direction. So both may be differentiated any number of times."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, tables: Tables) -> Tensor:
        return _gather(u, tables)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        u, ctx.tables = inputs
        ctx.lead = tuple(u.shape[:2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return _Spread.apply(grads[0], ctx.lead, ctx.tables), None


@final
class _Spread(torch.autograd.Function):
    """`_spread`, whose gradient is `_gather` with the same tables."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u_hat: Tensor, lead: tuple[int, ...], tables: Tables) -> Tensor:
        return _spread(u_hat, lead, tables)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        u_hat, _, ctx.tables = inputs
        ctx.shape = u_hat.shape

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return _Gather.apply(grads[0], ctx.tables).view(ctx.shape), None, None


def pair_product(a: Float[Tensor, "2 mode i j"], b: Float[Tensor, "2 mode j k"]) -> Float[Tensor, "2 mode i k"]:
    """The complex matrix product a b for every mode, on real pairs."""
    return _PairProduct.apply(a, b, 1, 1)


@final
class _PairProduct(torch.autograd.Function):
    """(re a + i s im a)(re b + i t im b), where the signs s, t = -1 conjugate. Both gradients are of the same form:

    a' = conj_s(y' conj_t(b)^H),    b' = conj_t(conj_s(a)^H y')
    """

    @staticmethod
    def forward(a: Tensor, b: Tensor, s: int, t: int) -> Tensor:
        y = a.new_empty(*a.shape[:-1], b.shape[-1])
        y[0].baddbmm_(a[0], b[0], beta=0).baddbmm_(a[1], b[1], alpha=-s * t)
        y[1].baddbmm_(a[0], b[1], beta=0, alpha=t).baddbmm_(a[1], b[0], alpha=s)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, b, ctx.s, ctx.t = inputs
        ctx.save_for_backward(a, b)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (a, b), s, t = ctx.saved_tensors, ctx.s, ctx.t
        need_a, need_b = ctx.needs_input_grad[:2]
        grad_a = _PairProduct.apply(grads[0], b.transpose(-1, -2), s, -s * t) if need_a else None
        grad_b = _PairProduct.apply(a.transpose(-1, -2), grads[0], -s * t, t) if need_b else None
        return grad_a, grad_b, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], a: Tensor, b: Tensor, s: int, t: int) -> tuple[Tensor, int]:
        """The mapped axis becomes part of the mode axis."""
        count = info.batch_size
        a, b = (
            (x[None].expand(count, *x.shape) if axis is None else x.movedim(axis, 0)).transpose(0, 1).flatten(1, 2)
            for x, axis in zip((a, b), in_dims[:2], strict=True)
        )
        return _PairProduct.apply(a, b, s, t).unflatten(1, (count, -1)), 1


def _gather_by_fft(u: Tensor, kept: tuple[int, ...]) -> Tensor:
    ndim = len(kept)
    z = torch.fft.rfftn(u, dim=tuple(range(2, 2 + ndim)), norm="forward").narrow(-1, 0, kept[-1])
    for axis, m in enumerate(kept[:-1], start=2):
        negative = m // 2
        z = torch.cat([z.narrow(axis, z.shape[axis] - negative, negative), z.narrow(axis, 0, m - negative)], axis)
    parts = torch.view_as_real(z.resolve_conj())
    return parts.permute(-1, *range(2, 2 + ndim), 0, 1).contiguous()


def _spread_by_fft(u_hat: Tensor, points: tuple[int, ...]) -> Tensor:
    kept = u_hat.shape[1:-2]
    ndim = len(kept)
    z = torch.view_as_complex(u_hat.permute(-2, -1, *range(1, 1 + ndim), 0).contiguous())
    for axis, (m, n) in enumerate(zip(kept[:-1], points[:-1], strict=True), start=2):
        negative = m // 2
        gap = list(z.shape)
        gap[axis] = n - m
        parts = [z.narrow(axis, negative, m - negative), z.new_zeros(gap), z.narrow(axis, 0, negative)]
        z = torch.cat(parts, axis)
    return torch.fft.irfftn(z, s=points, dim=tuple(range(2, 2 + ndim)), norm="forward")
