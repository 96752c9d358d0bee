"""What implicit methods share: Jacobians and how to solve with them, Newton's iteration, the gradient of its result."""

from sciml.integrate.implicit.dense import Dense
from sciml.integrate.implicit.newton import Newton, Outcome
from sciml.integrate.implicit.packing import PackedField, Packing
from sciml.integrate.implicit.rule import implicitly
from sciml.integrate.implicit.structure import AbstractStructure, AbstractSystem, Jacobian, Shift

__all__ = [
    "AbstractStructure",
    "AbstractSystem",
    "Dense",
    "Jacobian",
    "Newton",
    "Outcome",
    "PackedField",
    "Packing",
    "Shift",
    "implicitly",
]
