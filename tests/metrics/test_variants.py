"""Each variant against a number worked out by hand, and against the canonical metric it differs from."""

import math

import pytest
import torch

from sciml.grids import Grid
from sciml.metrics import correlation, high_correlation_time, nrmse, relative_l2, variants, vrmse

X = torch.arange(32, dtype=torch.float64) * (2 * math.pi / 32)


def frames_with_correlation(values):
    """A trajectory (1, time, 1, 32) of sines and a prediction with the given correlations."""
    angle = torch.arccos(torch.tensor(values))[:, None]
    truth = torch.sin(X).expand(len(values), -1)
    return torch.sin(X + angle)[None, :, None], truth[None, :, None]


def test_pdearena_counts_a_recovery():
    prediction, truth = frames_with_correlation([0.95, 0.7, 0.9, 0.1])
    assert variants.pdearena_correlation_time(prediction, truth, dt=0.5) == 1.0  # frames 1 and 3
    canonical = high_correlation_time(correlation(prediction, truth), 0.5 * torch.arange(1.0, 5.0))
    assert canonical.time.item() == pytest.approx(0.5 + 0.5 * 0.15 / 0.25)
    prediction[0, 0, 0, 0] = math.nan
    assert variants.pdearena_correlation_time(prediction, truth, dt=0.5) == 0.5


def test_jaxcfd_keeps_the_mean_and_does_not_interpolate():
    times = torch.arange(1.0, 4.0)
    prediction, truth = frames_with_correlation([0.99, 0.9, 0.5])
    assert variants.jaxcfd_correlation_time(prediction, truth, times).time.item() == 2.0
    # With mean 1 and variance 1/2 the cosine is (1 + corr / 2) / (3 / 2): 0.967 where the correlation is 0.9.
    shifted = variants.jaxcfd_correlation_time(prediction + 1, truth + 1, times)
    assert shifted.time.item() == 3.0
    torch.testing.assert_close(correlation(prediction + 1, truth + 1), correlation(prediction, truth))
    assert variants.jaxcfd_correlation_time(truth, truth, times).beyond_horizon


def test_apebench_correlation_averages_cosines_of_channels():
    a, b = frames_with_correlation([0.6]), frames_with_correlation([0.2])
    prediction, truth = torch.cat([a[0], 10 * b[0]], 2), torch.cat([a[1], 10 * b[1]], 2)
    torch.testing.assert_close(variants.apebench_correlation(prediction, truth), torch.tensor([0.4]))
    # Pooled over channels, the larger channel weighs a hundred times as much.
    assert correlation(prediction, truth).item() == pytest.approx((0.6 + 100 * 0.2) / 101)


def test_thewell_pearson_of_a_perfect_prediction():
    truth = torch.randn(2, 3, 2, 8)
    torch.testing.assert_close(variants.thewell_pearson(truth, truth), torch.full((2, 3, 2), 7 / 8))


def test_norm_ratios_of_channels():
    truth = torch.tensor([3.0, 4.0])[None, None, :, None].expand(2, 1, 2, 10).clone()
    prediction = truth.clone()
    prediction[:, :, 0] = 0  # misses the first channel altogether
    assert variants.pdebench_nrmse(prediction, truth) == pytest.approx(1 / 2)
    torch.testing.assert_close(variants.apebench_nrmse(prediction, truth), torch.tensor([1.0]))
    torch.testing.assert_close(nrmse(prediction, truth), torch.full((2, 1), 3 / 5))
    torch.testing.assert_close(variants.apebench_nrmse(0 * truth, truth), torch.tensor([2.0]))


def test_apebench_gmean():
    errors = torch.cat([torch.full((50,), 1e-4), torch.full((50,), 1e-2), torch.full((20,), 1e6)])
    assert variants.apebench_gmean(errors) == pytest.approx(1e-3)
    with pytest.raises(ValueError, match=r"`len\(errors\)` must be at least 100, got 99"):
        variants.apebench_gmean(errors[:99])


def test_pdearena_scaled_l2_is_the_mean_relative_l2():
    truth, prediction = torch.randn(4, 3, 2, 8), torch.randn(4, 3, 2, 8)
    expected = relative_l2(prediction, truth).mean().item()
    assert variants.pdearena_scaled_l2(prediction, truth) == pytest.approx(expected)


def test_thewell_vrmse_of_the_mean_predictor():
    truth = 100 * torch.randn(2, 3, 2, 4, 4)
    mean = truth.mean((-2, -1), keepdim=True).expand_as(truth)
    expected = torch.full((2, 3, 2), math.sqrt(15 / 16))
    torch.testing.assert_close(variants.thewell_vrmse(mean, truth), expected)
    torch.testing.assert_close(vrmse(mean, truth), torch.ones(2, 3, 2))
    constant = torch.ones(1, 1, 1, 8)
    assert variants.thewell_vrmse(constant + 1e-3, constant).item() == pytest.approx(1e-3 / math.sqrt(1e-7))


def test_poseidon_takes_the_median_in_percent():
    truth = torch.tensor([1.0, -1.0, 2.0, -2.0])[None, None, :, None].expand(4, 1, 4, 6).clone()
    prediction = truth * torch.tensor([1.1, 1.2, 1.4, 9.0])[:, None, None, None]
    torch.testing.assert_close(variants.poseidon_relative_l1(prediction, truth), torch.tensor([30.0]))


def test_mppde_adds_up_frames():
    truth = torch.zeros(2, 3, 1, 10)
    prediction = truth.clone()
    prediction[0] = 2.0  # squared error 4 in one of two samples, three frames
    assert variants.mppde_accumulated_error(prediction, truth) == pytest.approx(6.0)


def test_pdebench_frmse_in_one_dimension():
    grid = Grid((32,), (2.0,))
    truth = torch.zeros(2, 1, 1, 32)
    prediction = (torch.cos(2 * X) + torch.cos(5 * X) + torch.cos(14 * X)).expand(2, 1, 1, 32).clone()
    prediction[1] = 0  # root mean square over two samples: 1 / sqrt 2
    # Each cosine has |u_hat| = N / 2 at one wavenumber; bands hold 4, 8 and 5 of the 17 wavenumbers.
    one = 0.5 * 2.0 / math.sqrt(2)
    expected = torch.tensor([one / 4, one / 8, one / 5])
    torch.testing.assert_close(variants.pdebench_frmse(prediction, truth, grid), expected)


def test_pdebench_frmse_sees_one_quadrant_in_two_dimensions():
    grid = Grid((32, 32), (2 * math.pi, 2 * math.pi))
    x, y = grid.mesh()
    truth = torch.zeros(1, 1, 1, 32, 32)
    seen, unseen = torch.cos(3 * x + 4 * y), torch.cos(3 * x - 4 * y)
    area = (2 * math.pi) ** 2
    found = variants.pdebench_frmse(truth + seen, truth, grid)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5 * area / 8, 0.0]), atol=1e-12, rtol=1e-12)
    missed = variants.pdebench_frmse(truth + unseen, truth, grid)
    torch.testing.assert_close(missed, torch.zeros(3), atol=1e-12, rtol=0)
    # |m| = 3.6 lies in band 0-3 by its floor, in band 4-11 by its shell.
    found = variants.pdebench_frmse(truth + torch.cos(2 * x + 3 * y), truth, grid)
    assert found.argmax() == 0


def test_pdebench_frmse_in_three_dimensions():
    grid = Grid((26, 26, 26), (1.0, 1.0, 1.0))
    x, y, z = grid.mesh()
    truth = torch.zeros(1, 1, 1, 26, 26, 26)
    error = torch.cos(2 * math.pi * (x + 2 * y + 2 * z))
    expected = torch.tensor([0.5 / 4, 0.0, 0.0])
    torch.testing.assert_close(variants.pdebench_frmse(truth + error, truth, grid), expected, atol=1e-12, rtol=1e-12)


def test_pdebench_frmse_needs_three_bands():
    grid = Grid((24, 24), (1.0, 1.0))
    u = torch.zeros(1, 1, 1, 24, 24)
    with pytest.raises(ValueError, match="`points // 2` must be at least 13, got 12"):
        variants.pdebench_frmse(u, u, grid)
    with pytest.raises(ValueError, match="`points // 2 \\+ 1` must be at least 13, got 12"):
        variants.pdebench_frmse(u[..., 0, :22], u[..., 0, :22], Grid((22,), (1.0,)))


@pytest.mark.parametrize(
    "variant",
    [
        variants.apebench_correlation,
        variants.apebench_nrmse,
        variants.mppde_accumulated_error,
        variants.pdearena_scaled_l2,
        variants.pdebench_nrmse,
        variants.poseidon_relative_l1,
        variants.thewell_pearson,
        variants.thewell_vrmse,
        lambda p, u: variants.pdearena_correlation_time(p, u, 1.0),
        lambda p, u: variants.jaxcfd_correlation_time(p, u, torch.ones(1)),
        lambda p, u: variants.pdebench_frmse(p, u, Grid((32,), (1.0,))),
    ],
)
def test_every_variant_checks_its_input(variant, without_shape_checks):
    with pytest.raises(ValueError, match="`prediction` must have shape"):
        variant(torch.zeros(1, 1, 1, 32), torch.zeros(2, 1, 1, 32))
