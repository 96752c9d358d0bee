"""Fields as pictures: colour scales and palette PNGs.

A value is one byte: 0 to 254 run through the colour table, 255 is "not finite" and transparent, so that the
    page's
hatching shows through where a rollout blew up.
"""

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import final

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8

_BLANK = 255


@final
@dataclass(frozen=True, eq=False)
class ColourScale:
    """Maps values between `low` and `high` to bytes, and bytes to colours."""

    low: float
    high: float
    table: UInt8[np.ndarray, "255 3"]

    def to_bytes(self, values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
        """0 at `low` (and below) to 254 at `high` (and above); 255 where not finite."""
        finite = np.isfinite(values)
        unit = (np.where(finite, values, self.low) - self.low) / (self.high - self.low)
        return np.where(finite, np.rint(254 * np.clip(unit, 0, 1)), _BLANK).astype(np.uint8)

    @property
    def bar(self) -> str:
        """The colours from low to high, as a picture one point high."""
        return to_png(np.arange(255, dtype=np.uint8)[None, :], self)

    @property
    def ticks(self) -> tuple[str, str, str]:
        """Low end, middle and high end in words."""
        return (_short(self.low), _short((self.low + self.high) / 2), _short(self.high))


def field_scale(truth: Float[np.ndarray, "..."]) -> ColourScale:
    """Diverging and symmetric around 0; sequential if the truth is nowhere negative. Covers 99.8 %."""
    values = truth[np.isfinite(truth)]
    if len(values) and values.min() >= 0:
        low, high = (float(q) for q in np.quantile(values, (0.001, 0.999)))
        return ColourScale(low, high if high > low else low + 1, _colours("viridis"))
    return _symmetric(values, "RdBu_r")


def difference_scale(truth: Float[np.ndarray, "..."]) -> ColourScale:
    """Symmetric, as wide as the truth is from its mean."""
    values = truth[np.isfinite(truth)]
    return _symmetric(values - values.mean() if len(values) else values, "PuOr_r")


def _symmetric(values: Float[np.ndarray, " value"], name: str) -> ColourScale:
    half = float(np.quantile(np.abs(values), 0.998)) if len(values) else 1.0
    return ColourScale(-(half or 1.0), half or 1.0, _colours(name))


def _colours(name: str) -> UInt8[np.ndarray, "255 3"]:
    return np.rint(255 * matplotlib.colormaps[name](np.linspace(0, 1, 255))[:, :3]).astype(np.uint8)


def _short(value: float) -> str:
    return f"{value:.2g}".replace("-", "−") if abs(value) > 1e-12 else "0"


def to_png(pixels: UInt8[np.ndarray, "row column"], scale: ColourScale) -> str:
    """A palette image as data URI.

    Source: W3C, Portable Network Graphics (2003), sections 5 and 11: colour type 3 with PLTE and tRNS.
    """

    def block(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    rows, columns = pixels.shape
    scanlines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels], axis=1).tobytes()
    png = b"\x89PNG\r\n\x1a\n" + block(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0))
    png += block(b"PLTE", scale.table.tobytes() + bytes(3)) + block(b"tRNS", b"\xff" * 255 + b"\0")
    png += block(b"IDAT", zlib.compress(scanlines, 9)) + block(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode()
