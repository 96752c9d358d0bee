"""Train an objective and be able to stop at any moment: by Ctrl-C, by an exception, by kill -9.

The state after n steps is a function of (first weights, data, configuration, n). A checkpoint holds weights, average,
optimiser and schedule; data order and noise are functions of (seed, step), so a resumed run continues bit for bit
(same machine, same number of threads). The weights that are kept are the averaged ones.
"""

import dataclasses
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from sciml.core import FieldBatch, FileContentError, require_extra
from sciml.core.atomic import prepare_folder
from sciml.surrogates import AbstractStepper
from sciml.training.checkpoint import load_state, read_checkpoint
from sciml.training.config import Hardware, TrainConfig
from sciml.training.objective import AbstractObjective, StepperObjective

Progress = Callable[[int, float], None]
Batches = Callable[[int], Iterable[FieldBatch]]
"""`batches(k)` yields the batches of training steps k, k + 1, ..., the same ones whenever it is called."""


@final
@dataclass(frozen=True)
class FitResult:
    """What a training run ends with.

    Args:
        steps: updates made, those before a resume included.
        seconds: time they took, [s].
        final_loss: loss of the last update.
        checkpoint: file with the averaged weights (`model`), `config`, `step`, `seconds` and `loss`.
        log: CSV file, one row per logged step.
    """

    steps: int
    seconds: float
    final_loss: float
    checkpoint: Path
    log: Path


def fit(
    objective: AbstractObjective | AbstractStepper,
    batches: Batches,
    config: TrainConfig,
    *,
    folder: Path | str,
    validation: Iterable[FieldBatch] | None = None,
    progress: bool | Progress = True,
    resume: bool = True,
    hardware: Hardware = Hardware(),  # noqa: B008  (frozen)
) -> FitResult:
    """Train, in place: afterwards the objective holds the averaged weights and is in evaluation mode.

    The first Ctrl-C finishes the running step, saves and raises KeyboardInterrupt; the second one stops at once.

    Args:
        objective: what is minimised; a stepper stands for `StepperObjective(stepper)`.
        batches: `batches(k)` yields the batches from training step k on.
        config: how.
        folder: where `last.pt` (to resume), `weights.pt` (to keep) and `log.csv` go; made if missing.
        validation: batches whose mean loss under the averaged weights is logged; must be iterable again and again.
        progress: True for a bar on a terminal, False for nothing, or a function of (steps done, loss).
        resume: continue from `last.pt` if there is one; False starts over and removes it.
        hardware: where it runs.

    Raises:
        MissingExtraError: if Lightning is not installed.
        ValueError: if there is nothing to train, `folder` holds a run with another configuration, `validation` can be
            read only once, or the batches end too early.
        OSError: if `folder` cannot be written.
        FileContentError: if `folder` holds a run of another model, or a damaged checkpoint.
        DivergedError: if loss or gradient is no longer finite.
        KeyboardInterrupt: on Ctrl-C.
    """
    require_extra("lightning.pytorch", "train")
    objective = StepperObjective(objective) if isinstance(objective, AbstractStepper) else objective
    folder = Path(folder)
    prepare_folder(folder)
    if not objective.groups():
        raise ValueError(
            "an objective must have parameters to train, got none. A baseline without parameters needs no `fit`."
        )
    if validation is not None and iter(validation) is validation:
        raise ValueError("`validation` must be iterable more than once, got an iterator. Give a list or a DataLoader.")
    state = _state(folder, config, resume)
    if state is not None and state["step"] == config.steps:
        load_state(objective, state["average"]["module"], folder / "last.pt")
        seconds, loss = state["seconds"], state["loss"]
    else:
        seconds, loss = _train(objective, batches, config, folder, validation, progress, state, hardware)
    objective.eval()
    return FitResult(config.steps, seconds, loss, folder / "weights.pt", folder / "log.csv")


def _train(
    objective: AbstractObjective,
    batches: Batches,
    config: TrainConfig,
    folder: Path,
    validation: Iterable[FieldBatch] | None,
    progress: bool | Progress,
    state: dict[str, Any] | None,
    hardware: Hardware,
) -> tuple[float, float]:
    """Make the steps that are missing; returns seconds and last loss."""
    import lightning.pytorch as lightning

    from sciml.training.module import TrainingModule
    from sciml.training.recorder import Recorder

    if state is not None:
        load_state(objective, state["objective"], folder / "last.pt")
    device = next(iter(objective.parameters())).device
    objective.train()
    with _deferred_interrupt() as interrupt, _quiet(), torch.random.fork_rng(devices=[]):
        recorder = Recorder(config, folder, state, validation, progress, interrupt.is_set)
        module = TrainingModule(objective, config, state, recorder)
        trainer = lightning.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.num_nodes,
            strategy=hardware.strategy,
            precision=hardware.precision,  # type: ignore[arg-type]
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
        try:
            trainer.fit(module, _From(batches, module.step, config.steps))
        except SystemExit as error:  # what Lightning makes of a Ctrl-C
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            raise
        finally:
            recorder.close()
    if interrupt.is_set():
        raise KeyboardInterrupt
    if module.step < config.steps:
        raise ValueError(
            f"`batches({0 if state is None else state['step']})` must yield a batch for each step up to "
            f"{config.steps}, but ended after step {module.step}. Repeat the data as often as needed."
        )
    objective.load_state_dict(module.average.module.state_dict())
    objective.to(device)
    return recorder.seconds, recorder.loss


@final
class _From:
    """The batches of the steps `start ... stop - 1`, as a sized iterable."""

    def __init__(self, batches: Batches, start: int, stop: int) -> None:
        self._batches, self._start, self._stop = batches, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[FieldBatch]:
        return iter(self._batches(self._start))


def _state(folder: Path, config: TrainConfig, resume: bool) -> dict[str, Any] | None:
    """The state to continue from; starting over removes what an earlier run left."""
    last = folder / "last.pt"
    if not resume or not last.exists():
        for name in ("last.pt", "weights.pt", "log.csv"):
            (folder / name).unlink(missing_ok=True)
        return None
    state = read_checkpoint(last)
    if "average" not in state:
        raise FileContentError(
            f"a run to resume must hold a training state, but {last} has only {sorted(state)}. "
            "Remove the file, or give resume=False to start over."
        )
    wanted = dataclasses.asdict(config)
    free = ("checkpoint_every", "validate_every", "log_every")
    differing = [name for name in wanted if name not in free and wanted[name] != state["config"].get(name)]
    if differing:
        found = ", ".join(f"{name}={state['config'].get(name)!r} instead of {wanted[name]!r}" for name in differing)
        raise ValueError(
            f"a run must be resumed with the configuration it was started with, but {last} has {found}. "
            "Use that configuration or another folder, or give resume=False to start over."
        )
    return state


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event that is looked at between steps; the second one interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # only the main thread may handle signals
        return
    before = signal.getsignal(signal.SIGINT)

    def note(signum: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from announcing devices and tips, and torch from warning about Lightning."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Lightning uses a name of torch's pytrees that newer versions of torch are about to drop.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
