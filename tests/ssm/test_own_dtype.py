"""Layers in a model under autocast run in their own dtype; parameters of other dtypes are refused."""

import numpy as np
import pytest
import torch

from sciml.ssm import (
    ClosedLoop,
    DeepSSM,
    Difference,
    Gated,
    Preprocess,
    Residual,
    Selective,
    companion,
    lssl,
    rollout,
    s4,
    s4d,
    s5,
)
from sciml.ssm.checks import check_entry, check_series
from sciml.ssm.hippo import HiPPOCell

MAKE = {
    "s4d": lambda: s4d(4, 8),
    "s4": lambda: s4(4, 8),
    "s5": lambda: s5(4, 8),
    "lssl": lambda: lssl(4, 8),
    "companion": lambda: companion(4, 8),
    "selective": lambda: Selective(4, 8),
    "preprocess": lambda: Preprocess(4, [Difference(1)]),
}


@pytest.mark.parametrize("name", MAKE)
def test_autocast_changes_nothing_in_a_layer(name) -> None:
    layer, u = MAKE[name]().float(), torch.randn(2, 20, 4).bfloat16()
    dt = torch.randint(1, 3, (2, 20)).float()
    for intervals in (None, dt):
        want, state = layer.prefill(u.float(), intervals)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(u, intervals), want)
            have, there = layer.step(u[:, 0], state)
        expected, here = layer.step(u[:, 0].float(), state)
        assert torch.equal(have, expected)
        assert all(torch.equal(a, b) for a, b in zip(tuple(there), tuple(here), strict=True))


def test_models_and_loops_train_under_autocast() -> None:
    model = DeepSSM(2, 2, [Residual(layer, Gated(4, 4)) for layer in (s4d(4, 8), Selective(4, 4), lssl(4, 4))]).float()
    u = torch.randn(2, 20, 2).float()
    with torch.autocast("cpu", torch.bfloat16):
        y = model(u)
        loss = y.float().square().mean()
        predicted, _ = rollout(model, u, 3)
    loss.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.requires_grad and p.grad is not None)
    assert predicted.shape == (2, 3, 2)
    loop, cell = ClosedLoop(2, 4).float(), HiPPOCell(2, 3, 4).float()
    ahead, state = loop.prefill(u)
    coming = loop.forecast(state, 5)
    hidden, _ = cell(u)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loop.prefill(u.float())[0].y, ahead.y)
        assert torch.equal(loop.forecast(state, 5).y, coming.y)
        assert torch.equal(cell(u)[0], hidden)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_narrow_parameters_are_refused(name, dtype) -> None:
    layer = MAKE[name]().to(dtype)
    with pytest.raises(TypeError, match="parameters of .* must be float32 or float64, got torch.*Take layer.float"):
        layer(torch.randn(2, 5, 4).to(dtype))


def test_inputs_that_are_no_floating_tensor() -> None:
    with pytest.raises(TypeError, match=r"`u` must be a tensor of torch.float32, got ndarray. Convert it: torch"):
        check_series(np.ones((2, 5, 4)), 4, torch.float32)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"got torch.int64. Convert it: u.to\(torch.float32\).$"):
        check_series(torch.ones(2, 5, 4, dtype=torch.long), 4, torch.float32)
    with pytest.raises(TypeError, match=r"got torch.int64. Convert it: u.to\(torch.float32\).$"):
        check_entry(torch.ones(2, 4, dtype=torch.long), 4, torch.float32)
