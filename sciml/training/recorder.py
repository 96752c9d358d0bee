"""What happens after an update: check that it is finite, log, validate, save, show progress."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor
from tqdm.auto import tqdm

from sciml.core import FieldBatch, Key
from sciml.training.checkpoint import save_weights, write_atomically
from sciml.training.config import TrainConfig
from sciml.training.errors import DivergedError
from sciml.training.log import CsvLog
from sciml.training.module import TrainingModule, Update

Progress = Callable[[int, float], None]


@final
class Recorder:
    """Called by the training module after each update; on several devices only the first one writes.

    Args:
        config: how often things happen.
        folder: where `last.pt`, `weights.pt` and `log.csv` go.
        state: content of the checkpoint the run starts from.
        validation: batches to validate on.
        progress: True for a bar on a terminal, False for nothing, or a function of (steps done, loss).
        interrupted: asked after each update whether to save and stop.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        state: dict[str, Any] | None,
        validation: Iterable[FieldBatch] | None,
        progress: bool | Progress,
        interrupted: Callable[[], bool],
    ) -> None:
        start = 0 if state is None else state["step"]
        self._seconds_before = 0.0 if state is None else state["seconds"]
        self._started = time.perf_counter()
        self._config, self._folder, self._validation = config, folder, validation
        self._interrupted = interrupted
        self._log = CsvLog(folder / "log.csv", start)
        self._unchecked: list[tuple[int, Tensor]] = []
        self._progress = progress if callable(progress) else None
        # disable=None shows the bar on a terminal only
        self._bar = tqdm(
            total=config.steps, initial=start, desc="train", unit="step", disable=None if progress is True else True
        )
        self.loss = math.nan
        """Loss of the last update that was looked at."""
        self.seconds = self._seconds_before
        """Time of training until then, earlier runs included, [s]."""

    def close(self) -> None:
        """Take the progress bar away."""
        self._bar.close()

    def __call__(self, module: TrainingModule, update: Update) -> None:
        """Do what is due after `update`."""
        step, config = module.step, self._config
        total = torch.stack([loss.total.detach() for loss in update.losses.values()]).sum()
        self._unchecked.append((step, total + 0 * update.gradient_norm))
        stop, last = self._interrupted(), step == config.steps
        validate = self._validation is not None and (last or _due(step, config.validate_every))
        log = last or validate or _due(step, config.log_every)
        save = last or stop or _due(step, config.checkpoint_every)
        if log or save:
            self._check_finite()
            self.loss = total.item()
            self.seconds = self._seconds_before + time.perf_counter() - self._started
        if log:
            self._write_row(module, update, validate)
        if save and module.trainer.is_global_zero:
            self._save(module, last)
        if stop:
            module.trainer.should_stop = True

    def _check_finite(self) -> None:
        """Look at all losses since the last look at once: one wait for the device, not one per step."""
        finite = torch.stack([value for _, value in self._unchecked]).isfinite().tolist()
        bad = [step for (step, _), good in zip(self._unchecked, finite, strict=True) if not good]
        self._unchecked.clear()
        if bad:
            raise DivergedError(
                f"loss and gradient must stay finite, but those of training step {bad[0]} are not. Lower "
                "`learning_rate`, lengthen `warmup_steps`, lower `clip_norm`, or check the data for non-finite values."
            )

    def _write_row(self, module: TrainingModule, update: Update, validate: bool) -> None:
        row = {"step": module.step, "loss": self.loss}
        for group, loss in update.losses.items():
            prefix = f"{group}/" if len(update.losses) > 1 else ""
            row |= {prefix + name: value.item() for name, value in loss.parts.items()}
        row |= {"gradient_norm": update.gradient_norm.item(), "learning_rate": update.learning_rate}
        if not module.trainer.is_global_zero:
            return
        if validate:
            row["validation_loss"] = self._validation_loss(module)
        self._log.write({**row, "seconds": round(self.seconds, 3)})
        self._bar.update(module.step - self._bar.n)
        self._bar.set_postfix(loss=f"{self.loss:.3g}")
        if self._progress is not None:
            self._progress(module.step, self.loss)

    @torch.no_grad()
    def _validation_loss(self, module: TrainingModule) -> float:
        """Mean loss per window under the averaged weights, with the same noise each time."""
        objective = module.average.module
        total, rows = 0.0, 0
        for batch in self._validation or ():
            key = Key(self._config.seed, batch.ids.to(module.device)).fold(-1)
            losses = objective.losses(batch.to(module.device), key, module.step - 1)  # type: ignore[operator]
            total += sum(loss.total.item() for loss in losses.values()) * len(batch.frames)
            rows += len(batch.frames)
        return total / rows if rows else math.nan

    def _save(self, module: TrainingModule, last: bool) -> None:
        facts = {
            "config": dataclasses.asdict(self._config),
            "step": module.step,
            "seconds": self.seconds,
            "loss": self.loss,
        }
        if last:  # before last.pt: a finished run always has its weights
            save_weights(self._folder / "weights.pt", module.average.module.model, facts)  # type: ignore[arg-type]
        write_atomically(self._folder / "last.pt", {**module.training_state(), **facts})


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
