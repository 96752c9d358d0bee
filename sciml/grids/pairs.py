"""Two real fields as the real and the imaginary part of one complex field, w = u + i v.

Of a field omega from whose coefficients both follow, w_hat_k = T_k omega_hat_k, one complex transform gives both, and
one brings both products u² - v² and 2 u v back, as q = w²:

    N_k = S_k q_hat_k + conj(S_-k q_hat_-k),    the coefficients of S q + conj(S q) for any q and operator S

which is half as many transforms as the fields one by one take, each of them a single call over all axes. Rounding
errors are those of the larger of the two fields or products, in both.

The lowest mode is put where the transform has its mean. Values so carry the factor exp(i sum_j M_j s_j), with s_j the
phase 2 pi n / P at point n of P, and a product of two carries its square: its modes lie M higher.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Complex, Inexact
from torch import Tensor

from sciml.core.transforms import is_transforming, kept_for_later
from sciml.grids.modes import Modes


class _Places(NamedTuple):
    """Where modes lie among those of a transform, as indices.

    Args:
        plus: those that are stored.
        minus: those of the other sign, without k_last = 0 where they are made, with it where they are read.
    """

    plus: tuple[Any, ...]
    minus: tuple[Any, ...]


@final
@dataclass(frozen=True)
class Pairs:
    """The way between coefficients of real fields and values of complex ones made of them.

    Args:
        modes: those of the real fields, centred.

    Raises:
        ValueError: for modes that are not centred, or those of complex fields.

    Source: Press et al. (2007), Numerical Recipes, section 12.3.1 (two real transforms in one complex).
    """

    modes: Modes
    whole: Modes = field(init=False)
    """The modes of complex fields, for symbols."""
    _axes: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _aliased: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)
    """Axes on which nothing keeps aliases away, and how many modes of a product go round the end of the transform."""
    _of_values: _Places = field(init=False, repr=False, compare=False)
    _of_products: _Places = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (self.modes.real and self.modes.centred):
            raise ValueError(
                f"`modes` must be centred ones of real fields, got centred={self.modes.centred}, "
                f"real={self.modes.real}. Give Modes(..., centred=True)."
            )
        object.__setattr__(self, "whole", replace(self.modes, real=False))
        object.__setattr__(self, "_axes", tuple(range(-self.modes.grid.ndim, 0)))
        beyond = [3 * m + 1 - n for m, n in zip(self.modes.highest, self.modes.points, strict=True)]
        aliased = tuple((axis, count) for axis, count in zip(self._axes, beyond, strict=True) if count > 0)
        object.__setattr__(self, "_aliased", aliased)
        *others, last = self.modes.highest
        rows = (..., *(slice(0, 2 * m + 1) for m in others))
        object.__setattr__(self, "_of_values", _Places((*rows, slice(last, 2 * last + 1)), (*rows, slice(0, last))))
        rows = (..., *(slice(m, 3 * m + 1) for m in others))
        places = _Places((*rows, slice(2 * last, 3 * last + 1)), (*rows, slice(last, 2 * last + 1)))
        object.__setattr__(self, "_of_products", places)

    def of_values(self, symbol: Inexact[Tensor, "*whole"]) -> tuple[Tensor, Tensor]:
        """A symbol T, given for all modes, as `values` takes it.

        Raises:
            ValueError: if it is not given for the modes of `whole`.
        """
        self._check(symbol)
        m = self.modes.highest[-1]
        return symbol[..., m:], symbol[..., :m]

    def of_products(self, symbol: Inexact[Tensor, "*whole"]) -> tuple[Tensor, Tensor]:
        """A symbol S, given for all modes, as `coefficients` takes it: S_k and conj(S_-k).

        Raises:
            ValueError: if it is not given for the modes of `whole`.
        """
        self._check(symbol)
        m = self.modes.highest[-1]
        return symbol[..., m:], self._mirrored(symbol[..., : m + 1])

    def values(self, y: Inexact[Tensor, "*modes"], symbol: tuple[Tensor, Tensor]) -> Complex[Tensor, "*field"]:
        """The complex field with coefficients T times those of a real field, times the factor of the mean.

        Args:
            y: coefficients of a real field: at k_last = 0 those of k and -k are conjugate.
            symbol: T as `of_values` gives it, one for each channel or one for all.
        """
        plus, minus = symbol
        points = self.modes.points
        spread = y.new_zeros(y.shape[: -len(points)] + points)
        _put(spread[self._of_values.plus], plus, y)
        _put(spread[self._of_values.minus], minus, self._mirrored(y[..., 1:]))
        return torch.fft.ifftn(spread, dim=self._axes, norm="forward")

    def coefficients(
        self, product: Complex[Tensor, "*field"], symbol: tuple[Tensor, Tensor]
    ) -> Complex[Tensor, "*modes"]:
        """The coefficients of what S makes of a product plus its complex conjugate: twice its real part.

        Args:
            product: of two values.
            symbol: S as `of_products` gives it.
        """
        q = torch.fft.fftn(product, dim=self._axes, norm="forward")
        del product
        for axis, missing in self._aliased:
            q = torch.cat([q, q.narrow(axis, 0, missing)], axis)
        plus, minus = symbol
        mirrored = self._mirrored(q[self._of_products.minus]) * minus
        return torch.addcmul(mirrored, plus, q[self._of_products.plus])

    def _check(self, symbol: Tensor) -> None:
        if tuple(symbol.shape[-self.whole.grid.ndim :]) != tuple(self.whole.shape):
            raise ValueError(
                f"a symbol of pairs must be given for all modes, {tuple(self.whole.shape)}, got shape "
                f"{tuple(symbol.shape)}. Make it of the wavenumbers of `Pairs.whole`."
            )

    def _mirrored(self, y: Tensor) -> Tensor:
        """The conjugates in reversed order; `torch.vmap` knows no conj_physical."""
        reversed_ = y.flip(self._axes)
        return reversed_.conj() if is_transforming() else reversed_.conj_physical_()


def _put(place: Tensor, a: Tensor, b: Tensor) -> None:
    """Write a b into a part of a tensor."""
    if kept_for_later(b):
        place.copy_(a * b)
    else:
        torch.mul(a, b, out=place)
