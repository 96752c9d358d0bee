"""The engine of Rosenbrock methods for dy/dt = f(t, y): implicit, but linear. With J = df/dy at (t0, y0),

    (I - h g J) u_i = h g (f(t0 + c_i h, y0 + sum_(j<i) a_ij u_j) + h d_i df/dt(t0, y0)) + g sum_(j<i) C_ij u_j
    y1 = y0 + sum_i m_i u_i,    error = sum_i e_i u_i,    y(t0 + theta h) = y0 + sum_i m_i(theta) u_i

so that no product with J is needed, and no equation is iterated. The order rests on J being exact: it is made anew in
each step, and so is df/dt, in forward mode.

Gradients are those of the step itself, derivatives of J included: u_i = r_i + h g J u_i is recorded with u_i held fixed
on the right (J u_i in forward mode) and tied to u_i by the implicit-function rule, whose matrix I - h g J is the exact
one. This costs one directional derivative per stage and holds for every structure, to rounding, or to the tolerance of
a structure that solves by iterations.

Source: Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.7, eq. (7.25).
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from sciml.core.transforms import is_differentiated, is_mapped, unrecorded
from sciml.integrate.directional import valued_along
from sciml.integrate.flat import Flat, field_time, first_leaf, map_leaves
from sciml.integrate.implicit import AbstractStructure, Auto, Dense, Fourier, Krylov, PackedField, Packing, implicitly
from sciml.integrate.implicit.packing import shift_of, size_of
from sciml.integrate.methods.arguments import check_structure, ode_of
from sciml.integrate.methods.base import AbstractMethod, Step, Time
from sciml.integrate.methods.explicit_rk import dense_weights
from sciml.integrate.methods.rosenbrock_tableau import RosenbrockTableau
from sciml.integrate.solution import Result
from sciml.integrate.terms import ODE, AbstractTerm

Rows = tuple[tuple[float, ...], ...]
_SAME, _SAME_SINGLE = 1e-6, 1e-3
"""How far products with the Jacobian may differ from derivatives of the field, relatively: in float64, and below."""


class AbstractRosenbrock(AbstractMethod):
    """A Rosenbrock method. A final subclass gives its tableau, order and number of stages, and has a `structure`.

    A step costs `stages` evaluations of the field, one of df/dt, and one Jacobian.
    """

    tableau: ClassVar[RosenbrockTableau]
    structure: AbstractStructure
    has_error: ClassVar[bool] = True
    has_dense: ClassVar[bool] = True
    compiles: ClassVar[bool] = False
    _sums: ClassVar[tuple[Rows, ...]]
    _ends: ClassVar[Rows]

    def __init_subclass__(cls) -> None:
        tableau = getattr(cls, "tableau", None)
        if tableau is None:
            return
        cls.error_order, cls.dense_order = tableau.error_order, tableau.dense_order
        cls._sums = tuple(
            (a, tuple(tableau.gamma * weight for weight in c)) for a, c in zip(tableau.a, tableau.c, strict=True)
        )
        cls._ends = (tableau.m, tableau.error)

    def __post_init__(self) -> None:
        check_structure(self, self.structure)

    def init(self, term: AbstractTerm, t0: Time, y0: Flat) -> Any:
        """Nothing is carried; see `AbstractMethod.init`.

        Raises:
            TypeError: for terms that are no `ODE`, or a structure that does not give the exact Jacobian.
        """
        name = type(self).__name__
        field = ode_of(name, term).f
        if isinstance(self.structure, Fourier):
            raise TypeError(
                f"{name} needs the exact Jacobian, got structure=Fourier(...), which knows its linear part only. Take "
                "Dense(), Banded(...) or Krylov(), or Fourier with a method that iterates, such as KenCarp4."
            )
        if not isinstance(self.structure, Auto | Dense | Krylov):  # which hold for every field
            packing = Packing.of(y0)
            self._check_exact(PackedField(field, packing), field_time(t0, first_leaf(y0)), packing.pack(y0))
        return ()

    @unrecorded()
    def _check_exact(self, field: PackedField, t: Tensor, v: Tensor) -> None:
        """Raise if J x by the structure is not the derivative of the field along x, for one x at the start."""
        t, v = t.detach(), v.detach()
        if is_mapped(t, v):
            return
        size = torch.rand(v.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
        x = size.to(v).expand_as(v)
        found = self.structure.product(field, self.structure.jacobian(field, t, v), x)
        exact = valued_derivative(lambda y: field(t, y), v, x)[1]
        scale = torch.maximum(*(torch.linalg.vector_norm(a, dim=1) for a in (found, exact)))
        left = torch.linalg.vector_norm(found - exact, dim=1) / scale
        limit = _SAME if v.dtype == torch.float64 else _SAME_SINGLE
        if bool((left > limit).any()):  # not where both are 0, or not finite
            name = type(self).__name__
            raise TypeError(
                f"{name} needs the exact Jacobian, but that of the field is not of structure={self.structure}: at t0 "
                f"products with it are wrong by {float(left.nan_to_num().max()):.1e} of their size. Take {name}(), a "
                f"wider Banded(...), or Kvaerno5(Newton(structure={self.structure})), which iterates."
            )

    def step(self, term: ODE, t0: Time, t1: Time, y: Flat, carry: Any) -> Step:
        """One step; see `AbstractMethod.step`. A row whose matrix is singular or not finite has not converged."""
        tableau, packing = self.tableau, Packing.of(y)
        field, v, leaf = PackedField(term.f, packing), packing.pack(y), first_leaf(y)
        h = size_of(t1 - t0, v)
        start = field_time(t0, leaf)
        structure = self.structure.exact()  # what is left of a residual is not found out by any iteration
        system = structure.system(field, structure.jacobian(field, start, v), shift_of(h) * tableau.gamma)
        slope, drift = valued_derivative(lambda s: field(s, v), start, torch.ones_like(start))
        us: list[Tensor] = []
        asked: list[Tensor] = [slope.detach()]
        for i, (node, weight) in enumerate(zip(tableau.nodes, tableau.drifts, strict=True)):
            known = None
            if i > 0:
                shift, known = mixed(self._sums[i - 1], us)
                t = t1 if node == 1.0 else t0 + node * (t1 - t0)
                slope = field(field_time(t, leaf), v + shift)
            r = slope if weight == 0.0 else slope + (weight * h) * drift
            r = (tableau.gamma * h) * r
            r = r if known is None else r + known
            asked.append(r.detach())
            with unrecorded():
                u = system.solve(asked[-1]).to(v.dtype)
            if is_differentiated(r):
                r = r + (tableau.gamma * h) * valued_derivative(lambda x: field(start, x), v, u)[1]
                u = implicitly(u, r, lambda: system)
            us.append(u)
        moved, error = mixed(self._ends, us)
        with unrecorded():
            status = _status(asked, us)
        return Step(packing.unpack(v + moved), packing.unpack(error), tuple(us), (), status)

    def prepare_dense(self, term: ODE, t0: Time, t1: Time, y0: Flat, step: Step) -> Any:
        """y0 and the stages, (batch, stage, size); see `AbstractMethod.prepare_dense`."""
        return y0, torch.stack(step.dense, dim=1)

    def interpolate(self, dense: Any, t0: Time, t1: Time, theta: Tensor) -> Flat:
        """The state at t0 + theta (t1 - t0); see `AbstractMethod.interpolate`."""
        y0, us = dense
        return states_at(y0, dense_weights(self.tableau.dense, theta), us)


def valued_derivative(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """function(x) and d/ds function(x + s direction) at s = 0, which autograd can differentiate again."""
    if forward_ad._current_level < 0:
        return valued_along(function, x, direction)
    # Forward mode inside forward mode does not exist: the derivative of the vector-Jacobian product, which is linear.
    value, pull = torch.func.vjp(function, x)  # type: ignore[misc]
    return value, torch.func.vjp(lambda c: pull(c)[0], torch.zeros_like(value))[1](direction)[0]


def _status(asked: list[Tensor], us: list[Tensor]) -> Tensor:
    """NOT_CONVERGED in rows where a solution is not finite though what it was asked for is: no matrix could do it."""
    known = torch.isfinite(torch.stack(asked)).all(-1)
    solved = torch.isfinite(torch.stack(us)).all(-1)
    lost = (known[1:] & ~solved).any(0)
    return lost * int(Result.NOT_CONVERGED)


def states_at(y0: Flat, weights: Tensor, rows: Tensor) -> Flat:
    """y0 + sum_j weights[..., m, j] rows[:, j], (batch, m, *state), of rows (batch, j, size) in packed form."""
    packing, count = Packing.of(y0), weights.shape[-2]
    values = packing.pack(y0).unsqueeze(1) + weights.to(rows.dtype) @ rows
    flat = packing.unpack(values.flatten(0, 1))
    return map_leaves(lambda value, y: value.reshape(len(y), count, *y.shape[1:]), flat, y0)


def mixed(weights: Rows, us: list[Tensor]) -> tuple[Tensor, ...]:
    """Sums of stages, one for each row of weights."""
    table = _table(weights, us[0].dtype, us[0].device)
    if len(us) == 1:
        return tuple(us[0] * weight for weight in table[:, 0].unbind())
    return (table @ torch.stack(us).flatten(1)).reshape(len(weights), *us[0].shape).unbind()


@functools.lru_cache(maxsize=256)
def _table(rows: Rows, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(rows, dtype=dtype, device=device)
