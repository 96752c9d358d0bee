"""Functions of time: what drives an equation beside its state."""

from sciml.paths.base import AbstractPath, Increment, Time, map_increment
from sciml.paths.brownian import BrownianMotion
from sciml.paths.levy import AbstractLevy, Davie, Foster, NoArea, SpaceTime, SpaceTimeTime

__all__ = [
    "AbstractLevy",
    "AbstractPath",
    "BrownianMotion",
    "Davie",
    "Foster",
    "Increment",
    "NoArea",
    "SpaceTime",
    "SpaceTimeTime",
    "Time",
    "map_increment",
]
