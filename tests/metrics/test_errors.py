"""Pointwise errors against closed forms."""

import math

import pytest
import torch

from sciml.metrics import nrmse, relative_l2, rmse, vrmse

SHAPES = [(3, 5, 1, 16), (2, 4, 3, 8, 6), (2, 3, 2, 4, 6, 5), (2, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_zero_predictor_scores_one(shape):
    truth = torch.randn(shape) + 2
    zero = torch.zeros_like(truth)
    torch.testing.assert_close(nrmse(zero, truth), torch.ones(shape[:2]))
    torch.testing.assert_close(relative_l2(zero, truth), torch.ones(shape[0]))


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_mean_predictor_has_vrmse_one(shape):
    truth = torch.randn(shape) + 2
    space = tuple(range(3, len(shape)))
    mean = truth.mean(space, keepdim=True).expand_as(truth)
    torch.testing.assert_close(vrmse(mean, truth), torch.ones(shape[:3]))


def test_constant_shift():
    truth = torch.randn(2, 3, 2, 8) + 1
    moved = truth + 0.25
    torch.testing.assert_close(rmse(moved, truth), torch.full((2, 3), 0.25))
    torch.testing.assert_close(vrmse(moved, truth), 0.25 / truth.std(-1, correction=0))
    torch.testing.assert_close(nrmse(moved, truth), 0.25 / truth.square().mean((2, 3)).sqrt())


def test_known_integral():
    # The mean of f² for f = exp(-100 (x - 1)²) sin x on [0, 2 pi] is known to ten digits.
    x = torch.arange(400) * (2 * math.pi / 400)
    f = (torch.exp(-100 * (x - 1) ** 2) * torch.sin(x))[None, None, None]
    assert rmse(torch.zeros_like(f), f).item() ** 2 == pytest.approx(0.0141033207, abs=1e-10)


def test_channels_are_pooled_in_nrmse():
    truth = torch.tensor([3.0, 4.0])[None, None, :, None].expand(1, 1, 2, 10)
    prediction = truth.clone()
    prediction[:, :, 0] = 0  # misses 9 of the 25 units of mean square
    assert nrmse(prediction, truth).item() == pytest.approx(3 / 5)


def test_relative_l2_weights_frames_by_their_norm():
    truth = torch.tensor([1.0, 3.0])[None, :, None, None].expand(1, 2, 1, 5).clone()
    prediction = truth.clone()
    prediction[:, 0] = 0
    assert relative_l2(prediction, truth).item() == pytest.approx(1 / math.sqrt(10))
    torch.testing.assert_close(nrmse(prediction, truth), torch.tensor([[1.0, 0.0]]))


def test_relative_l2_of_fields_is_nrmse_of_their_frame():
    u, p = torch.randn(4, 2, 8, 8), torch.randn(4, 2, 8, 8)
    torch.testing.assert_close(relative_l2(p, u), nrmse(p[:, None], u[:, None])[:, 0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_broken_prediction_is_infinitely_wrong(bad):
    truth = torch.randn(2, 3, 1, 8)
    prediction = truth.clone()
    prediction[1, 2, 0, 4] = bad
    expected = torch.zeros(2, 3)
    expected[1, 2] = math.inf
    for metric in (rmse, nrmse):
        torch.testing.assert_close(metric(prediction, truth), expected)
    torch.testing.assert_close(vrmse(prediction, truth)[..., 0], expected)
    torch.testing.assert_close(relative_l2(prediction, truth), torch.tensor([0.0, math.inf]))


def test_zero_truth():
    truth = torch.zeros(1, 2, 1, 8)
    prediction = truth.clone()
    prediction[:, 1] = 1
    torch.testing.assert_close(nrmse(prediction, truth), torch.tensor([[0.0, math.inf]]))


def test_large_float32_values_do_not_overflow():
    truth = torch.full((1, 1, 1, 8), 1e30, dtype=torch.float32)
    result = nrmse(2 * truth, truth)
    assert result.dtype == torch.float64
    assert result.item() == pytest.approx(1)


@pytest.mark.parametrize("metric", [rmse, nrmse, vrmse, relative_l2])
def test_bad_input(metric, without_shape_checks):
    truth = torch.randn(2, 3, 1, 8)
    with pytest.raises(ValueError, match=r"`prediction` must have shape \(2, 3, 1, 8\).*got \(2, 3, 1, 7\)"):
        metric(truth[..., :7], truth)
    broken = truth.clone()
    broken[1, 2, 0, 3] = math.nan
    with pytest.raises(ValueError, match=r"`truth` must be finite, but truth\[1, 2, 0, 3\] is nan"):
        metric(truth, broken)


def test_missing_axis(without_shape_checks):
    with pytest.raises(ValueError, match=r"must have shape \(batch, time, channel, \*space\), got \(2, 3\)"):
        nrmse(torch.zeros(2, 3), torch.zeros(2, 3))
