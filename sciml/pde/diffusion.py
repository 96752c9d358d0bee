"""Diffusion u_t = div(D grad u) with a constant tensor D, and hyper-diffusion u_t = -mu (-Laplace)^p u."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.core.checks import check_whole
from sciml.grids import Modes
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import (
    AxisParameter,
    Parameter,
    as_channel,
    check_axis_parameter,
    check_ndim,
    check_parameter,
    dot,
    per_mode,
)
from sciml.pde.pointwise import nothing

_PAIRS = {1: (), 2: ((0, 1),), 3: ((0, 1), (0, 2), (1, 2))}
"""Axes of the mixed entries D_xy, D_xz, D_yz."""


@final
@dataclass(frozen=True, eq=False)
class Diffusion(AbstractEquation):
    """u_t = div(D grad u), isotropic or not. Solved exactly for any step; the mean is conserved.

    Args:
        diffusivity: diagonal of D, [length²/time], at least 0: one value for all axes (isotropic), or a tuple with
            one per axis (D_xx, D_yy, D_zz).
        mixed: entries off the diagonal, [length²/time]: (D_xy,) on a plane, (D_xy, D_xz, D_yz) in space, () for none.
            D must have no negative eigenvalue.
        ndim: number of spatial axes.
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 1
    diffusivity: AxisParameter = 0.01
    mixed: tuple[Parameter, ...] = ()
    ndim: int = 1

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_axis_parameter("diffusivity", self.diffusivity, self.ndim, low=0.0)
        if self.mixed:
            self._check_mixed()

    def _check_mixed(self) -> None:
        pairs = _PAIRS[self.ndim]
        if len(self.mixed) != len(pairs):
            raise ValueError(
                f"`mixed` must have {len(pairs)} entries on {self.ndim} spatial axes, got {len(self.mixed)}. Give "
                "(D_xy,) on a plane and (D_xy, D_xz, D_yz) in space."
            )
        for value in self.mixed:
            check_parameter("mixed", value)
        flat = [torch.as_tensor(v, dtype=torch.float64).detach().cpu() for v in (*self._diagonal(), *self.mixed)]
        entries = torch.broadcast_tensors(*flat)
        tensor = torch.diag_embed(torch.stack(entries[: self.ndim], -1))
        for (i, j), value in zip(pairs, entries[self.ndim :], strict=True):
            tensor[..., i, j] = tensor[..., j, i] = value
        smallest = torch.linalg.eigvalsh(tensor)[..., 0]
        if not bool((smallest >= -1e-12 * tensor.abs().amax((-2, -1))).all()):
            raise ValueError(
                f"the diffusion tensor must have no negative eigenvalue, got {float(smallest.min()):g}. Make `mixed` "
                "smaller: D_xy² must not exceed D_xx D_yy."
            )

    def _diagonal(self) -> tuple[Parameter, ...]:
        return self.diffusivity if isinstance(self.diffusivity, tuple) else (self.diffusivity,) * self.ndim

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-k . D k."""
        even, odd = modes.wavenumbers(), modes.wavenumbers(odd=True)
        symbol = -dot(self.diffusivity, [k**2 for k in even])
        for (i, j), value in zip(_PAIRS[self.ndim], self.mixed, strict=False):
            symbol = symbol - 2 * per_mode(value, self.ndim) * odd[i] * odd[j]
        return as_channel(symbol, self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """0."""
        return nothing


@final
@dataclass(frozen=True, eq=False)
class HyperDiffusion(AbstractEquation):
    """u_t = -mu (-Laplace)^p u, which damps short waves alone: u_t = -mu Laplace²(u) for p = 2. Solved exactly.

    On several axes it is the power of the Laplacian, which damps all directions alike, not a sum of pure derivatives.

    Args:
        hyperdiffusivity: mu, [length^(2 p)/time], at least 0.
        power: p, at least 1; 1 is diffusion.
        ndim: number of spatial axes.
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 1
    hyperdiffusivity: Parameter = 1e-4
    power: int = 2
    ndim: int = 1

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_whole("power", self.power, 1)
        check_parameter("hyperdiffusivity", self.hyperdiffusivity, low=0.0)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """-mu |k|^(2 p)."""
        return as_channel(-per_mode(self.hyperdiffusivity, self.ndim) * (-modes.laplacian()) ** self.power, self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """0."""
        return nothing
