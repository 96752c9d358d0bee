"""The Gray-Scott model: u_t = D_u Laplace(u) - u v² + F (1 - u), v_t = D_v Laplace(v) + u v² - (F + k) v."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import AbstractDealiasing, Modes, Truncation
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import Parameter, check_ndim, check_parameter, per_mode, stack_states
from sciml.pde.pointwise import pointwise


def _reaction(fields: Tensor, feed: Tensor) -> Tensor:
    u, v = fields.unbind(1)
    consumed = (u * v * v)[:, None]
    return torch.cat([feed - consumed, consumed], 1)


@final
@dataclass(frozen=True, eq=False)
class GrayScott(AbstractEquation):
    """u_t = D_u Laplace(u) - u v² + F (1 - u),    v_t = D_v Laplace(v) + u v² - (F + k) v.

    A substrate u that is fed at the rate F is turned into v by U + 2 V -> 3 V; v is washed out at the rate F + k. The
    state u = 1, v = 0 is stable; a spot of v in it grows into spots that divide, worms, mazes or turbulence, depending
    on F and k. With the defaults spots some 0.08 wide divide until they fill the plane.

    Args:
        feed: F, [1/time], at least 0.
        kill: k, [1/time], at least 0.
        diffusivity_u: D_u, [length²/time], at least 0.
        diffusivity_v: D_v, [length²/time], at least 0.
        ndim: number of spatial axes.
        dealiasing: how the cube is kept free of aliases.

    Source: Gray & Scott (1984), Chem. Eng. Sci. 39, 1087; Pearson (1993), Science 261, 189, eq. (2).
    """

    fields: ClassVar[Fields] = Fields(("u", "v"))
    degree: ClassVar[int] = 3
    feed: Parameter = 0.03
    kill: Parameter = 0.062
    diffusivity_u: Parameter = 2e-5
    diffusivity_v: Parameter = 1e-5
    ndim: int = 2
    dealiasing: AbstractDealiasing = Truncation()

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        for name in ("feed", "kill", "diffusivity_u", "diffusivity_v"):
            check_parameter(name, getattr(self, name), low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """(-F - D_u |k|², -F - k - D_v |k|²)."""
        feed, kill = per_mode(self.feed, self.ndim), per_mode(self.kill, self.ndim)
        laplacian = modes.laplacian()
        substrate = per_mode(self.diffusivity_u, self.ndim) * laplacian - feed
        product = per_mode(self.diffusivity_v, self.ndim) * laplacian - feed - kill
        return stack_states([substrate, product], self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """(F - u v², u v²)."""
        return pointwise(modes, _reaction, self.feed)
