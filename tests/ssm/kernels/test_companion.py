"""The kernel of companion matrices against their powers; roots of autoregressions as eigenvalues."""

import pytest
import torch
from torch import Tensor

from sciml.ssm.kernels import companion


def dense(a: Tensor) -> Tensor:
    matrix = torch.diag(torch.ones(len(a) - 1), -1)
    matrix[:, -1] += a
    return matrix


def by_powers(a: Tensor, b: Tensor, c: Tensor, length: int) -> Tensor:
    values, x = [], b
    for _ in range(length):
        values.append(c @ x)
        x = dense(a) @ x
    return torch.stack(values)


@pytest.mark.parametrize(("state", "length"), [(25, 64), (1, 5), (6, 4), (3, 9)])
def test_kernel_is_that_of_the_powers(state: int, length: int) -> None:
    """Check 10 for 25 states and length 64, columns normalised as in SpaceTime."""
    a, b, c = torch.randn(3, state)
    a = a / a.abs().sum()
    expected = by_powers(a, b, c, length)
    error = (companion.kernel(a, b, c, length) - expected).abs().max()
    print(f"state {state}, length {length}: {error:.1e}")
    assert error < 2e-14 * max(1.0, float(expected.abs().max()))


def test_eigenvalues_are_the_roots_of_the_autoregression() -> None:
    """Check 10: coefficients phi_1 .. phi_d go into the last column in reverse."""
    roots = torch.tensor([0.9, -0.5, 0.3])
    phi = torch.tensor([0.7, 0.33, -0.135])  # x^3 - 0.7 x^2 - 0.33 x + 0.135 = (x - 0.9)(x + 0.5)(x - 0.3)
    found = torch.linalg.eigvals(dense(phi.flip(0))).real.sort().values
    torch.testing.assert_close(found, roots.sort().values, rtol=1e-12, atol=0)


def test_roots_on_the_unit_circle_are_no_poles() -> None:
    """A second difference and a season, whose eigenvalues are roots of unity."""
    second, season = torch.tensor([-1.0, 2.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    for a in (second, season):
        b, c = torch.randn(2, len(a))
        expected = by_powers(a, b, c, 48)
        torch.testing.assert_close(companion.kernel(a, b, c, 48), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("length", [2**16, pytest.param(2**20, marks=pytest.mark.slow)])
def test_float32_keeps_a_season_over_long_series(length: int) -> None:
    """A shift round 16 entries, whose kernel is C again and again."""
    a, b, c = torch.zeros(16), torch.zeros(16), torch.randn(16)
    a[0] = b[0] = 1
    a, b, c = a.float(), b.float(), c.float()
    k = companion.kernel(a, b, c, length)
    assert k.dtype == torch.float32
    assert (k - c.repeat(length // 16)).abs().max() < 3e-7 * c.abs().max()


@pytest.mark.parametrize("state", [1, 2, 3, 25])
@pytest.mark.parametrize("length", [1, 2, 7, 64, 1001])
def test_rows_times_powers_are_those_of_the_matrix(state: int, length: int) -> None:
    a, c = torch.randn(2, state)
    a = a / a.abs().sum()
    want = c @ torch.linalg.matrix_power(dense(a), length)
    torch.testing.assert_close(companion.row_times_power(c, a, length), want, rtol=1e-12, atol=1e-13)


def test_gradients_and_banks() -> None:
    a, b, c = (v.requires_grad_() for v in torch.randn(3, 2, 4) / 4)
    assert torch.autograd.gradcheck(lambda a, b, c: companion.kernel(a, b, c, 7), (a, b, c))
