"""Integration methods: one engine per family, one small class per method."""

from sciml.integrate.methods.adams import Adams, AdamsBashforth
from sciml.integrate.methods.additive_noise import SRA1, ShARK
from sciml.integrate.methods.along_chords import AlongChords
from sciml.integrate.methods.base import AbstractMethod, Step
from sciml.integrate.methods.bdf import BDF, NDF, AbstractBDF
from sciml.integrate.methods.bosh3 import Bosh3
from sciml.integrate.methods.dirk import AbstractDIRK
from sciml.integrate.methods.dirk_tableau import DIRKTableau
from sciml.integrate.methods.dopri5 import Dopri5
from sciml.integrate.methods.dopri8 import Dopri8
from sciml.integrate.methods.etd import ETD1, ETD2RK, ETD3RK, ETDRK4
from sciml.integrate.methods.etd_pairs import ETD32, ETD43
from sciml.integrate.methods.euler_maruyama import EulerHeun, EulerMaruyama
from sciml.integrate.methods.explicit_rk import AbstractExplicitRK
from sciml.integrate.methods.fully_implicit import AbstractFullyImplicit
from sciml.integrate.methods.gauss import GaussLegendre4, GaussLegendre6
from sciml.integrate.methods.implicit_low_order import SDIRK2, TRBDF2, BackwardEuler, ImplicitMidpoint, Trapezoid
from sciml.integrate.methods.kencarp import KenCarp3, KenCarp4, KenCarp5
from sciml.integrate.methods.kvaerno import Kvaerno3, Kvaerno4, Kvaerno5
from sciml.integrate.methods.langevin import BAOAB, UBU, AbstractLangevin
from sciml.integrate.methods.log_ode import LogODE
from sciml.integrate.methods.low_order import RK4, SSPRK3, Euler, Heun, Midpoint, Ralston, ThreeEighths
from sciml.integrate.methods.milstein import Milstein
from sciml.integrate.methods.radau import RadauIIA3, RadauIIA5
from sciml.integrate.methods.reversible_heun import ReversibleHeun
from sciml.integrate.methods.reversibly import Reversibly
from sciml.integrate.methods.rodas5p import Rodas5P
from sciml.integrate.methods.rosenbrock import AbstractRosenbrock
from sciml.integrate.methods.rosenbrock23 import Rosenbrock23
from sciml.integrate.methods.rosenbrock_tableau import RosenbrockTableau
from sciml.integrate.methods.splitting_path import GeneralShARK, SlowRK, SPaRK
from sciml.integrate.methods.sri import SRI2
from sciml.integrate.methods.step_doubling import StepDoubling
from sciml.integrate.methods.stochastic import AbstractStochastic
from sciml.integrate.methods.stochastic_exponential import ExponentialEulerMaruyama
from sciml.integrate.methods.stochastic_low_order import EES25, StochasticHeun, StochasticMidpoint
from sciml.integrate.methods.stochastic_rk import AbstractStochasticRK, StochasticTableau
from sciml.integrate.methods.tableau import ButcherTableau
from sciml.integrate.methods.tsit5 import Tsit5
from sciml.integrate.methods.vern7 import Vern7
from sciml.integrate.methods.weak import RI6

__all__ = [
    "SRA1",
    "ShARK",
    "BAOAB",
    "UBU",
    "AbstractLangevin",
    "AlongChords",
    "LogODE",
    "Milstein",
    "SRI2",
    "ExponentialEulerMaruyama",
    "RI6",
    "EulerHeun",
    "EulerMaruyama",
    "ReversibleHeun",
    "GeneralShARK",
    "SlowRK",
    "SPaRK",
    "AbstractStochastic",
    "EES25",
    "StochasticHeun",
    "StochasticMidpoint",
    "AbstractStochasticRK",
    "StochasticTableau",
    "BDF",
    "NDF",
    "AbstractBDF",
    "Rodas5P",
    "AbstractRosenbrock",
    "Rosenbrock23",
    "RosenbrockTableau",
    "BackwardEuler",
    "Trapezoid",
    "ImplicitMidpoint",
    "SDIRK2",
    "TRBDF2",
    "Kvaerno3",
    "Kvaerno4",
    "Kvaerno5",
    "KenCarp3",
    "KenCarp4",
    "KenCarp5",
    "AbstractDIRK",
    "AbstractFullyImplicit",
    "GaussLegendre4",
    "GaussLegendre6",
    "RadauIIA3",
    "RadauIIA5",
    "DIRKTableau",
    "ETD1",
    "ETD2RK",
    "ETD3RK",
    "ETD32",
    "ETD43",
    "ETDRK4",
    "RK4",
    "SSPRK3",
    "AbstractExplicitRK",
    "AbstractMethod",
    "Adams",
    "AdamsBashforth",
    "Bosh3",
    "ButcherTableau",
    "Dopri5",
    "Dopri8",
    "Euler",
    "Heun",
    "Midpoint",
    "Ralston",
    "Reversibly",
    "Step",
    "StepDoubling",
    "ThreeEighths",
    "Tsit5",
    "Vern7",
]
