"""Algebraically reversible steps made of any one-step method. With Psi_h(t, y) its increment,

    y_(n+1) = l y_n + (1 - l) z_n + Psi_h(t_n, z_n)
    z_(n+1) = z_n - Psi_(-h)(t_(n+1), y_(n+1)),    z_0 = y_0,

and, taken back,

    z_n = z_(n+1) + Psi_(-h)(t_(n+1), y_(n+1))
    y_n = (y_(n+1) - (1 - l) z_n - Psi_h(t_n, z_n)) / l.
"""

from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from sciml.integrate.flat import Flat, map_leaves
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.terms import ODE


@final
@dataclass(frozen=True)
class Reversibly(AbstractMethod):
    """A method whose steps can be taken back exactly, up to rounding, for the gradient `Reversible`.

    It changes the solution, by less than the error of `method`, and costs two steps of it. The order is that of
    `method`. Dense output and error estimate are those of `method` from z_n.

    Linear stability on y' = x y with steps of size 1: no eigenvalue of a step is larger in size than 1 + 1e-9 for real
    x from -r to 0 and for imaginary x up to i s; measured in the tests. On the real axis coupling alone decides,
    r = -log(coupling), a small fraction of the interval of `method` itself: strongly damped problems need small steps.

        coupling 0.99           r        s
        Reversibly(RK4())       0.01005  2.828
        Reversibly(Dopri5())    0.01005  0.9978 (1.187 to 1 + 1e-6)

    Args:
        method: a method that steps from a state alone.
        coupling: l, how strongly y and z are kept together, above 0 and at most 1. Nearer to 1 the way back loses
            fewer digits, per step a factor of 1/l, but the interval of stability shrinks.

    Raises:
        ValueError: for a coupling out of range.
        TypeError: if `method` is no method, is reversible itself, or solves equations by iterations.

    Source: McCallum & Foster (2024), "Efficient, accurate and stable gradients for neural ODEs", arXiv 2410.11648,
    eq. (4)-(5).
    """

    method: AbstractMethod
    coupling: float = 0.99

    reversible = True

    def __post_init__(self) -> None:
        if not 0 < self.coupling <= 1:
            raise ValueError(f"`coupling` must be above 0 and at most 1, got {self.coupling}. Take 0.99.")
        method = self.method
        if not isinstance(method, AbstractMethod):
            raise TypeError(f"Reversibly needs a method, got {_kind(method)}. Write e.g. Reversibly(RK4()).")
        if method.reversible:
            raise TypeError(f"`method` is reversible already, got {type(method).__name__}. Use it as it is.")
        if method.iterates:
            raise TypeError(
                f"Reversibly needs a method whose steps are the same operations each time, got "
                f"{type(method).__name__}, which iterates. Take e.g. RK4(), or gradient=Checkpoint() with it as it is."
            )
        facts = {name: getattr(method, name) for name in ("order", "has_error", "error_order", "has_dense", "counts")}
        facts |= {"stages": 2 * method.stages, "dense_order": min(method.dense_order, method.order)}
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    def init(self, term: Any, t0: Time, y0: Flat) -> Flat:
        """z_0; see `AbstractMethod.init`."""
        self.method.init(ODE(_still) if isinstance(term, ODE) else term, t0, y0)  # checks the term, evaluates nothing
        return y0

    def step(self, term: Any, t0: Time, t1: Time, y: Flat, carry: Flat) -> Step:
        """One step; see `AbstractMethod.step`."""
        z, inner = carry, self._inner(term, t0, t1, carry)
        y1 = map_leaves(lambda a, b, c: (a - b) * self.coupling + c, y, z, inner.y)
        back = self._inner(term, t1, t0, y1)
        z1 = map_leaves(lambda a, b, c: a - (b - c), z, back.y, y1)
        dense = (z, inner.y, inner.dense, inner.carry) if self.has_dense else None
        evaluations = None
        if inner.evaluations is not None and back.evaluations is not None:  # and what `init` takes, twice
            evaluations = inner.evaluations + back.evaluations + 2 * int(self.method.reuses_last)
        return Step(y1, inner.error, dense, z1, inner.status, evaluations)

    def step_back(self, term: Any, t0: Time, t1: Time, y1: Flat, carry1: Flat) -> tuple[Flat, Flat]:
        """One step back; see `AbstractMethod.step_back`."""
        z = map_leaves(lambda a, b: a + b, carry1, self._increment(term, t1, t0, y1))
        ahead = self._inner(term, t0, t1, z).y
        return map_leaves(lambda a, b, c: b + (a - c) / self.coupling, y1, z, ahead), z

    def prepare_dense(self, term: Any, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """Of `method` from z, and how far y is from it; see `AbstractMethod.prepare_dense`."""
        z, end, dense, carry = step.dense
        inner = Step(y=end, error=None, dense=dense, carry=carry, status=None)
        return y0, z, self.method.prepare_dense(term, t0, t1, z, inner)

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """That of `method`, moved by y - z, of which (1 - coupling) is lost over the step."""
        y0, z, inner = dense

        def moved(value: Tensor, a: Tensor, b: Tensor) -> Tensor:
            kept = 1 - theta * (1 - self.coupling)
            weight = kept.reshape(-1, theta.shape[-1], *[1] * (a.ndim - 1)).to(value.dtype)
            return value + weight * (a - b).unsqueeze(1)

        return map_leaves(moved, self.method.interpolate(inner, t0, t1, theta), y0, z)

    def _inner(self, term: Any, t0: Time, t1: Time, y: Flat) -> Step:
        return self.method.step(term, t0, t1, y, self.method.init(term, t0, y))

    def _increment(self, term: Any, t0: Time, t1: Time, y: Flat) -> Flat:
        return map_leaves(lambda a, b: a - b, self._inner(term, t0, t1, y).y, y)


def _still(t: Tensor, y: Any) -> Any:
    """A field that costs nothing."""
    return y


def _kind(value: Any) -> str:
    """What was given, in words."""
    return f"the class {value.__name__} itself" if isinstance(value, type) else repr(value)[:80]
