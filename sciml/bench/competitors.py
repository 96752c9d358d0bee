"""What continues the test trajectories: learned models, the reference solver on other grids, persistence."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.bench.checkpoint import ModelCard, load, save_model
from sciml.bench.scenario import ModelConfig, Scenario, SolverConfig
from sciml.core import FieldBatch, Key
from sciml.core.atomic import prepare_folder, replacing
from sciml.core.checks import check_multiple
from sciml.data import Trajectories, Windows, fit_increment_normalizer, fit_normalizer, loader
from sciml.grids import Grid, resample
from sciml.integrate import AbstractMethod, Fixed, SaveAt, solve
from sciml.nn import Normalizer
from sciml.pde import AbstractEquation, Spectral
from sciml.surrogates import AbstractStepper, OneStep, Persistence, rollout
from sciml.training import CurriculumObjective, Hardware, fit

Count = Callable[[int], None]
_TIMINGS = 3


@final
@dataclass(frozen=True)
class Prediction:
    """Predicted frames and what they cost.

    Args:
        frames: (batch, time, channel, *space), on the grid of the test data.
        train_seconds: training time, [s]; 0 where nothing is trained.
        rollout_seconds: time of the whole rollout of all test trajectories, least of three, [s].
    """

    frames: Float[Tensor, "batch time channel *space"]
    train_seconds: float
    rollout_seconds: float


def train(
    config: ModelConfig,
    data: Trajectories,
    stride: int,
    *,
    seed: int,
    folder: Path,
    device: torch.device,
    trained_on: str = "",
    progress: Callable[[int, float], None] | None = None,
) -> tuple[AbstractStepper, float]:
    """Train a model on trajectories, or continue where an interrupted training stopped.

    Args:
        config: network, target, modes and optimisation.
        data: training trajectories.
        stride: frames of `data` per model frame.
        seed: of initialisation, data order and noise.
        folder: where checkpoints, the log and `model.ckpt` go.
        device: where to train.
        trained_on: digest of the data, for the model's card.
        progress: called with (steps done, loss).

    Returns:
        The trained stepper and the seconds it took, those before an interruption included.
    """
    card = ModelCard(
        network=dict(config.network),
        increment=config.increment,
        conserve_mean=config.conserve_mean,
        dt=data.dt * stride,
        fields=data.fields.names,
        ndim=data.grid.ndim,
        trained_on=trained_on,
    )
    _claim(folder, card, config, seed)
    stepper = _fresh(card, data, stride, seed)
    stepper.criterion = config.criterion(data.grid)
    stepper = stepper.to(device)
    objective = CurriculumObjective(stepper, config.curriculum)
    settings = replace(config.train, seed=seed)
    windows = Windows(data, objective.window, stride)

    def batches(start: int) -> "_OnDevice":
        source = loader(windows, settings.batch_size, seed, steps=settings.steps, start=start)
        return _OnDevice(source, device)

    result = fit(
        objective,
        batches,
        settings,
        folder=folder,
        progress=progress or False,
        hardware=Hardware(accelerator="gpu" if device.type == "cuda" else device.type),
    )
    save_model(folder / "model.ckpt", stepper, card)
    return load(folder / "model.ckpt", device=device), result.seconds


def _claim(folder: Path, card: ModelCard, config: ModelConfig, seed: int) -> None:
    """Write down what is trained in `folder`, or raise if it holds the training of something else."""
    settings = asdict(config.train)
    free = ("checkpoint_every", "validate_every", "log_every")
    claim = {
        "card": asdict(card),
        "modes": [asdict(mode) for mode in config.modes],
        "loss": {"sobolev": config.sobolev, "spectrum": config.spectrum},
        "train": {name: value for name, value in settings.items() if name not in (*free, "seed")},
        "seed": seed,
    }
    prepare_folder(folder)
    path = folder / "training.json"
    wanted = json.loads(json.dumps(claim))
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(claim, indent=1))
        return
    found = json.loads(path.read_text())
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    if differing:
        raise ValueError(
            f"a training must be continued as it was begun, but {folder} holds one of another "
            f"{', '.join(differing)} (see {path.name}). Choose another folder."
        )


def _fresh(card: ModelCard, data: Trajectories, stride: int, seed: int) -> OneStep:
    """A stepper with scales of the training data and weights of `seed`; global random state is left alone."""
    normalizer = fit_normalizer(data)
    scale = fit_increment_normalizer(data, stride) if card.increment else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return card.build(normalizer, scale).to(data.dtype)


@final
class _OnDevice:
    """Batches moved to a device as they come."""

    def __init__(self, source: "torch.utils.data.DataLoader[FieldBatch]", device: torch.device) -> None:
        self._source, self._device = source, device

    def __iter__(self) -> Iterator[FieldBatch]:
        return (batch.to(self._device) for batch in self._source)


def predict(
    stepper: AbstractStepper,
    context: Float[Tensor, "batch time channel *space"],
    frames: int,
    *,
    dt: float,
    key: Key,
    train_seconds: float = 0.0,
    progress: Count | None = None,
) -> Prediction:
    """Roll a stepper out and time it: the least of three rollouts after a short one, so that nothing is timed cold."""
    rollout(stepper, context, min(2, frames), dt=dt, key=key)
    begin = _now(context.device)
    predicted = rollout(stepper, context, frames, dt=dt, key=key, progress=progress)
    seconds = [_now(context.device) - begin]
    for _ in range(_TIMINGS - 1):
        begin = _now(context.device)
        rollout(stepper, context, frames, dt=dt, key=key)
        seconds.append(_now(context.device) - begin)
    return Prediction(predicted.cpu(), train_seconds, min(seconds))


def persist(context: Float[Tensor, "batch time channel *space"], frames: int, *, dt: float) -> Prediction:
    """The last given frame for ever."""
    still = Persistence(Normalizer.identity(context.shape[2]))
    return predict(still, context[:, -1:], frames, dt=dt, key=Key.rows(0, len(context)))


@torch.no_grad()
def solve_coarse(
    config: SolverConfig,
    scenario: Scenario,
    context: Float[Tensor, "batch time channel *space"],
    frames: int,
) -> Prediction:
    """The reference solver from the last given frame, in the precision of the data; NaN once it has blown up."""
    grid, coarse = scenario.grid(scenario.test_data.points), scenario.grid(config.points)
    start = resample(context[:, -1], grid, coarse.points)
    equation, method, dt = scenario.built_equation, config.built_method, config.dt
    continue_with_solver(equation, coarse, start, min(2, frames), scenario.dt, dt=dt, method=method)
    seconds = []
    for _ in range(_TIMINGS):
        begin = _now(context.device)
        predicted = continue_with_solver(equation, coarse, start, frames, scenario.dt, dt=dt, method=method)
        seconds.append(_now(context.device) - begin)
    return Prediction(resample(predicted, coarse, grid.points).cpu(), 0.0, min(seconds))


def continue_with_solver(
    equation: AbstractEquation,
    grid: Grid,
    start: Float[Tensor, "batch channel *space"],
    frames: int,
    dt_frame: float,
    *,
    dt: float,
    method: AbstractMethod,
) -> Float[Tensor, "batch time channel *space"]:
    """Frames after `start` by the solver; NaN in a trajectory from the first frame after it blew up."""
    each = check_multiple("dt_frame", dt_frame, "dt", dt)
    system = Spectral(equation, grid, start.device)
    solution = solve(
        system.term,
        method,
        system.encode(start),
        0.0,
        frames * each * dt,
        control=Fixed(n=frames * each),
        save=SaveAt(every=each, fn=lambda t, y: system.decode(y)),
        throw=False,
    )
    last_good = solution.stats.steps[:, None] - (solution.result != 0).long()[:, None]
    frame_steps = each * torch.arange(1, frames + 1, device=start.device)
    lost = (frame_steps[None] > last_good).reshape(len(start), frames, *[1] * (start.ndim - 1))
    return torch.where(lost, torch.nan, solution.ys)


def _now(device: torch.device) -> float:
    """The clock, after the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
