"""Spin-up: what counts as steady, and that it ends there."""

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid
from sciml.pde import Diffusion, KuramotoSivashinsky, TruncatedFourier
from sciml.pde.spin_up import NotSteadyError, energy, is_steady, spin_up

LINE = Grid((64,), (44.0,))


def test_what_counts_as_steady():
    noise = 0.02 * torch.randn(40, generator=torch.Generator().manual_seed(0))
    assert is_steady(1 + noise, 0.1, 8)
    assert not is_steady(1 + 0.02 * torch.arange(40.0) + noise, 0.1, 8)  # a trend of 0.16 between the two means
    assert not is_steady(1 + 20 * noise, 0.1, 8)  # too noisy to tell
    assert not is_steady(torch.ones(15), 0.1, 8)  # too few
    assert is_steady(torch.ones(16), 0.1, 8)


@pytest.mark.parametrize(
    "trend", [1 + 0.01 * torch.arange(8.0), torch.exp(0.015 * torch.arange(8.0)), torch.exp(-0.015 * torch.arange(8.0))]
)
def test_a_slow_trend_is_not_steady(trend):
    assert not is_steady(trend, 0.1, 4)
    assert is_steady(1 + 0.01 * (trend - 1), 0.1, 4)  # of less than a tenth of the tolerance


def test_slow_growth_over_short_windows_is_not_steady():
    u0 = TruncatedFourier(4, 1e-3).sample(Key.rows(0, 2), LINE)
    result = spin_up(KuramotoSivashinsky(), LINE, u0, dt=0.01, window=0.16, longest=2.0, windows=2, throw=False)
    assert not result.steady


def test_kuramoto_sivashinsky_becomes_steady_after_its_growth():
    u0 = TruncatedFourier(8, 1e-2).sample(Key.rows(0, 8), LINE)
    result = spin_up(KuramotoSivashinsky(), LINE, u0, dt=0.25, window=16.0, longest=600.0, windows=3)
    print(f"\nsteady after t={result.time}: {result.history}")
    assert result.steady and result.history[0] < 0.1 and 100 < result.time < 400
    assert float(result.history[-6:].mean()) == pytest.approx(0.85, rel=0.25)
    assert float(energy(result.u[:, None]).mean()) == pytest.approx(0.85, rel=0.4)


def test_what_decays_is_not_steady():
    u0 = TruncatedFourier(4).sample(Key.rows(0, 2), LINE)
    with pytest.raises(NotSteadyError, match=r"must be steady to 0.1 of its mean by t=16, but the last windows have"):
        spin_up(Diffusion(1.0), LINE, u0, dt=0.125, window=2.0, longest=16.0)
    result = spin_up(Diffusion(1.0), LINE, u0, dt=0.125, window=2.0, longest=16.0, throw=False)
    assert not result.steady and result.time == 16.0 and len(result.history) == 8


def test_windows_hold_sixteen_times_of_whole_steps():
    with pytest.raises(ValueError, match="`window` must be a whole multiple of `16 dt`"):
        spin_up(Diffusion(1.0), LINE, torch.zeros(1, 1, 64), dt=0.01, window=0.1, longest=10.0)


def test_too_short_a_time_is_refused():
    with pytest.raises(ValueError, match="`longest` must hold 8 windows of 2, got 10"):
        spin_up(Diffusion(1.0), LINE, torch.zeros(1, 1, 64), dt=0.125, window=2.0, longest=10.0)
