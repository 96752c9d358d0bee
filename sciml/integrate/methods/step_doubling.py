"""An error estimate for any explicit or stochastic method: one step of h against two of h/2.

    y1 = phi_(h/2)(phi_(h/2)(y0)),    error = (y1 - phi_h(y0)) / (2^p - 1)

Both results differ from the solution by C h^(p+1) (1 + O(h)), with 2 (1/2)^(p+1) C for the halves, so that the
difference tells C. The error is that of y1 itself: y1 + error would be of order p + 1 (local extrapolation), but it is
not taken, so that y1 stays what the method makes of two steps and keeps all that its steps keep: positivity and other
bounds, invariants, the stability interval.

Between t0 and t1 serves the polynomial of degree 5 through states and slopes at start, middle and end, or the dense
output of the method itself in each half where its order is above 5.

With noise all three steps see the same Brownian path, and the errors are random, of mean square C² h^(2p + 1) for
strong order p. What the halves know and the whole does not is uncorrelated with what neither knows, so that the
difference has the mean square C² h^(2p + 1) (1 - 4^(-p)) where the error of the halves has C² h^(2p + 1) 4^(-p):

    error = (y1 - phi_h(y0)) / sqrt(4^p - 1)

Where a method leaves out what W tells of an integral, as Euler's drift does, they are correlated, and the estimate is
too small by up to a third (measured in the tests).
States between are linear in time in each half.

Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, II.4, theorem 4.1; doubling on one
    Brownian path: Gaines & Lyons (1997), SIAM J. Appl. Math. 57, 1455-1484.
"""

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, field_time, first_leaf, map_leaves, real_dtype
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.dense import beside_times, size_beside
from sciml.integrate.methods.explicit_rk import AbstractExplicitRK, check_ode
from sciml.integrate.methods.langevin import AbstractLangevin
from sciml.integrate.methods.stochastic import AbstractStochastic
from sciml.integrate.terms import ODE, AbstractTerm

_HERMITE_ORDER = 5


@final
@dataclass(frozen=True)
class StepDoubling(AbstractMethod):
    """Any explicit or stochastic method with an error estimate: two half steps, compared with a whole one.

    A fixed grid of n steps gives what `method` gives on 2 n steps. The order is that of `method`; the estimate is
    proportional to h^(order + 1), with noise to h^(p + 1/2) for strong order p. A step costs three of `method`, less
    the first slope where both routes share it.

    Args:
        method: any method for ODE or SDE terms, with or without an error estimate of its own.

    Raises:
        TypeError: if it is not a method, doubles steps already, or is for SemiLinear drifts or Langevin dynamics.
    """

    method: AbstractMethod

    def __post_init__(self) -> None:
        if not isinstance(self.method, AbstractMethod) or isinstance(self.method, StepDoubling):
            raise TypeError(
                f"StepDoubling needs a method that does not double steps itself, got {self.method!r}. "
                "Write e.g. StepDoubling(RK4())."
            )
        if isinstance(self.method, AbstractLangevin) or getattr(self.method, "linear", False):
            raise TypeError(
                "StepDoubling is for methods of ODE terms and of SDE terms whose drift is a function, got "
                f"{self.method!r}. Take it with control=Fixed(...)."
            )

    @property
    def order(self) -> int:  # type: ignore[override]
        """That of the method."""
        return self.method.order

    @property
    def stages(self) -> int:  # type: ignore[override]
        """Evaluations of three steps, the shared first one counted once."""
        if self.method.reuses_last:
            return 3 * self.method.stages - 2
        return 3 * self.method.stages - int(self._shares_first)

    @property
    def has_error(self) -> bool:  # type: ignore[override]
        """Always."""
        return True

    @property
    def error_order(self) -> float:  # type: ignore[override]
        """One more than the order, with noise 1/2 more than its strong order for any noise."""
        return (
            self.method.strong.general + 0.5 if isinstance(self.method, AbstractStochastic) else self.method.order + 1
        )

    @property
    def gains(self) -> tuple[float, float, float]:  # type: ignore[override]
        """Those of the method."""
        return self.method.gains

    @property
    def has_dense(self) -> bool:  # type: ignore[override]
        """Always."""
        return True

    @property
    def dense_order(self) -> int:  # type: ignore[override]
        """That of the polynomial through three points, or that of the method if it is higher; 0 with noise."""
        if isinstance(self.method, AbstractStochastic):
            return self.method.dense_order
        return max(_HERMITE_ORDER, self.method.dense_order)

    @property
    def reuses_last(self) -> bool:  # type: ignore[override]
        """Whether the method does."""
        return self.method.reuses_last

    @property
    def iterates(self) -> bool:  # type: ignore[override]
        """Whether the method does."""
        return self.method.iterates

    @property
    def compiles(self) -> bool:  # type: ignore[override]
        """Whether the method does."""
        return self.method.compiles

    @property
    def counts(self) -> bool:  # type: ignore[override]
        """Whether the method does."""
        return self.method.counts

    def tuned(self, tolerances: Any) -> "StepDoubling":
        """See `AbstractMethod.tuned`."""
        return replace(self, method=self.method.tuned(tolerances))

    @property
    def _shares_first(self) -> bool:
        """Whether both routes surely begin with f(t0, y0) but do not hand it on."""
        return isinstance(self.method, AbstractExplicitRK) and not self.method.reuses_last

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """The carry of the method; see `AbstractMethod.init`."""
        if not isinstance(self.method, AbstractStochastic):
            check_ode(type(self).__name__, term)
            return self.method.init(term, t0, y0)
        return self.method.init(term, t0, y0)  # which checks the term

    def slope(self, carry: Any) -> Flat:
        """See `AbstractMethod.slope`."""
        return self.method.slope(carry)

    def step(self, term: Any, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`."""
        method, middle = self.method, _middle(t0, t1)
        first = ODE(_OnceAt(term.f, y)) if self._shares_first else term
        whole = method.step(first, t0, t1, y, carry)
        half = method.step(first, t0, middle, y, carry)
        end = method.step(term, middle, t1, half.y, half.carry)
        if isinstance(method, AbstractStochastic):
            scale = (4 ** method.strong_order(term.structure) - 1) ** -0.5
        else:
            scale = 1.0 / (2**method.order - 1)
        error = map_leaves(lambda fine, coarse: (fine - coarse) * scale, end.y, whole.y)
        status = evaluations = None
        parts = (whole, half, end)
        if method.iterates:
            status = torch.stack([part.status for part in parts]).amax(dim=0)  # type: ignore[misc]
        if method.counts:
            evaluations = torch.stack([part.evaluations for part in parts]).sum(dim=0)  # type: ignore[misc]
        return Step(end.y, error, (carry, half, end), end.carry, status, evaluations)

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """States and slopes at three times, or the dense outputs of both halves; see `AbstractMethod.prepare_dense`."""
        method, middle = self.method, _middle(t0, t1)
        carry, half, end = step.dense
        if isinstance(method, AbstractStochastic):
            return y0, half.y, end.y
        if method.dense_order > _HERMITE_ORDER:
            first = method.prepare_dense(term, t0, middle, y0, half)
            return y0, first, method.prepare_dense(term, middle, t1, half.y, end)
        if method.reuses_last:
            slopes = tuple(method.slope(each) for each in (carry, half.carry, end.carry))
        else:
            points = ((t0, y0), (middle, half.y), (t1, end.y))
            slopes = tuple(term.f(field_time(t, first_leaf(y)), y) for t, y in points)
        return (y0, half.y, end.y, *slopes)

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """The state at t0 + theta (t1 - t0); see `AbstractMethod.interpolate`."""
        if isinstance(self.method, AbstractStochastic):
            return map_leaves(lambda *nodes: _chords(nodes, theta), *dense)
        if self.method.dense_order <= _HERMITE_ORDER:
            return map_leaves(lambda *nodes: _hermite(nodes, t1 - t0, theta), *dense)
        middle = _middle(t0, t1)
        early = self.method.interpolate(dense[1], t0, middle, (2 * theta).clamp(max=1.0))
        late = self.method.interpolate(dense[2], middle, t1, (2 * theta - 1).clamp(min=0.0))
        return map_leaves(lambda a, b: torch.where(beside_times(theta, a) <= 0.5, a, b), early, late)


@final
@dataclass(eq=False)
class _OnceAt:
    """A field that is evaluated at one state once: all calls with that very tensor share the time too."""

    f: Any
    y: Flat
    value: Any = None

    def __call__(self, t: Tensor, y: Flat) -> Flat:
        if y is not self.y:
            return self.f(t, y)
        if self.value is None:
            self.value = self.f(t, y)
        return self.value


def _middle(t0: Time, t1: Time) -> Time:
    return t0 + (t1 - t0) * 0.5


def _chords(nodes: tuple[Tensor, ...], theta: Tensor) -> Tensor:
    """Straight from the state at theta = 0 to that at 1/2, and on to that at 1."""
    y0, middle, y1 = (node.unsqueeze(1) for node in nodes)
    s = 2 * beside_times(theta, y0).to(real_dtype(y0))
    return y0 + s.clamp(max=1.0) * (middle - y0) + (s - 1).clamp(min=0.0) * (y1 - middle)


def _hermite(nodes: tuple[Tensor, ...], dt: Time, theta: Tensor) -> Tensor:
    """The polynomial of degree 5 with states and slopes of the nodes at theta = 0, 1/2, 1."""
    y0, middle, y1, *slopes = (node.unsqueeze(1) for node in nodes)
    s = beside_times(theta, y0).to(real_dtype(y0))
    h = size_beside(dt, y0)
    left, right, centre = s.square(), (1 - s).square(), (1 - 2 * s).square()
    inside = 16 * left * right
    at_end = left * centre * (7 - 6 * s)
    bend = s * centre * right * slopes[0] + inside * (s - 0.5) * slopes[1] + left * centre * (s - 1) * slopes[2]
    return y0 + inside * (middle - y0) + at_end * (y1 - y0) + h * bend
