"""`solve_by_replay`: a solve as one function of autograd, whose gradient takes the steps again (see `replay`)."""

from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.flat import leaves_of, map_rows
from sciml.integrate.gradient.captured import captured_by, uncached_autocast, without_hooks
from sciml.integrate.gradient.replay import AbstractKeeper, State, tensors_of
from sciml.integrate.gradient.replay_backward import Backward
from sciml.integrate.gradient.replay_job import Job
from sciml.integrate.problem import Problem
from sciml.integrate.solution import Solution


def solve_by_replay(problem: Problem, keeper: AbstractKeeper, mode: str) -> Solution:
    """Solve without autograd, so that the gradient takes the steps again.

    Args:
        problem: what to solve.
        keeper: finds the states again.
        mode: name of the gradient, for errors.

    Raises:
        ValueError: if dense output is asked for, or a tensor's gradient would be lost.
    """
    if problem.save.dense:
        raise ValueError(
            f"{mode} keeps no dense output, which would hold every step. Name the times as SaveAt(ts=...), or take "
            "gradient=Direct()."
        )
    if not torch.is_grad_enabled() or not (problem.save.t1 or problem.save.ts is not None or problem.save.every):
        return problem.run()
    captured = captured_by(problem, mode)
    job = Job.make(problem, keeper, captured, mode)
    inputs = (*leaves_of(problem.y0), *job.times, *captured.tensors)
    if not any(tensor.requires_grad for tensor in inputs):
        return problem.run()
    box: list[Solution] = []
    flat = _Function.apply(job, box, *inputs)
    return job.presented(box[0], flat)


@final
class _Function(torch.autograd.Function):
    """States kept of a solve as a function of all that it depends on."""

    @staticmethod
    def forward(ctx: Any, job: "Job", box: list[Solution], *inputs: Tensor) -> tuple[Tensor, ...]:
        solution, outputs, kept = job.run()
        box.append(solution)
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        ctx.job, ctx.kept = job, [(n, map_rows(torch.detach, state)) for n, state in kept]
        ctx.versions = _versions(ctx.kept)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:  # type: ignore[override]
        job: Job = ctx.job
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"{job.mode} cannot be differentiated twice, got create_graph=True. Take gradient=Direct() or "
                "Quadrature()."
            )
        inputs = list(ctx.saved_tensors)
        kept, ctx.kept = ctx.kept, None  # so that their places are free once they were used
        if kept is not None and _versions(kept) != ctx.versions:
            raise RuntimeError(
                f"a state that {job.mode} needs has been modified by an inplace operation. Change a clone of the "
                "solution instead."
            )
        needs = ctx.needs_input_grad[2:]
        devices = [job.problem.device] if job.problem.device.type == "cuda" else []
        replay = job.replay
        with (
            torch.random.fork_rng(devices),
            uncached_autocast(*replay.autocast),
            without_hooks(replay.captured.tensors),
        ):
            kept = job.swept() if kept is None else kept
            return None, None, *Backward(job, inputs, needs, list(gradients), kept).run()


def _versions(kept: list[tuple[int, State]]) -> list[int]:
    """How often each tensor was changed in place."""
    return [tensor._version for _, state in kept for tensor in tensors_of(state)]
