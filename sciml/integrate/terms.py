"""Right-hand sides. A term says what is integrated; the method says how."""

import abc
import numbers
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sciml.core.symbols import Symbols
from sciml.core.transforms import is_differentiated
from sciml.integrate.noise import AbstractNoise, AbstractSense

Field = Callable[[Tensor, Any], Any]
"""f(t, y) -> dy/dt, of the structure, shapes and dtypes of `y`."""


class AbstractTerm(abc.ABC):  # noqa: B024
    """A right-hand side. Subclasses are final."""


@final
@dataclass(frozen=True, eq=False)
class ODE(AbstractTerm):
    """dy/dt = f(t, y).

    Args:
        f: the vector field, [state/time]: a function or a module. `y` has the structure given to `solve`, its rows are
            independent samples and must not be mixed. `t` is 0-D in the state's real dtype when the batch shares it,
            else (batch, 1, ..., 1) of the rank of `y` (of its first leaf). It must return new tensors and leave `y`
            alone, for all slopes of a step are kept until its end; a solve watches its first evaluations for it.

    Raises:
        TypeError: if `f` cannot be called.
    """

    f: Field

    def __post_init__(self) -> None:
        if not callable(self.f):
            raise TypeError(
                f"`f` must be a function or a module, got a {type(self.f).__name__}. Write ODE(lambda t, y: ...)."
            )


@final
@dataclass(frozen=True, eq=False)
class Split(AbstractTerm):
    """dy/dt = f_E(t, y) + f_I(t, y) with f_I stiff and f_E not: only f_I is stepped implicitly.

    Args:
        explicit: f_E, [state/time], as the field of `ODE`.
        implicit: f_I, [state/time], likewise.

    Raises:
        TypeError: if one of them cannot be called.
    """

    explicit: Field
    implicit: Field

    def __post_init__(self) -> None:
        for name in ("explicit", "implicit"):
            f = getattr(self, name)
            if not callable(f):
                raise TypeError(
                    f"`{name}` must be a function or a module, got a {type(f).__name__}. "
                    "Write Split(lambda t, y: ..., lambda t, y: ...)."
                )

    def f(self, t: Tensor, y: Any) -> Any:
        """The whole field."""
        return tree_map(torch.add, self.explicit(t, y), self.implicit(t, y))


@final
@dataclass(frozen=True, eq=False)
class Weighted:
    """N(t, y) = S M(y), a nonlinear part for `SemiLinear` that ends with one product for every entry.

    Exponential methods without an error estimate multiply their weights by S once and evaluate M alone, unless S is
    differentiated. Everything else calls it as any other field.

    Args:
        map: M, of the shape of `y`, [state].
        symbol: S, [1/time]: a real or complex tensor that broadcasts to `y`. Give it in float64 or complex128.

    Raises:
        TypeError: if `map` cannot be called or `symbol` is no tensor.
    """

    map: Callable[[Tensor], Tensor]
    symbol: Tensor
    _casts: Symbols = field(init=False, repr=False)
    _free: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not callable(self.map):
            raise TypeError(
                f"`map` must be a function or a module, got a {type(self.map).__name__}. "
                "Write Weighted(lambda y: ..., symbol)."
            )
        if not isinstance(self.symbol, Tensor):
            raise TypeError(
                f"`symbol` must be a tensor, got a {type(self.symbol).__name__}. Write torch.tensor({self.symbol!r})."
            )
        object.__setattr__(self, "_casts", Symbols(self.symbol))
        object.__setattr__(self, "_free", not is_differentiated(self.symbol))

    @property
    def is_constant(self) -> bool:
        """Whether S is not differentiated, nor a sample of `torch.vmap`."""
        return self._free and not self.symbol.requires_grad

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """S M(y)."""
        return self.map(y) * self._casts(y)[0]


@final
@dataclass(frozen=True, eq=False)
class SemiLinear(AbstractTerm):
    """dy/dt = L y + N(t, y) with L diagonal (elementwise) and constant in time.

    Args:
        linear: L, [1/time]: a number, or a real or complex tensor broadcastable to `y`. Give it in float64 or
            complex128; the tables made of it are computed in double precision and cast to the state.
        nonlinear: N(t, y), [state/time], of the shape of `y`. `t` is 0-D in the state's real dtype when the batch
            shares it, else (batch, 1, ..., 1). One that ends with a product is best given as `Weighted`.

    Tables of exponentials are kept with the term and shared between solves unless `linear` requires a gradient.
    """

    linear: float | complex | Tensor
    nonlinear: Field
    tables: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)


@final
@dataclass(frozen=True, eq=False)
class SDE(AbstractTerm):
    """dy = f(t, y) dt + g(t, y) dW.

    Args:
        f: the drift, [state/time], as in `ODE`; or `SemiLinear(L, N)`, whose linear part is solved exactly by methods
            made for it.
        g: the diffusion, [state/time^(1/2)]: called like f, of a shape that `structure` tells.
        path: W: what has `increment(t0, t1)`, such as `sciml.paths.BrownianMotion`, over the whole interval.
        structure: what g looks like: `DiagonalNoise()`, `ScalarNoise()`, `AdditiveNoise()`, `CommutativeNoise()` or
            `GeneralNoise()`. It decides which methods serve and their orders.
        sense: `Ito()` or `Stratonovich()`. `AdditiveNoise` has no difference between them.

    Raises:
        TypeError: if one of these is not what it should be.
    """

    f: Any  # Field | SemiLinear: a method that takes one has refused the other
    g: Any  # Field, and an AbstractNoise and an AbstractSense below: what else is given is answered here
    path: Any
    _: KW_ONLY
    structure: Any
    sense: Any

    def __post_init__(self) -> None:
        for name in ("f", "g"):
            value = getattr(self, name)
            if not callable(value) and not (name == "f" and isinstance(value, SemiLinear)):
                raise TypeError(
                    f"`{name}` must be a function or a module, got a {type(value).__name__}. "
                    "Write SDE(lambda t, y: ..., lambda t, y: ..., path, ...)."
                )
        if not hasattr(self.path, "increment"):
            raise TypeError(
                f"`path` must be a path with increments, got a {type(self.path).__name__}. Give a BrownianMotion(key, "
                "...)."
            )
        for name, kind, remedy in (
            (
                "structure",
                AbstractNoise,
                "DiagonalNoise(), ScalarNoise(), AdditiveNoise(), CommutativeNoise() or GeneralNoise()",
            ),
            ("sense", AbstractSense, "Ito() or Stratonovich()"),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(f"`{name}` must be an object, got {value!r}. Give {remedy}.")


@final
@dataclass(frozen=True, eq=False)
class Langevin(AbstractTerm):
    """Underdamped Langevin dynamics of unit mass; the state is the pair (x, v):

        dx = v dt,    dv = (F(t, x) - gamma v) dt + sqrt(2 gamma T) dW

    At rest in a potential U with F = -grad U its density is proportional to exp(-(U(x) + v²/2) / T).

    Args:
        force: F(t, x), [x/time²], like x.
        path: W, of the shape of x.
        friction: gamma, [1/time].
        temperature: T, [x²/time²].

    Raises:
        TypeError: if `force` cannot be called, `path` has no increments, or another is no number.
        ValueError: unless friction is positive and the temperature not negative.
    """

    force: Any  # Field
    path: Any
    _: KW_ONLY
    friction: Any  # float: what else is given is answered here, and so below
    temperature: Any = 1.0

    def __post_init__(self) -> None:
        if not callable(self.force) or not hasattr(self.path, "increment"):
            raise TypeError(
                f"`force` must be a function and `path` have increments, got a {type(self.force).__name__} and a "
                f"{type(self.path).__name__}. Write Langevin(lambda t, x: -x, BrownianMotion(...), friction=1.0)."
            )
        for name in ("friction", "temperature"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
                raise TypeError(
                    f"`{name}` must be one number, got {got}. Give float({name}); where it differs between "
                    "coordinates, write the equation as SDE(f, g, path, ...)."
                )
        if not self.friction > 0 or not self.temperature >= 0:
            raise ValueError(
                f"`friction` must be positive and `temperature` at least 0, got {self.friction} and "
                f"{self.temperature}. Without friction it is ODE(f)."
            )
