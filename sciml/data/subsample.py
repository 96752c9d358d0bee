"""Coarser fields by leaving points out."""

from jaxtyping import Float
from torch import Tensor


def subsample(u: Float[Tensor, "*axes"], points: tuple[int, ...]) -> Float[Tensor, "*coarse"]:
    """Every n-th point along each of the last axes: raw values, aliasing included (`grids.resample` filters).

    Args:
        u: fields with space last, [field].
        points: how many to keep per spatial axis; each must divide what there is.

    Raises:
        ValueError: if a number of points does not divide the field's.
    """
    have = tuple(u.shape[-len(points) :])
    if len(have) != len(points) or any(n < 1 or count % n for n, count in zip(points, have, strict=True)):
        raise ValueError(
            f"`points` must divide the field's points {have}, got {points}. Choose divisors, or use "
            "sciml.grids.resample, which takes any number."
        )
    steps = tuple(slice(None, None, count // n) for n, count in zip(points, have, strict=True))
    return u[(..., *steps)]
