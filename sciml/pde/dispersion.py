"""Linear dispersion: u_t + d (u_xxx + u_yyy + u_zzz) = 0."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Inexact
from torch import Tensor

from sciml.core import Fields
from sciml.grids import Modes
from sciml.pde.base import AbstractEquation, Nonlinearity
from sciml.pde.parameters import AxisParameter, as_channel, check_axis_parameter, check_ndim, dot
from sciml.pde.pointwise import nothing


@final
@dataclass(frozen=True, eq=False)
class Dispersion(AbstractEquation):
    """u_t + d . (u_xxx, u_yyy, u_zzz) = 0, with the sign of the Korteweg-de Vries equation. Solved exactly.

    A wave of wavenumber k has frequency -d k³: for d > 0 crests move towards smaller coordinates, at d k², and
    packets three times as fast. All modes keep their amplitude; the mean is conserved.

    Args:
        dispersion: d, [length³/time]: one value for all axes, or a tuple with one per axis.
        ndim: number of spatial axes.
    """

    fields: ClassVar[Fields] = Fields(("u",))
    degree: ClassVar[int] = 1
    dispersion: AxisParameter = 0.01
    ndim: int = 1

    def __post_init__(self) -> None:
        check_ndim(self.ndim)
        check_axis_parameter("dispersion", self.dispersion, self.ndim)

    def linear(self, modes: Modes) -> Inexact[Tensor, "..."]:
        """i d . k³, 0 at the mode N/2 of even axes, which has no real odd derivative."""
        return as_channel(1j * dot(self.dispersion, [k**3 for k in modes.wavenumbers(odd=True)]), self.ndim)

    def nonlinear(self, modes: Modes) -> Nonlinearity:
        """0."""
        return nothing
