"""A recipe: everything that determines simulated data, and how a block of trajectories follows from it.

The block size is part of it, and every random number is keyed by (seed, trajectory id). States stay in
Fourier space and float64; what is stored is truncated to the stored modes, then rounded.
"""

import dataclasses
import datetime
import functools
import importlib.metadata
import json
import math
import os
import platform
import warnings
from collections.abc import Mapping
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciml.core import Key, digest
from sciml.core.checks import check_at_least, check_integer, check_multiple, check_number, check_positive, check_whole
from sciml.data.layout import DTYPES
from sciml.data.metadata import Metadata
from sciml.grids import AbstractDealiasing, Grid, resample
from sciml.integrate import AbstractControl, AbstractMethod, Fixed, Ladder
from sciml.pde import AbstractEquation, AbstractInitial
from sciml.pde.parts import parts, replaced, rowed, takes_numbers
from sciml.pde.sampling import AbstractDistribution, AbstractRandom, parameter_key
from sciml.pde.spectral import Spectral
from sciml.pde.start import check_fields, chosen_method, dropped_share

_DROPPED = 1e-4  # of the mean square of an initial field


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """Everything that determines the content of simulated data. Equal recipes give equal files.

    Args:
        equation: the PDE; its own parameters are single numbers.
        grid: where it is solved.
        initial: random initial fields; trajectory n starts from the one keyed by (seed, first_id + n).
        trajectories: how many.
        frames: stored frames per trajectory, at least 2.
        dt_frame: time between stored frames, [time], with `dt` a whole multiple of it.
        dt: step of the integrator, [time]; without it steps are chosen by `control`.
        control: step control, `Ladder()` by default; the trajectories of a block take the same steps.
        spin_up: time before the first stored frame, [time], with `dt` 0 or a whole multiple of it.
        seed: of the initial fields and of sampled parameters.
        first_id: identity of the first trajectory; choose disjoint ranges for training and test data.
        method: integration method; by default `ETDRK4()` for fixed steps, `ETD43()` for chosen ones.
        parameters: the equation's parameters that differ between trajectories, by name, those of its parts as
            `forcing.amplitude` or `velocity.0`: values, or what each trajectory draws its own from, keyed by
            (seed, id): a distribution, or a random forcing. `WhiteForcing` is for `evolve_noisy` only.
        store_points: points per axis to store, by Fourier truncation; the grid's by default.
        block: trajectories solved together: the unit of work, of memory (all its stored frames) and of resuming.
        dtype: of the stored values, float32 or float64.
        device: where to solve.
        threads: of torch, for each block that is solved. Sums may be split otherwise by another number.

    Raises:
        ValueError, TypeError: for arguments that cannot work.
        MemoryError: if the memory of this machine does not hold the equation on this grid.
    """

    equation: AbstractEquation
    grid: Grid
    initial: AbstractInitial
    _: dataclasses.KW_ONLY
    trajectories: int
    frames: int
    dt_frame: float
    dt: float | None = None
    control: AbstractControl | None = None
    spin_up: float = 0.0
    seed: int
    first_id: int = 0
    method: AbstractMethod | None = None
    parameters: Mapping[str, Tensor | AbstractRandom] = dataclasses.field(default_factory=dict)
    store_points: tuple[int, ...] | None = None
    block: int = 32
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "store_points", tuple(self.store_points or self.grid.points))
        object.__setattr__(self, "device", torch.device(self.device))
        for name, low in (("trajectories", 1), ("block", 1), ("threads", 1), ("frames", 2), ("first_id", 0)):
            check_whole(name, getattr(self, name), low)
        check_integer("seed", self.seed)
        check_at_least("spin_up", self.spin_up, 0)
        check_number("spin_up", self.spin_up)
        check_positive("dt_frame", self.dt_frame)
        self._choose_steps()
        if self.dtype not in DTYPES:
            raise ValueError(f"`dtype` must be torch.float32 or torch.float64, got {self.dtype}. Choose one of them.")
        stored, solved = self.stored_grid_points, self.grid.points
        if len(stored) != len(solved) or any(s > g for s, g in zip(stored, solved, strict=True)):
            raise ValueError(
                f"`store_points` must have one entry per axis, at most the grid's {solved}, got {stored}. "
                "Solve on a finer grid or store fewer points."
            )
        self._check_parameters()
        check_memory("the symbols of the equation on the `grid`", self.state_bytes(range(1)), "Take fewer points")
        self._check_start()

    def _choose_steps(self) -> None:
        if self.dt is not None and self.control is not None:
            raise ValueError(
                f"give `dt` or `control`, not both: got dt={self.dt} and {self.control}. Drop one of them."
            )
        if isinstance(self.control, Fixed):
            raise ValueError(f"`control` must choose steps, got {self.control}. Give fixed steps as dt=...")
        object.__setattr__(self, "method", chosen_method(self.method, self.dt, self.control))
        if self.dt is None:
            object.__setattr__(self, "control", self.control or Ladder())
        else:
            check_positive("dt", self.dt)
            assert self.steps(self.dt)[-1] > 0

    def _check_parameters(self) -> None:
        known, given = dict(parts(self.equation)), self.parameters
        numbers = [path for path in known if takes_numbers(self.equation, path)]
        for name, values in given.items():
            drawn = isinstance(values, AbstractRandom) and not isinstance(values, AbstractDistribution)
            entry = known.get(name)
            a_part = name in known and name not in numbers and not isinstance(entry, int | AbstractDealiasing)
            if not (a_part if drawn else name in numbers and isinstance(values, Tensor | AbstractDistribution)):
                raise ValueError(
                    f"`parameters` must map parameters of the equation ({', '.join(sorted(numbers))}) to tensors or to "
                    f"what they are drawn from, got {name!r}: {values!r}. Correct the name or the value."
                )
            if isinstance(values, Tensor) and values.shape != (self.trajectories,):
                raise ValueError(
                    f"`parameters` must have shape ({self.trajectories},), got {name!r} of shape "
                    f"{tuple(values.shape)}. Give one value per trajectory."
                )
            inside = [other for other in given if other.startswith(f"{name}.")]
            if inside:
                raise ValueError(
                    f"`parameters` must give a part of the equation or what is in it, got {name!r} and {inside[0]!r}. "
                    "Drop one of them."
                )
        for path, values in rowed(self.equation):
            if not any(path == name or path.startswith(f"{name}.") for name in given):
                raise ValueError(
                    f"the equation's parameters must be single numbers here, got {path!r} of shape "
                    f"{tuple(values.shape)}. Give values per trajectory as parameters={{{path!r}: ...}}."
                )
        self.varied(range(self.trajectories))  # the equation refuses values out of its range

    def _check_start(self) -> None:
        """Refuse what does not suit the grid or each other, by the first trajectory."""
        first = range(1)
        system, u0 = Spectral(self.varied(first), self.grid), self.initial.sample(self.key(first), self.grid)
        check_fields(system.equation, self.grid, u0)
        share = dropped_share(u0, system.modes)
        if share > _DROPPED:
            warnings.warn(
                f"{share:.2g} of the mean square of the first initial field lies on modes that "
                f"{type(self.equation).__name__} does not keep on this grid, those above {system.modes.highest}; they "
                "are dropped at the start. Take a finer grid, or smoother fields.",
                stacklevel=4,
            )

    @property
    def stored_grid_points(self) -> tuple[int, ...]:
        """Points per axis that are stored."""
        assert self.store_points is not None
        return self.store_points

    def steps(self, dt: float) -> range:
        """Number of the integrator step at each stored frame, with steps of `dt`."""
        each = check_multiple("dt_frame", self.dt_frame, "dt", dt)
        first = check_multiple("spin_up", self.spin_up, "dt", dt) if self.spin_up else 0
        return range(first, first + each * self.frames, each)

    @property
    def times(self) -> Float[Tensor, " time"]:
        """Time of each stored frame since the initial fields, [time]; exactly those of the steps, where fixed."""
        if self.dt is None:
            return self.spin_up + self.dt_frame * torch.arange(self.frames, dtype=torch.float64)
        steps = self.steps(self.dt)
        return self.dt * torch.arange(steps.start, steps.stop, steps.step, dtype=torch.float64)

    @property
    def end(self) -> float:
        """Time of the last stored frame, [time]."""
        if self.dt is None:
            return self.spin_up + self.dt_frame * (self.frames - 1)
        return self.dt * self.steps(self.dt)[-1]

    @property
    def chosen_method(self) -> AbstractMethod:
        """The integration method."""
        assert self.method is not None
        return self.method

    @property
    def blocks(self) -> list[range]:
        """Trajectory numbers of each block."""
        count = self.trajectories
        return [range(start, min(start + self.block, count)) for start in range(0, count, self.block)]

    def stored_bytes(self, rows: range) -> int:
        """Bytes of the stored values of some trajectories."""
        channels = len(self.equation.fields.names)
        return len(rows) * self.frames * channels * math.prod(self.stored_grid_points) * self.dtype.itemsize

    def state_bytes(self, rows: range) -> int:
        """Bytes for solving some trajectories: some twenty copies of their state."""
        return 20 * len(rows) * len(self.equation.fields.names) * self.grid.size * 8

    @property
    def memory_bytes(self) -> int:
        """Most bytes that a block takes: its frames twice (as they come, and stacked), and what solving takes."""
        rows = self.blocks[0]
        return 2 * self.stored_bytes(rows) + self.state_bytes(rows)

    @functools.cached_property
    def configuration(self) -> dict[str, Any]:
        """What determines the content, as plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "_"}
        return {**_plain(values), "version": importlib.metadata.version("sciml-torch")}

    @functools.cached_property
    def digest(self) -> str:
        """Identity of the configuration."""
        return digest(self.configuration)

    def ids(self, rows: range) -> Int[Tensor, " row"]:
        """Identities of some of the trajectories."""
        return torch.arange(self.first_id + rows.start, self.first_id + rows.stop)

    def key(self, rows: range) -> Key:
        """What their random numbers are keyed by."""
        return Key(self.seed, self.ids(rows))

    def values(self, rows: range) -> dict[str, Any]:
        """What differs between trajectories in the equation, for some of them."""
        return {
            name: values.sample(parameter_key(self.key(rows), name))
            if isinstance(values, AbstractRandom)
            else values[rows.start : rows.stop]
            for name, values in self.parameters.items()
        }

    def varied(self, rows: range) -> AbstractEquation:
        """The equation of some of the trajectories."""
        values = self.values(rows)
        moved = {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in values.items()}
        return replaced(self.equation, moved)

    def metadata(self, rows: range) -> Metadata:
        """Description of some of the trajectories, with where they come from, without date and host."""
        return Metadata(
            fields=self.equation.fields,
            grid=Grid(self.stored_grid_points, self.grid.extent),
            dt=self.dt_frame,
            ids=self.ids(rows),
            t0=self.spin_up,
            parameters={name: v.double() for name, v in self.values(rows).items() if isinstance(v, Tensor)},
            provenance={
                "sciml_version": importlib.metadata.version("sciml-torch"),
                "equation": _json(_plain(self.equation)),
                "initial": _json(_plain(self.initial)),
                "method": _json(_plain(self.method)),
                **({"control": _json(_plain(self.control))} if self.dt is None else {"solver_dt": self.dt}),
                "solver_points": _json(self.grid.points),
                "spin_up": self.spin_up,
                "seed": self.seed,
                "configuration_digest": self.digest,
            },
        )

    def dated_metadata(self) -> Metadata:
        """Description of all trajectories, with the date and the host."""
        metadata = self.metadata(range(self.trajectories))
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return dataclasses.replace(
            metadata, provenance={**metadata.provenance, "created": now, "host": platform.node()}
        )

    def system(self, rows: range) -> Spectral:
        """What is stepped for some of the trajectories."""
        return Spectral(self.varied(rows), self.grid, self.device)

    def initial_fields(self, rows: range) -> Float[Tensor, "batch channel *space"]:
        """Where some of the trajectories start."""
        return self.initial.sample(self.key(rows), self.grid).to(self.device, torch.float64)

    def as_stored(self, u: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *stored"]:
        """Fields at the points and in the dtype in which they are kept."""
        if self.stored_grid_points != self.grid.points:
            u = resample(u, self.grid, self.stored_grid_points)
        return u.to(self.dtype)


_json = functools.partial(json.dumps, allow_nan=False)


def check_memory(what: str, needed: int, remedy: str) -> None:
    """Raise MemoryError unless the memory of this machine holds so many bytes."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return
    if needed > there > 0:
        raise MemoryError(
            f"{what} must fit into memory, but take {needed / 1e9:.3g} GB of {there / 1e9:.3g} GB. {remedy}."
        )


def _plain(value: Any) -> Any:
    """A configuration object as strict JSON values; dataclasses carry the name of their class, infinity is a string.

    Raises:
        TypeError: for an object that is no dataclass, so that its content cannot be told.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        "what determines simulated data must be dataclasses, numbers or tensors, got "
        f"{type(value).__name__}. Make it a frozen dataclass."
    )
