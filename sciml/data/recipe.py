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
import platform
from collections.abc import Mapping
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciml.core import Key, digest
from sciml.core.checks import check_at_least, check_multiple, check_positive
from sciml.data.layout import DTYPES
from sciml.data.metadata import Metadata
from sciml.grids import Grid, resample
from sciml.integrate import ETD43, ETDRK4, AbstractControl, AbstractMethod, Fixed, Ladder
from sciml.pde import AbstractEquation, AbstractInitial
from sciml.pde.sampling import AbstractRandom, parameter_key
from sciml.pde.spectral import Spectral


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
        parameters: the equation's parameters that differ between trajectories: values, or what each trajectory draws
            its own from, keyed by (seed, id): a distribution, or a random forcing.
        store_points: points per axis to store, by Fourier truncation; the grid's by default.
        block: trajectories solved together: the unit of work, of memory (all its stored frames) and of resuming.
        dtype: of the stored values, float32 or float64.
        device: where to solve.
        threads: of torch, for each block that is solved. Sums may be split otherwise by another number.

    Raises:
        ValueError, TypeError: for arguments that cannot work.
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
        for name, low in (("trajectories", 1), ("block", 1), ("threads", 1), ("frames", 2), ("spin_up", 0)):
            check_at_least(name, getattr(self, name), low)
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
        first = range(1)
        # Both refuse what does not suit the grid or each other.
        Spectral(self.varied(first), self.grid)
        self.initial.sample(self.key(first), self.grid)

    def _choose_steps(self) -> None:
        if self.dt is not None and self.control is not None:
            raise ValueError(
                f"give `dt` or `control`, not both: got dt={self.dt} and {self.control}. Drop one of them."
            )
        if isinstance(self.control, Fixed):
            raise ValueError(f"`control` must choose steps, got {self.control}. Give fixed steps as dt=...")
        if self.dt is None:
            object.__setattr__(self, "control", self.control or Ladder())
        else:
            check_positive("dt", self.dt)
            assert self.steps(self.dt)[-1] > 0
        object.__setattr__(self, "method", self.method or (ETD43() if self.dt is None else ETDRK4()))

    def _check_parameters(self) -> None:
        fields = {f.name: getattr(self.equation, f.name) for f in dataclasses.fields(self.equation)}  # type: ignore[arg-type]
        for name, value in fields.items():
            if isinstance(value, Tensor) and value.ndim > 0:
                raise ValueError(
                    f"the equation's parameters must be single numbers here, got {name!r} of shape "
                    f"{tuple(value.shape)}. Give values per trajectory as parameters={{{name!r}: ...}}."
                )
        for name, values in self.parameters.items():
            numbers = [known for known, value in fields.items() if isinstance(value, float | Tensor | None)]
            if name not in fields or not isinstance(values, Tensor | AbstractRandom):
                raise ValueError(
                    f"`parameters` must map parameters of the equation ({', '.join(sorted(numbers))}) to tensors or to "
                    f"what they are drawn from, got {name!r}: {values!r}. Correct the name or the value."
                )
            if isinstance(values, Tensor) and values.shape != (self.trajectories,):
                raise ValueError(
                    f"`parameters` must have shape ({self.trajectories},), got {name!r} of shape "
                    f"{tuple(values.shape)}. Give one value per trajectory."
                )
        self.varied(range(self.trajectories))  # the equation refuses values out of its range

    @property
    def stored_grid_points(self) -> tuple[int, ...]:
        """Points per axis that are stored."""
        assert self.store_points is not None
        return self.store_points

    def steps(self, dt: float) -> list[int]:
        """Number of the integrator step at each stored frame, with steps of `dt`."""
        each = check_multiple("dt_frame", self.dt_frame, "dt", dt)
        first = check_multiple("spin_up", self.spin_up, "dt", dt) if self.spin_up else 0
        return [first + each * n for n in range(self.frames)]

    @property
    def times(self) -> Float[Tensor, " time"]:
        """Time of each stored frame since the initial fields, [time]; exactly those of the steps, where fixed."""
        if self.dt is None:
            return self.spin_up + self.dt_frame * torch.arange(self.frames, dtype=torch.float64)
        return self.dt * torch.tensor(self.steps(self.dt), dtype=torch.float64)

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
        return dataclasses.replace(self.equation, **moved)  # type: ignore[type-var]

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
                "equation": json.dumps(_plain(self.equation)),
                "initial": json.dumps(_plain(self.initial)),
                "method": json.dumps(_plain(self.method)),
                **({"control": json.dumps(_plain(self.control))} if self.dt is None else {"solver_dt": self.dt}),
                "solver_points": json.dumps(self.grid.points),
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


def _plain(value: Any) -> Any:
    """A configuration object as JSON values; dataclasses carry the name of their class.

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
        return value.tolist()
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        "what determines simulated data must be dataclasses, numbers or tensors, got "
        f"{type(value).__name__}. Make it a frozen dataclass."
    )
