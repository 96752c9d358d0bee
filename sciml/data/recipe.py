"""A recipe: everything that determines simulated data, and how a block of trajectories follows from it.

The block size is part of it, and every random number is keyed by (seed, trajectory id). States stay in
Fourier space and float64; what is stored is truncated to the stored modes, then rounded.
"""

import dataclasses
import datetime
import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciml.core import Key, digest
from sciml.core.checks import check_at_least, check_multiple, check_positive
from sciml.data.layout import DTYPES, create
from sciml.data.metadata import Metadata
from sciml.grids import Grid, resample
from sciml.integrate import AbstractMethod, Fixed, SaveAt, SolveError, solve
from sciml.pde import AbstractEquation, AbstractInitial, Spectral

Progress = Callable[[int, int], None]


@final
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """Everything that determines the content of simulated data, checked; arguments as of `simulate`."""

    equation: AbstractEquation
    grid: Grid
    initial: AbstractInitial
    trajectories: int
    frames: int
    dt_frame: float
    dt: float
    spin_up: float
    seed: int
    first_id: int
    method: AbstractMethod
    parameters: dict[str, Tensor]
    store_points: tuple[int, ...]
    block: int
    dtype: torch.dtype
    device: torch.device

    def __post_init__(self) -> None:
        check_at_least("trajectories", self.trajectories, 1)
        check_at_least("block", self.block, 1)
        check_at_least("frames", self.frames, 2)
        check_at_least("spin_up", self.spin_up, 0)
        check_positive("dt", self.dt)
        assert self.steps[-1] > 0
        if self.dtype not in DTYPES:
            raise ValueError(f"`dtype` must be torch.float32 or torch.float64, got {self.dtype}. Choose one of them.")
        stored, solved = self.store_points, self.grid.points
        if len(stored) != len(solved) or any(s > g for s, g in zip(stored, solved, strict=True)):
            raise ValueError(
                f"`store_points` must have one entry per axis, at most the grid's {solved}, got {stored}. "
                "Solve on a finer grid or store fewer points."
            )
        for field in dataclasses.fields(self.equation):  # type: ignore[arg-type]
            value = getattr(self.equation, field.name)
            if isinstance(value, Tensor) and value.ndim > 0:
                raise ValueError(
                    f"the equation's parameters must be single numbers here, got {field.name!r} of shape "
                    f"{tuple(value.shape)}. Give values per trajectory as parameters={{{field.name!r}: ...}}."
                )
        known = {field.name for field in dataclasses.fields(self.equation)}  # type: ignore[arg-type]
        for name, values in self.parameters.items():
            if name not in known or values.shape != (self.trajectories,):
                raise ValueError(
                    f"`parameters` must map parameters of the equation ({', '.join(sorted(known))}) to shape "
                    f"({self.trajectories},), got {name!r} of shape {tuple(values.shape)}. Give one value "
                    "per trajectory."
                )
        Spectral(self.equation, self.grid)  # refuses a grid that does not suit the equation

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

    @property
    def configuration(self) -> dict[str, Any]:
        """What determines the content, as plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**_plain(values), "version": importlib.metadata.version("sciml-torch")}

    @property
    def digest(self) -> str:
        """Identity of the configuration."""
        return digest(self.configuration)

    def ids(self, rows: range) -> Int[Tensor, " row"]:
        """Identities of some of the trajectories."""
        return torch.arange(self.first_id + rows.start, self.first_id + rows.stop)

    def metadata(self, rows: range) -> Metadata:
        """Description of some of the trajectories, provenance included."""
        return Metadata(
            fields=self.equation.fields,
            grid=Grid(self.store_points, self.grid.extent),
            dt=self.dt_frame,
            ids=self.ids(rows),
            t0=self.spin_up,
            parameters={name: values[rows.start : rows.stop].double() for name, values in self.parameters.items()},
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
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "host": platform.node(),
            },
        )

    @torch.no_grad()
    def solve(self, rows: range, progress: Progress | None) -> Float[Tensor, "batch time channel *space"]:
        """The stored frames of some trajectories."""
        chosen = {name: values[rows.start : rows.stop].to(self.device) for name, values in self.parameters.items()}
        equation = dataclasses.replace(self.equation, **chosen)  # type: ignore[type-var]
        u0 = self.initial.sample(Key(self.seed, self.ids(rows)), self.grid).to(self.device, torch.float64)
        steps, total = self.steps, self.trajectories * self.frames
        kept = 0
        system = Spectral(equation, self.grid, self.device)

        def stored(_: Tensor, y: Tensor) -> Tensor:
            nonlocal kept
            kept += 1
            if progress is not None:
                progress(rows.start * self.frames + kept * len(rows), total)
            u = system.decode(y)
            if self.store_points != self.grid.points:
                u = resample(u, self.grid, self.store_points)
            return u.to(self.dtype)

        solution = solve(
            system.term,
            self.method,
            system.encode(u0),
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

    def write(self, path: Path, rows: range, frames: Float[Tensor, "batch time channel *space"]) -> None:
        """One block as a file of our layout."""
        with create(path, self.metadata(rows), self.frames, self.dtype) as file:
            for channel, name in enumerate(self.equation.fields.names):
                file[name][:] = frames[:, :, channel].numpy()


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
