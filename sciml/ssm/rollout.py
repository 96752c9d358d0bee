"""Forecasts by a model that is given its own outputs."""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_shape, check_whole
from sciml.ssm.checks import check_intervals
from sciml.ssm.intervals import Interval, going_on
from sciml.ssm.layer import AbstractLayer, State
from sciml.ssm.residual import DeepSSM


def rollout(
    model: DeepSSM | AbstractLayer,
    context: Float[Tensor, "batch time channel"],
    entries: int,
    dt: Interval = None,
    dt_ahead: Interval = None,
    *,
    state: State = None,
) -> tuple[Float[Tensor, "batch entry channel"], State]:
    """Coming entries, each the output for the one before it: u_{k+1} = model(u_0, ..., u_k).

    The context is read at once and each further entry costs one step, whatever came before.

    Args:
        model: whose output at an entry predicts the next one.
        context: the series so far.
        entries: how many to predict.
        dt: time since the entry before, (batch, time) or one number for all; 1 by default, [time].
        dt_ahead: the same of predicted entries, (batch, entries) or one number for all; where dt is one number, that
            one by default. The first prediction comes from the context alone, so that its own interval is known to the
            model only with the second.
        state: behind what came before the context.

    Returns:
        Predictions, and the state behind the last but one of them: the last was not yet given to the model.

    Raises:
        ValueError: if `entries` is not a whole number of at least 1, outputs do not fit inputs, or `dt_ahead` is left
            out where `dt` has an interval for each sample and time.
    """
    check_whole("entries", entries, 1)
    dt_ahead = going_on(dt, dt_ahead)
    outputs, state = model.prefill(context, dt, state)
    coming = outputs[:, -1]
    check_shape("the output of model", coming, (len(context), context.shape[-1]), "batch and channels of its input")
    each = dt_ahead if isinstance(dt_ahead, Tensor) and dt_ahead.ndim > 0 else None
    if each is not None:
        check_intervals(each, (len(context), entries), context.dtype)
    predictions = [coming]
    for k in range(entries - 1):
        coming, state = model.step(coming, state, dt_ahead if each is None else each[:, k])
        predictions.append(coming)
    return torch.stack(predictions, dim=1), state
