from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.core import Condition, FieldBatch, Key, Loss
from sciml.nn import Normalizer
from sciml.surrogates import AbstractStepper, OneStep, Persistence, rollout
from tests.surrogates.cases import DT, SmallNetwork, scale, waves


class NoisyPair(AbstractStepper):
    """Two frames per step: the time and a normal number."""

    context_frames, frames_per_step, stochastic = 1, 2, True
    parameters_seen = torch.empty(0)

    @property
    def window(self) -> int:
        return 3

    def start(self, context: Tensor, condition: Condition) -> Any:
        self.parameters_seen = torch.empty(0) if condition.parameters is None else condition.parameters
        return context[:, -1]

    def step(self, state: Any, t: float, dt: float, condition: Condition, key: Key) -> tuple[Tensor, Any]:
        noise = key.normal(1, 1)
        return torch.stack([torch.full_like(noise, t), noise], dim=1), noise

    def loss(self, batch: FieldBatch, key: Key) -> Loss:
        return Loss(torch.zeros(()), {})


class Recording:
    """A sink that keeps the times of writing."""

    def __init__(self) -> None:
        self.widths: list[int] = []

    def write(self, frames: Tensor) -> None:
        self.widths.append(frames.shape[1])

    def close(self) -> list[int]:
        return self.widths


def test_last_step_is_trimmed_and_time_counts_from_t0():
    out = rollout(NoisyPair(), torch.zeros(2, 1, 1, 1), 5, dt=0.5, t0=10.0, key=Key.rows(0, 2))
    assert out.shape == (2, 5, 1, 1)
    assert out[0, ::2, 0, 0].tolist() == [10.0, 11.0, 12.0]


def test_frames_stream_to_the_sink_and_progress_is_told():
    done: list[int] = []
    widths = rollout(
        NoisyPair(), torch.zeros(1, 1, 1, 1), 5, dt=1.0, key=Key.rows(0, 1), sink=Recording(), progress=done.append
    )
    assert widths == [2, 2, 1]
    assert done == [2, 4, 5]


def test_members_are_flattened_row_by_row_with_noise_of_their_own():
    context = torch.zeros(2, 1, 1, 1)
    stepper = NoisyPair()
    condition = Condition(parameters=torch.tensor([[1.0], [2.0]]))
    many = rollout(stepper, context, 4, dt=1.0, key=Key.rows(7, 2), members=3, condition=condition)
    assert stepper.parameters_seen[:, 0].tolist() == [1.0] * 3 + [2.0] * 3
    noise = many[:, 1::2, 0, 0]
    assert len(noise.unique()) == 12
    fewer = rollout(stepper, context, 4, dt=1.0, key=Key.rows(7, 2), members=2)
    assert torch.equal(fewer[:, 1::2, 0, 0], noise[[0, 1, 3, 4]])
    row = rollout(stepper, context[:1], 4, dt=1.0, key=Key.rows(7, 1, start=1), members=3)
    assert torch.equal(row[:, 1::2, 0, 0], noise[3:])


def test_blown_up_rows_stay_so():
    context = waves(3, 1)
    context[1, 0, 0, 5] = float("inf")
    stepper = OneStep(SmallNetwork(), scale(0.0, 1.0), dt=DT)
    out = rollout(stepper, context, 6, dt=DT)
    assert not out[1].isfinite().any()  # although tanh makes something finite of infinity
    assert torch.equal(out[[0, 2]], rollout(stepper, context, 6, dt=DT)[[0, 2]]) and out[[0, 2]].isfinite().all()


def test_gradient_only_on_request_and_right():
    stepper = OneStep(SmallNetwork(), scale(0.0, 1.0), dt=DT)
    context = waves(1, 1, points=8).requires_grad_()
    assert not rollout(stepper, context, 2, dt=DT).requires_grad
    assert torch.autograd.gradcheck(lambda u: rollout(stepper, u, 2, dt=DT, grad=True), context)


def test_modes_of_the_modules_are_left_as_they_were():
    network = nn.Sequential(SmallNetwork(), nn.Dropout(0.5), nn.BatchNorm1d(1).eval())
    stepper = OneStep(network, scale(0.0, 1.0), dt=DT)
    first = rollout(stepper, waves(2, 1), 2, dt=DT)
    assert torch.equal(first, rollout(stepper, waves(2, 1), 2, dt=DT))  # no dropout
    assert stepper.training and network[1].training and not network[2].training


@pytest.mark.parametrize(
    "change, message",
    [
        ({"frames": 0}, "`frames` must be at least 1, got 0"),
        ({"dt": 0.0}, "`dt` must be positive"),
        ({"dt": float("nan")}, "`dt` must be positive"),
        ({"members": 0}, "`members` must be at least 1"),
        ({"context": torch.zeros(2, 3, 1, 4)}, "exactly 1 frames, .* got 3"),
        ({"key": None}, "stochastic stepper must get a key, got key=None for NoisyPair"),
        ({"key": Key.rows(0, 3)}, "one row per row of `context`, 2, got 3"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"context": torch.zeros(2, 1, 1, 4), "frames": 2, "dt": 1.0, "key": Key.rows(0, 2), **change}
    with pytest.raises(ValueError, match=message):
        rollout(NoisyPair(), **arguments)


def test_persistence_and_its_loss():
    stepper = Persistence(Normalizer(torch.tensor([1.0]), torch.tensor([2.0])))
    frames = torch.tensor([1.0, 5.0])[None, :, None, None].expand(1, 2, 1, 4)
    assert torch.equal(rollout(stepper, frames[:, :1], 3, dt=9.0), frames[:, :1].expand(1, 3, 1, 4))
    assert stepper.loss(FieldBatch(frames, torch.arange(1), 9.0), Key.rows(0, 1)).total == 4.0
