"""Real fields stay real: on the plane k_last = 0 the coefficients at k and -k are stored both, and must be conjugate.

Inverse transforms of real fields do not see what is not (those of `Pairs` do), so that nothing nonlinear would hold it
down: where waves grow, its rounding errors grow as exp(rate t) unseen, until they overflow.
"""

import torch
from torch import Tensor

from sciml.grids import Modes
from sciml.pde.base import Nonlinearity


def stay_real(nonlinear: Nonlinearity, linear: Tensor, modes: Modes) -> Nonlinearity:
    """N(t, y) less 2 max(Re L) times the part of y that is of no real field; N itself where no wave grows.

    Args:
        nonlinear: N of real fields.
        linear: L of the same equation.
        modes: the modes that are kept.
    """
    rate = 2 * float(linear.detach().real.max())
    if not modes.real or modes.grid.ndim == 1 or rate <= 0:
        return nonlinear
    width = modes.shape[-1]

    def damped(t: Tensor, y: Tensor) -> Tensor:
        unseen = rate * unreal_part(y, modes)[..., None]
        return nonlinear(t, y) - torch.nn.functional.pad(unseen, (0, width - 1))

    return damped


def unreal_part(y: Tensor, modes: Modes) -> Tensor:
    """What keeps the coefficients (batch, state, *mode) at k_last = 0 from being those of a real field."""
    plane = y[..., 0]
    axes = tuple(range(1 - modes.grid.ndim, 0))
    mirrored = torch.flip(plane, axes)  # the coefficient of -k in the place of k
    if not modes.centred:
        mirrored = torch.roll(mirrored, (1,) * len(axes), axes)
    return (plane - mirrored.conj()) / 2
