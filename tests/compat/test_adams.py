"""Adams methods of the compatible names: on unequal grids, where high order is unstable, and with their options."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.compat.torchdiffeq import odeint

BOTH = pytest.mark.parametrize("method", ["explicit_adams", "implicit_adams"])


def rotation(t: Tensor, y: Tensor) -> Tensor:
    return 1j * y


def error_of_rotation(method: str, t: Tensor, **options: Any) -> float:
    y = odeint(rotation, torch.ones(1, dtype=torch.complex128), t, method=method, options=options)
    return float((y[:, 0] - torch.exp(1j * t)).abs().max())


def uneven(n: int) -> Tensor:
    u = torch.linspace(0, 1, n + 1)
    return 2 * (u + 0.12 * torch.sin(2 * math.pi * u))


@BOTH
@pytest.mark.parametrize("grid", [lambda n: torch.linspace(0, 2, n + 1), uneven], ids=["equal", "uneven"])
def test_order_is_that_of_the_start(method: str, grid: Any) -> None:
    errors = [error_of_rotation(method, grid(n)) for n in (40, 80, 160, 320)]
    assert math.log2(errors[-2] / errors[-1]) == pytest.approx(4, abs=0.35) or errors[-1] < 2e-11, errors


@pytest.mark.parametrize("steps", [80, 320])
def test_order_drops_where_high_order_is_unstable(steps: int) -> None:
    """The eleventh order takes no such step on the imaginary axis: its errors are 9e4 and 3e2 there."""
    assert error_of_rotation("explicit_adams", torch.linspace(0, 2, steps + 1)) < 3e-7


def test_single_precision_does_not_feed_on_its_rounding() -> None:
    """y' = 2 y / t + ...; 160 steps of order 11 enlarge the rounding of single precision to 0.06 in t."""
    t = torch.linspace(1, 8, 10, dtype=torch.float32)

    def exact(t: Tensor) -> Tensor:
        waves = -0.5 * t**4 * torch.cos(2 * t) + 0.5 * t**3 * torch.sin(2 * t) + 0.25 * t**2 * torch.cos(2 * t)
        return waves - t**3 + 2 * t**4 + (math.pi - 0.25) * t**2

    def field(t: Tensor, y: Tensor) -> Tensor:
        return 2 * y / t + t**4 * torch.sin(2 * t) - t**2 + 4 * t**3

    options = dict(step_size=0.01, interp="cubic")
    time, y = odeint(
        field, exact(t[0]), t[:2], event_fn=lambda t_, y: y - exact(t[2]), method="explicit_adams", options=options
    )
    assert float(time) == pytest.approx(float(t[2]), rel=1e-5)
    assert float(y[1]) == pytest.approx(float(exact(t[2])), rel=1e-5)


@BOTH
def test_a_step_that_suddenly_grows(method: str) -> None:
    t = torch.cat([torch.arange(0, 20) * 0.01, 0.2 + torch.arange(0, 10) * 0.2])
    many = dict(max_iters=20) if method == "implicit_adams" else {}
    assert error_of_rotation(method, t, **many) < 2e-3


@BOTH
def test_gradcheck_on_an_uneven_grid(method: str) -> None:
    t = uneven(6)[:6].requires_grad_()
    y0 = torch.tensor([0.7, 1.1], requires_grad=True)
    options = dict(max_iters=40) if method == "implicit_adams" else {}
    torch.autograd.gradcheck(
        lambda y0, t: odeint(lambda t, y: y.cos() * t, y0, t, method=method, rtol=1e-12, atol=1e-12, options=options),
        (y0, t),
    )


def test_options() -> None:
    t, y0 = torch.linspace(0, 1, 11), torch.ones(1)

    def last(method: str, **options: Any) -> float:
        return float(odeint(lambda t, y: -y * t, y0, t, method=method, rtol=1e-9, atol=1e-9, options=options)[-1])

    assert last("fixed_adams") == last("implicit_adams")
    assert last("fixed_adams", implicit=False) == last("explicit_adams") != last("implicit_adams")
    assert last("explicit_adams", max_order=4) != last("explicit_adams", max_order=6)
    with pytest.warns(UserWarning, match="below 4"):
        assert last("explicit_adams", max_order=3) == float(odeint(lambda t, y: -y * t, y0, t, method="rk4")[-1])
    with pytest.warns(UserWarning, match="did not converge in 1 iterations"):
        last("implicit_adams", max_iters=1)
    with pytest.raises(AssertionError, match="at most 12"):
        last("explicit_adams", max_order=13)
