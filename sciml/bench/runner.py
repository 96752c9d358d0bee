"""Scenario x competitor x seed -> row groups -> one long table -> one report. A killed run continues where it was."""

import functools
import os
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

import sciml
from sciml.bench.competitors import Prediction, continue_with_solver, persist, predict, solve_coarse, train
from sciml.bench.provenance import commit, device_name, today
from sciml.bench.recipes import scenario_recipe
from sciml.bench.report import write_report
from sciml.bench.results import TRAINING_CODE, ResultStore, Row, code_digest
from sciml.bench.scenario import DataConfig, Scenario
from sciml.bench.scoring import score
from sciml.bench.summary import report_data
from sciml.core import Key, digest
from sciml.data import Trajectories, content_digest, produce
from sciml.grids import resample
from sciml.integrate import ETDRK4

Progress = Callable[[str, int, int], None]
"""Called as (task, done, total)."""
_SAMPLES = 2
_CHECKED = 8


@final
@dataclass(frozen=True)
class BenchResult:
    """What a benchmark run leaves behind."""

    table: pd.DataFrame
    table_path: Path
    report_path: Path


@final
@dataclass(frozen=True)
class _Group:
    """One row group to be: its name, who competes, and how to compute its rows."""

    model: str
    kind: str
    seed: int
    config: Any
    compute: Callable[[], tuple[list[Row], dict[str, np.ndarray], Prediction | None]]


def run(
    scenario: Scenario,
    folder: str | os.PathLike[str],
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> BenchResult:
    """Simulate, train, roll out, score, report.

    Args:
        scenario: what to run.
        folder: where everything goes; a folder of an interrupted run is continued.
        device: for training and rollouts.
        progress: called with (task, done, total).

    Returns:
        The long table and where table and report are.

    Raises:
        OSError: if the folder is not writable.
        KeyboardInterrupt: on Ctrl-C, after which the same call continues.
    """
    return _Run(scenario, Path(folder), torch.device(device), progress or (lambda task, done, total: None)).run()


def report_again(scenario: Scenario, folder: str | os.PathLike[str], *, device: str = "cpu") -> Path:
    """Write the report of a finished run from its row groups, without computing any.

    Raises:
        ValueError: if a row group is missing.
    """
    quiet: Progress = lambda task, done, total: None  # noqa: E731
    return _Run(scenario, Path(folder), torch.device(device), quiet, simulate=False).report_again()


class _Run:
    """One call of `run`: data, groups, table, report."""

    def __init__(
        self, scenario: Scenario, folder: Path, device: torch.device, progress: Progress, *, simulate: bool = True
    ) -> None:
        self.scenario, self.folder, self.device, self.progress = scenario, folder, device, progress
        paths = [self._data_path(which, config) for which, config in self._data_configs()]
        if not simulate and not all(path.exists() for path in paths):
            raise ValueError(
                f"a report needs a finished run of this scenario and size, but {folder} holds none (no row groups). "
                "Run `sciml bench` first, or correct the folder."
            )
        self.store = ResultStore(folder)
        self.train_path = self._simulate("train", scenario.train_data)
        self.test_path = self._simulate("test", scenario.test_data)
        self.digests = {"train": content_digest(self.train_path), "test": content_digest(self.test_path)}
        self.test = Trajectories.open(self.test_path).load().every(scenario.stride).crop(0, scenario.frames + 1)

    def run(self) -> BenchResult:
        names, groups = [], list(self._groups())
        for number, group in enumerate(groups):
            self.progress("competitors", number, len(groups))
            names.append(self._finish(group))
        self.progress("competitors", len(groups), len(groups))
        return self._conclude(names)

    def report_again(self) -> Path:
        names = [self._name(group) for group in self._groups()]
        missing = [name for name in names if not self.store.has(name)]
        if missing:
            raise ValueError(
                f"a report needs a finished run, but {self.folder} lacks {len(missing)} of {len(names)} row groups, "
                f"first {missing[0]}. Run `sciml bench` with the same scenario, size and folder."
            )
        return self._conclude(names).report_path

    def _conclude(self, names: list[str]) -> BenchResult:
        table = self.store.table(names)
        table_path = self.store.write_table(table)
        arrays = {name: self.store.arrays(name) for name in names}
        data = report_data(self.scenario, table, arrays)
        report_path = write_report(data, self.folder / "report.html")
        return BenchResult(table, table_path, report_path)

    def _simulate(self, which: str, config: DataConfig) -> Path:
        path = self._data_path(which, config)
        path.parent.mkdir(parents=True, exist_ok=True)
        simulate_data(self.scenario, config, path, functools.partial(self.progress, f"simulate {which} data"))
        return path

    def _data_configs(self) -> list[tuple[str, DataConfig]]:
        return [("train", self.scenario.train_data), ("test", self.scenario.test_data)]

    def _data_path(self, which: str, config: DataConfig) -> Path:
        return self.folder / "data" / f"{which}-{digest([self._physics, asdict(config)])[:12]}.nc"

    @property
    def _physics(self) -> list[Any]:
        return [dict(self.scenario.equation), dict(self.scenario.initial), self.scenario.extent]

    def _groups(self) -> Iterator[_Group]:
        s = self.scenario
        rollout = {"stride": s.stride, "frames": s.frames, "threshold": s.threshold}
        yield _Group("truth", "truth", 0, rollout, self._truth)
        yield _Group("truth check", "check", 0, rollout, self._check_truth)
        yield _Group("persistence", "trivial", 0, rollout, lambda: self._scored(self._persistence()))
        for name, solver in s.solvers.items():
            compute = functools.partial(self._solver_rows, solver)
            yield _Group(name, "solver", 0, [rollout, asdict(solver)], compute)
        for seed in s.seeds:
            for name, model in s.models.items():
                compute = functools.partial(self._learned_rows, name, seed)
                yield _Group(name, "learned", seed, [rollout, asdict(model)], compute)

    def _identity(self, group: _Group) -> str:
        """Configuration, data, code, seed and kind of device."""
        content = [
            [group.model, group.kind, group.seed, group.config],
            self._physics,
            [asdict(self.scenario.train_data), asdict(self.scenario.test_data)],
            self.digests,
            code_digest(),
            self.device.type,
        ]
        return digest(content)

    def _name(self, group: _Group) -> str:
        return f"{_slug(group.model)}-seed{group.seed}-{self._identity(group)[:12]}"

    def _finish(self, group: _Group) -> str:
        """Compute the group unless it is there."""
        name = self._name(group)
        if not self.store.has(name):
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
            rows, arrays, prediction = group.compute()
            self.store.write(name, rows, self._common(group, prediction), arrays)
        return name

    def _common(self, group: _Group, prediction: Prediction | None) -> dict[str, Any]:
        return {
            "scenario": self.scenario.name,
            "size": self.scenario.size,
            "model": group.model,
            "kind": group.kind,
            "seed": group.seed,
            "version": sciml.__version__,
            "commit": commit(),
            "device": device_name(self.device),
            "threads": torch.get_num_threads(),
            "config_digest": digest(group.config)[:16],
            "data_digest": digest(self.digests)[:16],
            "code_digest": code_digest()[:16],
            "train_seconds": prediction.train_seconds if prediction else 0.0,
            "rollout_seconds": prediction.rollout_seconds if prediction else 0.0,
            "memory_mb": _peak_memory(self.device),
            "date": today(),
        }

    @functools.cached_property
    def _frames(self) -> Float[Tensor, "batch time channel *space"]:
        """Test frames, the given one first."""
        return self.test.read(range(len(self.test)), 0, self.scenario.frames + 1)

    def _score(self, frames: Tensor) -> list[Row]:
        return score(
            frames,
            self._frames[:, 1:],
            grid=self.test.grid,
            fields=self.test.fields,
            dt=self.scenario.dt,
            threshold=self.scenario.threshold,
        )

    def _scored(self, prediction: Prediction) -> tuple[list[Row], dict[str, np.ndarray], Prediction]:
        samples = prediction.frames[:_SAMPLES].float().numpy()
        return self._score(prediction.frames), {"samples": samples}, prediction

    def _truth(self) -> tuple[list[Row], dict[str, np.ndarray], None]:
        rows = [row for row in self._score(self._frames[:, 1:]) if row.metric == "spectrum_last_half"]
        return rows, {"samples": self._frames[:_SAMPLES, 1:].float().numpy()}, None

    def _check_truth(self) -> tuple[list[Row], dict[str, np.ndarray], None]:
        """The truth solved again with half the step, and with twice the points too, in float64.

        The finer grid comes with the finer step: a step that is stable on the one need not be on the other.
        """
        s, config = self.scenario, self.scenario.test_data
        kept = min(_CHECKED, len(self.test))
        start = self._frames[:kept, 0].double()
        rows: list[Row] = []
        variants = {"as is": (1, 1), "half the step": (2, 1), "twice the points": (2, 2)}
        frames = {}
        for number, (name, (steps, points)) in enumerate(variants.items()):
            self.progress("check the truth", number, len(variants))
            grid = s.grid(config.solve_points * points)
            u0 = resample(start, self.test.grid, grid.points)
            solved = continue_with_solver(
                s.built_equation, grid, u0, s.frames, s.dt, dt=config.dt / steps, method=ETDRK4()
            )
            frames[name] = resample(solved, grid, self.test.grid.points)
        self.progress("check the truth", len(variants), len(variants))
        for name in list(variants)[1:]:
            for row in score(
                frames[name],
                frames["as is"],
                grid=self.test.grid,
                fields=self.test.fields,
                dt=s.dt,
                threshold=s.threshold,
            ):
                if row.metric in ("high_correlation_time", "high_correlation_time_beyond_horizon", "nrmse"):
                    rows.append(replace(row, metric=f"{row.metric}: {name}"))
        return rows, {}, None

    def _persistence(self) -> Prediction:
        return persist(self._frames[:, :1], self.scenario.frames, dt=self.scenario.dt)

    def _solver_rows(self, solver: Any) -> tuple[list[Row], dict[str, np.ndarray], Prediction]:
        context = self._frames[:, :1].to(self.device)
        return self._scored(solve_coarse(solver, self.scenario, context, self.scenario.frames))

    def _learned_rows(self, name: str, seed: int) -> tuple[list[Row], dict[str, np.ndarray], Prediction]:
        config = self.scenario.models[name]
        task = f"train {name}, seed {seed}"
        stepper, seconds = train(
            config,
            self._training_data,
            self.scenario.stride,
            seed=seed,
            folder=self.folder / "models" / self._model_name(name, seed),
            device=self.device,
            trained_on=self.digests["train"],
            progress=lambda step, loss: self.progress(task, step, config.train.steps),
        )
        prediction = predict(
            stepper,
            self._frames[:, :1].to(self.device),
            self.scenario.frames,
            dt=self.scenario.dt,
            key=Key(seed, self.test.ids),
            train_seconds=seconds,
            progress=lambda done: self.progress(f"roll out {name}", done, self.scenario.frames),
        )
        return self._scored(prediction)

    def _model_name(self, name: str, seed: int) -> str:
        """Identity of a trained model: what its weights follow from, and not what they are tested on."""
        config = self.scenario.models[name]
        content = [
            [name, seed, asdict(config), self.scenario.stride],
            self._physics,
            self.digests["train"],
            code_digest(TRAINING_CODE),
            self.device.type,
        ]
        return f"{_slug(name)}-seed{seed}-{digest(content)[:12]}"

    @functools.cached_property
    def _training_data(self) -> Trajectories:
        return Trajectories.open(self.train_path).load()


def simulate_data(
    scenario: Scenario,
    config: DataConfig,
    out: str | os.PathLike[str],
    progress: Callable[[int, int], None] | None = None,
) -> Trajectories:
    """Make the training or test data of a scenario."""
    return produce(scenario_recipe(scenario, config), out, progress=progress)


def _slug(name: str) -> str:
    """A name as part of a file name."""
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def _peak_memory(device: torch.device) -> float:
    """Largest memory of the process so far, or of the device, [MB]."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
