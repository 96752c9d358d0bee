"""A selective layer with complex eigenvalues is one layer however it is run."""

import pytest
import torch

from sciml.ssm import Selective, s4d_inv, s4d_lin, s4d_real


@pytest.mark.parametrize("spectrum", [s4d_real, s4d_lin, s4d_inv])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whole_pieces_and_steps_agree(spectrum, dtype):
    layer = Selective(6, 8, spectrum=spectrum).to(dtype)
    u, dt = torch.randn(3, 20, 6, dtype=dtype), torch.rand(3, 20, dtype=dtype)
    dt[:, 7] = 0
    whole = layer(u, dt)
    first, state = layer.prefill(u[:, :9], dt[:, :9])
    stepped = [first]
    for k in range(9, 20):
        y, state = layer.step(u[:, k], state, dt[:, k])
        stepped.append(y.unsqueeze(1))
    torch.testing.assert_close(torch.cat(stepped, dim=1), whole)
    assert state.memory.is_complex() == (spectrum is not s4d_real)
    alone = torch.cat([u[:, :7], u[:, 8:]], dim=1), torch.cat([dt[:, :7], dt[:, 8:]], dim=1)
    torch.testing.assert_close(layer(*alone)[:, 7:], whole[:, 8:])


def test_the_state_stands_for_pairs():
    """Real size 8: 4 pairs. Gradients reach decay and frequency."""
    layer = Selective(6, 8, spectrum=s4d_lin)
    assert layer.initial_state(2).memory.shape == (2, 12, 4)
    layer(torch.randn(2, 5, 6)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in layer.matrix.parameters())


def test_a_state_of_another_kind_is_refused():
    complex_layer, real_layer = Selective(6, 8, spectrum=s4d_lin), Selective(6, 4)
    with pytest.raises(TypeError, match="complex"):
        complex_layer(torch.randn(2, 5, 6), state=real_layer.initial_state(2))
