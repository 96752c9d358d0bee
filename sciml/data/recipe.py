"""A recipe: everything that determines simulated data, and how a block of trajectories follows from it.

The block size is part of it, and every random number is keyed by (seed, trajectory id). States stay in
Fourier space and float64; what is stored is truncated to the stored modes, then rounded.
"""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import math
import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciml.core import Key, digest
from sciml.core.checks import check_at_least, check_multiple, check_positive
from sciml.data.layout import DTYPES
from sciml.data.metadata import Metadata
from sciml.grids import Grid, resample
from sciml.integrate import ETDRK4, AbstractMethod, Fixed, SaveAt, SolveError, solve
from sciml.pde import AbstractDistribution, AbstractEquation, AbstractInitial
from sciml.pde.sampling import parameter_key
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
        dt_frame: time between stored frames, [time], a whole multiple of `dt`.
        dt: step of the integrator, [time].
        spin_up: time before the first stored frame, [time], 0 or a whole multiple of `dt`.
        seed: of the initial fields and of sampled parameters.
        first_id: identity of the first trajectory; choose disjoint ranges for training and test data.
        method: integration method.
        parameters: the equation's parameters that differ between trajectories: values, or a distribution from which
            each trajectory draws its own, keyed by (seed, id).
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
    dt: float
    spin_up: float = 0.0
    seed: int
    first_id: int = 0
    method: AbstractMethod = ETDRK4()
    parameters: Mapping[str, Tensor | AbstractDistribution] = dataclasses.field(default_factory=dict)
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
        check_positive("dt", self.dt)
        assert self.steps[-1] > 0
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

    def _check_parameters(self) -> None:
        fields = {f.name: getattr(self.equation, f.name) for f in dataclasses.fields(self.equation)}  # type: ignore[arg-type]
        known = [name for name, value in fields.items() if isinstance(value, float | int | Tensor)]
        for name in known:
            value = fields[name]
            if isinstance(value, Tensor) and value.ndim > 0:
                raise ValueError(
                    f"the equation's parameters must be single numbers here, got {name!r} of shape "
                    f"{tuple(value.shape)}. Give values per trajectory as parameters={{{name!r}: ...}}."
                )
        for name, values in self.parameters.items():
            sampled = isinstance(values, AbstractDistribution)
            if name not in known or not (sampled or values.shape == (self.trajectories,)):
                what = type(values).__name__ if sampled else f"shape {tuple(values.shape)}"
                raise ValueError(
                    f"`parameters` must map parameters of the equation ({', '.join(sorted(known))}) to shape "
                    f"({self.trajectories},) or to a distribution, got {name!r} of {what}. Give one value per "
                    "trajectory."
                )
        self.varied(range(self.trajectories))  # the equation refuses values out of its range

    @property
    def stored_grid_points(self) -> tuple[int, ...]:
        """Points per axis that are stored."""
        assert self.store_points is not None
        return self.store_points

    @property
    def steps(self) -> list[int]:
        """Number of the integrator step at each stored frame."""
        each = check_multiple("dt_frame", self.dt_frame, "dt", self.dt)
        first = check_multiple("spin_up", self.spin_up, "dt", self.dt) if self.spin_up else 0
        return [first + each * n for n in range(self.frames)]

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

    def values(self, rows: range) -> dict[str, Float[Tensor, " row"]]:
        """The parameters that differ between trajectories, of some of them."""
        return {
            name: values.sample(parameter_key(self.key(rows), name))
            if isinstance(values, AbstractDistribution)
            else values[rows.start : rows.stop]
            for name, values in self.parameters.items()
        }

    def varied(self, rows: range) -> AbstractEquation:
        """The equation of some of the trajectories."""
        values = {name: value.to(self.device) for name, value in self.values(rows).items()}
        return dataclasses.replace(self.equation, **values)  # type: ignore[type-var]

    def metadata(self, rows: range) -> Metadata:
        """Description of some of the trajectories, with where they come from, without date and host."""
        return Metadata(
            fields=self.equation.fields,
            grid=Grid(self.stored_grid_points, self.grid.extent),
            dt=self.dt_frame,
            ids=self.ids(rows),
            t0=self.spin_up,
            parameters={name: values.double() for name, values in self.values(rows).items()},
            provenance={
                "sciml_version": importlib.metadata.version("sciml-torch"),
                "equation": json.dumps(_plain(self.equation)),
                "initial": json.dumps(_plain(self.initial)),
                "method": json.dumps(_plain(self.method)),
                "solver_dt": self.dt,
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

    @torch.no_grad()
    def solve(
        self, rows: range, progress: Callable[[int], None] = lambda kept: None
    ) -> Float[Tensor, "batch time channel *space"]:
        """The stored frames of some trajectories; `progress(kept)` after each.

        Raises:
            SolveError: if a trajectory becomes non-finite.
        """
        system, steps, kept = self.system(rows), self.steps, 0

        def stored(_: Tensor, y: Tensor) -> Tensor:
            nonlocal kept
            kept += 1
            progress(kept)
            return self.as_stored(system.decode(y))

        with torch_threads(self.threads):
            solution = solve(
                system.term,
                self.method,
                system.encode(self.initial_fields(rows)),
                0.0,
                steps[-1] * self.dt,
                control=Fixed(n=steps[-1]),
                save=SaveAt(ts=self.dt * torch.tensor(steps, dtype=torch.float64), fn=stored),
                throw=False,
            )
        self._check_success(rows, solution.result, solution.stats.steps)
        return solution.ys.cpu()

    def _check_success(self, rows: range, result: Tensor, steps: Tensor) -> None:
        failed = result.nonzero()[:, 0]
        if len(failed) > 0:
            row = int(failed[steps[failed].argmin()])
            raise SolveError(
                f"every trajectory must stay finite, but {len(failed)} of this block did not, first "
                f"trajectory {self.first_id + rows.start + row} at or shortly before time "
                f"{float(steps[row]) * self.dt:g}. Take a step smaller than dt={self.dt:g}, or a finer grid."
            )


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
