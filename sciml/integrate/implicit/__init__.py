"""What implicit methods share: Jacobians and how to solve with them, Newton's iteration, the gradient of its result."""

from sciml.integrate.implicit.auto import Auto
from sciml.integrate.implicit.banded import Banded
from sciml.integrate.implicit.corrected import for_gradients
from sciml.integrate.implicit.dense import Dense
from sciml.integrate.implicit.diagonal import Diagonal
from sciml.integrate.implicit.fourier import Fourier
from sciml.integrate.implicit.krylov import Krylov
from sciml.integrate.implicit.newton import Newton, Outcome, merged
from sciml.integrate.implicit.packing import PackedField, Packing
from sciml.integrate.implicit.rule import implicitly
from sciml.integrate.implicit.structure import AbstractStructure, AbstractSystem, Jacobian, Shift

__all__ = [
    "AbstractStructure",
    "AbstractSystem",
    "Auto",
    "Banded",
    "Dense",
    "Diagonal",
    "Fourier",
    "Krylov",
    "Jacobian",
    "Newton",
    "Outcome",
    "PackedField",
    "Packing",
    "Shift",
    "for_gradients",
    "implicitly",
    "merged",
]
