"""Right-hand sides. A term says what is integrated; the method says how."""

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

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
class SemiLinear(AbstractTerm):
    """dy/dt = L y + N(t, y) with L diagonal (elementwise) and constant in time.

    Args:
        linear: L, [1/time]: a number, or a real or complex tensor broadcastable to `y`. Give it in float64 or
            complex128; the tables made of it are computed in double precision and cast to the state.
        nonlinear: N(t, y), [state/time], of the shape of `y`. `t` is 0-D in the state's real dtype when the batch
            shares it, else (batch, 1, ..., 1).

    Tables of exponentials are kept with the term and shared between solves unless `linear` requires a gradient.
    """

    linear: float | complex | Tensor
    nonlinear: Field
    tables: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
