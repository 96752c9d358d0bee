"""Projection of a function onto a HiPPO basis as it comes in, and reconstruction from the coefficients."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_increasing, check_shape, check_whole
from sciml.ssm.discretise import ZOH, AbstractDiscretisation, Discrete
from sciml.ssm.hippo.base import AbstractOperator
from sciml.ssm.hippo.legs import LegS

_BYTES = 2**25
"""Of step matrices that are held at once."""


def project(
    operator: AbstractOperator,
    states: int,
    f: Tensor,
    ts: Float[Tensor, " ends"],
    rule: AbstractDiscretisation,
    *,
    start: Tensor | None = None,
) -> Float[Tensor, "batch time {states}"]:
    """Coefficients of the past of f after every interval, f held at f[:, k] over [ts[k], ts[k + 1]].

        c_k = R(d_k A) c_{k-1} + d_k G(d_k A) B f_k,    d_k = ts[k + 1] - ts[k]

    Intervals may differ. Forward and backward Euler are `GeneralizedBilinear(0)` and `(1)`; `ZOH()` is exact for f held
    so. LegS here is that of S4, in whose past weights fall as exp(-age); see `project_scaled` for the other.

    Args:
        operator: basis and measure.
        states: how many coefficients.
        f: values, (batch, time).
        ts: ends of the intervals, one more than values, increasing, [time].
        rule: how each interval is stepped.
        start: coefficients at ts[0], (batch, states); of the zero function by default.

    Raises:
        ValueError: if shapes disagree, the rule is a map, the times do not increase, or are not one more than the
            values.

    Source: Gu, Dao, Ermon, Rudra & Re (2020), arXiv 2008.07669, section 2.3 and appendix B.3.
    """
    _check(states, f, ts, rule, start)
    return _stepped(operator, states, f, ts.double().diff(), rule, start)


def project_scaled(
    states: int,
    f: Tensor,
    ts: Float[Tensor, " ends"],
    rule: AbstractDiscretisation,
    *,
    origin: float | None = None,
    start: Tensor | None = None,
) -> Float[Tensor, "batch time {states}"]:
    """Coefficients of all of f since `origin` on Legendre polynomials: HiPPO-LegS, t dc/dt = A c + B f.

    Interval k is a step of d_k = (t_{k+1} - t_k) / t_{k+1}, 1/k on a regular grid, which makes all rules but one first
    order in the interval. The one is `ZOH()`, with d_k = log(t_{k+1} / t_k), exact for f held over the intervals.
    From t = 0 on, the first value enters with weight 2/3 of what it should under the trapezoidal rule (1/2 under
    backward Euler, 1 under ZOH), as published; its part of the past vanishes with time.

    Args:
        states: how many coefficients.
        f: values, (batch, time).
        ts: ends of the intervals, one more than values, increasing, [time].
        rule: how each interval is stepped.
        origin: where the past begins; ts[0] by default.
        start: coefficients at ts[0], (batch, states); of the zero function by default.

    Raises:
        ValueError: if shapes disagree, the rule is a map, the times do not increase, are not one more than the values,
            or begin before `origin`.

    Source: Gu, Dao, Ermon, Rudra & Re (2020), arXiv 2008.07669, theorem 2 and eq. (4); ZOH in log t is ours.
    """
    _check(states, f, ts, rule, start)
    end = ts.double() - (ts[0] if origin is None else origin)
    if not end[0] >= 0:
        raise ValueError(
            f"`ts` must not begin before `origin`, got ts[0] = {ts[0].item():g} and origin = {origin:g}. Give the time "
            "since which the past counts."
        )
    if not isinstance(rule, ZOH):
        return _stepped(LegS(), states, f, end.diff() / end[1:], rule, start)
    if end[0] > 0:
        return _stepped(LegS(), states, f, end.log().diff(), rule, start)
    first = torch.zeros(len(f), 1, states, dtype=f.dtype, device=f.device)
    first[:, 0, 0] = f[:, 0]  # the limit of an infinite step: a constant
    later = _stepped(LegS(), states, f[:, 1:], end[1:].log().diff(), rule, first[:, 0])
    return torch.cat([first, later], dim=1)


def reconstruct(
    operator: AbstractOperator, c: Float[Tensor, "*batch state"], ages: Float[Tensor, " age"]
) -> Float[Tensor, "*batch age"]:
    """f(t - s) ~ sum_n c_n g_n(s), from the coefficients at t.

    Args:
        operator: basis and measure.
        c: coefficients.
        ages: s, [time]; of LegS in log t (its own time), s = log((t - t0) / (tau - t0)) for f(tau), so that
            `scaled_ages` gives them.
    """
    return c @ operator.duals(c.shape[-1], ages.double()).to(c)


def scaled_ages(fraction: Float[Tensor, " point"]) -> Float[Tensor, " point"]:
    """Ages of LegS at fractions (tau - t0) / (t - t0) of the past, 0 (oldest) to 1 (newest)."""
    return -torch.log(fraction.double())


def coefficients(
    operator: AbstractOperator,
    states: int,
    f: Float[Tensor, "batch node"],
    ages: Float[Tensor, " node"],
    weights: Float[Tensor, " node"],
) -> Float[Tensor, "batch {states}"]:
    """c_n = int f(t - s) K_n(s) ds by a quadrature rule: what the online update follows.

    Args:
        operator: basis and measure.
        states: how many coefficients.
        f: values at t - s.
        ages: nodes s, [time].
        weights: of the nodes, [time].
    """
    return (f * weights) @ operator.kernels(states, ages).mT


def _check(states: int, f: Tensor, ts: Tensor, rule: AbstractDiscretisation, start: Tensor | None) -> None:
    check_whole("states", states, 1)
    check_shape("f", f, (None, None), "batch and time; one function is f[None]")
    if start is not None:
        check_shape("start", start, (len(f), states), "batch of f and states")
    if isinstance(rule, Discrete):
        raise ValueError(
            "`rule` must step a flow, got Discrete(), which takes the matrix of an operator for a map. Take ZOH() or "
            "Bilinear()."
        )
    check_shape("ts", ts, (f.shape[-1] + 1,), "one end more than there are intervals")
    check_increasing("ts", ts)


def _stepped(
    operator: AbstractOperator,
    states: int,
    f: Tensor,
    steps: Tensor,
    rule: AbstractDiscretisation,
    c: Tensor | None,
) -> Tensor:
    """The recurrence over intervals, one matrix for all that are equal."""
    c = f.new_zeros(len(f), states) if c is None else c
    out = []
    for value, (factor, column) in zip(f.unbind(1), _matrices(operator, states, steps, rule, f.dtype), strict=True):
        c = c @ factor.mT + value.unsqueeze(-1) * column
        out.append(c)
    return torch.stack(out, dim=1) if out else f.new_zeros(len(f), 0, states)


def _matrices(
    operator: AbstractOperator, states: int, steps: Tensor, rule: AbstractDiscretisation, dtype: torch.dtype
) -> Iterator[tuple[Tensor, Tensor]]:
    """R(d A) and d G(d A) B of each step, made in float64 for a block of distinct steps at a time."""
    a, b = (value.to(steps.device) for value in operator.transition(states))
    if bool(torch.isclose(steps, steps[:1], rtol=1e-12, atol=0).all()) and len(steps) > 0:
        factor, gain = rule.matrices(steps[0] * a)
        pair = factor.to(dtype), (steps[0] * (gain @ b)).to(dtype)
        yield from (pair for _ in range(len(steps)))
        return
    count = max(1, math.floor(_BYTES / (64 * states**2)))
    for block in steps.split(count):
        factors, gains = rule.matrices(block[:, None, None] * a)
        columns = block[:, None] * (gains @ b)
        yield from zip(factors.to(dtype), columns.to(dtype), strict=True)
