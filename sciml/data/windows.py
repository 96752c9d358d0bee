"""Windows of frames as a torch Dataset, and a loader that resumes exactly.

The batch of step k is a function of (seed, k) alone: epoch e = k // (batches per epoch) has its own
permutation, drawn from (seed, e). So a run that resumes at step k sees what an uninterrupted run would have
seen.
"""

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from sciml.core import Condition, FieldBatch, Key
from sciml.core.checks import check_at_least
from sciml.data.trajectories import Trajectories


@final
class Windows(Dataset[FieldBatch]):
    """Every window of `frames` frames of every trajectory; item n starts at frame n % w of trajectory n // w.

    Args:
        trajectories: where the windows are cut from.
        frames: frames per window.
        stride: frames of the trajectories between two frames of a window.

    Raises:
        ValueError: if the trajectories are shorter than a window.
    """

    def __init__(self, trajectories: Trajectories, frames: int, stride: int = 1) -> None:
        check_at_least("frames", frames, 1)
        check_at_least("stride", stride, 1)
        self.trajectories, self.frames, self.stride = trajectories, frames, stride
        self.per_trajectory = trajectories.shape[1] - (frames - 1) * stride
        if self.per_trajectory < 1:
            raise ValueError(
                f"a window must fit into the trajectories, got {frames} frames with stride {stride} "
                f"({(frames - 1) * stride + 1} frames long) and trajectories of {trajectories.shape[1]}. "
                "Take fewer frames, a smaller stride, or longer trajectories."
            )
        self._ids = trajectories.ids
        self._parameters = trajectories.metadata.stacked_parameters(trajectories.dtype)

    def __len__(self) -> int:
        return len(self.trajectories) * self.per_trajectory

    def __getitem__(self, index: int) -> FieldBatch:
        """One window, as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> FieldBatch:
        """A batch of windows, in one read."""
        rows, starts = np.divmod(np.asarray(indices, dtype=np.int64), self.per_trajectory)
        frames = self.trajectories.read_windows(rows, starts, self.frames, self.stride)
        chosen = torch.from_numpy(rows)
        parameters = None if self._parameters is None else self._parameters[chosen]
        return FieldBatch(frames, self._ids[chosen], self.trajectories.dt * self.stride, Condition(parameters))


@final
class StepSampler(Sampler[list[int]]):
    """Yields the index list of each training step from `start` on.

    Each epoch is a permutation cut into full batches; the remainder, fewer than a batch, is left out and
    differs from epoch to epoch.

    Args:
        size: number of windows.
        batch_size: windows per step.
        steps: steps of the whole training.
        seed: of the shuffle.
        start: first step to yield, for resuming.

    Raises:
        ValueError: if there are fewer windows than a batch, or `start` lies beyond `steps`.
    """

    def __init__(self, size: int, batch_size: int, steps: int, seed: int, start: int = 0) -> None:
        check_at_least("batch_size", batch_size, 1)
        if size < batch_size:
            raise ValueError(
                f"`batch_size` must be at most the number of windows, {size}, got {batch_size}. Take smaller "
                "batches or more data."
            )
        if not 0 <= start <= steps:
            raise ValueError(f"`start` must lie in 0..{steps}, got {start}. Raise `steps` to train on.")
        self.size, self.batch_size, self.steps, self.seed, self.start = size, batch_size, steps, seed, start

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch = self.size // self.batch_size
        epoch, order = -1, torch.empty(0, dtype=torch.int64)
        for step in range(self.start, self.steps):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = self._permutation(epoch)
            first = step % per_epoch * self.batch_size
            yield order[first : first + self.batch_size].tolist()

    def _permutation(self, epoch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(Key.rows(self.seed, 0).fold(epoch).seed)
        return torch.randperm(self.size, generator=generator)


def collate(batch: FieldBatch) -> FieldBatch:
    """`Windows` returns whole batches, so there is nothing to put together."""
    return batch


def loader(
    windows: Windows, batch_size: int, seed: int, *, steps: int, start: int = 0, workers: int = 0
) -> "DataLoader[FieldBatch]":
    """A DataLoader whose step k depends on (seed, k) only, and which leaves torch's global random state
    alone.

    Args:
        windows: what to draw from.
        batch_size: windows per step.
        seed: of the shuffle.
        steps: steps of the whole training; the loader yields `steps - start` batches.
        start: first step, for resuming.
        workers: reading processes; 0 reads in this one, which is best for data in memory.
    """
    check_at_least("workers", workers, 0)
    return DataLoader(
        windows,
        batch_sampler=StepSampler(len(windows), batch_size, steps, seed, start),
        collate_fn=collate,  # type: ignore[arg-type]
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
    )
