"""What all methods for dy = f dt + g dW have in common.

A method says for which structures of the noise and in which sense it is right, and refuses all others: taken in the
wrong sense, it would converge to the solution of another equation. Increments come from the path of the term, which is
a function of time: whether a step was tried and rejected before, or is taken again for a gradient, they are the same.
"""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, add_scaled, map_leaves
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.remedies import method_for
from sciml.integrate.noise import (
    AbstractNoise,
    AbstractSense,
    AdditiveNoise,
    CommutativeNoise,
    DiagonalNoise,
    GeneralNoise,
    Ito,
    ScalarNoise,
    SharedNoise,
    Stratonovich,
)
from sciml.integrate.terms import SDE, AbstractTerm, SemiLinear
from sciml.paths import AbstractLevy, NoArea

ALL: tuple[type[AbstractNoise], ...] = (AdditiveNoise, DiagonalNoise, ScalarNoise, CommutativeNoise, GeneralNoise)
COMMUTING: tuple[type[AbstractNoise], ...] = (AdditiveNoise, DiagonalNoise, ScalarNoise, CommutativeNoise)
BOTH: tuple[type[AbstractSense], ...] = (Ito, Stratonovich)


class Orders(NamedTuple):
    """Orders of convergence by kind of noise: any, commuting, additive."""

    general: float
    commuting: float
    additive: float

    def of(self, noise: AbstractNoise) -> float:
        """The order for this noise."""
        if isinstance(noise, AdditiveNoise):
            return self.additive
        return self.commuting if noise.commutes else self.general


class AbstractStochastic(AbstractMethod):
    """A method for stochastic differential equations. `order` is its order where g = 0.

    States between steps are linear in time, which lacks noise, and is of strong order 1/2 whatever the method: steps
    end at the times that are kept, and only `dense=True` gives states between.
    """

    senses: ClassVar[tuple[type[AbstractSense], ...]]
    """The senses it is right in; for additive noise there is no difference."""
    structures: ClassVar[tuple[type[AbstractNoise], ...]] = ALL
    """The structures of noise it is right for."""
    strong: ClassVar[Orders]
    weak: ClassVar[Orders]
    levy: ClassVar[AbstractLevy] = NoArea()
    """What a path must hold, `levy=` of `BrownianMotion`. Methods of order 1 for `GeneralNoise` need `Foster()` there.
    """
    unit_noise: ClassVar[bool] = False
    """Whether it counts on Brownian motions that are independent and of variance t."""
    linear: ClassVar[bool] = False
    """Whether the drift is to be `SemiLinear`."""
    has_dense: ClassVar[bool] = True
    dense_order: ClassVar[int] = 0

    def strong_order(self, noise: AbstractNoise) -> float:
        """p of E |y_n - y(t_n)|² = O(h^(2p)), on the same Brownian path; measured in the tests."""
        return self.strong.of(noise)

    def weak_order(self, noise: AbstractNoise) -> float:
        """p of |E s(y_n) - E s(y(t_n))| = O(h^p) for smooth s; measured in the tests."""
        return self.weak.of(noise)

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """Nothing is carried; see `AbstractMethod.init`."""
        check_sde(self, term, y0)
        return ()

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """Both ends; see `AbstractMethod.prepare_dense`."""
        return y0, step.y

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """Linear; see `AbstractMethod.interpolate`."""

        def between(a: Tensor, b: Tensor) -> Tensor:
            weight = theta.reshape(-1, theta.shape[-1], *[1] * (a.ndim - 1)).to(a.dtype)
            return a.unsqueeze(1) + weight * (b - a).unsqueeze(1)

        return map_leaves(between, *dense)


def check_sde(method: AbstractStochastic, term: AbstractTerm, y: Flat) -> None:
    """Raise unless the method is right for this term.

    Raises:
        TypeError: if not, with what to do.
    """
    name = type(method).__name__
    if not isinstance(term, SDE):
        raise TypeError(
            f"{name} steps SDE(f, g, path, ...) terms, got {type(term).__name__}. Choose a method made for this term, "
            "such as Tsit5() for ODE(f)."
        )
    structure, sense = type(term.structure).__name__, type(term.sense).__name__
    if not isinstance(term.structure, AdditiveNoise) and not isinstance(term.sense, method.senses):
        own, convert = ("Ito", "to_ito") if Ito in method.senses else ("Stratonovich", "to_stratonovich")
        raise TypeError(
            f"{name} integrates in the sense of {own}, got a {sense} term. Convert it with {convert}(term), or take "
            f"e.g. {method_for(term)}."
        )
    if not isinstance(term.structure, method.structures):
        known = ", ".join(kind.__name__ for kind in method.structures)
        remedy = f"Take e.g. {method_for(term)}"
        if isinstance(term.structure, SharedNoise):
            remedy += ", or give the matrix g[..., None] * one_hot(motion) as GeneralNoise()"
        raise TypeError(f"{name} is made for {known} noise, got {structure}. {remedy}.")
    if method.unit_noise:
        check_unit_noise(name, term)
    if isinstance(term.f, SemiLinear) != method.linear:
        wanted = "SemiLinear(L, N)" if method.linear else "a function"
        remedy = "Give the linear part as L" if method.linear else "Take ExponentialEulerMaruyama(), or add L y to it"
        raise TypeError(f"{name} takes a drift that is {wanted}, got a {type(term.f).__name__}. {remedy}.")


def check_unit_noise(name: str, term: SDE) -> None:
    """Raise if the path has channels with a covariance of their own, other than t.

    Raises:
        ValueError: if so, and the noise is not additive.
    """
    if getattr(term.path, "factor", None) is not None and not isinstance(term.structure, AdditiveNoise):
        raise ValueError(
            f"{name} counts on independent Brownian motions of variance t, got a path with a covariance. Leave it out "
            "of the path and multiply g by its factor, or take a Stratonovich method."
        )


def increment(term: Any, t0: Time, t1: Time) -> Any:
    """The increment of W from t0 to t1, with what areas the path has."""
    return term.path.increment(t0, t1)


def increment_with_area(method: AbstractMethod, term: Any, t0: Time, t1: Time) -> tuple[Tensor, Tensor]:
    """W and its space-time Levy area H, the mean of W(s) - W(t0) - (s - t0)/(t1 - t0) W over the step.

    Raises:
        ValueError: if the path has none.
    """
    made = increment(term, t0, t1)
    if made.h is None:
        raise ValueError(
            f"{type(method).__name__} needs the space-time Levy area H, but the path has none. Give "
            "BrownianMotion(..., levy=SpaceTime())."
        )
    return made.w, made.h


def space_space_area_of(method: AbstractMethod, made: Any) -> Tensor:
    """The areas between the Brownian motions, (batch, m, m), of an increment.

    Raises:
        ValueError: if the path has none.
    """
    if made.area is None:
        raise ValueError(
            f"{type(method).__name__} needs the areas between the Brownian motions for GeneralNoise, but the path has "
            "none. Give BrownianMotion(..., levy=Foster()), or CommutativeNoise() if the columns of g commute."
        )
    return made.area


def scaled(f: Flat, h: Any) -> Flat:
    """h f, with sizes as `sizes_of` gives them."""
    if isinstance(f, tuple):
        return tuple(leaf * size for leaf, size in zip(f, h if isinstance(h, tuple) else (h,) * len(f), strict=True))
    return f * h


def moved(y: Flat, f: Flat, h: Any, noise: Flat) -> Flat:
    """y + h f + noise."""
    return _fma(map_leaves(torch.add, y, noise), f, h)


def driven(f: Flat, h: Any, noise: Flat) -> Flat:
    """h f + noise."""
    return _fma(noise, f, h)


def _fma(base: Any, f: Any, h: Any) -> Any:
    if isinstance(base, tuple):
        sizes = h if isinstance(h, tuple) else (h,) * len(base)
        return tuple(_fma(b, a, size) for b, a, size in zip(base, f, sizes, strict=True))
    return torch.addcmul(base, f, h) if isinstance(h, Tensor) else add_scaled(base, f, h)


def rows_like(value: Time, w: Tensor) -> Any:
    """A number per sample as it multiplies increments; a shared one as it is."""
    if not isinstance(value, Tensor):
        return value
    return value.reshape(-1, *[1] * (w.ndim - 1)).to(w.dtype) if value.ndim else value.to(w.dtype)
