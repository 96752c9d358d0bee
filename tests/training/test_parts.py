"""Schedule, average, checkpoint files, log and the division of a batch, each by itself."""

import csv
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from sciml.core import Condition, FieldBatch, FileContentError
from sciml.training import Average, ema_decay, load_weights, read_checkpoint, save_weights, warmup_cosine
from sciml.training.log import CsvLog
from sciml.training.module import shard


def test_warmup_then_cosine():
    rule = {"steps": 110, "warmup_steps": 10, "final_fraction": 0.1}
    assert [warmup_cosine(n, **rule) for n in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert warmup_cosine(10, **rule) == 1.0
    assert warmup_cosine(60, **rule) == pytest.approx(0.55)
    assert warmup_cosine(35, **rule) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert warmup_cosine(110, **rule) == warmup_cosine(999, **rule) == pytest.approx(0.1)


def test_warmup_of_all_steps():
    assert [warmup_cosine(n, steps=2, warmup_steps=2, final_fraction=0.0) for n in range(2)] == [0.5, 1.0]


def test_average_by_hand():
    module = nn.Linear(1, 1, bias=False)
    module.register_buffer("count", torch.zeros(()))
    average, expected = Average(module, decay=0.5), 0.0
    for n, value in enumerate([3.0, -1.0, 2.0, 5.0, 0.0, 1.0, 7.0, 8.0, 9.0, 4.0]):
        nn.init.constant_(module.weight, value)
        module.get_buffer("count").fill_(value)
        average.update()
        decay = 0.0 if n == 0 else min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert average.module.state_dict()["weight"].item() == pytest.approx(expected, abs=1e-14)
        assert average.module.state_dict()["count"] == value  # buffers are not averaged
    assert ema_decay(0, 0.999) == 0.1 and ema_decay(10**6, 0.999) == 0.999


def test_average_without_decay_is_the_last_weight():
    module = nn.Linear(3, 3)
    average = Average(module, decay=0.0)
    for _ in range(3):
        nn.init.normal_(module.weight)
        average.update()
    assert torch.equal(average.module.state_dict()["weight"], module.weight)


def test_weights_and_metadata_come_back(tmp_path):
    model, other = nn.Linear(2, 3), nn.Linear(2, 3)
    save_weights(tmp_path / "w.pt", model, {"note": {"a": [1, 2]}})
    assert load_weights(other, tmp_path / "w.pt")["note"] == {"a": [1, 2]}
    assert torch.equal(other.weight, model.weight)


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    path = tmp_path / "w.pt"
    save_weights(path, nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), {})
    message = (
        r"same model, .*w.pt is not: missing: 2.bias, 2.weight; unexpected: 1.bias, 1.weight; "
        r"of another shape: 0.bias \(3,\) instead of \(4,\), 0.weight \(3, 2\) instead of \(4, 2\). Build the model"
    )
    with pytest.raises(FileContentError, match=message):
        load_weights(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)), path)


def test_long_lists_of_names_are_cut(tmp_path):
    save_weights(tmp_path / "w.pt", nn.Linear(1, 1), {})
    with pytest.raises(FileContentError, match="missing: 0.bias, 0.weight, 1.bias, 1.weight, 2.bias and 3 more"):
        load_weights(nn.Sequential(*(nn.Linear(1, 1) for _ in range(4))), tmp_path / "w.pt")


def test_unreadable_checkpoints_are_named(tmp_path):
    path = tmp_path / "w.pt"
    with pytest.raises(FileNotFoundError, match="a checkpoint must exist to be read, got .*w.pt"):
        read_checkpoint(path)
    save_weights(path, nn.Linear(50, 50), {})
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(FileContentError, match="complete file .*w.pt cannot be read"):
            read_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(FileContentError, match="must have format 1, but .* has None"):
        read_checkpoint(path)
    torch.save([1], path)
    with pytest.raises(FileContentError, match="has list"):
        read_checkpoint(path)


def test_checkpoint_without_weights_is_named(tmp_path):
    torch.save({"format": 1, "step": 3}, tmp_path / "w.pt")
    with pytest.raises(FileContentError, match=r"must hold model weights, .* only \['format', 'step'\]"):
        load_weights(nn.Linear(1, 1), tmp_path / "w.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    torch.save({"format": 1, "model": Evil()}, tmp_path / "w.pt")
    with pytest.raises(FileContentError):
        read_checkpoint(tmp_path / "w.pt")
    assert not (tmp_path / "touched").exists()


def test_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.pt"
    save_weights(path, nn.Linear(1, 1), {"note": 1})
    with pytest.raises(AttributeError):
        save_weights(path, nn.Linear(1, 1), {"note": lambda: None})
    assert read_checkpoint(path)["note"] == 1


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_log_drops_rows_after_the_checkpoint_and_a_torn_last_line(tmp_path):
    path = tmp_path / "log.csv"
    log = CsvLog(path, 0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": step / 2})
    with open(path, "a") as file:
        file.write("4,1")  # killed while writing
    log = CsvLog(path, 2)
    log.write({"step": 3, "loss": 9.0})
    assert [(row["step"], row["loss"]) for row in read(path)] == [("1", "0.5"), ("2", "1.0"), ("3", "9.0")]


def test_log_takes_new_columns(tmp_path):
    log = CsvLog(tmp_path / "log.csv", 0)
    log.write({"step": 1, "a": 1.0})
    log.write({"step": 2, "b": 2.0})
    assert read(tmp_path / "log.csv") == [{"step": "1", "a": "1.0", "b": ""}, {"step": "2", "a": "", "b": "2.0"}]


def test_devices_share_a_batch_by_rows():
    frames = torch.arange(6.0)[:, None, None, None].expand(6, 2, 1, 4)
    batch = FieldBatch(frames, torch.arange(6), 0.1, Condition(parameters=torch.arange(6.0)[:, None]))
    parts = [shard(batch, rank, 3) for rank in range(3)]
    assert [part.ids.tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert torch.equal(torch.cat([part.frames for part in parts]), frames)
    assert parts[1].condition.parameters is not None and parts[1].condition.parameters[:, 0].tolist() == [2.0, 3.0]
    with pytest.raises(ValueError, match="6 rows for 4 devices. Choose batch_size as a multiple of 4"):
        shard(batch, 0, 4)
