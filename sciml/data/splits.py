"""Disjoint parts of a data set. Whole trajectories move, so no part sees another's frames."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from sciml.core import Key
from sciml.data.trajectories import Trajectories

_SPLIT = 0x5B11
"""Names the sub-stream of splits."""


def split(trajectories: Trajectories, fractions: Sequence[float], *, seed: int) -> tuple[Trajectories, ...]:
    """Split by trajectory; which part a trajectory falls into depends on the seed and the set of ids alone.

    Args:
        trajectories: to be split.
        fractions: share of each part; together at most 1, the rest is left out.
        seed: of the shuffle.

    Returns:
        One view per fraction, of `fraction * len(trajectories)` trajectories, rounded so that the total is
        right.

    Raises:
        ValueError: if a fraction is not positive, they sum to more than 1, a part would be empty, or an id
            occurs twice (the same trajectory could then fall into two parts).
    """
    total = math.fsum(fractions)
    if not fractions or not all(f > 0 for f in fractions) or not total <= 1 + 1e-9:
        raise ValueError(
            f"`fractions` must be positive and sum to at most 1, got {tuple(fractions)} with sum {total:g}. "
            "Give e.g. (0.8, 0.1, 0.1)."
        )
    ids = trajectories.ids
    if len(torch.unique(ids)) != len(ids):
        raise ValueError(
            f"trajectories must have distinct ids to be split, got {len(ids) - len(torch.unique(ids))} "
            "repeats. Split before repeating, or simulate with another `first_id`."
        )
    ends = [round(math.fsum(fractions[: n + 1]) * len(ids)) for n in range(len(fractions))]
    starts = [0, *ends[:-1]]
    if any(start == end for start, end in zip(starts, ends, strict=True)):
        sizes = [end - start for start, end in zip(starts, ends, strict=True)]
        raise ValueError(
            f"every part must hold a trajectory, but {len(ids)} trajectories in parts {tuple(fractions)} "
            f"make sizes {sizes}. Give more trajectories or larger fractions."
        )
    # Folded, so that a split with the seed of the simulation does not sort by the initial fields.
    rank = Key(seed, ids).fold(_SPLIT).uniform(1, dtype=torch.float64)[:, 0].numpy()
    order = np.argsort(rank, kind="stable")
    return tuple(trajectories.subset(np.sort(order[a:b])) for a, b in zip(starts, ends, strict=True))
