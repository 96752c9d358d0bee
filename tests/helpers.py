"""What several tests need: observed orders and the final classes of an interface."""

import math
from collections.abc import Callable, Sequence
from typing import Any


def order_table(name: str, error: Callable[[int], float], steps: Sequence[int]) -> float:
    """Print step counts, errors and orders; return the slope between the two finest in the asymptotic range.

    The range is 1e-11 <= error <= 1e-3 (float64): above it the expansion has not set in, below it rounding rules.
    """
    errors = {n: error(n) for n in steps}
    print(f"\n{name}")
    for before, n in zip([None, *steps], steps, strict=False):
        order = math.log2(errors[before] / max(errors[n], 1e-300)) if before else math.nan
        print(f"  {n:6d} steps  error {errors[n]:.3e}  order {order:5.2f}")
    usable = [n for n in steps if 1e-11 <= errors[n] <= 1e-3]
    assert len(usable) >= 2, f"{name}: fewer than two errors in the asymptotic range: {errors}"
    coarse, fine = usable[-2:]
    return math.log(errors[coarse] / errors[fine]) / math.log(fine / coarse)


def final_subclasses(interface: type) -> set[type]:
    """Every class below `interface` that is marked final."""
    found: set[type] = set()
    stack: list[Any] = [interface]
    while stack:
        for cls in stack.pop().__subclasses__():
            stack.append(cls)
            if getattr(cls, "__final__", False) and cls.__module__.startswith("sciml."):
                found.add(cls)
    return found
