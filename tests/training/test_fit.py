import csv
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import sciml.core.errors
from sciml.core import FieldBatch, FileContentError, Key, Loss, MissingExtraError
from sciml.nn import Normalizer
from sciml.surrogates import Curriculum, OneStep, OneStepMode, Persistence, Unrolled
from sciml.training import (
    AbstractObjective,
    CurriculumObjective,
    DivergedError,
    TrainConfig,
    fit,
    load_weights,
    read_checkpoint,
    warmup_cosine,
)
from tests.training.runs import CONFIG, batch, batches, run, stepper


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    return run(tmp_path_factory.mktemp("whole"))


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def assert_same(model: nn.Module, other: nn.Module) -> None:
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def assert_same_log(path: Path, other: Path) -> None:
    """Equal but for the time."""
    ours, theirs = ([{**row, "seconds": ""} for row in rows(p)] for p in (path, other))
    assert ours == theirs


def failing_at(step: int, error: BaseException):
    def interrupted(start: int):
        for k, item in enumerate(batches(start), start):
            if k == step:
                raise error
            yield item

    return interrupted


def test_result_and_log(whole):
    model, result = whole
    assert result.steps == 40 and result.seconds > 0
    log = rows(result.log)
    assert [int(row["step"]) for row in log] == [*range(3, 40, 3), 40]
    assert float(log[-1]["loss"]) == result.final_loss == float(log[-1]["step_1"])
    for row in log:
        rate = warmup_cosine(int(row["step"]) - 1, steps=40, warmup_steps=5, final_fraction=0.0)
        assert float(row["learning_rate"]) == pytest.approx(1e-2 * rate)
        assert float(row["gradient_norm"]) > 0
    assert not model.training
    assert sorted(p.name for p in result.log.parent.iterdir()) == ["last.pt", "log.csv", "weights.pt"]


def test_fit_is_a_plain_loop(tmp_path):
    """The same updates written out: AdamW, warm-up, clipping and average."""
    config = replace(CONFIG, clip_norm=0.05)
    result, _ = run(tmp_path, config=config)
    model = stepper()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    average = None
    for step in range(40):
        item = batch(step)
        optimizer.param_groups[0]["lr"] = 1e-2 * warmup_cosine(step, steps=40, warmup_steps=5, final_fraction=0.0)
        key = Key(3, item.ids).fold(step)
        torch.default_generator.manual_seed(key.seed)
        optimizer.zero_grad()
        model.loss(item, key).total.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        for p in model.parameters():
            assert p.grad is not None
            p.grad *= min(1.0, 0.05 / gradient.norm().item())
        optimizer.step()
        weights = [p.detach().clone() for p in model.parameters()]
        decay = min(0.9, (1 + step) / (10 + step))
        average = (
            weights if average is None else [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
        )
    assert average is not None
    for averaged, by_hand in zip(result.parameters(), average, strict=True):
        torch.testing.assert_close(averaged.detach(), by_hand, rtol=1e-4, atol=1e-6)


def test_checkpoint_holds_the_averaged_weights(whole):
    model, result = whole
    other = stepper(seed=9)
    content = load_weights(other, result.checkpoint)
    assert_same(other, model)
    assert content["step"] == 40 and content["config"]["seed"] == 3 and content["loss"] == result.final_loss


@pytest.mark.parametrize("step", [3, 7, 25, 39])
def test_resume_after_an_exception_is_exact(whole, tmp_path, step):
    with pytest.raises(OSError, match="disk on fire"):
        run(tmp_path, batches=failing_at(step, OSError("disk on fire")))
    torch.manual_seed(step)  # the state of the global generator must not matter
    model, result = run(tmp_path)
    assert_same(model, whole[0])
    assert_same_log(result.log, whole[1].log)
    assert result.final_loss == whole[1].final_loss and result.checkpoint.exists()


def test_a_finished_run_is_not_repeated(whole, tmp_path):
    _, first = run(tmp_path)
    model, second = run(tmp_path, batches=failing_at(0, AssertionError("trained again")))
    assert_same(model, whole[0])
    assert second == first


def test_starting_over(whole, tmp_path):
    run(tmp_path, config=replace(CONFIG, steps=9, warmup_steps=1))
    model, result = run(tmp_path, resume=False)
    assert_same(model, whole[0])
    assert_same_log(result.log, whole[1].log)


def kill_after(folder: Path, steps: int) -> None:
    """Run in another process, killed once it has begun so many further steps."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.runs", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    assert process.stdout is not None
    for _ in range(steps):
        assert process.stdout.readline() != ""
    process.kill()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL


def test_a_killed_run_resumes_exactly(whole, tmp_path):
    kill_after(tmp_path, 10)
    assert 7 <= read_checkpoint(tmp_path / "last.pt")["step"] < 40
    model, result = run(tmp_path)
    assert_same(model, whole[0])
    assert_same_log(result.log, whole[1].log)


@pytest.mark.slow
def test_a_run_killed_again_and_again_resumes_exactly(whole, tmp_path):
    for steps in (1, 3, 8, 9, 2, 15):
        kill_after(tmp_path, steps)
    model, result = run(tmp_path)
    assert_same(model, whole[0])
    assert_same_log(result.log, whole[1].log)


def test_ctrl_c_saves_and_surfaces(whole, tmp_path):
    def interrupted(start: int):
        for k, item in enumerate(batches(start), start):
            if k == 10:
                os.kill(os.getpid(), signal.SIGINT)
            yield item

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, batches=interrupted)
    assert signal.getsignal(signal.SIGINT) is before
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 11  # the step it came in is finished first
    model, _ = run(tmp_path)
    assert_same(model, whole[0])


def test_second_ctrl_c_stops_at_once(whole, tmp_path):
    def impatient(start: int):
        for k, item in enumerate(batches(start), start):
            if k == 10:
                os.kill(os.getpid(), signal.SIGINT)
                while signal.getsignal(signal.SIGINT) is not before:
                    time.sleep(0.001)  # two signals that are pending together are delivered as one
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(30)  # interrupted at once
            yield item

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, batches=impatient)
    assert signal.getsignal(signal.SIGINT) is before
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 7
    assert_same(run(tmp_path)[0], whole[0])


def test_fit_works_outside_the_main_thread(whole, tmp_path):
    models: list[OneStep] = []
    thread = threading.Thread(target=lambda: models.append(run(tmp_path)[0]))
    thread.start()
    thread.join()
    assert_same(models[0], whole[0])


def test_the_global_generator_is_left_alone(tmp_path):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    run(tmp_path, config=replace(CONFIG, steps=5))
    assert torch.equal(torch.get_rng_state(), before)


def test_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    def poisoned(start: int):
        for k, item in enumerate(batches(start), start):
            yield replace(item, frames=item.frames * (float("nan") if k == 15 else 1.0))

    with pytest.raises(DivergedError, match="training step 16 are not. Lower `learning_rate`"):
        run(tmp_path, batches=poisoned)
    state = read_checkpoint(tmp_path / "last.pt")
    assert state["step"] == 14 and all(value.isfinite().all() for value in state["objective"].values())
    assert [int(row["step"]) for row in rows(tmp_path / "log.csv")] == [3, 6, 9, 12, 15]


def test_validation_uses_the_average_and_is_logged(tmp_path):
    config = replace(CONFIG, steps=12, validate_every=4, log_every=5)
    held_out = [batch(1000), batch(1001)]
    model, result = run(tmp_path, config=config, validation=held_out)
    log = {int(row["step"]): row["validation_loss"] for row in rows(result.log)}
    assert list(log) == [4, 5, 8, 10, 12] and log[5] == log[10] == ""
    expected = sum(model.loss(item, Key(3, item.ids).fold(-1)).total.item() for item in held_out) / 2
    assert float(log[12]) == pytest.approx(expected)


def test_validation_does_not_change_training(whole, tmp_path):
    config = replace(CONFIG, validate_every=4)
    assert_same(run(tmp_path, config=config, validation=[batch(1000)])[0], whole[0])


def test_progress_is_told(tmp_path):
    told: list[tuple[int, float]] = []
    _, result = run(tmp_path, progress=lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == [*range(3, 40, 3), 40] and told[-1][1] == result.final_loss


def test_training_learns(tmp_path):
    """The data move one point per frame; the trained stepper must beat persistence clearly."""
    model = stepper(width=8)
    model.mode = OneStepMode()
    model.network[2] = nn.Identity()  # type: ignore[index, operator]
    fit(model, batches, replace(CONFIG, steps=300, checkpoint_every=300), folder=tmp_path, progress=False)
    item = batch(10_000)
    error = model.loss(item, Key(0, item.ids)).total
    assert error < Persistence(model.normalizer).loss(item, Key(0, item.ids)).total / 20


def test_curriculum_changes_the_mode(tmp_path):
    def longer(start: int):
        for item in batches(start):
            yield replace(item, frames=torch.cat([item.frames, item.frames[:, 1:].roll(1, -1)], dim=1))

    objective = CurriculumObjective(stepper(), Curriculum(((0, OneStepMode()), (6, Unrolled(2)))))
    assert objective.window == 3
    config = replace(CONFIG, steps=12)
    with pytest.raises(OSError):
        fit(objective, lambda k: failing(longer, k), config, folder=tmp_path, progress=False)
    result = fit(objective, longer, config, folder=tmp_path, progress=False)
    assert [row["step_2"] != "" for row in rows(result.log)] == [False, False, True, True]


def failing(source, start: int):
    for k, item in enumerate(source(start), start):
        if k == 10:
            raise OSError
        yield item


class Pair(AbstractObjective):
    """Two numbers with opposite aims: the first minimises (a - b)^2, the second a b."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.0))
        self.b = nn.Parameter(torch.tensor(2.0))

    @property
    def model(self) -> nn.Module:
        return nn.ParameterList([self.a])

    @property
    def window(self) -> int:
        return 2

    def groups(self):
        return {"first": [self.a], "second": [self.b]}

    def losses(self, batch: FieldBatch, key: Key, step: int) -> dict[str, Loss]:
        error, product = (self.a - self.b) ** 2, self.a * self.b
        return {"first": Loss(error, {"error": error.detach()}), "second": Loss(product, {"size": product.detach()})}


def test_each_loss_moves_its_own_group(tmp_path):
    """After one step of AdamW each number has moved by lr against the sign of its own gradient."""
    objective = Pair()
    config = replace(CONFIG, steps=1, warmup_steps=0, weight_decay=0.0, learning_rate=0.01)
    result = fit(objective, batches, config, folder=tmp_path, progress=False)
    assert objective.a.item() == pytest.approx(1.01) and objective.b.item() == pytest.approx(1.99)
    (row,) = rows(result.log)
    assert float(row["first/error"]) == 1.0 and float(row["second/size"]) == 2.0 and float(row["loss"]) == 3.0
    assert float(row["gradient_norm"]) == pytest.approx(5**0.5)


def test_baseline_without_parameters_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must have parameters to train"):
        fit(Persistence(Normalizer.identity(1)), batches, CONFIG, folder=tmp_path)


def test_batches_that_end_early_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="each step up to 40, but ended after step 12. Repeat the data"):
        run(tmp_path, batches=lambda k: [batch(i) for i in range(k, 12)])


def test_validation_must_be_readable_again(tmp_path):
    with pytest.raises(ValueError, match="iterable more than once, got an iterator"):
        run(tmp_path, validation=iter([batch(0)]))


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="output folder must be writable, .*file/run is not .* another folder"):
        run(tmp_path / "file" / "run")


def test_other_configuration_is_refused_but_how_often_is_free(tmp_path):
    run(tmp_path, config=replace(CONFIG, steps=9))
    with pytest.raises(ValueError, match=r"steps=9 instead of 40, learning_rate=0.01 instead of 0.1\. Use that"):
        run(tmp_path, config=replace(CONFIG, learning_rate=0.1))
    run(tmp_path, config=replace(CONFIG, steps=9, log_every=1, checkpoint_every=1))


def test_run_of_another_model_is_refused(tmp_path):
    run(tmp_path, config=replace(CONFIG, steps=9))
    with pytest.raises(FileContentError, match="same model, .*of another shape: .*network.0.weight .*another folder"):
        fit(stepper(width=5), batches, replace(CONFIG, steps=9), folder=tmp_path, progress=False)


def test_weights_are_no_run(tmp_path):
    _, result = run(tmp_path, config=replace(CONFIG, steps=9))
    result.checkpoint.rename(tmp_path / "last.pt")
    with pytest.raises(FileContentError, match="must hold a training state"):
        run(tmp_path, config=replace(CONFIG, steps=9))


def test_missing_lightning_names_the_extra(tmp_path, monkeypatch):
    def missing(name: str):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(sciml.core.errors.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"`lightning`.*sciml-torch\[train\]"):
        run(tmp_path)


def test_room_imports_without_lightning():
    code = "import sys, sciml.training; assert 'lightning' not in sys.modules; sciml.training.TrainConfig"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"checkpoint_every": 0}, "`checkpoint_every` must be at least 1"),
        ({"validate_every": -1}, "`validate_every` must be at least 0"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be positive"),
        ({"weight_decay": -1.0}, "`weight_decay` must be at least 0"),
        ({"clip_norm": 0.0}, "`clip_norm` must be positive"),
        ({"warmup_steps": 11}, "`warmup_steps` must not exceed `steps`, got 11 > 10"),
        ({"final_learning_rate": 1.0}, "`final_learning_rate` must not exceed"),
        ({"ema_decay": 1.0}, r"`ema_decay` must lie in \[0, 1\), got 1.0"),
        ({"betas": (0.9, float("nan"))}, r"`betas` must lie in \[0, 1\), got nan"),
    ],
)
def test_bad_configuration_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"steps": 10, "batch_size": 4, **change})
