"""The selective recurrence without its states in memory, against the loop that has them."""

import pytest
import torch
from torch import Tensor

from sciml.ssm.kernels import selective
from sciml.ssm.kernels.selective import selective_scan


def loop(v: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The definition."""
    outputs = []
    for t in range(v.shape[1]):
        x = torch.exp(step[:, t, :, None] * a) * x + (step[:, t] * v[:, t])[..., None] * b[:, t, None]
        outputs.append((x * c[:, t, None]).sum(-1))
    return torch.stack(outputs, dim=1), x


def problem(time: int, batch: int = 2, channels: int = 3, states: int = 4) -> tuple[Tensor, ...]:
    shapes = [(batch, time, channels)] * 2 + [(channels, states)] + [(batch, time, states)] * 2
    v, step, a, b, c = (torch.randn(shape) for shape in shapes)
    inputs = [v, 0.1 * step.abs(), -16 * a.abs(), b, c, torch.randn(batch, channels, states)]
    return tuple(value.requires_grad_() for value in inputs)


@pytest.mark.parametrize("time", [1, 7, 50])
@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_values_and_gradients_are_those_of_the_loop(time: int, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selective, "_CACHED", 24 * pieces)
    inputs = problem(time)
    found, plain = selective_scan(*inputs), loop(*inputs)
    torch.testing.assert_close(found, plain)
    directions = [torch.randn_like(value) for value in plain]
    expected = torch.autograd.grad(plain, inputs, directions)
    for got, want in zip(torch.autograd.grad(found, inputs, directions), expected, strict=True):
        torch.testing.assert_close(got, want)
    only = torch.autograd.grad(selective_scan(*inputs)[0].sum(), inputs)
    for got, want in zip(only, torch.autograd.grad(loop(*inputs)[0].sum(), inputs), strict=True):
        torch.testing.assert_close(got, want)


def test_a_step_of_zero_changes_nothing() -> None:
    v, step, a, b, c, x0 = (value.detach() for value in problem(9))
    step[:, 4:] = 0
    _, last = selective_scan(v, step, a, b, c, x0)
    _, early = selective_scan(v[:, :4], step[:, :4], a, b[:, :4], c[:, :4], x0)
    assert torch.equal(last, early)


def test_pieces_with_the_state_between_them_are_the_whole() -> None:
    v, step, a, b, c, x0 = problem(20)
    y, last = selective_scan(v, step, a, b, c, x0)
    first, x = selective_scan(v[:, :11], step[:, :11], a, b[:, :11], c[:, :11], x0)
    second, x = selective_scan(v[:, 11:], step[:, 11:], a, b[:, 11:], c[:, 11:], x)
    torch.testing.assert_close(torch.cat([first, second], dim=1), y)
    torch.testing.assert_close(x, last)


def test_operators_say_what_they_give_to_the_compiler() -> None:
    v, step, a, b, c, x0 = (value.detach() for value in problem(9))
    inputs = (v, step, a.mT.contiguous(), b, c, x0.mT.contiguous())
    torch.library.opcheck(torch.ops.sciml.selective_scan.default, inputs, test_utils=("test_schema", "test_faketensor"))
    torch.library.opcheck(
        torch.ops.sciml.selective_scan_backward.default,
        (torch.randn_like(v), x0.mT.contiguous(), *inputs[:5], x0.mT.contiguous()[None]),
        test_utils=("test_schema", "test_faketensor"),
    )
