"""Keys: known answers of the generator, independence of the batch, distribution of the draws."""

import math

import pytest
import torch
from scipy import stats

from sciml.core import Key
from sciml.core.random import philox


def words(a: int, b: int, c: int, d: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.tensor([a]), torch.tensor([b]), torch.tensor([c]), torch.tensor([d])


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter, key, answer):
    """The three published test vectors of Philox-4x32-10."""
    result = philox(words(*counter), key)
    assert " ".join(f"{int(word):08x}" for word in result) == answer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_does_not_depend_on_its_batch(dtype):
    batch = Key(7, torch.tensor([5, 3, 9])).normal(2, 11, dtype=dtype)
    alone = Key(7, torch.tensor([3])).normal(2, 11, dtype=dtype)
    assert torch.equal(batch[1:2], alone)


def test_streams_differ_by_seed_fold_id_and_member():
    key = Key.rows(1, 4)
    draws = [
        key.normal(6),
        Key.rows(2, 4).normal(6),
        key.fold(0).normal(6),
        key.fold(1).normal(6),
        key.fold(1).fold(0).normal(6),
        key.member(1).normal(6),
        key.member(torch.tensor([3, 4, 5, 6])).normal(6),
        Key.rows(1, 4, start=4).normal(6),
    ]
    for i, a in enumerate(draws):
        for b in draws[i + 1 :]:
            assert not torch.isclose(a, b).any()


def test_ids_and_seeds_above_32_bits_count():
    low, high = Key(1, torch.tensor([5, 5 + (1 << 32)])).normal(8)
    assert not torch.isclose(low, high).any()
    assert not torch.isclose(Key.rows(3, 1).normal(8), Key.rows(3 + (1 << 32), 1).normal(8)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_and_uniform_are_distributed_as_named(dtype):
    key = Key.rows(11, 50)
    assert stats.kstest(key.normal(2000, dtype=dtype).flatten().double().numpy(), "norm").pvalue > 1e-3
    uniform = key.fold(1).uniform(2000, dtype=dtype)
    assert stats.kstest(uniform.flatten().double().numpy(), "uniform").pvalue > 1e-3
    assert float(uniform.min()) > 0 and float(uniform.max()) < 1


def test_rows_are_uncorrelated():
    draws = Key.rows(4, 40).normal(4000)
    off_diagonal = torch.corrcoef(draws) - torch.eye(40)
    assert float(off_diagonal.abs().max()) < 5 / math.sqrt(4000)


def test_bad_ids_are_refused():
    with pytest.raises(TypeError, match="must be integers"):
        Key(0, torch.zeros(3))
    with pytest.raises(ValueError, match=r"must have shape \(batch,\)"):
        Key(0, torch.zeros(3, 1, dtype=torch.long))
