"""Windows, the resumable loader, normalisers, splits, subsampling."""

import pytest
import torch

from sciml.core import FileContentError
from sciml.data import (
    Metadata,
    StepSampler,
    Trajectories,
    Windows,
    fit_increment_normalizer,
    fit_normalizer,
    loader,
    split,
    subsample,
)
from tests.data import samples


def test_windows_are_all_there_and_right():
    data = samples.memory(frames=12)
    windows = Windows(data, 3, stride=2)
    assert len(windows) == 5 * 8
    batch = windows.__getitems__([0, 7, 8, 39])
    assert torch.equal(batch.frames, data.read([0, 0, 1, 4], [0, 7, 0, 7], 3, 2))
    assert batch.ids.tolist() == [10, 10, 11, 14] and batch.dt == 2 * samples.DT
    assert batch.condition.parameters is not None
    assert batch.condition.parameters.shape == (4, 1) and batch.condition.parameters.dtype == torch.float32
    assert batch.condition.parameters[2, 0].item() == pytest.approx(0.2)
    assert torch.equal(windows[8].frames, batch.frames[2:3])


def test_windows_without_parameters():
    base = samples.metadata()
    data = Trajectories.from_tensor(samples.values(), Metadata(base.fields, base.grid, base.dt, base.ids))
    assert Windows(data, 2)[0].condition.parameters is None


def test_window_longer_than_the_trajectories():
    with pytest.raises(ValueError, match=r"got 5 frames with stride 3 \(13 frames long\) and trajectories of 12"):
        Windows(samples.memory(frames=12), 5, stride=3)


def test_steps_depend_on_seed_and_step_only():
    steps = list(StepSampler(40, 8, 23, seed=1))
    assert len(steps) == len(StepSampler(40, 8, 23, seed=1)) == 23
    for start in (0, 4, 5, 17, 23):
        assert list(StepSampler(40, 8, 23, seed=1, start=start)) == steps[start:]
    assert list(StepSampler(40, 8, 30, seed=1))[:23] == steps
    assert list(StepSampler(40, 8, 23, seed=2)) != steps


def test_each_epoch_is_another_permutation():
    steps = list(StepSampler(43, 8, 10, seed=0))
    first, second = (sum(steps[a : a + 5], []) for a in (0, 5))
    assert len(set(first)) == len(set(second)) == 40 and first != second
    # seed 1 in its first epoch is not seed 0 in its second
    assert sum(list(StepSampler(43, 8, 5, seed=1)), []) != second


def test_sampler_refusals():
    with pytest.raises(ValueError, match="at most the number of windows, 7, got 8"):
        StepSampler(7, 8, 10, seed=0)
    with pytest.raises(ValueError, match=r"`start` must lie in 0..10, got 11"):
        StepSampler(8, 8, 10, seed=0, start=11)
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        StepSampler(8, 0, 10, seed=0)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # workers are forked beside idle threads
def test_loader_resumes_exactly(tmp_path, workers):
    data = Trajectories.open(samples.file(tmp_path / "a.nc"))
    data.read(0, 0, 1)  # opened before the fork
    windows = Windows(data, 2)
    before = torch.random.get_rng_state()
    whole = list(loader(windows, 4, seed=3, steps=9))
    rest = list(loader(windows, 4, seed=3, steps=9, start=6, workers=workers))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(whole) == 9 and len(rest) == 3
    for want, got in zip(whole[6:], rest, strict=True):
        assert torch.equal(want.frames, got.frames) and torch.equal(want.ids, got.ids)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_loader_reads_dask_in_workers():
    dataset = samples.memory().to_xarray().load().chunk({"trajectory": 2, "time": 5})
    data = Trajectories.from_xarray(dataset)
    data.read(0, 0, 1)  # the parent's threads exist; a worker must not wait for them
    whole = list(loader(Windows(samples.memory(), 2), 4, seed=3, steps=3))
    got = list(loader(Windows(data, 2), 4, seed=3, steps=3, workers=1))
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(whole, got, strict=True))


def random_walks(trajectories=4, frames=50):
    values = torch.randn(trajectories, frames, 2, 8).cumsum(1) * torch.tensor([1.0, 5.0])[:, None] + 1e4
    return Trajectories.from_tensor(values, samples.metadata(trajectories))


@pytest.mark.parametrize("piece", [1 << 25, 3000])
def test_normalizer_is_mean_and_std_per_channel(monkeypatch, piece):
    monkeypatch.setattr("sciml.data.trajectories._PIECE_BYTES", piece)
    data = random_walks()
    values = data.read(range(4), 0, 50)
    normalizer = fit_normalizer(data)
    assert torch.allclose(normalizer.mean, values.mean((0, 1, 3)), rtol=1e-13)
    assert torch.allclose(normalizer.std, values.std((0, 1, 3), correction=0), rtol=1e-12)


@pytest.mark.parametrize("piece", [1 << 25, 3000])
@pytest.mark.parametrize("stride", [1, 4])
def test_increment_normalizer_is_rms_of_differences(monkeypatch, piece, stride):
    monkeypatch.setattr("sciml.data.trajectories._PIECE_BYTES", piece)
    data = random_walks()
    values = data.read(range(4), 0, 50)
    want = (values[:, stride:] - values[:, :-stride]).square().mean((0, 1, 3)).sqrt()
    normalizer = fit_increment_normalizer(data, stride)
    assert torch.allclose(normalizer.std, want, rtol=1e-12)
    assert normalizer.mean.tolist() == [0, 0]


def test_normalizer_sees_only_its_trajectories():
    data = random_walks()
    part = data.subset([0, 2])
    assert torch.equal(fit_normalizer(part).mean, fit_normalizer(part.load()).mean)
    assert not torch.equal(fit_normalizer(part).mean, fit_normalizer(data).mean)


def test_normalizer_refusals():
    base = samples.metadata(4)
    values = torch.ones(4, 5, 2, 8)
    constant = Trajectories.from_tensor(values, base)
    for fit in (fit_normalizer, fit_increment_normalizer):
        with pytest.raises(ValueError, match="constant channel"):
            fit(constant)
    with pytest.raises(ValueError, match="`stride` must be below the number of frames, 5, got 5"):
        fit_increment_normalizer(constant, 5)
    broken = values.clone()
    broken[1, 2, 0, 3] = torch.inf
    for fit in (fit_normalizer, fit_increment_normalizer):
        with pytest.raises(FileContentError, match=r"trajectory 11 \(number 1\) at time 3.5"):
            fit(Trajectories.from_tensor(broken, base))


def test_split_is_disjoint_complete_and_keyed():
    data = samples.memory(20)
    parts = split(data, (0.7, 0.15, 0.15), seed=0)
    assert [len(part) for part in parts] == [14, 3, 3]
    assert sorted(sum((part.ids.tolist() for part in parts), [])) == data.ids.tolist()
    again = split(data.subset(list(range(19, -1, -1))), (0.7, 0.15, 0.15), seed=0)
    assert [sorted(a.ids.tolist()) for a in parts] == [sorted(b.ids.tolist()) for b in again]
    other = split(data, (0.7, 0.15, 0.15), seed=1)
    assert parts[0].ids.tolist() != other[0].ids.tolist()
    assert sum(len(part) for part in split(data, (0.3, 0.3), seed=0)) == 12


@pytest.mark.parametrize("fractions", [(), (0.5, 0.6), (0.5, 0.0), (0.5, -0.1), (float("nan"), 0.5)])
def test_split_refuses_bad_fractions(fractions):
    with pytest.raises(ValueError, match="must be positive and sum to at most 1"):
        split(samples.memory(), fractions, seed=0)


def test_split_refuses_empty_parts_and_repeated_ids():
    with pytest.raises(ValueError, match=r"make sizes \[5, 0\]. Give more trajectories"):
        split(samples.memory(5), (0.95, 0.05), seed=0)
    with pytest.raises(ValueError, match="distinct ids to be split, got 1 repeats"):
        split(samples.memory(5).subset([0, 1, 1]), (0.5, 0.5), seed=0)


def test_subsample_takes_every_nth_point():
    u = torch.randn(2, 3, 8, 6)
    assert torch.equal(subsample(u, (4, 2)), u[..., ::2, ::3])


@pytest.mark.parametrize("points", [(5, 6), (8, 12), (0, 6)])
def test_subsample_refuses_what_does_not_divide(points):
    with pytest.raises(ValueError, match=r"must divide the field's points \(8, 6\).*resample"):
        subsample(torch.randn(2, 3, 8, 6), points)
