"""Functions of time: what drives an equation beside its state."""

from sciml.paths.base import AbstractPath, Increment, Time, map_increment, slack_of
from sciml.paths.brownian import BrownianMotion
from sciml.paths.levy import AbstractLevy, Davie, Foster, NoArea, SpaceTime, SpaceTimeTime
from sciml.paths.tensor_times import Point, TensorTimes

__all__ = [
    "AbstractLevy",
    "AbstractPath",
    "BrownianMotion",
    "Davie",
    "Foster",
    "Increment",
    "NoArea",
    "Point",
    "SpaceTime",
    "SpaceTimeTime",
    "TensorTimes",
    "Time",
    "map_increment",
    "slack_of",
]
