"""The HiPPO network: its memory is the projection of its features, padding is neutral, streaming is the whole."""

import pytest
import torch

from sciml.ssm.discretise import ZOH, Bilinear
from sciml.ssm.hippo import FouT, HiPPOCell, HiPPOState, LagT, LegS, LegT
from sciml.ssm.hippo.online import project, project_scaled

OPERATORS = [LegS(), LegT(20.0), LagT(), FouT(20.0)]


@pytest.mark.parametrize("operator", [LegS(), LegT(20.0)], ids=str)
def test_memory_is_the_projection_of_the_features(operator) -> None:
    cell = HiPPOCell(2, 5, 6, features=3, operator=operator)
    u, dt = torch.randn(1, 12, 2), torch.rand(1, 12) + 0.1
    hidden, state = cell(u, dt)
    ts = torch.cat([torch.zeros(1), dt[0].cumsum(0)])
    features = cell.feature(hidden)[0].mT
    if isinstance(operator, LegS):
        expected = project_scaled(6, features, ts, Bilinear())[:, -1]
    else:
        expected = project(operator, 6, features, ts, Bilinear())[:, -1]
    torch.testing.assert_close(state.memory[0], expected)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_pieces_with_carried_state_are_the_whole(operator) -> None:
    cell = HiPPOCell(1, 4, 4, operator=operator, rule=ZOH() if isinstance(operator, LagT) else None)
    u, dt = torch.randn(3, 9, 1), torch.rand(3, 9)
    whole, end = cell(u, dt)
    first, state = cell(u[:, :4], dt[:, :4])
    second, state = cell(u[:, 4:], dt[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(state.memory, end.memory)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_intervals_of_zero_change_nothing_and_gradients_are_finite(operator) -> None:
    cell = HiPPOCell(1, 4, 4, operator=operator)
    u, dt = torch.randn(2, 6, 1), torch.rand(2, 6)
    dt[0, 0], dt[:, 4:] = 0, 0
    hidden, state = cell(u, dt)
    short, before = cell(u[:, :4], dt[:, :4])
    assert torch.equal(state.memory, before.memory) and torch.equal(state.hidden, before.hidden)
    assert torch.equal(hidden[:, 4:], short[:, -1:].expand(-1, 2, -1))
    (hidden.square().sum() + state.memory.square().sum()).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in cell.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in cell.parameters())


def test_legs_memory_does_not_know_the_unit_of_time() -> None:
    cell = HiPPOCell(1, 4, 4)
    u, dt = torch.randn(2, 6, 1), torch.rand(2, 6)
    torch.testing.assert_close(cell(u, dt)[0], cell(u, 1000 * dt)[0])
    torch.testing.assert_close(cell(u)[0], cell(u, torch.full((2, 6), 7.0))[0])


def test_times_matter() -> None:
    cell = HiPPOCell(1, 4, 4)
    u, dt = torch.randn(2, 6, 1), torch.rand(2, 6)
    moved = dt.clone()
    moved[:, 2] += 0.1
    assert not torch.equal(cell(u, dt)[0][:, 3:], cell(u, moved)[0][:, 3:])


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="`states` must be a whole number of at least 1"):
        HiPPOCell(1, 4, 0)
    cell = HiPPOCell(1, 4, 4)
    with pytest.raises(ValueError, match="at least 0 and at most 1e15"):
        cell(torch.zeros(1, 2, 1), torch.tensor([[1.0, -1.0]]))
    with pytest.raises(TypeError, match="`u` must have the dtype of the layer's parameters"):
        cell(torch.zeros(1, 2, 1, dtype=torch.float32))
    u, other = torch.zeros(2, 3, 1), cell.initial_state(3)
    with pytest.raises(ValueError, match=r"`state` must have shape \(2, 4\)"):
        cell(u, state=other)
    mixed = HiPPOState(torch.zeros(2, 4), torch.zeros(2, 1, 4), torch.zeros(3))
    with pytest.raises(ValueError, match=r"`state` must have shape \(2\)"):
        cell(u, state=mixed)
    with pytest.raises(ValueError, match="`dt` must be at least 0 and at most 1e15, got -1"):
        cell(u, -1.0)


def test_one_number_is_the_interval_of_all() -> None:
    for operator in OPERATORS:
        cell, u = HiPPOCell(1, 4, 4, operator=operator), torch.randn(2, 5, 1)
        torch.testing.assert_close(cell(u, 0.5)[0], cell(u, torch.full((2, 5), 0.5))[0])
        torch.testing.assert_close(cell(u)[0], cell(u, torch.ones(2, 5))[0])
