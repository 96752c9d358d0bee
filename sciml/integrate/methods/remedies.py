"""Which methods to name to who gave a term to a method of another kind."""

from sciml.integrate.noise import AdditiveNoise, Ito, SharedNoise
from sciml.integrate.terms import SDE, AbstractTerm, Langevin, SemiLinear, Split


def remedy_for(term: AbstractTerm) -> str:
    """A sentence that names methods made for this term."""
    if isinstance(term, SDE):
        return f"Take a method for noise, such as {method_for(term)}."
    if isinstance(term, Langevin):
        return "Take a method made for it, such as UBU() or BAOAB()."
    if isinstance(term, SemiLinear):
        return "Take a method made for it, such as ETDRK4(), or write the whole right-hand side as ODE(f)."
    if isinstance(term, Split):
        return "Take a method made for it, such as KenCarp4(), or write the whole right-hand side as ODE(f)."
    return "Write the whole right-hand side as one function, or choose a method made for this term."


def method_for(term: SDE) -> str:
    """A method that takes this equation as it is."""
    if isinstance(term.f, SemiLinear):
        return "ExponentialEulerMaruyama()"
    if isinstance(term.structure, SharedNoise):
        return "ExponentialEulerMaruyama() with a SemiLinear(L, N) drift"
    if isinstance(term.structure, AdditiveNoise):
        return "ShARK() with a path of levy=SpaceTime(), or an explicit one such as Heun()"
    return "EulerMaruyama()" if isinstance(term.sense, Ito) else "StochasticHeun()"
