"""Spectra: Parseval, single modes, and the half-spectrum against the full one."""

import math

import pytest
import torch

from sciml.grids import Grid
from sciml.metrics import (
    BANDS,
    energy_spectrum,
    log_spectral_distance,
    log_spectral_distance_per_frame,
    shell_wavenumbers,
    spectral_distance,
    spectral_error,
)

POINTS = [(16,), (15,), (8, 12), (9, 12), (8, 11), (7, 9), (6, 4, 8), (5, 6, 7), (7, 5, 9)]
BOX = (2 * math.pi, 2 * math.pi, 2 * math.pi)


def grid_of(points):
    return Grid(points, BOX[: len(points)])


def full_band_energies(u, points, bands):
    """Energy per band by the full complex transform of (batch, time, channel, *space), channels summed."""
    dims = tuple(range(-len(points), 0))
    power = torch.fft.fftn(u, dim=dims).abs().square() / math.prod(points) ** 2 / 2
    m = torch.meshgrid(*(torch.fft.fftfreq(n, 1 / n) for n in points), indexing="ij")
    shell = torch.stack(m).square().sum(0).sqrt().round()
    edges = (0, *bands, 10**6)
    masks = [(shell >= a) & (shell < b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return torch.stack([(power * mask).sum((2, *dims)) for mask in masks], dim=-1)


@pytest.mark.parametrize("points", POINTS)
def test_parseval(points):
    u = torch.randn(3, 2, *points) + 0.5
    spectrum = energy_spectrum(u, grid_of(points))
    dims = tuple(range(2, u.ndim))
    torch.testing.assert_close(spectrum.sum(-1), 0.5 * u.square().mean(dims))


def test_parseval_holds_in_an_unequal_box():
    u = torch.randn(2, 1, 12, 8)
    grid = Grid((12, 8), (3.0, 2.0))
    torch.testing.assert_close(energy_spectrum(u, grid).sum(-1), 0.5 * u.square().mean((2, 3)))


@pytest.mark.parametrize(
    ("points", "mode", "shell"),
    [
        ((16,), (3,), 3),
        ((16,), (0,), 0),
        ((16, 16), (3, 4), 5),
        ((16, 16), (2, -3), 4),
        ((8, 8, 8), (1, 2, 2), 3),
    ],
)
def test_single_mode_fills_its_shell(points, mode, shell):
    grid = grid_of(points)
    phase = torch.stack([m * x for m, x in zip(mode, grid.mesh(), strict=True)]).sum(0)
    spectrum = energy_spectrum(1.5 * torch.cos(phase)[None, None], grid)[0, 0]
    expected = torch.zeros_like(spectrum)
    expected[shell] = 0.5 * 1.5**2 * (0.5 if any(mode) else 1.0)
    torch.testing.assert_close(spectrum, expected)


def test_nyquist_mode_is_counted_once():
    grid = grid_of((8,))
    u = torch.cos(4 * grid.mesh()[0])[None, None]  # +1, -1, ...: mean square 1
    torch.testing.assert_close(energy_spectrum(u, grid)[0, 0, 4], torch.tensor(0.5))


def test_shells_follow_the_longest_side():
    grid = Grid((16, 8), (4.0, 2.0))
    torch.testing.assert_close(shell_wavenumbers(grid)[1], torch.tensor(2 * math.pi / 4))
    x, y = grid.mesh()
    along_x, along_y = torch.cos(2 * math.pi * x / 4), torch.cos(2 * math.pi * y / 2)
    spectra = energy_spectrum(torch.stack([along_x, along_y]), grid)
    assert spectra.argmax(-1).tolist() == [1, 2]
    assert spectra.shape[-1] == len(shell_wavenumbers(grid))


@pytest.mark.parametrize(("points", "bands"), [((32,), BANDS), ((31,), BANDS), ((24, 20), BANDS), ((8, 7, 6), (2, 4))])
def test_spectral_error_equals_the_full_transform(points, bands):
    truth, prediction = torch.randn(2, 3, 2, *points), torch.randn(2, 3, 2, *points)
    error = full_band_energies(prediction - truth, points, bands)
    expected = (error / full_band_energies(truth, points, bands)).sqrt()
    torch.testing.assert_close(spectral_error(prediction, truth, grid_of(points), bands), expected)


def test_band_errors_add_up_to_the_error():
    points = (16, 12)
    truth, prediction = torch.randn(2, 3, 2, *points), torch.randn(2, 3, 2, *points)
    bands = spectral_error(prediction, truth, grid_of(points), (2, 5))
    weights = full_band_energies(truth, points, (2, 5))
    total = 0.5 * (prediction - truth).square().mean((-2, -1)).sum(2)
    torch.testing.assert_close((bands.square() * weights).sum(-1), total)


def test_error_appears_in_its_own_band():
    grid = grid_of((64,))
    x = grid.mesh()[0]
    truth = (torch.cos(2 * x) + torch.cos(6 * x) + torch.cos(20 * x))[None, None, None]
    prediction = truth - 0.3 * torch.cos(6 * x)
    torch.testing.assert_close(spectral_error(prediction, truth, grid)[0, 0], torch.tensor([0.0, 0.3, 0.0]))


def test_zero_predictor_misses_every_band():
    truth = torch.randn(2, 3, 1, 64)
    torch.testing.assert_close(spectral_error(0 * truth, truth, grid_of((64,))), torch.ones(2, 3, 3))


def test_distance_of_a_scaled_field():
    truth = torch.randn(2, 3, 2, 16, 16)
    grid = grid_of((16, 16))
    torch.testing.assert_close(log_spectral_distance(10 * truth, truth, grid), torch.full((2,), 2.0))
    torch.testing.assert_close(log_spectral_distance_per_frame(10 * truth, truth, grid), torch.full((2, 3), 2.0))


def test_distance_is_blind_to_shifts():
    truth = torch.randn(2, 3, 1, 16, 15)
    moved = truth.roll((3, 5), (-2, -1))
    distance = log_spectral_distance(moved, truth, grid_of((16, 15)))
    torch.testing.assert_close(distance, torch.zeros(2), atol=1e-12, rtol=0)


def test_distance_averages_spectra_before_comparing():
    grid = grid_of((16,))
    x = grid.mesh()[0]
    amplitudes = torch.tensor([1.0, 3.0])[None, :, None, None]
    truth = amplitudes * torch.cos(2 * x)
    steady = math.sqrt(5) * torch.cos(2 * x).expand_as(truth)  # the mean energy of 1 and 9
    assert log_spectral_distance(steady, truth, grid).item() == pytest.approx(0, abs=1e-12)
    expected = torch.tensor([[math.log10(5), math.log10(9 / 5)]])
    torch.testing.assert_close(log_spectral_distance_per_frame(steady, truth, grid), expected)


def test_empty_shells():
    truth = torch.tensor([[1.0, 0.0, 1e-20, 0.0]])
    both_empty = torch.tensor([[1.0, 1e-18, 0.0, 0.0]])
    assert spectral_distance(both_empty, truth).item() == pytest.approx(0, abs=1e-12)
    spurious = torch.tensor([[1.0, 1e-6, 0.0, 0.0]])  # 4 decades above the floor, one of two shells that count
    assert spectral_distance(spurious, truth).item() == pytest.approx(4 / math.sqrt(2), rel=1e-9)
    torch.testing.assert_close(
        spectral_distance(truth, spurious), spectral_distance(spurious, truth), rtol=1e-5, atol=0
    )
    assert spectral_distance(spurious, truth, floor=1e-8).item() == pytest.approx(2 / math.sqrt(2), rel=1e-9)


def test_zero_fields():
    zero, one = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    assert spectral_distance(zero, zero).item() == 0
    assert spectral_distance(one, zero).item() == math.inf


def test_a_broken_prediction_is_infinitely_far():
    truth = torch.randn(2, 3, 1, 32)
    prediction = truth.clone()
    prediction[1, 2, 0, 5] = math.nan
    grid = grid_of((32,))
    assert log_spectral_distance(prediction, truth, grid).tolist() == [0.0, math.inf]
    assert log_spectral_distance_per_frame(prediction, truth, grid)[1].tolist() == [0.0, 0.0, math.inf]
    assert spectral_error(prediction, truth, grid)[1, 2].tolist() == [math.inf] * 3


def test_bad_input():
    u = torch.randn(1, 2, 1, 16)
    with pytest.raises(ValueError, match="must match the grid"):
        energy_spectrum(u, grid_of((8,)))
    with pytest.raises(ValueError, match=r"`bands` must hold first shells that increase.*below 9.*got \(4, 12\)"):
        spectral_error(u, u, grid_of((16,)))
    with pytest.raises(ValueError, match=r"`bands` must hold.*got \(4, 4\)"):
        spectral_error(u, u, grid_of((16,)), (4, 4))
    with pytest.raises(ValueError, match="`floor` must be positive and finite, got 0.0"):
        log_spectral_distance(u, u, grid_of((16,)), floor=0.0)


def test_log_distance_counts_whole_shells_without_the_mean():
    """Energy in the mean or in the corners of the spectrum changes nothing; a decade in one shell of seven does."""
    grid = Grid((16, 16), (2 * math.pi, 2 * math.pi))
    x, y = grid.mesh()
    truth = sum(torch.cos(k * x) for k in range(1, 8))
    assert isinstance(truth, torch.Tensor)
    frames = truth[None, None, None]
    corner = frames + 3.0 + torch.cos(7 * x + 7 * y)
    assert float(log_spectral_distance(corner, frames, grid)) < 1e-12
    louder = frames + (math.sqrt(10) - 1) * torch.cos(3 * x)
    assert float(log_spectral_distance(louder, frames, grid)) == pytest.approx(math.sqrt(1 / 7), rel=1e-9)
