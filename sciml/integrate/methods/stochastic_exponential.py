"""Exponential Euler-Maruyama for dy = (L y + N(t, y)) dt + g(t, y) dW with L diagonal and real:

    y1 = exp(z) y + h phi_1(z) N(t0, y) + g(t0, y) * C,    z = h L

C stands for the stochastic convolution, the integral of exp(L (t1 - s)) dW(s), which is normal with mean 0 and variance
h phi_1(2 z). It is made of the increment W and the Levy area H of the step,

    C = phi_1(z) W + z sqrt(12 phi_1(z) (phi_2(z)/2 - phi_3(z))) H

whose first part is its projection on W and whose second part has the sign of that on H and the size that makes the
variance exact. Paths without areas give C = sqrt(phi_1(2 z)) W, of the same law.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, first_leaf, real_dtype
from sciml.integrate.methods.base import Step, Time
from sciml.integrate.methods.explicit_rk import StageTimes
from sciml.integrate.methods.exponential_rk import check_semilinear
from sciml.integrate.methods.stochastic import ALL, AbstractStochastic, Orders, check_sde, increment
from sciml.integrate.noise import Ito, SharedNoise
from sciml.integrate.phi import phi
from sciml.integrate.terms import SDE, AbstractTerm, SemiLinear

_KEPT = 16


class _Weights(NamedTuple):
    """exp(z), h phi_1(z), and those of W and H."""

    keep: Tensor
    drift: Tensor
    w: Tensor
    h: Tensor
    alone: Tensor


@final
@dataclass(frozen=True)
class ExponentialEulerMaruyama(AbstractStochastic):
    """The linear part and, for a g that does not change over the step, its noise exactly; N as by Euler.

    Takes SDE(SemiLinear(L, N), g, path, ...) in the sense of Ito, L real, a single tensor as the state. Where N = 0 and
    g is constant and diagonal, steps of any size have the exact law of the Ornstein-Uhlenbeck process; where Brownian
    motions are shared by entries with different L, each entry has. Strong order 1/2, for additive noise 1; weak order
    1. It is `ETD1` where g = 0. No error estimate.

    Source: Lord, Powell & Shardlow (2014), An Introduction to Computational Stochastic PDEs, section 8.6 and (10.50);
    Jentzen & Kloeden (2009), Proc. R. Soc. A 465, 649-667, for exact convolutions.
    """

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1
    senses = (Ito,)
    structures = (*ALL, SharedNoise)
    strong = Orders(0.5, 0.5, 1.0)
    weak = Orders(1.0, 1.0, 1.0)
    linear: ClassVar[bool] = True

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """Where tables are kept; see `AbstractMethod.init`.

        Raises:
            TypeError: if L is complex, or the state is a tree.
        """
        check_sde(self, term, y0)
        assert isinstance(term, SDE)
        check_semilinear(type(self).__name__, term.f, y0)
        linear = term.f.linear
        if first_leaf(y0).is_complex() or isinstance(linear, complex):
            raise TypeError(
                f"{type(self).__name__} takes a real state, got {first_leaf(y0).dtype}: the noise would need a "
                "relation between its real and imaginary part. Give them as two channels."
            )
        carries_gradient = isinstance(linear, Tensor) and linear.requires_grad and torch.is_grad_enabled()
        return {} if carries_gradient else term.f.tables

    def step(self, term: SDE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        assert isinstance(y, Tensor)
        weights, made = _table(term.f, t1 - t0, y, carry), increment(term, t0, t1)
        t = StageTimes(t0, t1, y)(0.0)
        g: Tensor = term.g(t, y)
        product: Any = term.structure.times
        slope = term.f.nonlinear(t, y)
        if made.h is None:
            noise = weights.alone * product(g, made.w)
        else:
            noise = torch.addcmul(weights.w * product(g, made.w), weights.h, product(g, made.h))
        y1 = torch.addcmul(weights.keep * y + noise, weights.drift, slope)
        return Step(y1, None, None, carry, None)


def _table(term: SemiLinear, dt: Time, y: Tensor, tables: dict[Any, Any]) -> _Weights:
    """The weights for this step size, computed or remembered."""
    if isinstance(dt, Tensor):
        return _weights(term, dt.to(torch.float64), y)
    dt = float(f"{dt:.12e}")  # see `exponential_rk._table`
    version = term.linear._version if isinstance(term.linear, Tensor) and not term.linear.is_inference() else 0
    key = ("convolution", dt, y.dtype, y.device, version)
    if key not in tables:
        while len(tables) >= _KEPT:
            del tables[next(iter(tables))]
        with torch.inference_mode(False):
            tables[key] = _weights(term, dt, y)
    return tables[key]


def _weights(term: SemiLinear, dt: Any, y: Tensor) -> _Weights:
    linear = term.linear if isinstance(term.linear, Tensor) else torch.tensor(term.linear, dtype=torch.float64)
    z = dt * linear.to(y.device, torch.float64)
    first, second, third = (phi(k, z) for k in (1, 2, 3))
    rest = z * (12 * first * (second / 2 - third).clamp(min=0)).sqrt()
    made = (phi(0, z), dt * first, first, rest, phi(1, 2 * z).sqrt())
    return _Weights(*(part.to(real_dtype(y)) for part in made))
