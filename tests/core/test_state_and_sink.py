"""Batches of states, and the sink that keeps frames in memory."""

import pytest
import torch

from sciml.core import Condition, Fields, MemorySink, batch_size


def test_batch_size_of_a_tree():
    assert batch_size("y0", {"a": torch.zeros(3, 2), "b": (torch.zeros(3, 1, 4),)}) == 3


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (torch.zeros(()), ValueError, r"write y0\[None\]"),
        (torch.zeros(3), ValueError, r"y0\[:, None\]"),
        ({"a": torch.zeros(3, 2), "b": torch.zeros(2, 2)}, ValueError, r"got sizes \[2, 3\]"),
        ({"a": 1.0}, TypeError, "got a float"),
    ],
)
def test_wrong_states_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        batch_size("y0", y)


def test_memory_sink_joins_along_time():
    sink = MemorySink()
    sink.write(torch.zeros(2, 1, 1, 4))
    sink.write(torch.ones(2, 2, 1, 4))
    assert sink.close().shape == (2, 3, 1, 4)


def test_condition_repeats_rows_in_succession():
    condition = Condition(parameters=torch.tensor([[1.0], [2.0]])).repeat(2)
    assert condition.parameters is not None
    assert condition.parameters[:, 0].tolist() == [1.0, 1.0, 2.0, 2.0]


def test_fields_are_checked():
    with pytest.raises(ValueError, match="must be distinct"):
        Fields(("u", "u"))
    with pytest.raises(ValueError, match="`location` must be"):
        Fields(("u",), ("1",), "edge")
