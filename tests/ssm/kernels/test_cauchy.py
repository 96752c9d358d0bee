"""S4's kernel against powers of the discretised matrix."""

import pytest
import torch
from torch import Tensor

from sciml.ssm.hippo import AbstractNormalOperator, FouT, LegS, LegT
from sciml.ssm.kernels import cauchy
from sciml.ssm.nplr import dplr


def problem(operator: AbstractNormalOperator, states: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parts = dplr(operator, states)
    c = torch.randn(states // 2, dtype=torch.complex128)
    return parts.eigenvalues, parts.p.mT, parts.b, c


def by_recurrence(inputs: tuple[Tensor, ...], step: float, length: int, alpha: float) -> Tensor:
    """The definition, on both members of the pairs."""
    a, p, b, c = (torch.cat([v, v.conj()], dim=-1) for v in inputs)
    matrix = step * (torch.diag(a) - p.mT @ p.conj())
    eye = torch.eye(len(a)).to(matrix)
    bar = torch.linalg.solve(eye - alpha * matrix, eye + (1 - alpha) * matrix)
    x = torch.linalg.solve(eye - alpha * matrix, step * b)
    values = []
    for _ in range(length):
        values.append((c @ x).real)
        x = bar @ x
    return torch.stack(values)


def test_kernel_is_that_of_the_recurrence() -> None:
    """Check 6: N = 64, L = 1024, d = 0.01."""
    inputs = problem(LegS(), 64)
    expected = by_recurrence(inputs, 0.01, 1024, 0.5)
    found = cauchy.kernel(*inputs, torch.tensor(0.01), 1024)
    error = (found - expected).abs().max() / expected.abs().max()
    a, p, b, c = (v.to(torch.complex64) for v in inputs)
    narrow = cauchy.kernel(a, p, b, c, torch.tensor(0.01, dtype=torch.float32), 1024)
    single = (narrow - expected).abs().max() / expected.abs().max()
    print(f"complex128 {error:.1e}, complex64 {single:.1e}")
    assert error < 1e-14
    assert single < 1.5e-6


@pytest.mark.parametrize("length", [1, 2, 7, 32])
@pytest.mark.parametrize("alpha", [0.5, 0.75, 1.0])
@pytest.mark.parametrize("operator", [LegS(), LegT(), FouT()], ids=str)
def test_ranks_lengths_and_rules(operator: AbstractNormalOperator, alpha: float, length: int) -> None:
    inputs = problem(operator, 8)
    expected = by_recurrence(inputs, 0.1, length, alpha)
    found = cauchy.kernel(*inputs, torch.tensor(0.1), length, alpha)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


def test_chunks_of_nodes_and_banks_of_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    a, p, b, c = problem(LegS(), 8)
    bank = (a.expand(3, -1), p.expand(3, -1, -1), b.expand(3, -1), torch.randn(3, 4, dtype=c.dtype))
    steps = torch.tensor([0.01, 0.1, 1.0])
    whole = cauchy.kernel(*bank, steps, 40)
    monkeypatch.setattr(cauchy, "_ENTRIES", 30)
    torch.testing.assert_close(cauchy.kernel(*bank, steps, 40), whole)
    torch.testing.assert_close(whole[1], cauchy.kernel(a, p, b, bank[3][1], steps[1], 40))


def test_gradients() -> None:
    inputs = [v.requires_grad_() for v in (*problem(LegS(), 4), torch.tensor(0.1))]
    assert torch.autograd.gradcheck(lambda a, p, b, c, d: cauchy.kernel(a, p, b, c, d, 6), inputs)
