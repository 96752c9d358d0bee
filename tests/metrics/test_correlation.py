"""Correlation and the times at which it is lost, against closed forms."""

import math

import pytest
import torch

from sciml.metrics import (
    correlation,
    crossing_time,
    high_correlation_time,
    high_correlation_time_per_trajectory,
    mean_correlation,
)

TIMES = torch.arange(1.0, 11.0, dtype=torch.float64)


def waves(phases, points=32, offset=0.0):
    """sin(x + phase), one frame per phase, one trajectory."""
    x = torch.arange(points) * (2 * math.pi / points)
    return (torch.sin(x + torch.as_tensor(phases)[:, None]) + offset)[None, :, None]


@pytest.mark.parametrize("offset", [0.0, 7.0])
def test_shifted_waves_correlate_as_the_cosine_of_the_phase(offset):
    phases = torch.linspace(0, math.pi, 9)
    truth = waves(torch.zeros(9), offset=offset)
    torch.testing.assert_close(correlation(waves(phases), truth)[0], torch.cos(phases))


def test_scale_and_shift_do_not_matter():
    u, p = torch.randn(2, 3, 2, 6, 5), torch.randn(2, 3, 2, 6, 5)
    torch.testing.assert_close(correlation(5 * p - 2, 3 * u + 4), correlation(p, u))
    torch.testing.assert_close(correlation(-p, u), -correlation(p, u))


def test_channels_are_pooled():
    u, p = torch.randn(1, 1, 2, 50), torch.randn(1, 1, 2, 50)
    expected = torch.corrcoef(torch.stack([p.flatten(), u.flatten()]))[0, 1]
    torch.testing.assert_close(correlation(p, u)[0, 0], expected)


def test_undefined_correlation_is_visible_and_counts_as_zero():
    truth = torch.randn(4, 2, 1, 37)
    prediction = truth.clone()
    prediction[1, 1, 0, 3] = math.nan
    prediction[2, 1, 0, 3] = math.inf
    prediction[3, 1] = 0.1  # constant up to rounding of its mean
    correlations = correlation(prediction, truth)
    assert correlations.isnan().tolist() == [[False, False], [False, True], [False, True], [False, True]]
    torch.testing.assert_close(mean_correlation(correlations), torch.tensor([1.0, 0.25]))


@pytest.mark.parametrize(("threshold", "expected"), [(0.8, 2.0), (0.9, 1.0), (0.55, 4.5), (0.95, 0.5)])
def test_linear_decay_crosses_where_it_should(threshold, expected):
    curve = (1 - 0.1 * TIMES).expand(3, -1)
    result = high_correlation_time(curve, TIMES, threshold)
    assert result.time.item() == pytest.approx(expected)
    assert not result.beyond_horizon


def test_uneven_times():
    times = torch.tensor([0.5, 3.0, 4.0])
    curve = torch.tensor([[1.0, 0.9, 0.7]])
    assert high_correlation_time(curve, times, 0.8).time.item() == pytest.approx(3.5)


def test_never_crossing_is_beyond_the_horizon():
    result = high_correlation_time(torch.full((2, 10), 0.85), TIMES)
    assert result.beyond_horizon
    assert result.time.item() == 10.0


def test_touching_the_threshold_is_not_a_crossing():
    result = high_correlation_time(torch.full((2, 10), 0.8), TIMES)
    assert result.beyond_horizon


def test_a_recovery_does_not_count():
    curve = torch.tensor([[0.9, 0.5, 0.95, 0.1]])
    assert high_correlation_time(curve, TIMES[:4], 0.7).time.item() == pytest.approx(1.5)


def test_the_mean_crosses_not_the_trajectories():
    curves = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    times = TIMES[:3]
    mean = high_correlation_time(curves, times, 0.5)
    assert mean.time.item() == pytest.approx(2.5)  # 2/3, 2/3, 1/3
    each = high_correlation_time_per_trajectory(curves, times, 0.5)
    torch.testing.assert_close(each.time, torch.tensor([3.0, 0.5, 2.5]))
    assert each.beyond_horizon.tolist() == [True, False, False]


def test_blown_up_trajectories_count_as_below():
    curves = torch.tensor([[0.95, math.nan, math.nan], [0.95, 0.95, 0.95]])
    each = high_correlation_time_per_trajectory(curves, TIMES[:3])
    assert each.beyond_horizon.tolist() == [False, True]
    assert 1 < each.time[0] < 2
    mean = high_correlation_time(curves, TIMES[:3])
    assert 1 < mean.time.item() < 2 and not mean.beyond_horizon


def test_all_frames_undefined_is_not_a_success():
    result = high_correlation_time(torch.full((2, 3), math.nan), TIMES[:3])
    assert result.time.item() == pytest.approx(0.2)
    assert not result.beyond_horizon


def test_crossing_time_of_any_curves_and_of_nan():
    curves = torch.tensor([[2.0, 1.0, 0.0], [2.0, math.nan, 2.0], [2.0, -math.inf, 2.0]])
    result = crossing_time(curves, TIMES[:3], 0.5, start=3.0)
    torch.testing.assert_close(result.time, torch.tensor([2.5, 1.0, 1.0]))


def test_bad_input(without_shape_checks):
    curve = torch.ones(2, 10)
    with pytest.raises(ValueError, match=r"`threshold` must lie between 0 and 1, got 1.2"):
        high_correlation_time(curve, TIMES, 1.2)
    with pytest.raises(ValueError, match=r"`threshold` must lie between 0 and 1, got nan"):
        high_correlation_time_per_trajectory(curve, TIMES, math.nan)
    with pytest.raises(ValueError, match=r"`threshold` must be at most `start`.*threshold=2.0, start=1.0"):
        crossing_time(curve, TIMES, 2.0)
    with pytest.raises(ValueError, match=r"`times` must have shape \(10\).*got \(9,\)"):
        high_correlation_time(curve, TIMES[:9])
    with pytest.raises(ValueError, match=r"`times\[0\]` must be positive and finite, got 0.0"):
        high_correlation_time(curve, TIMES - 1)
    with pytest.raises(ValueError, match="`times` must increase strictly"):
        high_correlation_time(curve, TIMES.clamp(max=5))
    with pytest.raises(ValueError, match="`frames` must be at least 1, got 0"):
        high_correlation_time(curve[:, :0], TIMES[:0])
    with pytest.raises(ValueError, match="`prediction` must have shape"):
        correlation(torch.zeros(1, 2, 1, 8), torch.zeros(1, 2, 1, 9))
