"""The methods by the names torchsde gives them, what each can do, and the one that we have not elsewhere."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch

from sciml.compat.torchsde.settings import LEVY_AREA_APPROXIMATIONS, METHODS, NOISE_TYPES, SDE_TYPES
from sciml.integrate import (
    SDE,
    SRA1,
    SRI2,
    AbstractMethod,
    EulerHeun,
    EulerMaruyama,
    GeneralNoise,
    Milstein,
    ReversibleHeun,
    Step,
    StochasticHeun,
    StochasticMidpoint,
)
from sciml.integrate.directional import along
from sciml.integrate.methods.explicit_rk import StageTimes
from sciml.integrate.methods.stochastic import driven, increment, moved


@final
@dataclass(frozen=True)
class LogODE(AbstractMethod):
    """The explicit midpoint rule along h f + g W and, for general noise, the brackets that the areas A stand for:

        z = y + (h f + g W) / 2,    y1 = y + h f(z) + g(z) W + sum_l (g A)_l . grad g_l (z)

    In the sense of Stratonovich: strong order 1/2, for noise that commutes 1.
    """

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2

    def init(self, term: Any, t0: Any, y0: Any) -> tuple[()]:
        """Nothing is carried; see `AbstractMethod.init`."""
        return ()

    def step(self, term: SDE, t0: Any, t1: Any, y: Any, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        times, made, product = StageTimes(t0, t1, y, (0.5,)), increment(term, t0, t1), term.structure.times
        t = times(0.0)
        whole: Any = driven(term.f(t, y), times.size, product(term.g(t, y), made.w))
        z = y + whole * 0.5
        t = times(0.5)
        g = term.g(t, z)
        y1 = moved(y, term.f(t, z), times.size, product(g, made.w))
        if isinstance(term.structure, GeneralNoise):
            ga = torch.bmm(g, made.area)
            for k in range(g.shape[-1]):
                y1 = y1 + along(lambda at, k=k: term.g(t, at)[..., k], z, ga[..., k])
        return Step(y1, None, None, (), None)


@final
@dataclass(frozen=True)
class Named:
    """What a name stands for.

    Args:
        senses: words of `SDE_TYPES` it is for.
        noise_types: words of `NOISE_TYPES`.
        levy: words of `LEVY_AREA_APPROXIMATIONS`; the first is what a Brownian motion is given by default.
        by_product: it needs g w only, never g.
        as_adjoint: it can take the backward solve of torchsde.
    """

    senses: tuple[str, ...]
    noise_types: tuple[str, ...] = tuple(NOISE_TYPES.all())
    levy: tuple[str, ...] = ("none", "space-time", "davie", "foster")
    by_product: bool = True
    as_adjoint: bool = True


_ITO, _STRATONOVICH = (SDE_TYPES.ito,), (SDE_TYPES.stratonovich,)
_SIMPLE = (NOISE_TYPES.additive, NOISE_TYPES.diagonal, NOISE_TYPES.scalar)
_AREAS = (LEVY_AREA_APPROXIMATIONS.foster, LEVY_AREA_APPROXIMATIONS.davie)
TABLE: dict[str, Named] = {
    METHODS.euler: Named(_ITO),
    METHODS.milstein: Named((*_ITO, *_STRATONOVICH), _SIMPLE, by_product=False),
    METHODS.srk: Named(_ITO, _SIMPLE, ("space-time", "davie", "foster"), by_product=False, as_adjoint=False),
    METHODS.euler_heun: Named(_STRATONOVICH),
    METHODS.heun: Named(_STRATONOVICH),
    METHODS.midpoint: Named(_STRATONOVICH),
    METHODS.reversible_heun: Named(_STRATONOVICH, by_product=False, as_adjoint=False),
    METHODS.adjoint_reversible_heun: Named(_STRATONOVICH, by_product=False),
    METHODS.log_ode_midpoint: Named(_STRATONOVICH, levy=_AREAS, by_product=False, as_adjoint=False),
}


def method_of(name: str, noise_type: str, options: dict[str, Any], by_product: bool = False) -> AbstractMethod:
    """Our method for a name of the table; by products only, where noise is additive, Milstein's is Euler's."""
    if name == METHODS.milstein and by_product:
        return EulerMaruyama()
    if name == METHODS.milstein:
        return Milstein(derivatives=not options.get("grad_free", False))
    if name == METHODS.srk:
        return SRA1() if noise_type == NOISE_TYPES.additive else SRI2()
    kinds: dict[str, type[AbstractMethod]] = {
        METHODS.euler: EulerMaruyama,
        METHODS.euler_heun: EulerHeun,
        METHODS.heun: StochasticHeun,
        METHODS.midpoint: StochasticMidpoint,
        METHODS.reversible_heun: ReversibleHeun,
        METHODS.log_ode_midpoint: LogODE,
    }
    return kinds[name]()


def default_method(sde_type: str, noise_type: str) -> str:
    """The method where none is named."""
    if sde_type == SDE_TYPES.stratonovich:
        return METHODS.midpoint
    return METHODS.euler if noise_type == NOISE_TYPES.general else METHODS.srk


def check_method(name: str, sde_type: str, noise_type: str) -> None:
    """Raise unless the method can do such an equation.

    Raises:
        ValueError: if not.
    """
    if name not in TABLE:
        raise ValueError(f"`method` must be one of {METHODS}, got {name!r}. Give one of these.")
    known = TABLE[name]
    if sde_type not in known.senses:
        raise ValueError(
            f'"{name}" is for the sense of {" and ".join(known.senses)}, got an equation of {sde_type}. Choose another '
            f'method, e.g. "{default_method(sde_type, noise_type)}".'
        )
    if noise_type not in known.noise_types:
        raise ValueError(
            f'"{name}" is for noise that is {", ".join(known.noise_types)}, got {noise_type}. Choose another method, '
            f'e.g. "{default_method(sde_type, noise_type)}".'
        )


def default_adjoint_method(name: str, sde_type: str, noise_type: str) -> str:
    """The method of the backward solve where none is named."""
    if name == METHODS.reversible_heun:
        return METHODS.adjoint_reversible_heun
    if sde_type == SDE_TYPES.stratonovich:
        return METHODS.midpoint
    return METHODS.milstein if noise_type == NOISE_TYPES.diagonal else METHODS.euler


def check_adjoint_method(adjoint: str, name: str, sde_type: str, noise_type: str, options: dict[str, Any]) -> None:
    """Raise where torchsde would, when it comes to the backward solve.

    Raises:
        ValueError, NotImplementedError, RuntimeError: as torchsde does.
    """
    of_adjoint = NOISE_TYPES.general if noise_type == NOISE_TYPES.additive else noise_type
    check_method(adjoint, sde_type, of_adjoint)
    if not TABLE[adjoint].as_adjoint:
        raise ValueError(
            f'"{adjoint}" cannot be the method of an adjoint equation, which has no diffusion of its own. Choose '
            f'another `adjoint_method`, e.g. "{default_adjoint_method(name, sde_type, noise_type)}".'
        )
    if adjoint == METHODS.adjoint_reversible_heun and name != METHODS.reversible_heun:
        raise RuntimeError(
            f'`adjoint_method` "{adjoint}" needs method="{METHODS.reversible_heun}", got "{name}". Name both or none.'
        )
    if adjoint == METHODS.milstein and options.get("grad_free", False):
        raise ValueError(
            "Milstein's method without derivatives cannot take the adjoint equation, got grad_free=True. Pass "
            "adjoint_options=dict(grad_free=False)."
        )
    if adjoint == METHODS.milstein and noise_type == NOISE_TYPES.scalar:
        raise NotImplementedError(
            f'`adjoint_method` "{adjoint}" is for diagonal noise, got {noise_type}. Choose another, e.g. "euler".'
        )
