"""The integrator layer: terms, methods, step control, output, solve."""

from sciml.integrate.control import AbstractControl, Fixed
from sciml.integrate.gradient import AbstractGradient, Direct
from sciml.integrate.methods import ETD1, ETD2RK, ETD3RK, ETDRK4, AbstractMethod, Step
from sciml.integrate.phi import phi
from sciml.integrate.save import SaveAt
from sciml.integrate.solution import Result, Solution, SolveError, Stats
from sciml.integrate.solve import solve
from sciml.integrate.terms import AbstractTerm, SemiLinear

__all__ = [
    "ETD1",
    "ETD2RK",
    "ETD3RK",
    "ETDRK4",
    "AbstractControl",
    "AbstractGradient",
    "AbstractMethod",
    "AbstractTerm",
    "Direct",
    "Fixed",
    "Result",
    "SaveAt",
    "SemiLinear",
    "Solution",
    "SolveError",
    "Stats",
    "Step",
    "phi",
    "solve",
]
