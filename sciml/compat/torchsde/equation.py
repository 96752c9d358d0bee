"""An equation as our methods call it: f, g and their product with increments, whichever of them were given."""

from dataclasses import dataclass, field
from typing import Any, final

from torch import Tensor

from sciml.compat.torchsde.methods import TABLE
from sciml.compat.torchsde.settings import METHODS, NOISE_TYPES, SDE_TYPES
from sciml.integrate import (
    SDE,
    AbstractNoise,
    AdditiveNoise,
    DiagonalNoise,
    GeneralNoise,
    Ito,
    ScalarNoise,
    Stratonovich,
)
from sciml.integrate.flat import Flat

_STRUCTURES: dict[str, AbstractNoise] = {
    NOISE_TYPES.diagonal: DiagonalNoise(),
    NOISE_TYPES.scalar: ScalarNoise(),
    NOISE_TYPES.additive: AdditiveNoise(),
    NOISE_TYPES.general: GeneralNoise(),
}


@final
@dataclass(eq=False)
class Equation:
    """f and g on their own, of an equation that may have both in one function.

    Args:
        sde: has f and g, or f_and_g, beside `noise_type` and `sde_type`.
    """

    sde: Any
    last: tuple[Tensor, Tensor, Any] | None = field(default=None, init=False)
    """Time, state, and what f_and_g gave there: methods ask for one after the other."""

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift."""
        return self.sde.f(t, y) if hasattr(self.sde, "f") else self._both(t, y)[0]

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion, like y where the noise is scalar."""
        g = self.sde.g(t, y) if hasattr(self.sde, "g") else self._both(t, y)[1]
        return g.squeeze(-1) if self.sde.noise_type == NOISE_TYPES.scalar else g

    def _both(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        last = self.last
        if last is None or last[0] is not t or last[1] is not y:
            if not hasattr(self.sde, "f_and_g"):
                raise RuntimeError(
                    "this method needs drift and diffusion themselves, but the equation has only products with it. "
                    'Define f and g, or choose e.g. "euler" or "midpoint".'
                )
            last = (t, y, self.sde.f_and_g(t, y))
            self.last = last
        return last[2]

    def term(self, path: Any) -> SDE:
        """The equation for our methods."""
        sense = Ito() if self.sde.sde_type == SDE_TYPES.ito else Stratonovich()
        drift = self.sde.f if hasattr(self.sde, "f") else self.f
        plain = hasattr(self.sde, "g") and self.sde.noise_type != NOISE_TYPES.scalar
        diffusion = self.sde.g if plain else self.g
        return SDE(drift, diffusion, path, structure=_STRUCTURES[self.sde.noise_type], sense=sense)


def serves_products(method: str, sde: Any) -> bool:
    """Whether the equation has a function for g w that the method is to ask, in place of g.

    For additive noise that goes with every method of which no derivative of g is left then; g is preferred there.
    """
    if not (hasattr(sde, "f_and_g_prod") or hasattr(sde, "g_prod")):
        return False
    if TABLE[method].by_product:
        return True
    only = not hasattr(sde, "g") and not hasattr(sde, "f_and_g")
    return only and sde.noise_type == NOISE_TYPES.additive and method in (METHODS.milstein, METHODS.srk)


@final
@dataclass(eq=False)
class ProductEquation(AbstractNoise):
    """The equation and its noise at once, where only products g w are asked for.

    Args:
        sde: has f_and_g_prod, or g_prod and f or f_and_g.
        path: of the solve.
    """

    sde: Any
    path: Any
    last: tuple[Any, ...] | None = field(default=None, init=False)
    commutes = False

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift; with it comes the product with the increment of this step."""
        if hasattr(self.sde, "f_and_g_prod"):
            return self._both(t, y, self.path.last)[0]
        return self.sde.f(t, y) if hasattr(self.sde, "f") else self.sde.f_and_g(t, y)[0]

    def g(self, t: Tensor, y: Tensor) -> Any:
        """Where the diffusion is to be taken."""
        return t, y

    def times(self, g: Any, w: Tensor) -> Flat:
        """g w; see `AbstractNoise.times`."""
        return self._both(g[0], g[1], w)[1] if hasattr(self.sde, "f_and_g_prod") else self.sde.g_prod(*g, w)

    def noise_shape(self, y: Flat, given: tuple[int, ...]) -> tuple[int, ...] | None:
        """See `AbstractNoise.noise_shape`."""
        return None

    def _both(self, t: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        last = self.last
        if last is None or any(known is not asked for known, asked in zip(last, (t, y, w), strict=False)):
            last = (t, y, w, self.sde.f_and_g_prod(t, y, w))
            self.last = last
        return last[3]

    def term(self) -> SDE:
        """The equation for our methods."""
        sense = Ito() if self.sde.sde_type == SDE_TYPES.ito else Stratonovich()
        return SDE(self.f, self.g, self.path, structure=self, sense=sense)
