"""The generator of paths: known answers, distribution, independence of batch and order."""

import math

import pytest
import torch
from scipy import stats

from sciml.core import Key
from sciml.paths.normals import Streams, mixed


def sequence(key: Key, purpose: int, length: int, count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    out = torch.empty(length, key.batch, count, dtype=dtype)
    Streams.of(key, purpose).sequence(out)
    return out


GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)


def test_known_answers():
    """The first outputs of SplitMix64 with seed 1234567."""
    answers = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    x = 1234567 + torch.arange(1, 6) * GOLDEN
    assert [word % (1 << 64) for word in mixed(x, torch.tensor(0)).tolist()] == answers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_standard_normal(dtype):
    z = sequence(Key.rows(5, 40), 0, 501, 20, dtype)
    assert z.shape == (501, 40, 20)
    assert stats.kstest(z.flatten().double().numpy(), "norm").pvalue > 1e-3
    assert float((z.double() ** 4).mean()) == pytest.approx(3.0, abs=0.06)
    assert 4.3 < float(z.abs().max()) < 6.8


def test_neighbours_are_uncorrelated():
    """Of one pair, of neighbouring nodes, channels and rows; the numbers and their squares."""
    z = sequence(Key.rows(5, 64), 0, 400, 64)
    pairs = [(z[0::2], z[1::2]), (z[1:-1:2], z[2::2]), (z[:, 1:], z[:, :-1]), (z[..., 1:], z[..., :-1])]
    for a, b in pairs:
        for power in (1, 2):
            both = torch.stack([a.flatten() ** power, b.flatten() ** power])
            assert abs(float(torch.corrcoef(both)[0, 1])) < 4.5 / math.sqrt(a.numel())


def test_a_number_depends_on_its_row_node_and_channel_only():
    nodes = torch.tensor([[3], [1 << 40], [0]])
    many = Streams.of(Key.rows(5, 9), 1).normal(nodes, 5, torch.float64)
    few = Streams.of(Key(5, torch.tensor([7, 2])), 1).normal(nodes[1:2], 5, torch.float64)
    assert torch.equal(few[0], many[1][[7, 2]])
    per_row = Streams.of(Key.rows(5, 9), 1).normal(torch.arange(9)[None], 5, torch.float64)
    assert torch.equal(per_row[0, 3], many[0, 3]) and torch.equal(per_row[0, 0], many[2, 0])
    long = sequence(Key.rows(5, 300), 1, 2001, 2)  # in several chunks
    assert torch.equal(long[:7, :2], sequence(Key.rows(5, 2), 1, 7, 2))


def test_purposes_seeds_members_and_ids_are_streams_of_their_own():
    keys = [Key.rows(5, 1), Key.rows(6, 1), Key.rows(5, 1).member(1), Key(5, torch.tensor([1 << 32]))]
    z = [sequence(key, purpose, 1, 4000).flatten() for key in keys for purpose in (0, 1)]
    assert float((torch.corrcoef(torch.stack(z)) - torch.eye(8)).abs().max()) < 5 / math.sqrt(4000)
