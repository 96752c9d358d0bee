"""What adaptive steps ask of methods in the sense of Ito.

Steps that errors choose depend on the path ahead. A method of strong order 1/2 counts on W_j W_k being h [j = k] in the
mean; over the steps that are accepted it is not, and what comes out tends to another equation, whatever the tolerance.

Source: Gaines & Lyons (1997), SIAM J. Appl. Math. 57, 1455-1484.
"""

from typing import Any

import torch

from sciml.core.transforms import is_transforming, unrecorded
from sciml.integrate.entrywise import mixes_entries
from sciml.integrate.flat import Flat, beside, first_leaf, map_leaves, real_dtype
from sciml.integrate.methods.base import Time
from sciml.integrate.methods.step_doubling import StepDoubling
from sciml.integrate.methods.stochastic import AbstractStochastic
from sciml.integrate.noise import DiagonalNoise, GeneralNoise, Ito, SharedNoise
from sciml.integrate.terms import SDE

_REMEDY = (
    "Give GeneralNoise() with torch.diag_embed(g) and a path of levy=Foster() to Milstein(), or "
    "to_stratonovich(term) of that to StochasticHeun()."
)


def check_limit(method: Any, term: SDE, t0: Time, y0: Flat) -> None:
    """Raise where adaptive steps would change the limit. A diagonal g is looked at once, at two states.

    Args:
        method: what will take adaptive steps.
        term: flat.
        t0, y0: where it starts.

    Raises:
        TypeError: for a method of strong order below 1 in the sense of Ito.
        ValueError: for a diagonal diffusion that mixes entries, for which methods have order 1/2.
    """
    inner = method.method if isinstance(method, StepDoubling) else method
    if not isinstance(term.sense, Ito) or not isinstance(inner, AbstractStochastic):
        return
    if not isinstance(term.structure, inner.structures) or Ito not in inner.senses:
        return  # answered by the method itself
    name = type(inner).__name__
    if loses_limit(inner, term):
        raise TypeError(
            f"adaptive steps in the sense of Ito need a method of strong order 1 for the noise at hand, got {name} of "
            f"order {inner.strong_order(term.structure):g}: it would tend to another equation. {remedy_of_limit(term)}"
        )
    if isinstance(term.structure, DiagonalNoise) and not is_transforming() and _mixes(term, t0, y0):
        raise ValueError(
            "adaptive steps in the sense of Ito take a DiagonalNoise diffusion only if entry i of g depends on entry i "
            f"of y alone, but this one mixes entries: {name} has order 1/2 for it, and would tend to another equation. "
            f"{_REMEDY}"
        )


def loses_limit(method: AbstractStochastic, term: SDE) -> bool:
    """Whether adaptive steps of the method would tend to another equation, as far as the structure tells."""
    return isinstance(term.sense, Ito) and method.strong_order(term.structure) < 1


def remedy_of_limit(term: SDE) -> str:
    """What to take instead."""
    if isinstance(term.structure, GeneralNoise):
        return "Take Milstein() with a path of levy=Foster(), or to_stratonovich(term) with StochasticHeun()."
    if isinstance(term.structure, SharedNoise):
        return "Take steps that are given, Fixed(n=...)."
    return "Take Milstein(), or to_stratonovich(term) with StochasticHeun()."


def _mixes(term: SDE, t0: Time, y0: Flat) -> bool:
    """At the start, and at another state, for derivatives may vanish at the first."""
    leaf = first_leaf(y0)
    start = beside(torch.as_tensor(t0, dtype=torch.float64, device=leaf.device), leaf).to(real_dtype(y0))
    with unrecorded():
        here = map_leaves(torch.detach, y0)
        states = (here, map_leaves(lambda at: 1.25 * at + 0.5, here))
    return any(mixes_entries(lambda at: term.g(start, at), y) for y in states)  # type: ignore[arg-type]
