"""Rules for what layers are given. Values on a device are read once per call, and not while compiling or under vmap."""

from typing import Any

import torch
from torch import Tensor

from sciml.core.checks import check_shape
from sciml.ssm.transforms import is_batched

_DTYPES = (torch.float32, torch.float64)
LONGEST = 1e15
"""Interval; squares of its products with rates are still numbers of float32."""


def check_series(u: Any, channels: int, dtype: torch.dtype) -> None:
    """Raise unless u is (batch, time, channels) with at least one time, in the dtype of the parameters."""
    _check_dtype("u", u, dtype)
    check_shape("u", u, (None, None, channels), "batch, time and channels of the layer")
    if u.shape[1] == 0:
        raise ValueError(f"`u` must have at least one time, got shape {tuple(u.shape)}. Leave empty pieces out.")


def check_entry(u: Any, channels: int, dtype: torch.dtype) -> None:
    """Raise unless u is one time of a series, (batch, channels)."""
    _check_dtype("u", u, dtype)
    check_shape("u", u, (None, channels), "batch and channels of the layer")


def check_intervals(dt: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise unless dt has this shape and dtype, and lies between 0 and 1e15."""
    _check_dtype("dt", dt, dtype)
    if tuple(dt.shape) != shape and len(shape) == 2 and tuple(dt.shape) in (shape[1:], (1, shape[1])):
        raise ValueError(
            f"`dt` must have shape {shape}, one interval for each sample and time, got {tuple(dt.shape)}. Where all "
            f"samples share one grid, expand it: dt.expand{shape}."
        )
    check_shape("dt", dt, shape, "one interval for each sample and time" if len(shape) == 2 else "one per sample")
    if not _readable(dt):
        return
    wrong = ~((dt >= 0) & (dt <= LONGEST))
    if bool(wrong.any()):
        place = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"intervals must be at least 0 and at most 1e15, got dt{list(place)} = {dt[place].item():g}. Sort the "
            "times; an interval is the time since the entry before, and 0 leaves the state as it is."
        )


def check_number(name: str, value: Any) -> None:
    """Raise unless an interval is one number from 0 to 1e15: a number, or a tensor of no axes."""
    if isinstance(value, Tensor):
        if not _readable(value):
            return
        value = float(value.detach())
    if not 0 <= value <= LONGEST:
        raise ValueError(
            f"`{name}` must be at least 0 and at most 1e15, got {value!r}. An interval is the time since the "
            "entry before, and 0 leaves the state as it is."
        )


def check_state(state: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise unless a state fits the layer and the batch."""
    if not isinstance(state, Tensor) or state.dtype != dtype:
        raise TypeError(
            f"`state` must be a tensor of {dtype}, got {getattr(state, 'dtype', type(state).__name__)}. Take the one "
            "that prefill, step or initial_state of the same layer returned."
        )
    check_shape("state", state, shape, "the batch of u, systems and states of the layer")


def check_kind(state: Any, kind: type) -> None:
    """Raise unless a state of several parts is what the layer returns."""
    if not isinstance(state, kind):
        raise TypeError(
            f"`state` must be a {kind.__name__}, got {type(state).__name__}. Take the one that prefill, step or "
            "initial_state of the same layer returned."
        )


def _check_dtype(name: str, value: Any, dtype: torch.dtype) -> None:
    if dtype not in _DTYPES:
        raise TypeError(
            f"parameters of a state-space layer must be float32 or float64, got {dtype}: powers of a step need the "
            "digits. Take layer.float(), under torch.autocast for the rest of the model."
        )
    if not isinstance(value, Tensor):
        raise TypeError(
            f"`{name}` must be a tensor of {dtype}, got {type(value).__name__}. Convert it: "
            f"torch.as_tensor({name}, dtype={dtype})."
        )
    if value.dtype != dtype:
        other = f", or layer.to({value.dtype})" if value.dtype in _DTYPES else ""
        raise TypeError(
            f"`{name}` must have the dtype of the layer's parameters, {dtype}, got {value.dtype}. Convert "
            f"{'one of them' if other else 'it'}: {name}.to({dtype}){other}."
        )


def _readable(value: Tensor) -> bool:
    return not (torch.compiler.is_compiling() or is_batched(value))
