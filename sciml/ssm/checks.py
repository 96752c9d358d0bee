"""Rules for what layers are given. Values on a device are read once per call, and not while compiling."""

import torch
from torch import Tensor

from sciml.core.checks import check_shape


def check_series(u: Tensor, channels: int, dtype: torch.dtype) -> None:
    """Raise unless u is (batch, time, channels) with at least one time, in the dtype of the parameters."""
    _check_dtype("u", u, dtype)
    check_shape("u", u, (None, None, channels), "batch, time and channels of the layer")
    if u.shape[1] == 0:
        raise ValueError(f"`u` must have at least one time, got shape {tuple(u.shape)}. Leave empty pieces out.")


def check_entry(u: Tensor, channels: int, dtype: torch.dtype) -> None:
    """Raise unless u is one time of a series, (batch, channels)."""
    _check_dtype("u", u, dtype)
    check_shape("u", u, (None, channels), "batch and channels of the layer")


def check_intervals(dt: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise unless dt has this shape and dtype, and is finite and not negative."""
    _check_dtype("dt", dt, dtype)
    check_shape("dt", dt, shape, "one interval for each sample and time" if len(shape) == 2 else "one per sample")
    if torch.compiler.is_compiling():
        return
    wrong = ~((dt >= 0) & torch.isfinite(dt))
    if bool(wrong.any()):
        place = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"intervals must be finite and at least 0, got dt{list(place)} = {dt[place].item():g}. Sort the times; an "
            "interval is the time since the entry before, and 0 leaves the state as it is."
        )


def check_state(state: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise unless a state fits the layer and the batch."""
    if not isinstance(state, Tensor) or state.dtype != dtype:
        raise TypeError(
            f"`state` must be a tensor of {dtype}, got {getattr(state, 'dtype', type(state).__name__)}. Take the one "
            "that prefill, step or initial_state of the same layer returned."
        )
    check_shape("state", state, shape, "the batch of u, systems and states of the layer")


def _check_dtype(name: str, value: Tensor, dtype: torch.dtype) -> None:
    if value.dtype != dtype:
        raise TypeError(
            f"`{name}` must have the dtype of the layer's parameters, {dtype}, got {value.dtype}. Convert one of them: "
            f"{name}.to({dtype}), or layer.to({value.dtype})."
        )
