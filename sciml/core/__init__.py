"""Ground floor: checks, errors, random numbers, configuration, state trees and the sink protocol."""

from sciml.core.config import digest, from_mapping
from sciml.core.errors import FileContentError, MissingExtraError, require_extra
from sciml.core.fields import Condition, FieldBatch, Fields, Loss
from sciml.core.random import Key
from sciml.core.sink import MemorySink, Sink
from sciml.core.state import State, batch_size, tree_leaves, tree_map

__all__ = [
    "Condition",
    "FieldBatch",
    "Fields",
    "FileContentError",
    "Key",
    "Loss",
    "MemorySink",
    "MissingExtraError",
    "Sink",
    "State",
    "batch_size",
    "digest",
    "from_mapping",
    "require_extra",
    "tree_leaves",
    "tree_map",
]
