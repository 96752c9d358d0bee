"""Layers under `torch.func`: gradients, maps over samples, gradients of each sample."""

import pytest
import torch
from torch.func import functional_call, grad, vmap

from sciml.ssm import Bilinear, Selective, companion, lru, lssl, s4, s4d, s5
from sciml.ssm.phi1 import phi1

MAKE = {
    "s4d": lambda: s4d(2, 4),
    "s4d bilinear": lambda: s4d(2, 4, discretisation=Bilinear()),
    "s5": lambda: s5(2, 4),
    "s4": lambda: s4(2, 4),
    "lssl": lambda: lssl(2, 4),
    "companion": lambda: companion(2, 4),
    "lru": lambda: lru(2, 4),
    "selective": lambda: Selective(2, 4),
}


@pytest.mark.parametrize("name", MAKE)
def test_gradients_are_those_of_autograd(name) -> None:
    layer, u, dt = MAKE[name](), torch.randn(3, 6, 2), torch.randint(1, 3, (3, 6)).double()
    u.requires_grad_()
    (want,) = torch.autograd.grad(layer(u).square().sum(), u)
    torch.testing.assert_close(grad(lambda u: layer(u).square().sum())(u.detach()), want)
    if name == "companion":
        return
    dt.requires_grad_()
    (want,) = torch.autograd.grad(layer(u.detach(), dt).square().sum(), dt)
    torch.testing.assert_close(grad(lambda dt: layer(u.detach(), dt).square().sum())(dt.detach()), want)


@pytest.mark.parametrize("name", MAKE)
def test_a_map_over_samples_is_the_batch(name) -> None:
    layer, u, dt = MAKE[name](), torch.randn(3, 6, 2), torch.rand(3, 6)
    torch.testing.assert_close(vmap(lambda u: layer(u[None])[0])(u), layer(u))
    if name != "companion":  # whose intervals are counts, and read
        torch.testing.assert_close(vmap(lambda u, dt: layer(u[None], dt[None])[0])(u, dt), layer(u, dt))


@pytest.mark.parametrize("name", MAKE)
def test_gradients_of_each_sample(name) -> None:
    layer, u = MAKE[name](), torch.randn(3, 6, 2)
    parameters = {name: p for name, p in layer.named_parameters() if p.requires_grad}

    def loss(parameters: dict[str, torch.Tensor], u: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, parameters, (u[None],)).square().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, u)
    for i in range(3):
        want = torch.autograd.grad(layer(u[i : i + 1]).square().sum(), list(parameters.values()))
        for have, expected in zip(found.values(), want, strict=True):
            torch.testing.assert_close(have[i], expected)


def test_phi1_is_differentiable_twice() -> None:
    z = torch.complex(torch.randn(6), torch.randn(6)).requires_grad_()
    assert torch.autograd.gradgradcheck(phi1, (z,))
