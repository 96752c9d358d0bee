"""Blow-up: growth of known rate, non-finite values, and rollouts that stay."""

import math

import pytest
import torch

from sciml.metrics import blow_up_time

TIMES = torch.arange(1.0, 9.0, dtype=torch.float64) / 2


def test_growth_leaves_the_truth_at_the_known_frame():
    truth = torch.ones(2, 8, 1, 16)
    growth = 2.0 ** torch.arange(1, 9)
    prediction = truth * growth[None, :, None, None]
    result = blow_up_time(prediction, truth, TIMES)
    assert result.time.tolist() == [2.0, 2.0]  # 2, 4, 8, 16 > 10: the fourth frame
    assert blow_up_time(prediction, truth, TIMES, factor=64.0).time.tolist() == [3.5, 3.5]


def test_the_limit_is_the_largest_rms_of_the_own_trajectory():
    truth = torch.ones(2, 8, 1, 16)
    truth[0, 7] = 5.0
    result = blow_up_time(torch.full_like(truth, 20.0), truth, TIMES)
    assert result.beyond_horizon.tolist() == [True, False]
    assert result.time.tolist() == [4.0, 0.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_value_is_a_blow_up(bad):
    truth = torch.randn(3, 8, 2, 4, 4)
    prediction = truth.clone()
    prediction[1, 5, 0, 2, 3] = bad
    result = blow_up_time(prediction, truth, TIMES)
    assert result.beyond_horizon.tolist() == [True, False, True]
    assert result.time.tolist() == [4.0, 3.0, 4.0]


def test_bad_input(without_shape_checks):
    truth = torch.randn(1, 8, 1, 4)
    with pytest.raises(ValueError, match="`factor` must be at least 1, got 0.5"):
        blow_up_time(truth, truth, TIMES, factor=0.5)
    with pytest.raises(ValueError, match="`times` must have shape"):
        blow_up_time(truth, truth, TIMES[:3])
    with pytest.raises(ValueError, match="`truth` must be finite"):
        blow_up_time(truth, truth * float("nan"), TIMES)
