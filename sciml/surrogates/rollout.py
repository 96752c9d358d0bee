"""Run a stepper forward in time. Written once, for every stepper, and streaming: frames go to a sink as they come.

Nothing is repaired on the way. A trajectory that has blown up stays so, NaN from the next step on even where a network
would map infinity to something finite, and leaves the others as they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core import Condition, Key, MemorySink, Sink
from sciml.core.checks import check_at_least, check_positive
from sciml.surrogates.base import AbstractStepper


def rollout(
    stepper: AbstractStepper,
    context: Float[Tensor, "batch time channel *space"],
    frames: int,
    *,
    dt: float,
    condition: Condition = Condition(),  # noqa: B008  (frozen)
    key: Key | None = None,
    members: int = 1,
    t0: float = 0.0,
    sink: Sink | None = None,
    progress: Callable[[int], None] | None = None,
    grad: bool = False,
) -> Any:
    """Continue trajectories by `frames` frames.

    Members of an ensemble are flattened into the batch, row by row: row 0 member 0, row 0 member 1, ... Step i draws
    its noise from `key.fold(i)` with the member set, so a sample depends neither on its batch nor on `members`.

    Args:
        stepper: what continues the trajectories; it runs in evaluation mode unless `grad`.
        context: the frames before the first new one; exactly `stepper.context_frames`, [field].
        frames: new frames, at least 1; the context is not repeated in the result.
        dt: time between frames, [time].
        condition: parameters and static fields, one row per row of `context`.
        key: names the noise, one row per row of `context`; needed by stochastic steppers only.
        members: ensemble members per row.
        t0: time of the last frame of `context`, [time].
        sink: receives the frames; by default they are kept in memory.
        progress: called with the number of finished frames after each step.
        grad: record the steps for differentiation.

    Returns:
        What `sink.close()` returns; by default one tensor (batch * members, frames, channel, *space).

    Raises:
        ValueError: if the context has another length than the stepper needs, `frames < 1`, `dt <= 0`, `members < 1`,
            the rows of `key` are not those of `context`, or a stochastic stepper gets no key.
    """
    check_at_least("frames", frames, 1)
    check_positive("dt", dt)
    check_at_least("members", members, 1)
    if context.shape[1] != stepper.context_frames:
        raise ValueError(
            f"`context` must hold exactly {stepper.context_frames} frames, as many as this stepper starts from; got "
            f"{context.shape[1]}. Give the last {stepper.context_frames} known frames, context[:, -n:]."
        )
    member_key = _member_key(stepper, key, context, members)
    condition = condition.repeat(members)
    sink = MemorySink() if sink is None else sink
    with torch.set_grad_enabled(grad), _evaluating(stepper, not grad):
        context = context.repeat_interleave(members, 0)
        state, finite, done = stepper.start(context, condition), _finite_rows(context), 0
        while done < frames:
            step = done // stepper.frames_per_step
            new, state = stepper.step(state, t0 + done * dt, dt, condition, member_key.fold(step))
            new = torch.where(finite, new, torch.nan)
            finite = finite & _finite_rows(new)
            sink.write(new[:, : frames - done])
            done += min(stepper.frames_per_step, frames - done)
            if progress is not None:
                progress(done)
    return sink.close()


def _finite_rows(frames: Tensor) -> Tensor:
    """Which rows are finite, shaped to broadcast against `frames`."""
    return frames.isfinite().all(dim=tuple(range(1, frames.ndim)), keepdim=True)


def _member_key(stepper: AbstractStepper, key: Key | None, context: Tensor, members: int) -> Key:
    """The key of each member of each row."""
    if key is None and stepper.stochastic:
        raise ValueError(
            f"a stochastic stepper must get a key, got key=None for {type(stepper).__name__}. "
            "Give e.g. key=Key.rows(seed, batch)."
        )
    key = Key.rows(0, len(context), device=context.device) if key is None else key
    if key.batch != len(context):
        raise ValueError(
            f"`key` must have one row per row of `context`, {len(context)}, got {key.batch}. "
            "Give Key(seed, ids) with one id per trajectory; members are added by the rollout."
        )
    ids = key.ids.repeat_interleave(members)
    return Key(key.seed, ids, torch.arange(members, device=ids.device).repeat(key.batch))


@contextmanager
def _evaluating(module: nn.Module, wanted: bool) -> Iterator[None]:
    """Evaluation mode inside, the modes of before afterwards."""
    training = [part for part in module.modules() if part.training] if wanted else []
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
