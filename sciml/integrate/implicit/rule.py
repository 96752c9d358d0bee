"""The gradient of a solution that was found without autograd. Where z = r(z, theta), with J = dr/dz at the solution,

    dz = (I - J)^-1 (dr/dtheta) dtheta,    (dr/dtheta)^T (I - J)^-T g for a gradient g of z.

r is recorded once at the solution, held fixed, so that autograd knows dr/dtheta; the iterations leave no trace.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sciml.integrate.implicit.structure import AbstractSystem


def implicitly(z: Tensor, r: Tensor, system: Callable[[], AbstractSystem]) -> Tensor:
    """z, with the gradient of the implicit function.

    Args:
        z: the solution, (batch, m), detached.
        r: what z is equal to, (batch, m), recorded by autograd at the detached solution.
        system: gives (I - J) with the exact Jacobian at the solution; called when a gradient is asked for.
    """
    return _Implicit.apply(z, r, system)  # type: ignore[return-value]


class _Implicit(torch.autograd.Function):
    """z as it is; gradients and tangents through r."""

    @staticmethod
    def forward(z: Tensor, r: Tensor, system: Any) -> Tensor:
        return z.clone()  # forward mode takes no views here

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, r, ctx.system = inputs
        ctx.save_for_backward(r)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (r,) = ctx.saved_tensors
        with torch.no_grad():
            solved = ctx.system().solve_transposed(g)
            # Rows nobody asked about stay out, whatever their matrix is.
            solved = torch.where((g != 0).any(dim=1, keepdim=True), solved, 0.0)
        return None, _Once.apply(solved, r, g) if torch.is_grad_enabled() else solved, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:  # type: ignore[override]
        with torch.no_grad():
            return ctx.system().solve(tangents[1])


class _Once(torch.autograd.Function):
    """A gradient that cannot be differentiated again."""

    @staticmethod
    def forward(solved: Tensor, r: Tensor, g: Tensor) -> Tensor:
        return solved.view_as(solved)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to remember."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        raise RuntimeError(
            "implicit methods give first derivatives only, got a second one. Take gradient=Forward() around "
            "backward(), or an explicit method for second derivatives."
        )
