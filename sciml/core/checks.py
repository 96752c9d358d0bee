"""One function per rule. Public entry points call these; inner functions trust their callers.

Each message has three parts: the rule, what was received, the remedy. Range checks are written so that NaN fails.
"""

import numbers
from collections.abc import Sequence

import torch
from torch import Tensor


def check_positive(name: str, value: float) -> None:
    """Raise unless `value` is positive and finite."""
    if not 0 < value < float("inf"):
        raise ValueError(f"`{name}` must be positive and finite, got {value!r}. Give a number above 0.")


def check_number(name: str, *values: float) -> None:
    """Raise unless the values are finite."""
    for value in values:
        if not -float("inf") < value < float("inf"):
            raise ValueError(f"`{name}` must be finite, got {value!r}. Give a number.")


def check_at_least(name: str, value: float, low: float) -> None:
    """Raise unless `value >= low`."""
    if not value >= low:
        raise ValueError(f"`{name}` must be at least {low}, got {value!r}. Raise it to {low} or more.")


def check_integer(name: str, value: int) -> None:
    """Raise unless `value` is a whole number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"`{name}` must be a whole number, got {value!r}. Give an integer.")


def check_whole(name: str, value: float, low: int) -> None:
    """Raise unless `value` is a whole number of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"`{name}` must be a whole number of at least {low}, got {value!r}. Give an integer.")


def check_shape(name: str, value: Tensor, shape: Sequence[int | None], meaning: str) -> None:
    """Raise unless `value` has `shape`; `None` leaves an axis free. `meaning` names the axes in words."""
    fits = value.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(
            f"`{name}` must have shape ({wanted}), that is {meaning}; got {tuple(value.shape)}. "
            "Reshape or permute it before the call."
        )


def check_finite(name: str, value: Tensor) -> None:
    """Raise unless every entry is finite; names the first place that is not."""
    bad = (~torch.isfinite(value)).nonzero()
    if len(bad) > 0:
        place = tuple(bad[0].tolist())
        raise ValueError(
            f"`{name}` must be finite, but {name}{list(place)} is {value[place].item()} "
            f"({len(bad)} such entries). Remove or repair those entries first; nothing is filled in silently."
        )


def check_increasing(name: str, ts: Tensor) -> None:
    """Raise unless the times increase strictly (NaN counts as not increasing)."""
    bad = (~(ts[1:] > ts[:-1])).nonzero()
    if len(bad) > 0:
        i = int(bad[0])
        raise ValueError(
            f"`{name}` must increase strictly, but {name}[{i}]={ts[i].item():g} is followed by "
            f"{name}[{i + 1}]={ts[i + 1].item():g}. Sort the times and drop repeats."
        )


def check_multiple(name: str, value: float, unit_name: str, unit: float) -> int:
    """Return `value / unit` as a whole number, or raise if it is not one (to 1e-6)."""
    check_positive(name, value)
    check_positive(unit_name, unit)
    ratio = value / unit
    if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-6 * max(1.0, ratio):
        raise ValueError(
            f"`{name}` must be a whole multiple of `{unit_name}`, got {value:g} / {unit:g} = {ratio:g}. "
            f"Choose a {name} such as {max(1, round(ratio)) * unit:g}."
        )
    return round(ratio)
