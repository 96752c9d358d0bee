"""How attempts are repeated until every sample is finished. All executors give the same walk."""

import abc
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.core.transforms import is_differentiated
from sciml.integrate.adaptive import Attempt, Stepping, Walk
from sciml.integrate.flat import Flat, leaves_of, map_leaves, map_rows
from sciml.integrate.joint import JointWalk
from sciml.integrate.outputs import Recorder
from sciml.integrate.sample_rows import may_hold_rows
from sciml.integrate.solution import Result


class AbstractExecutor(abc.ABC):
    """Repeats attempts. Subclasses are final."""

    @abc.abstractmethod
    def run(self, stepping: Stepping, tau0: Tensor, y0: Flat, recorder: Recorder, max_steps: int) -> Walk:
        """Walk from (tau0, y0) until no sample is running, or `max_steps` attempts were made."""


@final
@dataclass(frozen=True)
class Eager(AbstractExecutor):
    """One attempt after the other, each decided in Python: least work where reading the device costs nothing."""

    def run(self, stepping: Stepping, tau0: Tensor, y0: Flat, recorder: Recorder, max_steps: int) -> Walk:
        """See `AbstractExecutor.run`."""
        walk = stepping.start(tau0, y0)
        if stepping.clock.joint and not (is_differentiated(walk.tau) or is_differentiated(stepping.end)):
            return out_of_steps(JointWalk(stepping, walk).run(recorder, max_steps))
        compaction = _Compaction(stepping, walk, recorder)
        running = total = stepping.clock.shape[0] if stepping.clock.shape else 1
        for _ in range(max_steps):
            stepping, before = compaction.stepping, walk.tau
            walk, attempt = stepping.attempt(walk, all_running=running == total, host=True)
            running = int((walk.result < 0).sum()) if walk.result.ndim else int(walk.result.item() < 0)
            recorder.add(attempt, before, walk.tau, last=running == 0)
            if running == 0:
                break
            walk = compaction.narrowed(walk, running)
            total = len(walk.result) if walk.result.ndim else 1
        return compaction.whole(out_of_steps(walk))


@final
@dataclass(frozen=True)
class Chunks(AbstractExecutor):
    """Several masked attempts between two reads of the device (and one more where states at given times are kept).

    Args:
        attempts: how many.

    Raises:
        ValueError: if it is not a whole number of at least 1.
    """

    attempts: int = 16

    def __post_init__(self) -> None:
        check_whole("attempts", self.attempts, 1)

    def run(self, stepping: Stepping, tau0: Tensor, y0: Flat, recorder: Recorder, max_steps: int) -> Walk:
        """See `AbstractExecutor.run`."""
        walk = stepping.start(tau0, y0)
        done = 0
        while done < max_steps:
            start, count = walk, min(self.attempts, max_steps - done)
            walk, records = _tried(stepping, start, count, host=False)
            told = [attempt.accept for attempt, _, _ in records] if stepping.clock.joint and recorder.outputs else []
            flags = [(walk.result < 0).any(), _spoilt(records), *told]
            running, spoilt, *accepts = torch.stack([torch.as_tensor(flag) for flag in flags]).tolist()
            if spoilt:
                walk, records = _tried(stepping, start, count, host=True)
            if accepts:
                records = [(a._replace(accept=ok), *times) for (a, *times), ok in zip(records, accepts, strict=True)]
            done += count
            finished = not running
            for i, (attempt, before, after) in enumerate(records):
                recorder.add(attempt, before, after, last=finished and i == len(records) - 1)
            if finished:
                break
        return out_of_steps(walk)


def default_executor(device: torch.device) -> AbstractExecutor:
    """Attempts one by one on the CPU, in chunks elsewhere."""
    return Eager() if device.type == "cpu" else Chunks()


def _tried(
    stepping: Stepping, walk: Walk, count: int, *, host: bool
) -> tuple[Walk, list[tuple[Attempt, Tensor, Tensor]]]:
    """The walk after some attempts, and each with the times before and after it."""
    records = []
    for _ in range(count):
        before = walk.tau
        walk, attempt = stepping.attempt(walk, host=host)
        records.append((attempt, before, walk.tau))
    return walk, records


def _spoilt(records: list[tuple[Attempt, Tensor, Tensor]]) -> Tensor:
    """Whether rejected steps that are not finite would turn recorded gradients to NaN."""
    steps = [attempt.step for attempt, _, _ in records]
    leaves = [leaf for step in steps for part in (step.y, step.error) for leaf in leaves_of(part)]  # type: ignore[arg-type]
    if not any(leaf.requires_grad for leaf in leaves):
        return records[0][1].new_zeros((), dtype=torch.bool)
    return ~torch.isfinite(torch.stack([leaf.detach().abs().sum() for leaf in leaves])).all()


def out_of_steps(walk: Walk) -> Walk:
    """The walk with those still running marked as failed."""
    return walk._replace(result=torch.where(walk.result < 0, int(Result.MAX_STEPS), walk.result))


class _Compaction:
    """Leaves finished samples out once they are the greater part, and puts everything together again at the end."""

    def __init__(self, stepping: Stepping, walk: Walk, recorder: Recorder) -> None:
        clock = stepping.clock
        self.stepping, self.recorder = stepping, recorder
        self.allowed = stepping.control.compact and bool(clock.shape) and clock.groups is None and not recorder.all_rows
        for leaf, tolerances in zip(leaves_of(walk.y), stepping.tolerances, strict=True):
            own = [isinstance(tol, Tensor) and tol.ndim == leaf.ndim and len(tol) > 1 for tol in tolerances]
            self.allowed = self.allowed and not any(own)  # else tolerances would have to be narrowed too
        self.rows: Tensor | None = None
        self.kept: Walk = walk

    def narrowed(self, walk: Walk, running: int) -> Walk:
        """The walk of the running samples, if that is at most half of them and their field does not mind."""
        if not self.allowed or 2 * running > len(walk.result):
            return walk
        rows = (walk.result < 0).nonzero()[:, 0]
        if (
            self.rows is None
            and may_hold_rows(self.stepping.term, len(walk.result))
            or not self._independent(walk, rows)
        ):
            self.allowed = False
            return walk
        self.kept = walk if self.rows is None else _put(self.kept, self.rows, walk)
        self.recorder.narrow(rows)
        self.rows = rows if self.rows is None else self.rows[rows]
        self.stepping = self.stepping.subset(rows)
        return _take(walk, rows)

    def whole(self, walk: Walk) -> Walk:
        """The walk of all samples."""
        return walk if self.rows is None else _put(self.kept, self.rows, walk)

    @torch.no_grad()
    def _independent(self, walk: Walk, rows: Tensor) -> bool:
        """Whether the field gives the same for some rows alone, now and at the end: what is not found by
        `may_hold_rows` may still be seen here.
        """
        stepping = self.stepping
        whole, field = stepping.clock, stepping.term.f  # type: ignore[attr-defined]
        clock, y = whole.subset(rows), map_leaves(lambda leaf: leaf[rows], walk.y)
        real = leaves_of(y)[0].dtype.to_real()
        close = torch.finfo(real).eps ** 0.5
        try:
            for tau in (walk.tau, stepping.end):
                alone = field(clock.time(tau[rows], y).to(real), y)
                together = field(whole.time(tau, walk.y).to(real), walk.y)
                for a, b in zip(leaves_of(alone), leaves_of(together), strict=True):
                    if not torch.allclose(a, b[rows], rtol=close, atol=close, equal_nan=True):
                        return False
        except (RuntimeError, ValueError, IndexError):
            return False
        return True


def _take(walk: Walk, rows: Tensor) -> Walk:
    return Walk(*(map_rows(lambda value: value[rows], part) for part in walk))


def _put(whole: Walk, rows: Tensor, part: Walk) -> Walk:
    """`whole` with `part` in the given rows; carries are dropped, for nobody goes on from them."""

    def put(old: Tensor, new: Tensor) -> Tensor:
        return old.index_copy(0, rows, new)

    parts = {
        name: map_rows(put, getattr(whole, name), getattr(part, name))
        for name in ("tau", "h", "tried", "accepted", "last", "place", "result", "counted")
    }
    return whole._replace(**parts, y=map_leaves(put, whole.y, part.y))
