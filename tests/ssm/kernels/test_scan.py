"""The recurrence against its definition, in values, gradients and gradients of gradients, on both of its routes."""

import pytest
import torch
from torch import Tensor

from sciml.ssm.kernels import linear_recurrence


def loop(a: Tensor, b: Tensor, x0: Tensor) -> Tensor:
    """The definition."""
    states, x = [], x0
    for t in range(b.shape[-2]):
        x = a.expand(b.shape)[..., t, :] * x + b[..., t, :]
        states.append(x)
    return torch.stack(states, dim=-2)


def problem(dtype: torch.dtype, time: int, state: int, *, constant: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    a = torch.rand(3, 1 if constant else time, state).to(dtype)
    if dtype.is_complex:
        a = torch.polar(a.abs(), 6 * torch.rand(a.shape, dtype=a.abs().dtype))
    inputs = torch.randn(3, time, state, dtype=dtype), torch.randn(3, state, dtype=dtype)
    return (a.requires_grad_(), *(v.requires_grad_() for v in inputs))  # pyright: ignore[reportReturnType]


# 5 and 63 steps go one by one, 200 in chunks of 16 with a rest of 8, 1024 numbers per step one by one again.
CASES = [(5, 2), (1, 2), (63, 2), (64, 2), (200, 2), (70, 1024)]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(("time", "state"), CASES)
def test_values_and_gradients_are_those_of_the_definition(
    time: int, state: int, dtype: torch.dtype, constant: bool
) -> None:
    inputs = problem(dtype, time, state, constant=constant)
    ours, plain = linear_recurrence(*inputs), loop(*inputs)
    torch.testing.assert_close(ours, plain, rtol=1e-13, atol=1e-13)
    direction = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, inputs, direction)
    for got, want in zip(torch.autograd.grad(ours, inputs, direction), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("constant", [False, True])
def test_gradients_of_gradients(dtype: torch.dtype, constant: bool) -> None:
    a, b, x0 = problem(dtype, 66, 1, constant=constant)
    inputs = [v.detach()[:1].requires_grad_() for v in (a, b, x0)]
    assert torch.autograd.gradcheck(linear_recurrence, inputs)
    assert torch.autograd.gradgradcheck(linear_recurrence, inputs, fast_mode=True)


def test_vanishing_coefficients_reset_the_state_exactly() -> None:
    a, b = torch.full((300, 2), 0.9), torch.randn(300, 2)
    a[100] = 0
    x = linear_recurrence(a, b)
    torch.testing.assert_close(x[100], b[100], rtol=0, atol=0)
    torch.testing.assert_close(x[101:], linear_recurrence(a[101:], b[101:], b[100]))


def test_a_coefficient_of_one_and_no_input_is_neutral_to_the_last_bit() -> None:
    a, b = torch.rand(1, 400, 3, dtype=torch.float32), torch.randn(1, 400, 3, dtype=torch.float32)
    a[:, 150:], b[:, 150:] = 1, 0
    x = linear_recurrence(a, b)
    assert torch.equal(x[:, 150:], x[:, 149:150].expand(1, 250, 3))


def test_constant_coefficients_broadcast_and_dtypes_widen() -> None:
    a, b = torch.polar(torch.rand(4), torch.rand(4)), torch.randn(2, 90, 4)
    x = linear_recurrence(a, b)
    assert x.dtype == torch.complex128
    torch.testing.assert_close(x, linear_recurrence(a.expand(2, 90, 4), b.to(x.dtype)))


def test_vmap_is_a_loop_over_samples() -> None:
    a, b, x0 = problem(torch.float64, 80, 2)
    mapped = torch.func.vmap(linear_recurrence)(a, b, x0)
    torch.testing.assert_close(mapped, linear_recurrence(a, b, x0))
    one = torch.func.vmap(linear_recurrence, in_dims=(None, 0, 0))(a[0], b, x0)
    torch.testing.assert_close(one, linear_recurrence(a[0], b, x0))


def test_operator_says_what_it_gives_to_the_compiler() -> None:
    a, b, x0 = (v.detach() for v in problem(torch.complex64, 70, 2))
    torch.library.opcheck(torch.ops.sciml.linear_recurrence.default, (a, b, x0, False))


@pytest.mark.parametrize(("name", "a", "x0"), [("a", (3, 1), None), ("a", (5, 1, 1, 2), None), ("x0", (2,), (7, 2))])
def test_shapes_that_do_not_broadcast_are_refused(name: str, a: tuple[int, ...], x0: tuple[int, ...] | None) -> None:
    start = None if x0 is None else torch.zeros(x0)
    with pytest.raises(ValueError, match=f"`{name}` must broadcast to .* Insert axes of length 1"):
        linear_recurrence(torch.ones(a), torch.ones(1, 6, 2), start)
