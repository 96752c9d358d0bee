"""What methods that solve equations are built from: messages for what is easily confused."""

from typing import Any

from sciml.integrate.implicit import AbstractStructure, Auto, Newton
from sciml.integrate.methods.remedies import remedy_for
from sciml.integrate.terms import ODE, AbstractTerm


def ode_of(name: str, term: AbstractTerm) -> ODE:
    """The term, for a method of this name that steps a whole field.

    Raises:
        TypeError: if it is of another kind.
    """
    if isinstance(term, ODE):
        return term
    raise TypeError(f"{name} steps ODE(f) terms, got {type(term).__name__}. {remedy_for(term)}")


def check_structure(method: Any, structure: Any) -> None:
    """Raise unless a method that iterates nothing was given a structure of the Jacobian."""
    if isinstance(structure, AbstractStructure):
        return
    name, got, remedy = type(method).__name__, repr(structure), "Write {0}(), or e.g. {0}(Banded(1, 1))."
    if isinstance(structure, Newton):
        inner = "" if isinstance(structure.structure, Auto) else structure.structure
        got, remedy = "a Newton", f"It iterates nothing: write {{0}}({inner})."
    raise TypeError(f"`structure` of {name} must be a structure of the Jacobian, got {got}. {remedy.format(name)}")


def check_newton(method: Any, newton: Any, keyword: str = "") -> None:
    """Raise unless a method was given a `Newton`; `keyword` is what stands before it, where it is not the first."""
    if isinstance(newton, Newton):
        return
    name = type(method).__name__
    remedy = f"Write {name}(), or e.g. {name}({keyword}Newton(iterations=20))."
    if isinstance(newton, AbstractStructure):
        remedy = f"Write {name}({keyword}Newton(structure={newton}))."
    raise TypeError(f"`newton` of {name} must be a Newton, got {newton!r}. {remedy}")
