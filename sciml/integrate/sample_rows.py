"""Whether a field may hold something for every sample, so that it cannot be asked about some of them alone.

No evaluation can tell: a field may read its row of a table only at some times, or only in some states. What can be told
is whether it reaches anything with enough entries along an axis. Weights of torch's own layers are left out, for layers
use them whole; those that look up or only hold tensors are not.
"""

import itertools
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from torch import Tensor, nn

from sciml.integrate.field import FlatField
from sciml.integrate.reachable import MOST_OBJECTS, MOST_PARTS, everything, fields_of

_TABLES = (nn.Embedding, nn.EmbeddingBag, nn.ParameterList, nn.ParameterDict)


@final
@dataclass(frozen=True)
class _Roots:
    """Where to look from: the fields as they were given, for what wraps them keeps slopes for a while."""

    parts: list[Any]


def may_hold_rows(term: Any, batch: int) -> bool:
    """Whether the term reaches a tensor, an array or a list of tensors with an axis of at least `batch` entries, or
    more than is looked through.

    Args:
        term: the right-hand side.
        batch: number of samples, at least 2.
    """
    roots = _Roots([value.f if isinstance(value, FlatField) else value for _, value in fields_of(term)])
    found = [value for _, value in itertools.islice(everything(roots), MOST_PARTS)]
    objects = sum(not isinstance(value, int | float) for value in found)
    cut_short = len(found) >= MOST_PARTS or objects >= MOST_OBJECTS
    return cut_short or any(_holds_rows(value, batch) for value in found)


def _holds_rows(value: Any, batch: int) -> bool:
    if isinstance(value, Tensor | np.ndarray):
        return any(size >= batch for size in value.shape)
    if isinstance(value, nn.Module):
        if type(value).__module__.startswith("torch.nn.") and not isinstance(value, _TABLES):
            return False
        own = [*value.parameters(recurse=False), *value.buffers(recurse=False)]
        return isinstance(value, _TABLES) and len(own) >= batch or any(_holds_rows(x, batch) for x in own)
    return isinstance(value, list | tuple) and len(value) >= batch and all(isinstance(x, Tensor) for x in value)
