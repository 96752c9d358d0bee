"""What every stepper promises."""

import importlib
import pkgutil

import pytest
import torch

import sciml.surrogates
from sciml.core import Condition, FieldBatch, Key
from sciml.surrogates import AbstractStepper, rollout
from tests.surrogates.cases import DT, steppers, waves

CASES = range(len(steppers()))


def rows(condition: Condition, index: slice) -> Condition:
    parts = {name: value for name, value in vars(condition).items() if value is not None}
    return Condition(**{name: value[index] for name, value in parts.items()})


def test_every_final_stepper_has_a_case():
    for module in pkgutil.iter_modules(sciml.surrogates.__path__, "sciml.surrogates."):
        importlib.import_module(module.name)
    final = {cls for cls in AbstractStepper.__subclasses__() if cls.__module__.startswith("sciml.")}
    assert {type(stepper) for stepper, _ in steppers()} == final


@pytest.fixture(params=CASES, ids=lambda i: f"{type(steppers()[i][0]).__name__}-{i}")
def case(request):
    return steppers()[request.param]


def test_rollout_is_start_and_steps(case):
    stepper, condition = case
    context, key = waves(4, stepper.context_frames), Key.rows(5, 4)
    frames = 2 * stepper.frames_per_step + 1
    rolled = rollout(stepper, context, frames, dt=DT, condition=condition, key=key, t0=1.5)
    with torch.no_grad():
        state, made = stepper.start(context, condition), []
        for i in range(3):
            t = 1.5 + i * stepper.frames_per_step * DT
            new, state = stepper.step(state, t, DT, condition, key.fold(i))
            assert new.shape == (4, stepper.frames_per_step, 1, 32)
            made.append(new)
    assert rolled.shape == (4, frames, 1, 32)
    assert torch.equal(rolled, torch.cat(made, dim=1)[:, :frames])


def test_rows_are_independent(case):
    stepper, condition = case
    context = waves(4, stepper.context_frames)
    changed = context.clone()
    changed[2] = float("nan")
    before = rollout(stepper, context, 3, dt=DT, condition=condition, key=Key.rows(0, 4))
    after = rollout(stepper, changed, 3, dt=DT, condition=condition, key=Key.rows(0, 4))
    others = [0, 1, 3]
    assert torch.equal(before[others], after[others])
    assert not after[2].isfinite().any()


def test_a_row_does_not_depend_on_its_batch(case):
    stepper, condition = case
    context = waves(4, stepper.context_frames)
    together = rollout(stepper, context, 4, dt=DT, condition=condition, key=Key.rows(0, 4))
    alone = rollout(
        stepper,
        context[2:3],
        4,
        dt=DT,
        condition=rows(condition, slice(2, 3)),
        key=Key.rows(0, 1, start=2),
    )
    torch.testing.assert_close(alone, together[2:3], rtol=0, atol=1e-12)


def test_loss_has_one_number_and_detached_parts(case):
    stepper, condition = case
    batch = FieldBatch(waves(4, stepper.window), torch.arange(4), DT, condition)
    loss = stepper.loss(batch, Key(0, batch.ids))
    assert loss.total.shape == () and loss.total.isfinite()
    assert loss.parts and not any(part.requires_grad for part in loss.parts.values())
    assert loss.total.item() == pytest.approx(torch.stack(list(loss.parts.values())).mean().item())


def test_frames_keep_their_dtype(case):
    stepper, condition = case
    context = waves(4, stepper.context_frames).float()
    assert rollout(stepper, context, 2, dt=DT, condition=condition, key=Key.rows(0, 4)).dtype == torch.float32
