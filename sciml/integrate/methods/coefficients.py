"""How coefficients of methods are proved when they are built."""

from collections.abc import Callable

import numpy as np

TOLERANCE = 1e-11
"""Sums over trees may differ from what they must be by this much: published coefficients carry rounding."""


def check_equal(kind: str, have: np.ndarray, want: np.ndarray, name: Callable[[int], str]) -> None:
    """Raise at the first difference; NaN is one.

    Args:
        kind: of the coefficients, for the message.
        have, want: numbers, one after the other.
        name: says what the i-th is.

    Raises:
        ValueError: if they differ.
    """
    for i in (~(np.abs(have - want) <= TOLERANCE)).nonzero()[0][:1]:
        raise ValueError(
            f"{kind} tableau: {name(int(i))} must be {want[i]:.15g}, got {have[i]:.15g}. Look the method up again."
        )
