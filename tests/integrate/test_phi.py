"""phi functions: values against high precision, the recursion, limits, and derivatives of both orders."""

import math

import mpmath
import pytest
import torch

from sciml.integrate import phi

ARGUMENTS = [0, 1e-9, 1, -1, 0.999, -1.001, -50, -1e6, 2j, -3j, 0.5 + 0.8j, -4 + 30j, 100j]


def exact(k: int, z: complex) -> complex:
    """phi_k by its hypergeometric form 1F1(1; k + 1; z) / k! in 50 digits."""
    with mpmath.workdps(50):
        value = mpmath.hyp1f1(1, k + 1, mpmath.mpc(z)) / mpmath.factorial(k) if k else mpmath.exp(mpmath.mpc(z))
        return complex(value)


@pytest.mark.parametrize("k", range(5))
def test_values(k):
    z = torch.tensor(ARGUMENTS, dtype=torch.complex128)
    want = torch.tensor([exact(k, complex(a)) for a in ARGUMENTS], dtype=torch.complex128)
    assert float(((phi(k, z) - want).abs() / want.abs().clamp_min(1e-300)).max()) < 4e-13


@pytest.mark.parametrize("k", range(5))
def test_limits(k):
    assert float(phi(k, torch.tensor(0.0))) == 1 / math.factorial(k)
    assert float(phi(k, torch.tensor(-math.inf))) == 0.0


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # raised inside torch by forward mode
@pytest.mark.parametrize("k", range(5))
@pytest.mark.parametrize("z", [0.0, 1.0, -1.0, -50.0])
def test_gradients_at_real_arguments(k, z):
    argument = torch.tensor([z], requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: phi(k, a), argument, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda a: phi(k, a), argument)


@pytest.mark.parametrize("k", range(5))
@pytest.mark.parametrize("z", [0j, 1j, -1j, -3.0j, -2 + 5j, -50 + 0j])
def test_gradients_at_complex_arguments(k, z):
    argument = torch.tensor([z], dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: phi(k, a), argument)
    assert torch.autograd.gradgradcheck(lambda a: phi(k, a), argument)


def test_float32_is_computed_in_double():
    z = torch.tensor([-0.01, -1e-3, -1e-4], dtype=torch.float32)
    want = torch.tensor([exact(2, complex(a)).real for a in z.double().tolist()])
    assert phi(2, z).dtype == torch.float32
    assert torch.allclose(phi(2, z).double(), want, rtol=1e-7, atol=0)


def test_vmap():
    z = torch.linspace(-2, 2, 6).reshape(3, 2)
    assert torch.equal(torch.vmap(lambda a: phi(1, a))(z), phi(1, z))


def test_negative_index_is_refused():
    with pytest.raises(ValueError, match="`k` must be at least 0, got -1"):
        phi(-1, torch.zeros(1))
