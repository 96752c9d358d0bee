"""What a simulation will take, before it starts: disk and memory by counting, time by solving a few steps."""

import contextlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch

from sciml.core.atomic import prepare_folder, sync
from sciml.data.blocks import parts_folder, recorded_digest, records
from sciml.data.compute import AbstractCompute, Serial
from sciml.data.formats import AbstractFormat, format_of
from sciml.data.recipe import Recipe
from sciml.data.simulate import check_space, in_words, is_finished
from sciml.data.solving import torch_threads
from sciml.integrate import Fixed, SaveAt, solve

_PROBE_SECONDS = 0.25
_PROBE_BYTES = 1 << 23


@final
@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is left to do, and what it will take.

    Args:
        blocks: how many there are.
        finished: how many of them are there already.
        workers: blocks solved at a time.
        steps: integrator steps of each trajectory; None where they are chosen on the way.
        block_seconds: one block on one worker, [seconds].
        start_seconds: until the first block is begun, [seconds].
        finish_seconds: assembling and checking the result, [seconds].
        file_bytes: size of the result.
        needed_bytes: most that the disk must hold beside what it holds.
        free_bytes: what is free on it.
        memory_bytes: most memory that one worker holds.
    """

    blocks: int
    finished: int
    workers: int
    steps: int | None
    block_seconds: float
    start_seconds: float
    finish_seconds: float
    file_bytes: int
    needed_bytes: int
    free_bytes: int
    memory_bytes: int

    @property
    def seconds(self) -> float:
        """Until the data are complete, [seconds]."""
        left = self.blocks - self.finished
        return self.start_seconds + math.ceil(left / self.workers) * self.block_seconds + self.finish_seconds

    @property
    def fits(self) -> bool:
        """Whether the disk holds it."""
        return self.needed_bytes <= self.free_bytes

    def check_space(self, out: str | os.PathLike[str]) -> None:
        """Raise OSError unless the disk holds it."""
        check_space(Path(out).absolute(), self.needed_bytes)

    def with_compute(self, compute: AbstractCompute) -> "Estimate":
        """The same on other workers."""
        left = self.blocks - self.finished
        start = compute.start_seconds if left else 0.0
        return replace(self, workers=max(1, min(compute.workers(), left)) if left else 1, start_seconds=start)

    def __str__(self) -> str:
        steps = "" if self.steps is None else f", {self.steps} steps each"
        left, workers = self.blocks - self.finished, f"{self.workers} worker{'s' * (self.workers > 1)}"
        return (
            f"{left} of {self.blocks} blocks to solve on {workers}{steps}: about "
            f"{_duration(self.seconds)}, {_duration(self.block_seconds)} per block. Result "
            f"{in_words(self.file_bytes)}; disk {in_words(self.needed_bytes)} needed, {in_words(self.free_bytes)} "
            f"free; memory {in_words(self.memory_bytes)} per worker."
        )


def estimate(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    compute: AbstractCompute | None = None,
    format: AbstractFormat | None = None,
    overwrite: bool = False,
) -> Estimate:
    """Say what `produce` with the same arguments will take; solves the first steps of one block, for about a second.

    The time is that of one block on an idle core. Workers that share memory bandwidth or a device take longer.

    Args:
        recipe, out, compute, format, overwrite: see `produce`.

    Raises:
        Exception: what `produce` raises before the first step, but for a disk that is too small (see `Estimate.fits`).
    """
    out = Path(out).absolute()
    format = format or format_of(out)
    count = len(recipe.blocks)
    if is_finished(out, recipe.digest, overwrite):
        missing = []
    else:
        prepare_folder(out.parent)
        begun = recorded_digest(parts_folder(out), overwrite=overwrite) == recipe.digest
        missing = list(range(records(parts_folder(out)) if begun else 0, count))
    block, finish = _block_seconds(recipe, out.parent) if missing else (0.0, 0.0)
    return Estimate(
        blocks=count,
        finished=count - len(missing),
        workers=1,
        steps=None if recipe.dt is None else recipe.steps(recipe.dt)[-1],
        block_seconds=block,
        start_seconds=0.0,
        finish_seconds=finish,
        file_bytes=recipe.stored_bytes(range(recipe.trajectories)),
        needed_bytes=format.bytes_needed(recipe, missing) if missing else 0,
        free_bytes=shutil.disk_usage(out.parent).free,
        memory_bytes=recipe.memory_bytes,
    ).with_compute(compute or Serial())


@torch.no_grad()
def _block_seconds(recipe: Recipe, folder: Path) -> tuple[float, float]:
    """Seconds to solve and store the first block, and to assemble and check the whole."""
    rows = recipe.blocks[0]
    with torch_threads(recipe.threads):
        begin = time.perf_counter()
        system = recipe.system(rows)
        y0 = system.encode(recipe.initial_fields(rows))

        def run(count: int) -> None:
            span = count * unit
            control = recipe.control or Fixed(n=count)
            solve(system.term, recipe.chosen_method, y0, 0.0, span, control=control, save=SaveAt(t1=True), throw=False)

        # Steps that are chosen are timed by model time, from the start on.
        unit = recipe.dt_frame / 64 if recipe.dt is None else recipe.dt
        units = math.ceil(recipe.end / unit)
        run(1)
        start = time.perf_counter() - begin
        each = _seconds_each(run, units)
        frame = _seconds_each(lambda n: [recipe.as_stored(system.decode(y0)).cpu() for _ in range(n)], recipe.frames)
    per_byte = _seconds_per_byte(folder)
    solving = start + units * each + recipe.frames * frame
    stored = recipe.stored_bytes(rows) * per_byte
    return solving + stored, 2 * recipe.stored_bytes(range(recipe.trajectories)) * per_byte


def _seconds_each(run: Callable[[int], object], most: int) -> float:
    """Seconds per repetition of `run(n)`, from enough repetitions to be timed."""
    count = 1
    while True:
        begin = time.perf_counter()
        run(count)
        taken = time.perf_counter() - begin
        if taken > _PROBE_SECONDS or count >= most:
            return taken / count
        count = min(most, max(2 * count, int(count * 0.7 * _PROBE_SECONDS / max(taken, 1e-6))))


def _seconds_per_byte(folder: Path) -> float:
    """Writing, flushing and checking, by a file that is removed again; 0 on a disk that has no room even for that."""
    begin = time.perf_counter()
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=folder, prefix=".sciml-probe-") as file:
        file.write(os.urandom(_PROBE_BYTES))
        file.flush()
        sync(Path(file.name))
    return (time.perf_counter() - begin) / _PROBE_BYTES


def _duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 120:
        return f"{seconds:.2g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
