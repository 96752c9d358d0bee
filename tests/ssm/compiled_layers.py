"""Layers inside compiled code: one graph each; run by `kernels/test_compiled.py` in a process without the jaxtyping
hook, because functions that it decorates cannot be compiled."""

import pytest
import torch
import torch._dynamo

from sciml.ssm import DeepSSM, Gated, Residual, Selective, companion, lssl, s4, s4d, s4d_real, s5

MAKE = {
    "s4d": lambda: s4d(4, 8),
    "s4d real": lambda: s4d(4, 8, spectrum=s4d_real),
    "s4": lambda: s4(4, 8),
    "s5": lambda: s5(4, 8),
    "lssl": lambda: lssl(4, 8),
    "companion": lambda: companion(4, 8),
    "selective": lambda: Selective(4, 8),
    "deep": lambda: DeepSSM(4, 2, [Residual(s4d(8, 8), Gated(8, 8)), Residual(s4(8, 8), Gated(8, 8))]),
}


@pytest.mark.parametrize("name", MAKE)
def test_equal_intervals_are_one_graph(name: str) -> None:
    torch._dynamo.reset()
    model, u = MAKE[name](), torch.randn(3, 40, 4)
    for arguments in ((u,), (u, 0.5)) if name != "companion" else ((u,),):
        found = torch._dynamo.explain(model)(*arguments)
        assert found.graph_break_count == 0, found.break_reasons


@pytest.mark.parametrize("name", ["s4d", "s5", "selective", "s4"])
def test_intervals_of_each_sample_are_one_graph(name: str) -> None:
    torch._dynamo.reset()
    found = torch._dynamo.explain(MAKE[name]())(torch.randn(3, 40, 4), torch.rand(3, 40))
    assert found.graph_break_count == 0, found.break_reasons


@pytest.mark.parametrize("name", ["deep", "companion"])
def test_compiled_is_eager(name: str) -> None:
    torch._dynamo.reset()
    model, u = MAKE[name](), torch.randn(3, 40, 4, requires_grad=True)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(u), model(u))
    (want,) = torch.autograd.grad(model(u).square().sum(), u)
    torch.testing.assert_close(torch.autograd.grad(compiled(u).square().sum(), u)[0], want)
