"""The integrator layer: terms, methods, step control, output, solve."""

from sciml.integrate.control import PID, AbstractControl, Clip, Fixed
from sciml.integrate.executors import AbstractExecutor, Chunks, Eager
from sciml.integrate.gradient import AbstractGradient, Checkpoint, Direct, Reversible
from sciml.integrate.methods import (
    ETD1,
    ETD2RK,
    ETD3RK,
    ETDRK4,
    RK4,
    SSPRK3,
    AbstractMethod,
    Bosh3,
    Dopri5,
    Dopri8,
    Euler,
    Heun,
    Midpoint,
    Ralston,
    Reversibly,
    Step,
    ThreeEighths,
    Tsit5,
    Vern7,
)
from sciml.integrate.phi import phi
from sciml.integrate.save import SaveAt
from sciml.integrate.solution import Result, Solution, SolveError, Stats
from sciml.integrate.solve import solve
from sciml.integrate.terms import ODE, AbstractTerm, SemiLinear

__all__ = [
    "AbstractControl",
    "AbstractExecutor",
    "AbstractGradient",
    "AbstractMethod",
    "AbstractTerm",
    "Bosh3",
    "Checkpoint",
    "Chunks",
    "Clip",
    "Direct",
    "Dopri5",
    "Dopri8",
    "ETD1",
    "ETD2RK",
    "ETD3RK",
    "ETDRK4",
    "Eager",
    "Euler",
    "Fixed",
    "Heun",
    "Midpoint",
    "ODE",
    "PID",
    "RK4",
    "Ralston",
    "Result",
    "Reversible",
    "Reversibly",
    "SSPRK3",
    "SaveAt",
    "SemiLinear",
    "Solution",
    "SolveError",
    "Stats",
    "Step",
    "ThreeEighths",
    "Tsit5",
    "Vern7",
    "phi",
    "solve",
]
