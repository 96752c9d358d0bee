"""Who solves the blocks: this process, workers of its own, or a dask scheduler somewhere."""

import abc
import contextlib
import functools
import os
import queue
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from sciml.core import require_extra
from sciml.core.checks import check_whole
from sciml.data.blocks import record, recorded_digest
from sciml.data.formats import AbstractFormat
from sciml.data.recipe import Recipe
from sciml.data.solving import solve_block

Report = Callable[[int, int], None]
"""Called as `report(number, frames)`: block `number` has this many of its frames."""
_SECONDS_BETWEEN_NEWS = 0.5
# A Ctrl-C reaches the whole process group of a terminal; the workers leave it to the process that started them.
_IGNORE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


class LostWorkersError(RuntimeError):
    """Blocks could not be made because their workers died, or the scheduler went away."""


@final
@dataclass(frozen=True, eq=False)
class BlockTask:
    """Makes one block, in whatever process: solves it, stores it, and notes that it is finished.

    Args:
        recipe: what is made.
        format: how it is stored.
        folder: where blocks are kept, an absolute path that every worker sees.
    """

    recipe: Recipe
    format: AbstractFormat
    folder: Path

    def __call__(self, number: int, progress: Callable[[int], None]) -> None:
        """Make block `number`; `progress(kept)` after each of its frames.

        Raises:
            FileNotFoundError: if this process does not see the folder.
            SolveError: if a trajectory becomes non-finite.
            OSError: if the block cannot be stored.
        """
        if recorded_digest(self.folder) != self.recipe.digest:
            raise FileNotFoundError(
                f"every worker must see the folder of the blocks, but {self.folder} is not there for the one on "
                f"{os.uname().nodename}. Simulate to a file system that all machines share."
            )
        frames = solve_block(self.recipe, self.recipe.blocks[number], progress)
        record(self.folder, number, self.format.write(self.recipe, self.folder, number, frames))


class AbstractCompute(abc.ABC):
    """Where blocks are solved; what is made does not depend on it. Subclasses are frozen, and final."""

    start_seconds: ClassVar[float]
    """About how long it takes until the first block is begun, [seconds]."""

    @abc.abstractmethod
    def workers(self) -> int:
        """How many blocks are solved at a time."""

    @abc.abstractmethod
    def run(self, task: BlockTask, numbers: Sequence[int], report: Report) -> None:
        """Make these blocks, in any order.

        Raises:
            LostWorkersError: if workers die again and again on a block, or the scheduler is lost.
            Exception: the first that a block raises.
        """


@final
@dataclass(frozen=True)
class Serial(AbstractCompute):
    """In this process, one block after the other."""

    start_seconds: ClassVar[float] = 0.0

    def workers(self) -> int:
        """See `AbstractCompute.workers`."""
        return 1

    def run(self, task: BlockTask, numbers: Sequence[int], report: Report) -> None:
        """See `AbstractCompute.run`."""
        for number in numbers:
            task(number, functools.partial(report, number))


@final
@dataclass(frozen=True)
class Workers(AbstractCompute):
    """In processes of this machine, started by dask. Scripts need the usual `if __name__ == "__main__":`.

    Args:
        count: how many processes; one per core by default.
    """

    start_seconds: ClassVar[float] = 10.0  # processes start and import torch
    count: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None:
            check_whole("count", self.count, 1)

    def workers(self) -> int:
        """See `AbstractCompute.workers`."""
        return self.count or available_cores()

    def run(self, task: BlockTask, numbers: Sequence[int], report: Report) -> None:
        """See `AbstractCompute.run`."""
        distributed = require_extra("distributed", "data")
        processes = min(self.workers(), len(numbers))
        with (
            distributed.LocalCluster(
                n_workers=processes,
                threads_per_worker=1,
                processes=True,
                dashboard_address=":0",
                silence_logs="CRITICAL",
                preload=[_IGNORE_INTERRUPTS],
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            _distribute(client, task, numbers, report)


@final
@dataclass(frozen=True)
class Scheduler(AbstractCompute):
    """On the workers of a running dask scheduler. They need sciml, and must see the folder that is written to.

    Args:
        address: e.g. `tcp://host:8786`, as `dask scheduler` prints it.
        timeout: how long to wait for the scheduler and for its first worker, [seconds].
    """

    start_seconds: ClassVar[float] = 1.0
    address: str
    timeout: float = 30.0

    def workers(self) -> int:
        """See `AbstractCompute.workers`."""
        with self._client() as client:
            return sum(client.nthreads().values())

    def run(self, task: BlockTask, numbers: Sequence[int], report: Report) -> None:
        """See `AbstractCompute.run`."""
        with self._client() as client:
            _distribute(client, task, numbers, report)

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        distributed = require_extra("distributed", "data")
        try:
            client = distributed.Client(self.address, timeout=self.timeout)
        except (OSError, ValueError, TimeoutError) as error:
            raise ConnectionError(
                f"the scheduler must be reachable, but nothing answers at {self.address} ({error}). Start one with "
                "`dask scheduler`, and give the address that it prints."
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=self.timeout)
            except TimeoutError as error:
                raise ConnectionError(
                    f"the scheduler at {self.address} must have a worker, but none came within {self.timeout:g} s. "
                    f"Start some with `dask worker {self.address} --nthreads 1`."
                ) from error
            yield client


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _distribute(client: Any, task: BlockTask, numbers: Sequence[int], report: Report) -> None:
    """Make blocks on dask's workers; one that dies is replaced, and its block made again elsewhere."""
    news: queue.Queue[Any] = queue.Queue()
    topic = f"sciml-{uuid.uuid4().hex}"
    client.subscribe_topic(topic, news.put)
    futures = [client.submit(_make, task, number, topic, key=f"{topic}-{number:05d}", pure=False) for number in numbers]
    for future in futures:
        future.add_done_callback(news.put)
    try:
        left = len(futures)
        while left:
            new = news.get()
            if isinstance(new, tuple):  # (when, (number, frames))
                report(*new[1])
            else:
                report(_result(new, task), task.recipe.frames)
                left -= 1
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.cancel(futures, force=True)


def _result(future: Any, task: BlockTask) -> int:
    """The number of a finished block, or what went wrong in our words."""
    distributed = require_extra("distributed", "data")
    try:
        return future.result()
    except distributed.KilledWorker as error:
        raise LostWorkersError(
            f"a block must not kill its worker, but several died on one ({error}). The usual cause is memory: a block "
            f"holds all its frames. Take fewer than block={task.recipe.block} trajectories per block, or fewer workers."
        ) from error
    except distributed.client.FutureCancelledError as error:
        raise LostWorkersError(
            f"the scheduler must stay until the last block, but it went away ({error}). Start it again and repeat "
            "the call: finished blocks are kept."
        ) from error


def _make(task: BlockTask, number: int, topic: str) -> int:
    """A block on a worker of dask, which tells its client now and then how far it is."""
    worker = require_extra("distributed", "data").get_worker()
    told = time.monotonic()

    def progress(kept: int) -> None:
        nonlocal told
        if time.monotonic() - told > _SECONDS_BETWEEN_NEWS:
            told = time.monotonic()
            worker.log_event(topic, (number, kept))

    task(number, progress)
    return number
