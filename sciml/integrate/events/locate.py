"""Where a function crosses zero within a step: bracketed, for all rows at once; and the derivative of that place.

Iterations interpolate, truncate and project (ITP): the secant's zero is moved towards the middle by delta, and held
within a distance of the middle such that the bracket is at most twice as long as with bisection. So the number of
iterations is bounded by `ITERATIONS` whatever the function, and is below ten for smooth ones.

Source: Oliveira & Takahashi (2020), ACM Trans. Math. Softw. 47, 5, algorithm 2.4, with kappa_1 = 0.2 / (b - a),
kappa_2 = 2, n_0 = 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

RESOLUTION = 2.0**-53
"""Brackets are not made shorter than this part of a step."""
ITERATIONS = 56
"""Twice a bracket of 1 halved this often is below the resolution."""


@torch.no_grad()
def located(
    fn: Callable[[Tensor], Tensor],
    ends: tuple[Tensor, Tensor],
    values: tuple[Tensor, Tensor],
    side: Tensor,
    mask: Tensor,
    short: Tensor,
) -> Tensor:
    """The place of a crossing, on the side where it has happened.

    Args:
        fn: theta (batch,) -> values (batch,).
        ends: a < b, (batch,).
        values: at a and b. At `a` it has not happened, even if rounding gives the value another sign.
        side: sign of the values before the crossing.
        mask: rows that are looked at; the others stay at their `b`.
        short: a bracket of this length is short enough, (batch,).

    Returns:
        theta, (batch,).
    """
    (a, b), (at_a, at_b) = ends, (values[0] * side, values[1] * side)
    a = torch.where(mask, a, b)
    whole, budget = b - a, 2 * (b - a)
    slack = short.clamp(min=RESOLUTION)
    for _ in range(ITERATIONS):
        length = b - a
        open_rows = length > slack
        if not bool(open_rows.any()):
            break
        middle = a + length / 2
        x = torch.where(at_a > 0, _itp(a, length, middle, at_a, at_b, whole, budget, slack), middle)
        x = torch.minimum(torch.maximum(x, a), b)
        value = fn(torch.where(open_rows, x, b)) * side
        before = value > 0  # NaN counts as behind
        a, at_a = torch.where(open_rows & before, x, a), torch.where(open_rows & before, value, at_a)
        b, at_b = torch.where(open_rows & ~before, x, b), torch.where(open_rows & ~before, value, at_b)
        budget = budget / 2
    return b


def _itp(
    a: Tensor, length: Tensor, middle: Tensor, at_a: Tensor, at_b: Tensor, whole: Tensor, budget: Tensor, slack: Tensor
) -> Tensor:
    """The next place to look at."""
    secant = a + length * torch.nan_to_num(at_a / (at_a - at_b), nan=0.5).clamp(0.0, 1.0)
    sign = torch.sign(middle - secant)
    # Never below the resolution, so that rounding does not keep the bracket open on one side.
    delta = torch.maximum(0.2 * length.square() / whole.clamp(min=RESOLUTION), slack / 2)
    x = secant + sign * torch.minimum(delta, (middle - secant).abs())
    radius = ((budget - length) / 2).clamp(min=0.0)
    return torch.where((x - middle).abs() <= radius, x, middle - sign * radius)


def corrected(fn: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """`theta`, differentiable as a zero of fn: two steps of Newton's method that do not change the value.

        theta <- theta - (fn(theta) - value) / (d fn / d theta)

    One step gives the first derivative, -(dfn/dp) / (dfn/dtheta), two give those up to the third.

    Raises:
        ValueError: if autograd finds no derivative of fn with respect to theta.
    """
    place = theta.detach()
    for _ in range(2):
        point = place if place.requires_grad else place.clone().requires_grad_()
        value = fn(point)
        slope = None
        if value.requires_grad:
            (slope,) = torch.autograd.grad(value.sum(), point, create_graph=True, allow_unused=True)
        if slope is None:
            raise ValueError(
                "the gradient of an event's time needs a function that autograd can differentiate along the solution, "
                f"got one of {value.dtype} without a derivative. Give a real function of `t` and `y` (e.g. y[:, 0] "
                "instead of y[:, 0] > 0), or solve under torch.no_grad()."
            )
        place = place - (value - value.detach()) / slope
    return place
