"""A scenario: what is simulated, who competes, how it is scored. Read from TOML into frozen dataclasses.

One file holds all sizes: the tables under `[size.NAME]` replace entries of the tables above, key by key.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from sciml.bench.registry import EQUATIONS, INITIAL, METHODS, NETWORKS, AbstractNetworkConfig, named
from sciml.core import from_mapping
from sciml.core.checks import check_at_least, check_multiple, check_positive
from sciml.grids import Grid
from sciml.integrate import AbstractMethod
from sciml.pde import AbstractEquation, AbstractInitial
from sciml.surrogates import AbstractCriterion, Curriculum, MeanSquare, Mode, OneStepMode, Spectral, Unrolled
from sciml.training import TrainConfig


@final
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Reference data, for training and for testing.

    Args:
        points: stored points per axis.
        solve_points: points per axis the truth is solved on, at least `points`.
        dt: step of the reference solver, [time].
        dt_stored: time between stored frames, [time].
        frames: stored frames per trajectory.
        spin_up: time before the first stored frame, [time].
        trajectories: how many.
        first_id: identity of the first one; the ranges of training and test data must be disjoint.
        seed: of the initial fields.
        block: trajectories solved together.
    """

    points: int
    solve_points: int
    dt: float
    dt_stored: float
    frames: int
    spin_up: float
    trajectories: int
    first_id: int
    seed: int
    block: int = 32

    def __post_init__(self) -> None:
        check_positive("dt", self.dt)
        check_positive("dt_stored", self.dt_stored)
        check_multiple("dt_stored", self.dt_stored, "dt", self.dt)
        for name in ("frames", "trajectories", "block"):
            check_at_least(name, getattr(self, name), 1)
        if self.solve_points < self.points:
            raise ValueError(
                f"`solve_points` must be at least `points`, got {self.solve_points} < {self.points}. Raise it."
            )


@final
@dataclass(frozen=True, kw_only=True)
class ModeConfig:
    """A training mode, from training step `start` on; see `Unrolled`."""

    start: int = 0
    unroll: int = 1
    cut_gradient: bool = False
    noise: float = 0.0

    def build(self) -> Mode:
        """The mode as an object."""
        if self.unroll == 1:
            return OneStepMode(noise=self.noise)
        return Unrolled(self.unroll, cut_gradient=self.cut_gradient, noise=self.noise)


@final
@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A learned model.

    Args:
        network: table with `name` and the network's options.
        increment: whether the network gives the change over a step rather than the next state.
        conserve_mean: with `increment`, whether the space average of the change is taken out.
        sobolev: order of the Sobolev norm of the loss, and
        spectrum: weight of the distance of spectra in it; see `Spectral`. The mean square where both are 0.
        modes: training modes, the first from step 0.
        train: how it is trained; `seed` is set by the runner.
    """

    network: Mapping[str, Any]
    train: TrainConfig
    increment: bool = True
    conserve_mean: bool = False
    sobolev: float = 0.0
    spectrum: float = 0.0
    modes: tuple[ModeConfig, ...] = (ModeConfig(),)

    def __post_init__(self) -> None:
        assert self.built_network is not None and self.curriculum is not None
        check_at_least("sobolev", self.sobolev, 0.0)
        check_at_least("spectrum", self.spectrum, 0.0)

    @property
    def built_network(self) -> AbstractNetworkConfig:
        """The network's options as an object."""
        return named(NETWORKS, "network", self.network, "network")

    def criterion(self, grid: Grid) -> AbstractCriterion:
        """What is minimised."""
        if self.sobolev == 0.0 and self.spectrum == 0.0:
            return MeanSquare()
        return Spectral(grid, order=self.sobolev, spectrum=self.spectrum)

    @property
    def curriculum(self) -> Curriculum:
        """The training modes."""
        return Curriculum(tuple((mode.start, mode.build()) for mode in self.modes))


@final
@dataclass(frozen=True, kw_only=True)
class SolverConfig:
    """The reference solver on another grid and step, as a competitor.

    Args:
        points: points per axis.
        dt: step, [time].
        method: name of the method.
    """

    points: int
    dt: float
    method: str = "etdrk4"

    def __post_init__(self) -> None:
        check_at_least("points", self.points, 4)
        check_positive("dt", self.dt)
        assert self.built_method is not None

    @property
    def built_method(self) -> AbstractMethod:
        """The method as an object."""
        return named(METHODS, "method", {"name": self.method}, "method")


@final
@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything a benchmark run depends on.

    Args:
        name: of the task.
        title, description: for the report.
        size: `smoke`, `default`, `full`, ...
        equation, initial: tables with `name` and options.
        extent: side lengths of the box, [length].
        data: training and test data.
        stride: stored frames per model frame.
        frames: model frames of a rollout, after the given one.
        threshold: of the high-correlation time, [1].
        models: learned models by name.
        solvers: reference solver on other grids and steps, by name.
        seeds: of initialisation, data order and noise; one run of each learned model per seed.
        time_unit: what a unit of time is called in the report.
    """

    name: str
    title: str
    description: str
    size: str
    equation: Mapping[str, Any]
    initial: Mapping[str, Any]
    extent: tuple[float, ...]
    train_data: DataConfig
    test_data: DataConfig
    stride: int
    frames: int
    models: dict[str, ModelConfig]
    solvers: dict[str, SolverConfig] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1)
    threshold: float = 0.8
    time_unit: str = "time units"

    def __post_init__(self) -> None:
        for name in ("stride", "frames"):
            check_at_least(name, getattr(self, name), 1)
        if not 0 < self.threshold < 1:
            raise ValueError(f"`threshold` must lie between 0 and 1, got {self.threshold!r}. 0.8 is usual.")
        if len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise ValueError(f"`seeds` must be distinct and at least one, got {self.seeds}.")
        if self.frames * self.stride + 1 > self.test_data.frames:
            raise ValueError(
                f"a rollout of {self.frames} frames with stride {self.stride} needs {self.frames * self.stride + 1} "
                f"stored test frames, got {self.test_data.frames}. Store more or roll out fewer."
            )
        self._check_disjoint()
        self._check_names()
        for name, solver in self.solvers.items():
            check_multiple("the time between model frames", self.dt, f"dt of the solver {name!r}", solver.dt)
        check_multiple("the time between model frames", self.dt, "dt of the test data", self.test_data.dt)
        assert self.built_equation is not None and self.built_initial is not None

    def _check_names(self) -> None:
        taken = ["truth", "truth check", "persistence", *self.solvers, *self.models]
        twice = sorted({name for name in taken if taken.count(name) > 1})
        if twice:
            raise ValueError(
                f"competitors must have names of their own, got {', '.join(map(repr, twice))} twice (`truth`, "
                "`truth check` and `persistence` are taken). Rename the model or the solver."
            )

    def _check_disjoint(self) -> None:
        a, b = self.train_data, self.test_data
        apart = a.first_id + a.trajectories <= b.first_id or b.first_id + b.trajectories <= a.first_id
        if a.seed == b.seed and not apart:
            raise ValueError(
                f"training and test data must share no trajectory, got seed {a.seed} with ids {a.first_id}.. and "
                f"{b.first_id}.. overlapping. Give the test data another seed or first_id."
            )
        if (a.points, a.dt_stored) != (b.points, b.dt_stored):
            raise ValueError("training and test data must have the same `points` and `dt_stored`. Make them equal.")

    @property
    def dt(self) -> float:
        """Time between model frames, [time]."""
        return self.stride * self.test_data.dt_stored

    @property
    def built_equation(self) -> AbstractEquation:
        """The equation as an object."""
        return named(EQUATIONS, "equation", self.equation, "equation")

    @property
    def built_initial(self) -> AbstractInitial:
        """The distribution of initial fields as an object."""
        return named(INITIAL, "initial field", self.initial, "initial")

    def grid(self, points: int) -> Grid:
        """The box with this many points along the first axis, the same spacing along the others."""
        return Grid(tuple(round(points * length / self.extent[0]) for length in self.extent), self.extent)


def load_scenario(path: Path | str, size: str = "default") -> Scenario:
    """Read a scenario file (or the folder that holds `scenario.toml`) in one of its sizes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for invalid TOML, an unknown size, an unknown or missing key, or a value out of range.
    """
    path = Path(path)
    path = path / "scenario.toml" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"a scenario must exist, got {path}. Try benchmarks/ks/scenario.toml.")
    try:
        content = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} must be valid TOML, but {error}. Correct that line.") from None
    sizes = content.pop("size", {})
    if size != "default" and size not in sizes:
        known = ", ".join(["default", *sizes])
        raise ValueError(f"{path}: `size` must be one of {known}; got {size!r}.")
    merged = _merge(content, sizes.get(size, {}))
    return from_mapping(Scenario, {**merged, "size": size}, str(path))


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `change`; tables are merged key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
