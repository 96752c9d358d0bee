"""Methods for ODEs on equations with additive noise: over each step the Brownian path is replaced by its chord,

    dy/dt = f(t, y) + g(t) W / h,

and the method takes one step of that. Where g does not depend on the state, the solutions along ever finer polygons
converge with order 1, and their limit is that of both senses. So this has strong order 1 whatever the order of the
method: what it leaves out is f' g times the integral of W off its chord, of size h^(3/2) and mean 0, each step.

With a diffusion that depends on the state, the limit is that of Stratonovich, and only where the noise commutes do
chords give order 1: there the methods made for it say what they are for.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

from torch import Tensor

from sciml.integrate.flat import Flat
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import AbstractExplicitRK
from sciml.integrate.methods.step_doubling import StepDoubling
from sciml.integrate.methods.stochastic import BOTH, AbstractStochastic, Orders, driven, increment, rows_like
from sciml.integrate.noise import AdditiveNoise
from sciml.integrate.terms import ODE, SDE


@final
@dataclass(frozen=True)
class AlongChords(AbstractStochastic):
    """An explicit method for ODEs, for additive noise: strong order 1, weak order 1, and its own order where g = 0.

    `solve` makes it of any explicit Runge-Kutta method that is given an `SDE` with `AdditiveNoise`. `Euler` becomes
    Euler-Maruyama's method and `Heun` the method of the same name, whose weak order is 2. There is no error estimate:
    that of the method knows nothing of what the chord leaves out. `StepDoubling` has one that does; `ShARK` and `SRA1`
    have one and strong order 3/2.

    Args:
        method: an explicit Runge-Kutta method.

    Raises:
        TypeError: if it is another.

    Source: Wong & Zakai (1965), Ann. Math. Statist. 36, 1560-1564; order 1 for additive noise by comparison with the
        Stratonovich-Taylor expansion, Kloeden & Platen (1992), section 10.3.
    """

    method: Any  # AbstractExplicitRK: what else is given is answered here

    senses = BOTH
    structures = (AdditiveNoise,)
    strong = Orders(1.0, 1.0, 1.0)
    weak = Orders(1.0, 1.0, 1.0)
    has_dense: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.method, AbstractExplicitRK):
            raise TypeError(
                f"AlongChords takes an explicit Runge-Kutta method, got {self.method!r:.80}. Write AlongChords(RK4()), "
                "or take a method for SDE terms such as ShARK()."
            )
        object.__setattr__(self, "order", self.method.order)
        object.__setattr__(self, "stages", self.method.stages)

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        w, product = increment(term, t0, t1).w, term.structure.times
        speed = w / rows_like(t1 - t0, w)

        def along(t: Tensor, at: Flat) -> Flat:
            return driven(term.f(t, at), 1.0, product(term.g(t, at), speed))

        chord = ODE(along)
        made = self.method.step(chord, t0, t1, y, self.method.init(chord, t0, y))
        return Step(made.y, None, None, (), None)


def along_chords(method: Any, term: Any) -> Any:
    """`AlongChords` of an explicit Runge-Kutta method where the term is an SDE of additive noise; else the method."""
    if not (isinstance(term, SDE) and isinstance(term.structure, AdditiveNoise)):
        return method
    if isinstance(method, StepDoubling):
        return replace(method, method=along_chords(method.method, term))
    return AlongChords(method) if isinstance(method, AbstractExplicitRK) else method
