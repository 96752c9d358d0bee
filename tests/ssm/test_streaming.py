"""Single steps with systems that are discretised once."""

import pytest
import torch

from sciml.ssm import DeepSSM, Gated, Residual, Selective, companion, lssl, s4, s4d, streaming
from sciml.ssm.system import MOST_PREPARED
from sciml.ssm.transitions.dense import DenseTransition


def model() -> DeepSSM:
    layers = s4d(4, 8), s4(4, 8), lssl(4, 4), companion(4, 4), Selective(4, 4)
    return DeepSSM(2, 2, [Residual(layer, Gated(4, 4)) for layer in layers])


def test_steps_are_the_same_within() -> None:
    deep, u = model(), torch.randn(3, 12, 2)
    want = deep(u)
    state, outputs = deep.initial_state(3), []
    with streaming(deep):
        for u_k in u.unbind(1):
            y, state = deep.step(u_k, state)
            outputs.append(y)
            assert not y.requires_grad
    torch.testing.assert_close(torch.stack(outputs, dim=1), want, rtol=1e-10, atol=1e-10)


def test_each_number_is_discretised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, made = lssl(3, 4), []
    plain = DenseTransition.of.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(DenseTransition, "of", classmethod(lambda *a: made.append(1) or plain(*a)))
    state, u = layer.initial_state(2), torch.randn(2, 3)
    with streaming(layer):
        for _ in range(5):
            for dt in (None, 1.0, 0.5):
                _, state = layer.step(u, state, dt)
        assert len(made) == 2
        for _ in range(2):
            layer.step(u, state, torch.rand(2))
        assert len(made) == 4
        for k in range(2 * MOST_PREPARED):
            layer.step(u, state, 1.0 + k)
        assert layer.prepared is not None and len(layer.prepared) == MOST_PREPARED
    for _ in range(2):
        layer.step(u, state)
    assert layer.prepared is None


def test_new_parameters_are_seen_behind_it() -> None:
    """And another dtype within: nothing of the old one is taken."""
    layer, u = lssl(3, 4), torch.randn(2, 3)
    state = layer.initial_state(2)
    with streaming(layer):
        before, _ = layer.step(u, state)
        layer.float()
        assert layer.step(u.float(), state.float())[0].dtype == torch.float32
    layer.double()
    with torch.no_grad():
        layer.matrix.a.mul_(2)  # type: ignore[operator]
    with streaming(layer):
        after, _ = layer.step(u, state)
    assert (after - before).abs().max() > 1e-6
