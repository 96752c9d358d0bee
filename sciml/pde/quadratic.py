"""The dealiased quadratic flux -a d/dx (u²/2) of the 1-D equations."""

from torch import Tensor

from sciml.grids import Modes
from sciml.pde.base import Nonlinearity
from sciml.pde.parameters import Parameter, as_channel, per_mode
from sciml.pde.symbols import Symbols


def quadratic_flux(modes: Modes, strength: Parameter = 1.0) -> Nonlinearity:
    """N(y) = -strength i k (u²)_k / 2, [field/time]."""
    symbols = Symbols(as_channel(-0.5j * modes.wavenumbers(odd=True)[0] * per_mode(strength, 1), 1))

    def nonlinear(t: Tensor, y: Tensor) -> Tensor:
        u = modes.values(y)
        return modes.coefficients(u * u) * symbols(y)[0]

    return nonlinear
