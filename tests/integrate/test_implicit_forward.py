"""Tangents through implicit methods: in forward mode, by `torch.func`, and the same as gradients in reverse."""

from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

from sciml.integrate import (
    BDF,
    ODE,
    BackwardEuler,
    Direct,
    Fixed,
    Forward,
    GaussLegendre4,
    KenCarp4,
    Kvaerno5,
    RadauIIA5,
    Rodas5P,
    solve,
)

METHODS = [BackwardEuler(), Kvaerno5(), KenCarp4(), RadauIIA5(), GaussLegendre4(), Rodas5P(), BDF()]
W = torch.tensor([[-1.0, 0.3], [0.2, -2.0]], dtype=torch.float64)
DIRECTION = torch.tensor([[0.5, -1.0], [2.0, 0.3]], dtype=torch.float64)
Y0 = torch.tensor([[1.0, 2.0], [-0.5, 0.2]], dtype=torch.float64)

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def run(method, w, gradient=None):
    return solve(ODE(lambda t, y: torch.tanh(y @ w)), method, Y0, 0.0, 1.0, control=Fixed(n=6), gradient=gradient).ys


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_tangents_are_those_of_reverse_mode(method):
    w = W.clone().requires_grad_()
    cotangent = torch.linspace(-1.0, 2.0, 4, dtype=torch.float64).reshape(2, 2)
    (reverse,) = torch.autograd.grad((run(method, w) * cotangent).sum(), w)
    expected = float((reverse * DIRECTION).sum())
    for gradient in (Forward(), Direct()):
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(run(method, forward_ad.make_dual(W, DIRECTION), gradient)).tangent
        assert tangent is not None
        assert float((tangent * cotangent).sum()) == pytest.approx(expected, rel=1e-9)
    tangent: Any = torch.func.jvp(lambda w: run(method, w), (W,), (DIRECTION,))[1]
    assert float((tangent * cotangent).sum()) == pytest.approx(expected, rel=1e-9)
