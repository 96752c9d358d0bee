"""Splittings of underdamped Langevin dynamics into parts that are solved exactly.

    A: dx = v dt,    B: dv = F(t, x) dt,    O: dv = -gamma v dt + sqrt(2 gamma T) dW,    U: A and O together

Each takes one evaluation of the force per step.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, map_leaves
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.explicit_rk import StageTimes
from sciml.integrate.methods.stochastic import increment, increment_with_area, rows_like
from sciml.integrate.phi import phi
from sciml.integrate.terms import AbstractTerm, Langevin


class AbstractLangevin(AbstractMethod):
    """A splitting of underdamped Langevin dynamics."""

    strong: ClassVar[float]
    """Strong order, measured in the tests."""
    weak: ClassVar[float]
    """Weak order, measured in the tests."""
    has_dense: ClassVar[bool] = True
    dense_order: ClassVar[int] = 0

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """Both ends; see `AbstractMethod.prepare_dense`."""
        return y0, step.y

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """Linear; see `AbstractMethod.interpolate`."""

        def between(a: Tensor, b: Tensor) -> Tensor:
            weight = theta.reshape(-1, theta.shape[-1], *[1] * (a.ndim - 1)).to(a.dtype)
            return a.unsqueeze(1) + weight * (b - a).unsqueeze(1)

        return map_leaves(between, *dense)


@final
@dataclass(frozen=True)
class BAOAB(AbstractLangevin):
    """B and A for half a step, O for a whole one, A and B for half a step.

    Weak order 2, and far smaller errors of averages over x than other splittings of its cost; strong order 1; order 2
    without noise. The noise of a step is W times what makes its variance exact.

    Source: Leimkuhler & Matthews (2013), Appl. Math. Res. Express 2013, 34-56.
    """

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    reuses_last: ClassVar[bool] = True
    strong = 1.0
    weak = 2.0

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """The force at the start; see `AbstractMethod.init`."""
        x, _ = _checked(self, term, y0)
        return term.force(StageTimes(t0, t0, x)(0.0), x)  # type: ignore[attr-defined]

    def step(self, term: Langevin, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        x, v = y
        times, w = StageTimes(t0, t1, x), increment(term, t0, t1).w
        half = times.size * 0.5  # type: ignore[operator]
        damped = torch.as_tensor(-term.friction * rows_like(t1 - t0, w), dtype=torch.float64)
        spread = (2 * term.friction * term.temperature * phi(1, 2 * damped)).sqrt()
        v = v + half * carry
        x = x + half * v
        v = torch.exp(damped).to(v.dtype) * v + spread.to(v.dtype) * w.reshape(v.shape)
        x = x + half * v
        force = term.force(times(1.0), x)
        return Step((x, v + half * force), None, None, force, None)


@final
@dataclass(frozen=True)
class UBU(AbstractLangevin):
    """U for half a step, B for a whole one, U for half a step: strong order 2, weak order 2.

    The noise of U is normal with its exact covariance, as close as that allows to what W and H of the half step tell of
    it. Needs the space-time Levy area H.

    Source: Sanz-Serna & Zygalakis (2021), J. Mach. Learn. Res. 22 (242), 1-37.
    """

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 1
    strong = 2.0
    weak = 2.0

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """Where the weights of a step size are kept; see `AbstractMethod.init`."""
        _checked(self, term, y0)
        return ()

    def step(self, term: Langevin, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        x, v = y
        middle = t0 + (t1 - t0) * 0.5
        times = StageTimes(t0, t1, x, (0.5,))
        x, v = self._free(term, t0, middle, x, v)
        v = v + times.size * term.force(times(0.5), x)  # type: ignore[operator]
        return Step(self._free(term, middle, t1, x, v), None, None, (), None)

    def _free(self, term: Langevin, t0: Time, t1: Time, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Without a force, exactly."""
        w, area = (part.reshape(x.shape) for part in increment_with_area(self, term, t0, t1))
        size = rows_like(t1 - t0, x)
        if isinstance(size, float):  # 12 digits name a step size, see `exponential_rk`
            keep, move, (vw, vh, xw, xh) = _remembered(term.friction, float(f"{size:.12e}"), x.device)
        else:
            keep, move, (vw, vh, xw, xh) = _weights(term.friction, size)
        spread = math.sqrt(2 * term.friction * term.temperature)

        def fit(value: Tensor) -> Tensor:
            return value.to(x.dtype)

        x1 = x + fit(move) * v + spread * (fit(xw) * w + fit(xh) * area)
        return x1, fit(keep) * v + spread * (fit(vw) * w + fit(vh) * area)


class _Free(NamedTuple):
    keep: Tensor
    move: Tensor
    noise: tuple[Tensor, Tensor, Tensor, Tensor]


@functools.lru_cache(maxsize=64)
def _remembered(friction: float, size: float, device: torch.device) -> _Free:
    with torch.inference_mode(False):
        return _weights(friction, torch.tensor(size, dtype=torch.float64, device=device))


def _weights(friction: float, size: Any) -> _Free:
    """Weights of v in v and x, and of W and H in v and x, for exact free motion over `size`.

    With s = size and z = -friction s, the noise of v and that of x over s are s times

        int exp(z u) dB(u)    and    int (exp(z u) - 1) / z dB(u)    over [0, 1], up to 1/sqrt(s)

    whose covariance C is known and whose projections on (W, H) are the columns of P. The factor A of C that is nearest
    to P is A = R V with R R^T = C and V the orthogonal factor of R^(-1) P.
    """
    s = torch.as_tensor(size, dtype=torch.float64)
    z = -friction * s
    first, second, third = (phi(k, z) for k in (1, 2, 3))
    c = _covariance(z)
    # With u the time that is left, H = int (u - 1/2) dB(u), of variance 1/12.
    on_w = torch.stack([first, second], -1)
    on_h = torch.stack([z * (second / 2 - third), second / 2 - third], -1) * math.sqrt(12.0)
    near = torch.stack([on_w, on_h], -1)
    root = torch.linalg.cholesky(c)
    u, _, vh = torch.linalg.svd(torch.linalg.solve_triangular(root, near, upper=False))
    made = root @ (u @ vh)
    h = math.sqrt(12.0)
    noise = (made[..., 0, 0], made[..., 0, 1] * h, made[..., 1, 0] * s, made[..., 1, 1] * h * s)
    return _Free(torch.exp(z), s * first, noise)


def _covariance(z: Tensor) -> Tensor:
    """Of the two integrals, (..., 2, 2).

        int exp(2 z u) = phi_1(2z),    int exp(z u) (exp(z u) - 1)/z = phi_1(z)²/2,
        int ((exp(z u) - 1)/z)² = (phi_1(2z) - 2 phi_1(z) + 1)/z² = 4 phi_3(2z) - 2 phi_3(z)

    The last form cancels where z is large, the one before it where z is small.
    """
    small = z.abs() < 1
    far = torch.where(small, -1.0, z)
    moved = torch.where(
        small, 4 * phi(3, 2 * z) - 2 * phi(3, z), (phi(1, 2 * far) - 2 * phi(1, far) + 1) / far.square()
    )
    crossed = phi(1, z).square() / 2
    return torch.stack([torch.stack([phi(1, 2 * z), crossed], -1), torch.stack([crossed, moved], -1)], -2)


def _checked(method: AbstractLangevin, term: AbstractTerm, y: Flat) -> tuple[Tensor, Tensor]:
    """Position and velocity.

    Raises:
        TypeError: if the term or the state is of another kind.
    """
    if not isinstance(term, Langevin):
        raise TypeError(
            f"{type(method).__name__} steps Langevin(force, path, friction=...) terms, got {type(term).__name__}. "
            "Choose a method made for this term."
        )
    if not isinstance(y, tuple) or len(y) != 2 or y[0].shape != y[1].shape:
        raise TypeError(
            f"the state of Langevin dynamics must be a pair (x, v) of equal shapes, got {type(y).__name__}. Give "
            "y0=(x0, torch.zeros_like(x0))."
        )
    return y[0], y[1]
