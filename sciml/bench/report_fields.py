"""Rollouts as pictures: space-time plots, stills by lead time, and frames packed for the page's player.

Long or fine rollouts are thinned to fixed budgets: frames are picked
evenly in time with both ends kept, space is averaged over blocks.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from sciml.bench.report_data import ReportData, Rollout
from sciml.bench.report_images import ColourScale, difference_scale, field_scale, to_png
from sciml.bench.report_style import Style

MAX_MODELS = 9  # beside the truth
_MAX_COLUMNS = 320  # times of a space-time plot
_MAX_SIDE = 256  # points along an axis of a still
_PLAYER_SIDE = {1: 192, 2: 64}  # points along an axis of the animation
_PLAYER_FRAMES = 160
_PLAYER_BYTES = 1_500_000
_LEAD_TIMES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)


@final
@dataclass(frozen=True)
class Picture:
    """An image and its words; `lost` is where along the time axis the rollout was lost, in percent."""

    image: str
    alternative: str
    caption: str = ""
    detail: str = ""
    lost: float | None = None
    blown_up: bool = False


@final
@dataclass(frozen=True)
class Panel:
    """The pictures of one model: (field, difference) in one dimension, stills by lead time in two."""

    style: Style
    pictures: tuple[Picture, ...]
    remark: str


def space_time_panels(data: ReportData, styles: Mapping[str, Style]) -> tuple[Panel, ...]:
    """Time to the right, space upwards: the field and, below the truth, its difference from the truth."""
    truth, *others = shown_rollouts(data)
    reference = _thin(truth.frames, _MAX_COLUMNS, _MAX_SIDE)
    scale, difference = field_scale(truth.frames), difference_scale(truth.frames)
    first = Picture(_upright(reference, scale), f"Space-time plot of {truth.model}")
    panels = [Panel(styles[truth.model], (first,), "")]
    for rollout in others:
        frames = _thin(rollout.frames, _MAX_COLUMNS, _MAX_SIDE)
        lost, blown_up = lost_at(rollout, data.threshold), blow_up_at(rollout)
        place = None if lost is None else _percent(lost, rollout.time)
        words = {"lost": place, "blown_up": blown_up is not None}
        field = Picture(_upright(frames, scale), f"Space-time plot of {rollout.model}", "field", **words)
        error = Picture(
            _upright(frames - reference, difference),
            f"Space-time plot of {rollout.model} minus {truth.model}", "minus truth", **words,
        )  # fmt: skip
        panels.append(Panel(styles[rollout.model], (field, error), remark(rollout, data.threshold)))
    return tuple(panels)


def still_panels(data: ReportData, styles: Mapping[str, Style]) -> tuple[Panel, ...]:
    """The field at a few lead times, x to the right and y upwards, one row of pictures per model."""
    rollouts = shown_rollouts(data)
    scale = field_scale(rollouts[0].frames)
    last = len(rollouts[0].time) - 1
    picks = sorted({round(part * last) for part in _LEAD_TIMES})
    panels = []
    for rollout in rollouts:
        pictures = []
        for i in picks:
            frame = _thin(rollout.frames[i : i + 1], 1, _MAX_SIDE)[0]
            when = f"t = {rollout.time[i]:.4g}"
            finite = bool(np.isfinite(frame).any())
            detail = "" if rollout is rollouts[0] else f"r = {rollout.correlation[i]:.2f}".replace("-", "−")
            pictures.append(
                Picture(
                    to_png(scale.to_bytes(frame.T[::-1]), scale), f"{rollout.model} at {when}",
                    when, detail if finite else "blown up", blown_up=not finite,
                )
            )  # fmt: skip
        text = "" if rollout is rollouts[0] else remark(rollout, data.threshold)
        panels.append(Panel(styles[rollout.model], tuple(pictures), text))
    return tuple(panels)


def time_ticks(data: ReportData) -> tuple[tuple[str, float], ...]:
    """Round times and where they stand along the axis, in percent."""
    time = data.rollouts[0].time
    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(time[0], time[-1])
    return tuple((f"{t:g}", _percent(float(t), time)) for t in ticks if time[0] <= t <= time[-1])


def player_json(data: ReportData, styles: Mapping[str, Style]) -> Markup:
    """Everything the player needs, as JSON that may stand inside a script element."""
    rollouts = shown_rollouts(data)
    space = rollouts[0].frames.ndim - 1
    first = _thin(rollouts[0].frames[:1], 1, _PLAYER_SIDE[space])
    count = min(_PLAYER_FRAMES, max(2, _PLAYER_BYTES // (first.size * len(rollouts))))
    scale = field_scale(rollouts[0].frames)
    if space == 1:  # lines need room above the crests
        margin = 0.15 * (scale.high - scale.low)
        scale = ColourScale(scale.low - margin, scale.high + margin, scale.table)
    picked = _pick(len(rollouts[0].time), count)
    content = {
        "form": "line" if space == 1 else "field",
        "shape": list(first.shape[1:]),
        "times": [float(f"{t:.6g}") for t in rollouts[0].time[picked]],
        "threshold": data.threshold,
        "low": scale.low,
        "high": scale.high,
        "palette": base64.b64encode(scale.table.tobytes()).decode(),
        "models": [
            {
                "name": rollout.model,
                "colour": f"--{styles[rollout.model].variable}",
                "correlation": [float(f"{r:.4f}") if np.isfinite(r) else None for r in rollout.correlation[picked]],
                "frames": _packed(rollout, scale, count, _PLAYER_SIDE[space]),
            }
            for rollout in rollouts
        ],
    }
    return Markup(json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def shown_rollouts(data: ReportData) -> tuple[Rollout, ...]:
    """The truth and as many models as fit."""
    return data.rollouts[: 1 + MAX_MODELS]


def blow_up_at(rollout: Rollout) -> float | None:
    """Time of the first frame that is not finite, [time]."""
    bad = ~np.isfinite(rollout.frames).reshape(len(rollout.time), -1).all(axis=1)
    return float(rollout.time[np.argmax(bad)]) if bad.any() else None


def lost_at(rollout: Rollout, threshold: float) -> float | None:
    """Time of the first frame whose correlation is not at least `threshold`, [time]; NaN counts as lost."""
    bad = ~(rollout.correlation >= threshold)
    return float(rollout.time[np.argmax(bad)]) if bad.any() else None


def remark(rollout: Rollout, threshold: float) -> str:
    """How long the rollout lasted, in words."""
    lost, blown_up = lost_at(rollout, threshold), blow_up_at(rollout)
    stays = f"r ≥ {threshold:g} to the end" if lost is None else f"r < {threshold:g} from t = {lost:g}"
    return stays if blown_up is None else f"{stays}; blown up at t = {blown_up:g}"


def _packed(rollout: Rollout, scale: ColourScale, count: int, side: int) -> str:
    """Frames as bytes in the order a canvas wants: rows from the top, in two dimensions."""
    frames = scale.to_bytes(_thin(rollout.frames, count, side))
    if frames.ndim == 3:
        frames = frames.transpose(0, 2, 1)[:, ::-1]
    return base64.b64encode(np.ascontiguousarray(frames).tobytes()).decode()


def _upright(frames: Float[np.ndarray, "time x"], scale: ColourScale) -> str:
    return to_png(scale.to_bytes(frames.T[::-1]), scale)


def _percent(value: float, time: Float[np.ndarray, " time"]) -> float:
    span = float(time[-1] - time[0]) or 1.0
    return round(100 * (value - float(time[0])) / span, 2)


def _pick(length: int, count: int) -> np.ndarray:
    """At most `count` indices spread evenly, both ends among them."""
    return np.unique(np.rint(np.linspace(0, length - 1, min(count, length))).astype(int))


def _thin(frames: Float[np.ndarray, "time *space"], count: int, side: int) -> Float[np.ndarray, "time2 *space2"]:
    """At most `count` frames of at most `side` points along each axis (averages over blocks)."""
    frames = frames[_pick(len(frames), count)].astype(np.float32)
    for axis in range(1, frames.ndim):
        block = -(-frames.shape[axis] // side)
        whole = frames.shape[axis] // block * block
        frames = np.take(frames, range(whole), axis)
        split = (*frames.shape[:axis], whole // block, block, *frames.shape[axis + 1 :])
        with np.errstate(over="ignore", invalid="ignore"):
            frames = frames.reshape(split).mean(axis=axis + 1)
    return frames
